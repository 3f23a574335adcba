"""Reference texts of a row: those that are equal or blank left out, and what is told of them before training."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..data.batches import cells_of
from ..data.shapes.texts import REFERENCES, as_text
from ..errors import counted

if TYPE_CHECKING:
    from datasets import Dataset


def references_of(text: Any, more: Any) -> list[str]:
    """References of a row without duplicates and blank ones, the text that is learnt first.

    Args:
        text: Cell of the column to learn: a text, a list of texts, or a number, which is read as a text.
        more: List of further references; None where there are none.
    """
    cells = [*text] if isinstance(text, list) else [text]
    cells += more or []
    # A dict and not a set: the order decides which text is learnt.
    references: dict[str, None] = {}
    for cell in cells:
        reference = as_text(cell)
        if reference and reference.strip():
            references[reference] = None
    return list(references)


def all_references(rows: Dataset, column: str) -> list[str]:
    """All references in a column."""
    texts: list[str] = []
    for cell in rows[column][:]:
        texts += references_of(cell, None)
    return texts


def describe_references(rows: Dataset, column: str) -> list[str]:
    """A sentence on references that are several per row; none where each row has one.

    Args:
        rows: Training rows.
        column: Column of the texts to learn.
    """
    if REFERENCES not in rows.column_names:
        return []
    most = 0
    for text, more in zip(cells_of(rows, column), cells_of(rows, REFERENCES), strict=True):
        most = max(most, len(references_of(text, more)))
    if most < 2:
        return []
    return [f"{column}: up to {most} texts per row, taken as several references, of which the first is learnt"]


def describe_json(rows: Dataset, column: str) -> list[str]:
    """A sentence on cells that are JSON; none where all are other texts."""
    texts = all_references(rows, column)
    number = sum(map(is_json, texts))
    rows = counted(len(texts), "row")
    return [f"{column}: JSON in {number} of {rows}, read as texts, in the spelling of JSON"] if number else []


def is_json(text: str) -> bool:
    """Whether a text is an object or a list in JSON.

    Example:
        >>> is_json('{"name": "Ana"}'), is_json("{'name': 'Ana'}"), is_json("7")
        (True, False, False)
    """
    if not text.lstrip().startswith(("{", "[")):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
