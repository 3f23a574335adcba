"""What the teacher says of each feature, on its way through a column and the collator to the loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.plain import in_memory
from ..recipe import TEACHER, Row

if TYPE_CHECKING:
    import torch
    from datasets import Dataset

NOTHING = -1.0  # where there is nothing to learn: no probability


def with_column(features: Dataset, targets: Sequence[np.ndarray]) -> Dataset:
    """The features with a column of lists of numbers, or of lists of them."""
    import pyarrow as pa
    from datasets import concatenate_datasets

    values = pa.array(np.concatenate([target.ravel() for target in targets]).astype(np.float32))
    if targets[0].ndim == 2:
        values = pa.FixedSizeListArray.from_arrays(values, targets[0].shape[1])
    ends = np.cumsum([0, *map(len, targets)]).astype(np.int32)
    column = pa.table({TEACHER: pa.ListArray.from_arrays(pa.array(ends), values)})
    return concatenate_datasets([features, in_memory(column)], axis=1)


@dataclass(frozen=True)
class TeacherCollator:
    """Makes batches with what the teacher says; rows to score have none of it."""

    collate: Callable[[list[Row]], Any]

    def __call__(self, rows: list[Row]) -> Any:
        """The batch."""
        if TEACHER not in rows[0]:
            return self.collate(rows)
        others, cells = [], []
        for row in rows:
            other = dict(row)
            cells.append(np.asarray(other.pop(TEACHER), dtype=np.float32))
            others.append(other)
        batch = self.collate(others)
        batch[TEACHER] = padded(cells)
        return batch


def padded(cells: Sequence[np.ndarray]) -> torch.Tensor:
    """Cells of different lengths as one tensor, `NOTHING` after the end of the shorter ones.

    Example:
        >>> padded([np.array([0.25, 0.75]), np.array([1.0])]).tolist()
        [[0.25, 0.75], [1.0, -1.0]]
    """
    import torch

    longest = max(map(len, cells))
    filled = np.full((len(cells), longest, *cells[0].shape[1:]), NOTHING, dtype=np.float32)
    for row, cell in enumerate(cells):
        filled[row, : len(cell)] = cell
    return torch.from_numpy(filled)
