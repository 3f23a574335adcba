"""Batches of anything that comes one by one."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of the items, in order, each of that size but the last one.

    Example:
        >>> list(in_batches("abc", 2))
        [['a', 'b'], ['c']]
    """
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
