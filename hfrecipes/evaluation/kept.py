"""Outputs that evaluation during training gave for validation, so that they are not computed again after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

LARGEST = 32 * 2**20  # bytes: larger outputs are computed again, since two of them are kept


@dataclass(frozen=True)
class _Evaluated:
    step: int
    weights: tuple[int, ...]
    outputs: Any


class KeptOutputs:
    """The outputs of the best and of the last evaluation, with what tells the weights that they belong to."""

    def __init__(self) -> None:
        self._best: _Evaluated | None = None
        self._last: _Evaluated | None = None

    def keep(self, outputs: Any, model: torch.nn.Module, step: int, best_step: int | None) -> None:
        """Keep the outputs of an evaluation.

        Args:
            outputs: What `in_row_order` gave.
            model: The model as it was evaluated.
            step: Number of training steps until now.
            best_step: That of the best evaluation before this one, None where there is none.
        """
        if self._last is not None and self._last.step == best_step:
            self._best = self._last
        small = _size_of(outputs) <= LARGEST
        self._last = _Evaluated(step, sums_of_weights(model), outputs) if small else None

    def of(self, model: torch.nn.Module) -> Any | None:
        """The outputs of a model with the weights that it has now; None where no evaluation of them is kept."""
        kept = [evaluated for evaluated in (self._last, self._best) if evaluated is not None]
        if not kept:
            return None
        weights = sums_of_weights(model)
        return next((evaluated.outputs for evaluated in kept if evaluated.weights == weights), None)


def sums_of_weights(model: torch.nn.Module) -> tuple[int, ...]:
    """The sum of each tensor of a model, exactly, with its bits read as whole numbers.

    It takes one reading of the weights, and two states of a training have the same sums only by chance.
    """
    import torch

    whole = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    sums = []
    for tensor in (*model.parameters(), *model.buffers()):
        bits = tensor.detach().reshape(-1).view(whole[tensor.element_size()])
        sums.append(bits.sum(dtype=torch.int64))
    if not sums:
        return ()
    return tuple(torch.stack([number.to(sums[0].device) for number in sums]).tolist())


def _size_of(outputs: Any) -> int:
    """Number of bytes of arrays."""
    if isinstance(outputs, np.ndarray):
        return outputs.nbytes
    return sum(map(_size_of, outputs))
