"""Tags of words, spans of characters, and how one becomes the other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from ...errors import DataError
from ...metrics._schemes import OUTSIDE
from ...recipe import Batch, Row
from .annotations import spans_of
from .cells import first_value, parse_list, whole_number

# Keys of a span.
_START = ("start", "start_offset", "begin", "start_char", "start_idx", "start_index")
_END = ("end", "end_offset", "end_char", "end_idx", "end_index")
_LABEL = ("label", "labels", "type", "entity", "tag", "entity_group", "entity_type", "label_", "hypertextlabels")
_SEVERAL = "\x00"  # in place of the labels of a span that has several


# --- columns of tags -------------------------------------------------------------------------------------------------


def holds_entity_tags(sentences: Iterable[Any]) -> bool:
    """Whether the cells of a column are lists of tags such as O and B-person, and nothing else.

    Example:
        >>> holds_entity_tags([["O", "B-person"], ["O"]]), holds_entity_tags([["DET", "NOUN"]])
        (True, False)
    """
    tags: set[str] = set()
    for sentence in sentences:
        tags.update(map(str, sentence or ()))
    return tags > {OUTSIDE} and all(tag == OUTSIDE or re.match("[BIESLUM]-.", tag) for tag in tags)


# --- words of a text -------------------------------------------------------------------------------------------------


def split_words(text: str) -> list[tuple[int, int]]:
    """Start and end of each word: runs of letters and digits; every CJK and every other character alone.

    Example:
        >>> split_words("It's 北京")
        [(0, 2), (2, 3), (3, 4), (5, 6), (6, 7)]
    """
    import regex

    # Not the `\w` of `re`, which leaves out the vowel signs of Hindi, Thai and others, and would split words at them.
    cjk = r"\p{Han}\p{Hiragana}\p{Katakana}"
    pattern = rf"[{cjk}]|[[\p{{L}}\p{{M}}\p{{N}}_]--[{cjk}]]+|\S"
    return [match.span() for match in regex.finditer(pattern, text, flags=regex.VERSION1)]


def find_words(text: str, tokens: list[str]) -> list[tuple[int, int]]:
    """Start and end of each token in the text; an empty list if one of them is not found."""
    spans, end = [], 0
    for token in tokens:
        start = text.find(token, end)
        if start < 0:
            return []
        end = start + len(token)
        spans.append((start, end))
    return spans


# --- spans of characters ---------------------------------------------------------------------------------------------


def includes_ends(texts: Iterable[Any], cells: Iterable[Any]) -> bool:
    """Whether the end of a span is the index of its last character, as seen from spans that include their own text.

    Example:
        >>> includes_ends(["Tea is hot"], [[{"start": 0, "end": 2, "text": "Tea", "label": "drink"}]])
        True
    """
    included = excluded = 0
    for text, cell in zip(texts, cells, strict=True):
        for span in spans_of(cell) or []:
            start, end, label = _span_cells(span)
            if not isinstance(text, str) or not isinstance(span, dict):
                continue
            if not isinstance(start, int) or not isinstance(end, int):
                continue
            texts = {value for value in span.values() if isinstance(value, str) and value != label}
            excluded += text[start:end] in texts
            included += text[start : end + 1] in texts
    return included > excluded


def from_texts(
    batch: Batch, text: str, spans: str | None = None, beside: str | None = None, *, is_inclusive: bool = False
) -> Batch:
    """Words of each text; with spans also tags in BIO, a span widened to whole words.

    Args:
        batch: Rows.
        text: Column of the texts.
        spans: Column of the spans.
        beside: Column to keep as it is.
        is_inclusive: Whether the end of a span is the index of its last character, not the one after it.
    """
    rows: Batch = {"tokens": [], "text": batch[text]}
    words_of_rows = []
    for row_text in batch[text]:
        words = split_words(row_text or "")
        words_of_rows.append(words)
        rows["tokens"].append([row_text[start:end] for start, end in words])
    if spans is not None:
        rows |= {"tags": [], "entities": []}
        for row_text, words, cell in zip(batch[text], words_of_rows, batch[spans], strict=True):
            # Prodigy leaves the spans out of a row that was accepted without any.
            row_spans = spans_of([] if cell is None and "answer" in batch else cell)
            # A row without spans is not labelled; one with an empty list has no entity.
            entities = None if row_spans is None else [_entity(span, after=int(is_inclusive)) for span in row_spans]
            rows["tags"].append(None if entities is None else _bio(row_text or "", words, entities))
            rows["entities"].append(entities)
    if beside is not None:
        rows[beside] = batch[beside]
    return rows


def from_cells(batch: Batch, lists: list[str], text: str | None = None) -> Batch:
    """Lists that cells of text hold, as in csv files: written as lists, or separated by blanks.

    Args:
        batch: Rows.
        lists: Columns of such cells.
        text: The one of them that holds the tokens, if its name is none of the usual ones.
    """
    rows = dict(batch)
    for name in lists:
        rows[name] = list(map(_listed, batch[name]))
    return rows if text is None else {"tokens": rows.pop(text), **rows}


def _listed(cell: Any) -> list[Any] | None:
    value = parse_list(cell) if isinstance(cell, str) else cell
    if isinstance(value, list):
        return [None if item is None else str(item) for item in value]
    return None if cell is None else cell.split()


def _entity(span: Any, after: int) -> Row:
    """Start, end and label of a span as published: under one of their usual names each, or as a list of the three.

    Args:
        span: A dict or a list.
        after: What to add to its end to get the index after its last character.
    """
    start_cell, end_cell, label = _span_cells(span)
    try:
        start, end = whole_number(start_cell), whole_number(end_cell)
    except (TypeError, ValueError):
        start = end = None
    if start is None or end is None:
        raise DataError(
            f'found the span {str(span)[:80]!r}, expected {{"start": 0, "end": 5, "label": "person"}} in characters'
        )
    if isinstance(label, list):  # Label Studio may give several
        label = "/".join(map(str, label)) if len(label) < 2 else _SEVERAL
    return {"start": start, "end": end + after, "label": "" if label is None else str(label)}


def _span_cells(span: Any) -> list[Any]:
    """Start, end and label as they are in the data; None for what is missing."""
    if isinstance(span, dict):
        return [first_value(span, _START), first_value(span, _END), first_value(span, _LABEL)]
    if isinstance(span, list | tuple):
        return [*span, None, None, None][:3]
    return [None, None, None]


def _bio(text: str, words: list[tuple[int, int]], entities: list[Row]) -> list[str]:
    """A tag for each word; an empty list if tags cannot represent the spans, which `span_problems` then reports."""
    if any(span_problems(text, entities)):
        return []
    tags = [OUTSIDE] * len(words)
    for entity in entities:
        prefix = "B"
        for index in _covered(words, entity):
            tags[index] = f"{prefix}-{entity['label']}"
            prefix = "I"
    return tags


def _covered(words: list[tuple[int, int]], entity: Row) -> list[int]:
    """Indices of the words that the span touches."""
    return [index for index, (start, end) in enumerate(words) if start < entity["end"] and end > entity["start"]]


def span_problems(text: str, entities: list[Row]) -> Iterator[str]:
    """Why tags cannot represent the spans, a sentence for each span."""
    words, last_end, last_word = split_words(text), -1, -1
    for entity in sorted(entities, key=_start_and_end):
        covered = _covered(words, entity)
        if not 0 <= entity["start"] < entity["end"] <= len(text):
            yield "a span is empty or outside of its text"
        elif not entity["label"]:
            yield "a span has no label"
        elif entity["label"] == _SEVERAL:
            yield "a span has several labels, and a word can have only one tag"
        elif not covered:
            yield "a span holds only blanks"
        elif entity["start"] < last_end:
            yield "spans overlap, which tags cannot represent"
        elif covered[0] <= last_word:
            yield "two spans share a word, which can have only one tag"
        last_end, last_word = max(last_end, entity["end"]), max(last_word, *covered, -1)


def _start_and_end(entity: Row) -> tuple[int, int]:
    return entity["start"], entity["end"]


def cuts_words(text: str, entities: list[Row]) -> bool:
    """Whether a span starts or ends within a word."""
    borders: set[int] = set()
    for word in split_words(text):
        borders.update(word)
    # A span may also include blanks at its ends.
    for index, character in enumerate(text):
        if character.isspace():
            borders.add(index)
    return any(not borders.issuperset(_start_and_end(entity)) for entity in entities)
