"""How much memory a training will take: measured with a few rows, and extrapolated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from .. import _upstream
from .peak import bytes_of

if TYPE_CHECKING:
    import torch

MEASURED = (2, 3)  # rows; a single one is computed by other operations
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
) -> Needed:
    """Measure a forward and backward pass of two rows and of three, and extrapolate to all rows of a batch.

    Each operation is looked at by itself, since the moment with the highest use is another one with more rows. The
    weights stay what they are.

    Args:
        model: As it is to be trained.
        learn: Adds the gradients of that many rows, each as long as the longest one, to those of the model.
        rows: Rows of a batch.
        optimizer_bytes: What the optimizer keeps for each trained weight.
        accumulates: Whether gradients of earlier batches are there while those of a batch are computed.
    """
    weights = bytes_of((*model.parameters(), *model.buffers()))
    trained = [part for part in model.parameters() if part.requires_grad]
    gradients = bytes_of(trained)

    def curve(number: int) -> list[int]:
        model.zero_grad()
        if accumulates:
            learn(number)
        return _upstream.live_bytes(partial(learn, number))

    few, more = map(curve, MEASURED)
    if len(few) == len(more):
        peak = max(first + (rows - MEASURED[0]) * (second - first) for first, second in zip(few, more, strict=True))
    else:
        # The operations depend on the rows, as where texts are packed: then the whole batch is measured.
        peak = max(curve(rows))
    model.zero_grad()
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
