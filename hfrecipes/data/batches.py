"""Batches of anything that comes one by one, and the rows in columns."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from datasets import Dataset

T = TypeVar("T")
_ROWS = 1_000  # that are read at once


def in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of the items, in order, each of that size but the last one.

    Example:
        >>> list(in_batches("abc", 2))
        [['a', 'b'], ['c']]
    """
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def rows_of(columns: Mapping[str, Iterable[Any]]) -> Iterator[dict[str, Any]]:
    """The rows of columns of the same length.

    Example:
        >>> list(rows_of({"text": ["a", "b"], "label": [0, 1]}))
        [{'text': 'a', 'label': 0}, {'text': 'b', 'label': 1}]
    """
    for cells in zip(*columns.values(), strict=True):
        yield dict(zip(columns, cells, strict=True))


def cells_of(rows: Dataset, column: str) -> Iterator[Any]:
    """The cells of a column, which are read in batches: one by one takes ten times as long."""
    for batch in rows.select_columns(column).iter(_ROWS):
        yield from batch[column]
