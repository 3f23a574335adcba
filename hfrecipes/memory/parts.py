"""Batches that are computed in parts, because the memory of the device does not hold the whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from ..errors import OutOfMemoryError, counted
from ..log import log
from .shortage import is_out_of_memory, release

Batch = Mapping[str, Any]


@dataclass
class Limit:
    """How large a part of a batch may be.

    In tokens and not in rows: where rows of similar length share a batch, the few batches of long rows are computed in
    parts, and all others are not slowed down.
    """

    tokens: int | None = None
    """Most tokens of a part, padding included, unless it cannot be halved; None while every batch fits."""

    def parts(self, batch: Batch) -> Iterator[Batch]:
        """The parts of a batch in their order, the batch itself where it fits."""
        halves = None if self.tokens is None or tokens_in(batch) <= self.tokens else halves_of(batch)
        if halves is None:
            yield batch
            return
        for half in halves:
            yield from self.parts(half)

    def lower(self, batch: Batch) -> bool:
        """Halve the parts of this batch, which did not fit; False where they cannot be any smaller."""
        halves = halves_of(max(self.parts(batch), key=tokens_in))
        if halves is None:
            return False
        self.tokens = max(map(tokens_in, halves))
        return True


def rows_in(batch: Batch) -> int:
    """Number of rows of a batch."""
    return len(batch["input_ids"])


def tokens_in(batch: Batch) -> int:
    """Number of tokens of a batch, padding included; of inputs or of labels, whichever has more."""
    sizes: list[int] = [batch[name].numel() for name in ("input_ids", "labels") if name in batch]
    return max(sizes)


def halves_of(batch: Batch) -> tuple[Batch, Batch] | None:
    """The first and the second half of the rows, or of the texts that are joined in a single row.

    None where there is nothing to halve, or where something in the batch is about all of it.
    """
    import torch

    rows = rows_in(batch)
    if not all(isinstance(values, torch.Tensor) and values.shape[:1] == (rows,) for values in batch.values()):
        return None
    dimension, at = (0, math.ceil(rows / 2)) if rows > 1 else (1, _middle_of_texts(batch))
    if not at:
        return None
    first, second = {}, {}
    for name, values in batch.items():
        first[name] = values.narrow(dimension, 0, at)
        second[name] = values.narrow(dimension, at, values.shape[dimension] - at)
    return first, second


def _middle_of_texts(batch: Batch) -> int:
    """Where the text nearest to the middle of a single row begins; 0 where the row is one text."""
    positions = batch.get("position_ids")
    if positions is None or any(values.shape != positions.shape for values in batch.values()):
        return 0
    # Models tell texts in a row apart by their positions, which begin at 0 again.
    starts: list[int] = (positions[0] == 0).nonzero()[:, 0].tolist()
    return min(starts, key=lambda start: abs(start - positions.shape[1] / 2), default=0)


def shape_of(batch: Batch) -> str:
    """Rows and length of a batch in words.

    Example:
        >>> import torch
        >>> shape_of({"input_ids": torch.zeros(8, 512)})
        '8 rows of 512 tokens'
    """
    rows = rows_in(batch)
    return f"{counted(rows, 'row')} of {tokens_in(batch) // rows} tokens"


# --- without training ----------------------------------------------------------------------------------------------

_LIMITS: WeakKeyDictionary[Any, dict[str, Limit]] = WeakKeyDictionary()


def limit_of(model: Any, purpose: str) -> Limit:
    """The limit of a model, the same object each time, so that what was found once is not tried again.

    Args:
        model: The model.
        purpose: `evaluation`, or `generation`, which needs more.
    """
    return _LIMITS.setdefault(model, {}).setdefault(purpose, Limit())


def in_parts(
    compute: Callable[[Batch], Any], batch: Batch, limit: Limit, give_back: Callable[[], bool] = lambda: False
) -> list[Any]:
    """What `compute` returns for a batch, or for each of its parts where the whole does not fit into memory.

    Args:
        compute: A function of a batch; it is called again after a failure, and changes nothing else.
        batch: The batch.
        limit: What is known to fit; halved until the batch does.
        give_back: Frees memory that is only kept for speed, before the limit is halved; False if there was none.

    Raises:
        OutOfMemoryError: One row alone does not fit.
    """
    while True:
        try:
            return [compute(part) for part in limit.parts(batch)]
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # Here the error and its frames, which hold what was computed, are gone.
        has_given_back = give_back()
        release()
        if has_given_back:
            continue
        if not limit.lower(batch):
            raise OutOfMemoryError(
                f"out of memory: {shape_of(batch)} cannot be computed in smaller parts. Lower max_length, or take a "
                "smaller model or a device with more memory"
            )
        log(f"out of memory at {shape_of(batch)}: batches of more than {limit.tokens:,} tokens are computed in parts")
