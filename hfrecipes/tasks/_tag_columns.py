"""Tables of texts, words, tags and spans of characters, as datasets publish them, for token classification."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from ..data.shapes.annotations import from_label_studio, has_label_studio_shape
from ..data.shapes.tags import from_cells, from_texts, includes_ends
from ..data.shapes.word_spans import from_word_spans, word_spans
from ..log import log
from ..recipe import Batch

TOKEN_NAMES = ("words", "word", "token", "tokenized_text", "form", "0", "chars", "char", "字")
TAG_NAMES = (
    *("ner_tags", "ner_tag", "ner", "upos", "pos_tags", "pos", "chunk_tags", "chunk", "bio_tags", "bio"),
    *("tag", "labels", "label", "标签"),
)
TEXT_NAMES = ("text", "sentence", "content")
SPAN_NAMES = ("entities", "spans", "label", "labels", "annotations", "ents")


def unnamed_columns() -> Iterator[dict[str, str]]:
    """Columns of files with a token per line: the token is first, or after a counting number, and its tag is last."""
    for first in (0, 1):
        for last in range(9, first, -1):
            yield {"tokens": str(first), "tags": str(last)}


def reader_of(columns: Mapping[str, Any]) -> Callable[[Batch], Batch] | None:
    """Function that gives batches the columns `tokens` and `tags`; None where they have lists in these columns.

    Args:
        columns: Columns of the rows, with their types of `datasets`.
    """
    if has_label_studio_shape(columns):
        return _read_label_studio
    spans_of_words = word_spans(columns)
    if spans_of_words is not None:
        end = "included" if spans_of_words.is_inclusive else "excluded"
        log(f"{spans_of_words.spans} holds entities as spans of words, their ends {end}")
        words, ranges, is_inclusive = spans_of_words
        return partial(from_word_spans, tokens=words, spans=ranges, is_inclusive=is_inclusive)
    tokens, tags = _named(["tokens", *TOKEN_NAMES], columns), _named(["tags", *TAG_NAMES], columns)
    if tokens and not _holds_objects(columns[tokens[0]]):  # tokens that are objects only say where words are in a text
        # A csv file has no lists: its cells contain lists as text, or entries separated by spaces.
        written = _texts([*tokens, *tags], columns)
        return partial(from_cells, lists=written) if written else None
    texts, spans = _named(TEXT_NAMES, columns), next(iter(_named(SPAN_NAMES, columns)), None)
    if not _texts(texts[:1], columns):
        return None
    if spans is not None and (_holds_objects(columns[spans]) or _are_written_spans(spans, columns)):
        # Only a table gives access to its cells.
        cells = getattr(columns, "cells", {})
        is_inclusive = includes_ends(cells.get(texts[0], ()), cells.get(spans, ()))
        if is_inclusive:
            log(f"{spans} holds spans that end with the index of their last character, as the texts of the spans show")
        return partial(from_texts, text=texts[0], spans=spans, is_inclusive=is_inclusive)
    # A column of tags that is called `label` would be a label of the whole text.
    word_tags = [name for name in tags if name.lower() not in SPAN_NAMES]
    if word_tags:  # a tag for each word between spaces
        return partial(from_cells, lists=[texts[0], *_texts(word_tags, columns)], text=texts[0])
    # A column that has no spans stays as it is, and an error names it later.
    return partial(from_texts, text=texts[0], beside=spans)


def _named(names: Iterable[str], columns: Iterable[str]) -> list[str]:
    """Columns with one of these names, in any case, in the order of the names."""
    spelled = {}
    for column in columns:
        spelled[column.strip().lower()] = column
    present = []
    for name in names:
        if name in spelled:
            present.append(spelled[name])
    return present


def _texts(names: list[str], columns: Mapping[str, Any]) -> list[str]:
    """Those of the columns that hold text."""
    texts = []
    for name in names:
        if _is_text(columns[name]):
            texts.append(name)
    return texts


def _is_text(column_type: Any) -> bool:
    return getattr(column_type, "dtype", None) in ("string", "large_string")


def _holds_objects(column_type: Any) -> bool:
    """Whether cells are dicts, or lists of dicts or lists, as spans are; a list of texts has tags."""
    if hasattr(column_type, "feature"):
        return not hasattr(column_type.feature, "dtype")
    return isinstance(column_type, dict) or type(column_type).__name__ == "Json"


def _are_written_spans(name: str, columns: Mapping[str, Any]) -> bool:
    """Whether a column of text, as csv files have, can only be spans by its name."""
    return name.lower() in ("entities", "spans", "ents") and _is_text(columns[name])


def _read_label_studio(batch: Batch) -> Batch:
    return from_texts(from_label_studio(batch), text="text", spans="entities")
