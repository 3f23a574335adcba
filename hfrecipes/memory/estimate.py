"""How much memory a training will take: measured with a few rows, and extrapolated."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

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
        curves.append(live_bytes(partial(learn, number)))
    model.zero_grad()
    if len(curves[0]) != len(curves[1]):
        return None
    peak = 0
    for fewer, more in zip(*curves, strict=True):
        peak = max(peak, fewer + (rows - MEASURED[0]) * (more - fewer))
    states = round(optimizer_bytes * sum(part.numel() for part in trained))
    return Needed(weights, states, max(gradients, peak + gradients * accumulates))


def live_bytes(compute: Callable[[], Any]) -> list[int]:
    """Bytes of all tensors that `compute` has made and that are still there, after each of its operations."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self.known: set[int] = set()
            self.live = 0
            self.curve: list[int] = [0]

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            import torch

            before = set()
            for value in torch.utils._pytree.tree_leaves((args, kwargs)):
                if isinstance(value, torch.Tensor):
                    before.add(id(value.untyped_storage()))
            made = func(*args, **(kwargs or {}))
            for value in torch.utils._pytree.tree_leaves(made):
                if isinstance(value, torch.Tensor):
                    self._count(value.untyped_storage(), before)
            self.curve.append(self.live)
            return made

        def _count(self, storage: Any, before: set[int]) -> None:
            key = id(storage)
            # What an operation returns of its arguments, such as a view, is no new memory.
            if key in self.known or key in before:
                return
            size = storage.nbytes()
            self.known.add(key)
            self.live += size
            weakref.finalize(storage, self._forget, key, size)

        def _forget(self, key: int, size: int) -> None:
            self.known.discard(key)
            self.live -= size

    watch = Watch()
    with watch:
        compute()
    return watch.curve


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
    for value in torch.utils._pytree.tree_leaves(list(optimizer.state.values())):
        if isinstance(value, torch.Tensor):
            kept += value.untyped_storage().nbytes()
    return kept / weights.numel()
