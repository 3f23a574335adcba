"""Training texts packed into rows of `max_length` tokens over all of train, instead of padded."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ..errors import counted
from .plain import in_memory

if TYPE_CHECKING:
    from datasets import Dataset

_ROW = "packed_row"  # column with the number of a row


def are_packed(features: Dataset) -> bool:
    """Whether the task wants these features to share rows: they have `position_ids`, and no label of the whole text."""
    from datasets import Value

    return "position_ids" in features.column_names and not isinstance(features.features.get("labels"), Value)


def pack(features: Dataset, max_length: int, seed: int) -> Dataset:
    """Rows of several features each, which are put together when they are read.

    Args:
        features: Of the training rows, with `length` and `position_ids`.
        max_length: Tokens of a row at most.
        seed: Of the order of the features in each epoch.
    """
    rows = PackedRows(np.asarray(features["length"][:]), max_length, seed)
    table = pa.table({_ROW: np.arange(len(rows.slots)), "length": rows.sizes})
    packed = in_memory(table).with_transform(rows, columns=[_ROW], output_all_columns=True)
    # Only now, because `with_transform` pickles `rows` for a fingerprint, and tokens in memory would be copied.
    rows.features = features.remove_columns("length").with_format("arrow")
    return packed


def count_rows(features: Dataset, max_length: int) -> int:
    """Number of rows that an epoch reads: those that features are packed into, or else the features."""
    if not are_packed(features):
        return len(features)
    return len(fill_rows(np.sort(features["length"][:])[::-1], max_length))


def packed_rows(dataset: Any) -> PackedRows | None:
    """What reads the rows of a dataset; None for one that is not packed."""
    reader = getattr(dataset, "format", {}).get("format_kwargs", {}).get("transform")
    return reader if isinstance(reader, PackedRows) else None


def start_epoch(dataset: Any, epoch: int) -> None:
    """Let packed rows hold the features that they have in an epoch; nothing else is changed."""
    rows = packed_rows(dataset)
    if rows is not None:
        rows.start_epoch(epoch)


def features_in(dataset: Any, rows: list[int], epoch: int) -> list[int]:
    """Numbers of the features that the rows of a training set are made of in an epoch."""
    packed = packed_rows(dataset)
    if packed is None:
        return rows
    packed.start_epoch(epoch)
    return [int(feature) for row in rows for feature in packed.features_of(row)]


def fill_rows(lengths: Sequence[int] | np.ndarray, size: int) -> list[list[int]]:
    """Indices of the features in each row, so that little space is left: best fit decreasing.

    The number of rows follows from the lengths alone.

    Args:
        lengths: Tokens of each feature, the longest one first.
        size: Tokens of a row.

    Example:
        >>> fill_rows([5, 4, 3, 2], 7)
        [[0, 3], [1, 2]]
    """
    rows: list[list[int]] = []
    # Rows that are not full by the number of tokens left, and these numbers in order.
    rows_by_space: list[list[int]] = [[] for _ in range(size + 1)]
    spaces: list[int] = []
    for index, length in enumerate(np.asarray(lengths).tolist()):
        fit = bisect.bisect_left(spaces, length)
        if fit < len(spaces):
            space = spaces[fit]
            row = rows_by_space[space].pop()
            if not rows_by_space[space]:
                del spaces[fit]
        else:
            space, row = size, len(rows)
            rows.append([])
        rows[row].append(index)
        left = space - length
        if left:
            if not rows_by_space[left]:
                bisect.insort(spaces, left)
            rows_by_space[left].append(row)
    return rows


class PackedRows:
    """Reads packed rows: the transform of their dataset.

    In each epoch other features of the same length stand in a place, which depends on seed and epoch alone: the number
    of rows and their lengths are always the same, so that a resumed run finds its place again.

    Args:
        lengths: Tokens of each feature.
        max_length: Tokens of a row at most.
        seed: Of the order of the features.
    """

    features: Dataset

    def __init__(self, lengths: np.ndarray, max_length: int, seed: int) -> None:
        self.lengths = lengths
        longest_first = np.sort(lengths)[::-1]
        self.slots = [np.array(row, dtype=np.int32) for row in fill_rows(longest_first, max_length)]
        self.sizes = np.array([longest_first[row].sum() for row in self.slots])
        self.seed = seed
        self.start_epoch(0)

    def describe(self, max_length: int, rows_in_step: int) -> str:
        """A sentence on how full the rows are, and on what a step learns from."""
        filled = self.sizes.sum() / (len(self.sizes) * max_length)
        return (
            f"packing: {counted(len(self.lengths), 'example')} of train in {counted(len(self.sizes), 'row')} of "
            f"max_length={max_length} tokens, {filled:.0%} full; batch sizes count these rows, so a step learns from "
            f"{counted(rows_in_step, 'row')}, {rows_in_step * self.sizes.mean():.0f} tokens"
        )

    def start_epoch(self, epoch: int) -> None:
        """Draw the features of each row."""
        drawn = np.random.default_rng([self.seed, epoch]).random(len(self.lengths))
        self.order = np.lexsort((drawn, -self.lengths))  # the longest first, in any order among equals

    def features_of(self, row: int) -> np.ndarray:
        """Numbers of the features in a row."""
        numbers: np.ndarray = self.order[self.slots[row]]
        return numbers

    def __call__(self, batch: dict[str, list[int]]) -> dict[str, list[np.ndarray]]:
        """The features of each row, one after another."""
        table = self.features[np.concatenate([self.features_of(row) for row in batch[_ROW]])]
        borders = np.cumsum(self.sizes[batch[_ROW]])[:-1]
        columns = {}
        for name in table.column_names:
            tokens = table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            columns[name] = np.split(tokens, borders)
        return columns
