"""Tables of texts, words, tags and spans of characters, as datasets publish them, for token classification."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from ..data.shapes.tags import from_cells, from_texts
from ..recipe import Batch

TOKEN_NAMES = tuple(["words", "word", "token", "form", "0", "chars", "char", "字"])
TAG_NAMES = tuple(
    [
        "ner_tags",
        "ner_tag",
        "ner",
        "upos",
        "pos_tags",
        "pos",
        "chunk_tags",
        "chunk",
        "bio_tags",
        "bio",
        "tag",
        "labels",
        "label",
        "标签",
    ]
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
    spelled = {name.strip().lower(): name for name in columns}
    tokens = [spelled[name] for name in ("tokens", *TOKEN_NAMES) if name in spelled]
    tags = [spelled[name] for name in ("tags", *TAG_NAMES) if name in spelled]
    if tokens:
        # A csv file has no lists: its cells spell them, or have spaces between the entries.
        written = [name for name in (*tokens, *tags) if _is_text(columns[name])]
        return partial(from_cells, lists=written) if written else None
    text = _first_known(TEXT_NAMES, spelled)
    if text is None or not _is_text(columns[text]):
        return None
    spans = _first_known(SPAN_NAMES, spelled)
    if spans is not None and hasattr(columns[spans], "feature") and not _is_text(columns[spans].feature):
        return partial(from_texts, text=text, spans=spans)
    word_tags = [name for name in tags if name.lower() not in SPAN_NAMES]
    if word_tags:  # a tag for each word between spaces
        written = [text, *(name for name in word_tags if _is_text(columns[name]))]
        return partial(from_cells, lists=written, text=text)
    # A column that has no spans stays as it is, and an error names it later.
    return partial(from_texts, text=text, beside=spans)


def _first_known(names: tuple[str, ...], spelled: Mapping[str, str]) -> str | None:
    return next((spelled[name] for name in names if name in spelled), None)


def _is_text(column_type: Any) -> bool:
    return getattr(column_type, "dtype", None) in ("string", "large_string")
