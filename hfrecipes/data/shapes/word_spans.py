"""Entities as spans of words, as GLiNER and SpERT publish them, and the tags and characters that they become."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ...metrics._schemes import OUTSIDE
from ...recipe import Batch, Row


class WordSpans(NamedTuple):
    """Columns of words and of their spans."""

    tokens: str
    spans: str
    is_inclusive: bool
    """Whether the last word of a span is its end, and not the one before its end."""


def word_spans(columns: Mapping[str, Any]) -> WordSpans | None:
    """The columns of words and spans of words; None where there are none.

    Args:
        columns: Columns of the rows, with their types of `datasets`.
    """
    if {"tokenized_text", "ner"} <= set(columns):
        return WordSpans("tokenized_text", "ner", True)
    item = getattr(columns.get("entities"), "feature", None)
    is_spert = isinstance(item, dict) and {"type", "start", "end"} <= set(item) and "text" not in columns
    if is_spert and "tokens" in columns and "tags" not in columns:
        return WordSpans("tokens", "entities", False)
    return None


def from_word_spans(batch: Batch, tokens: str, spans: str, is_inclusive: bool) -> Batch:
    """Words, their tags, the text that they make between blanks, and the spans in characters of it."""
    rows: Batch = {"tokens": [], "text": [], "tags": [], "entities": []}
    for words, cell in zip(batch[tokens], batch[spans], strict=True):
        words = list(map(str, words or ()))
        bounds = None if cell is None else [_bounds(span, is_inclusive) for span in cell]
        rows["tokens"].append(words)
        rows["text"].append(" ".join(words))
        rows["tags"].append(None if bounds is None else _tags(words, bounds))
        rows["entities"].append(None if bounds is None else [_in_characters(words, span) for span in bounds])
    return rows


def _bounds(span: Any, is_inclusive: bool) -> tuple[int, int, str]:
    """First word, end and label of a span."""
    start, end, label = (span["start"], span["end"], span["type"]) if isinstance(span, dict) else span
    return int(start), int(end) + is_inclusive, str(label)


def _tags(words: list[str], spans: Iterable[tuple[int, int, str]]) -> list[str]:
    """A tag for each word; an empty list where tags cannot represent the spans, which checks of characters name."""
    tags = [OUTSIDE] * len(words)
    for start, end, label in spans:
        if not 0 <= start < end <= len(words) or set(tags[start:end]) != {OUTSIDE}:
            return []
        tags[start:end] = [f"B-{label}"] + [f"I-{label}"] * (end - start - 1)
    return tags


def _in_characters(words: list[str], span: tuple[int, int, str]) -> Row:
    """The span in the text that has a blank between two words; one beyond the words is beyond the text too."""
    start, end, label = span
    first = len(" ".join([*words[:start], ""]))
    beyond = max(0, end - len(words))
    return {"start": first, "end": len(" ".join(words[:end])) + beyond, "label": label}
