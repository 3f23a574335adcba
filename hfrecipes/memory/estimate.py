"""How much memory a training will take: measured with a few rows, and extrapolated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from .. import _upstream

if TYPE_CHECKING:
    import torch

MEASURED = (2, 3)  # rows
TRIED = 256  # width of the matrix on which an optimizer is tried


@dataclass(frozen=True)
class Needed:
    """Bytes that a training takes at its peak, by what takes them."""

    weights: int
    optimizer: int
    batch: int
    """Gradients and activations, at the moment at which they need most together."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.optimizer + self.batch


def needed(
    model: Any, learn: Callable[[int], Any], rows: int, optimizer_bytes: float, *, accumulates: bool = False
) -> Needed | None:
    """Measure a forward and backward pass of two rows and of three, and extrapolate to all rows of a batch.

    Each operation is looked at by itself, since the moment with the highest use is another one with more rows. The
    weights stay what they are.

    Args:
        model: As it is to be trained.
        learn: Adds the gradients of that many rows, each as long as the longest one, to those of the model.
        rows: Rows of a batch.
        optimizer_bytes: What the optimizer keeps for each trained weight.
        accumulates: Whether gradients of earlier batches are there while those of a batch are computed.

    Returns:
        None where the operations of the model depend on the number of rows, so that nothing can be extrapolated.
    """
    weights = sum(part.numel() * part.element_size() for part in (*model.parameters(), *model.buffers()))
    trained = [part for part in model.parameters() if part.requires_grad]
    gradients = sum(part.numel() * part.element_size() for part in trained)
    curves = []
    # A single row is computed by other operations.
    for number in MEASURED:
        model.zero_grad()
        if accumulates:
            learn(number)
        curves.append(_upstream.live_bytes(partial(learn, number)))
    model.zero_grad()
    if len(curves[0]) != len(curves[1]):
        return None
    peak = 0
    for fewer, more in zip(*curves, strict=True):
        peak = max(peak, fewer + (rows - MEASURED[0]) * (more - fewer))
    states = round(optimizer_bytes * sum(part.numel() for part in trained))
    return Needed(weights, states, max(gradients, peak + gradients * accumulates))


def bytes_of_optimizer(make: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]) -> float:
    """What an optimizer keeps for each weight, measured on one matrix.

    Args:
        make: Makes the optimizer for some parameters.
    """
    import torch

    weights = torch.nn.Parameter(torch.zeros(TRIED, TRIED))
    optimizer = make([weights])
    weights.grad = torch.zeros_like(weights)
    optimizer.step()
    kept = 0
    for value in optimizer.state[weights].values():
        if isinstance(value, torch.Tensor):
            kept += value.untyped_storage().nbytes()
    return kept / weights.numel()
