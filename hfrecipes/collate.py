"""Batches of features: rows of different lengths written straight into one array for each name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch


def pad_rows(
    rows: Sequence[Sequence[Any] | np.ndarray], filler: int, size: int = 0, side: str = "right"
) -> torch.Tensor:
    """Rows as one tensor of integers, (rows, tokens), as long as the longest row.

    Args:
        rows: Numbers of each row.
        filler: What stands where a row has no number.
        size: Tokens at least.
        side: Where shorter rows are filled, `right` or `left`.
    """
    import torch

    longest = max(size, *map(len, rows)) if rows else size
    padded = np.full((len(rows), longest), filler, dtype=np.int64)
    for index, row in enumerate(rows):
        if side == "right":
            padded[index, : len(row)] = row
        else:
            padded[index, longest - len(row) :] = row
    return torch.from_numpy(padded)
