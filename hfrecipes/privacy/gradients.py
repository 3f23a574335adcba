"""The gradient of each row by itself, clipped: by the hooks of Opacus, or row by row where these are not right."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ..models.hardware import rounding_tolerance
from .sampling import ROW

if TYPE_CHECKING:
    import torch

Batch = dict[str, Any]
# Weight -> gradient of each row, (rows, *shape of the weight).
Gradients = dict[Any, Any]
# Loss of outputs and labels, as the Trainer calls it.
Loss = Callable[..., Any]


def trained(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    """The weights that are trained."""
    return [weight for weight in model.parameters() if weight.requires_grad]


def row_losses(model: Any, loss: Loss, batch: Batch) -> list[Any]:
    """The loss of each row by itself: a mean over its own tokens, or windows.

    Args:
        model: The model.
        loss: That of the task.
        batch: Features with `labels`, and the number of the row of each.
    """
    inputs = dict(batch)
    labels, rows = inputs.pop("labels"), inputs.pop(ROW)
    outputs = model(**inputs)
    losses = []
    for row in rows.unique():
        chosen = rows == row
        of_row = {name: values[chosen] for name, values in outputs.items() if _is_of_features(values, rows)}
        losses.append(loss(of_row, labels[chosen], num_items_in_batch=None))
    return losses


def _is_of_features(values: Any, rows: Any) -> bool:
    """Whether a value has an entry for each feature; caches of attention are something else."""
    import torch

    return isinstance(values, torch.Tensor) and values.ndim > 0 and len(values) == len(rows)


def parts(batch: Batch, size: int) -> Iterator[Batch]:
    """A batch in parts of at most so many features; those of one row stay together.

    Args:
        batch: Features in the order of their rows.
        size: Number of features of a part, which a row of more windows exceeds.
    """
    rows = batch[ROW].tolist()
    start = 0
    while start < len(rows):
        end = min(start + size, len(rows))
        # Back to the border between two rows, or on to the end of this one.
        while end < len(rows) and end > start and rows[end] == rows[end - 1]:
            end -= 1
        if end == start:
            end = start + rows.count(rows[start])
        yield {name: values[start:end] for name, values in batch.items()}
        start = end


def clipped_sum(gradients: Gradients, max_norm: float) -> Gradients:
    """Sum of the gradients of rows, each scaled down to a length of `max_norm` at most.

    Args:
        gradients: Of each row, for all weights.
        max_norm: Euclidean length over all weights together.
    """
    import torch

    norms = [values.float().flatten(1).norm(dim=1) for values in gradients.values()]
    length = torch.stack(norms).norm(dim=0)
    # A little less than max_norm, so that rounding does not exceed it.
    factors = (max_norm / (length * (1 + 1e-6) + 1e-12)).clamp(max=1.0)
    return {weight: torch.einsum("n,n...->...", factors, values.float()) for weight, values in gradients.items()}


# --- row by row --------------------------------------------------------------------------------------------------


def one_by_one(model: Any, loss: Loss, batch: Batch) -> tuple[Gradients, list[Any]]:
    """Gradients and losses of the rows of a batch, each computed alone: right for every model, and slow.

    Args:
        model: The model.
        loss: That of the task.
        batch: As for `row_losses`.
    """
    import torch

    weights, by_row, losses = trained(model), [], []
    for row in parts(batch, 1):
        (value,) = row_losses(model, loss, row)
        computed = torch.autograd.grad(value, weights, allow_unused=True)
        filled = []
        for weight, gradient in zip(weights, computed, strict=True):
            filled.append(torch.zeros_like(weight) if gradient is None else gradient)
        by_row.append(filled)
        losses.append(value.detach())
    stacked = [torch.stack(gradients) for gradients in zip(*by_row, strict=True)]
    return dict(zip(weights, stacked, strict=True)), losses


# --- hooks -------------------------------------------------------------------------------------------------------


class Hooks:
    """Hooks of Opacus in a model, which keep the gradient of each feature when a batch is differentiated.

    Args:
        model: The model; it is not wrapped.
    """

    def __init__(self, model: Any) -> None:
        from torch import nn

        self.model, self.features = model, 0
        # Before those of Opacus, which then see what these return.
        self.expanders = []
        for module in model.modules():
            if isinstance(module, nn.Embedding):
                self.expanders.append(module.register_forward_pre_hook(self._expand))
        self.hooks = _opacus_hooks()(model, loss_reduction="sum", strict=False)

    def _expand(self, module: Any, inputs: tuple[Any, ...]) -> Any:
        """Positions are the same for all rows, and most models look them up once: here once for each row."""
        if not self.features or not inputs or inputs[0].ndim != 2 or len(inputs[0]) != 1:
            return None
        return (inputs[0].expand(self.features, -1), *inputs[1:])

    def __call__(self, model: Any, loss: Loss, batch: Batch) -> tuple[Gradients, list[Any]]:
        """Gradients and losses of the rows of a batch, as `one_by_one` gives them."""
        import torch

        rows = batch[ROW]
        self.features = len(rows)
        losses = row_losses(model, loss, batch)
        self.features = 0
        with warnings.catch_warnings():
            # Of layers below which nothing is trained: their hooks are right.
            warnings.filterwarnings("ignore", "Full backward hook is firing")
            torch.autograd.backward(torch.stack(losses).sum())
        _, number = rows.unique(return_inverse=True)
        gradients = {}
        for weight in trained(model):
            weight.grad = None  # the sum over all rows, which is not clipped
            kept = getattr(weight, "grad_sample", None)
            if kept is None:
                gradients[weight] = torch.zeros(len(losses), *weight.shape, device=weight.device)
            else:
                summed = torch.zeros(len(losses), *weight.shape, device=weight.device)
                gradients[weight] = summed.index_add_(0, number, kept.float())
            weight.grad_sample = None  # type: ignore[attr-defined]
        return gradients, [value.detach() for value in losses]

    def remove(self) -> None:
        """Leave the model as it was."""
        self.hooks.cleanup()
        for expander in self.expanders:
            expander.remove()


@functools.cache
def _opacus_hooks() -> Any:
    """The hooks of Opacus, with the gradient of tables of embeddings as torch has it: none for the padding token."""
    from opacus.grad_sample.grad_sample_module import GradSampleHooks
    from torch import nn

    of_table = GradSampleHooks.GRAD_SAMPLERS[nn.Embedding]

    def without_padding(layer: nn.Embedding, activations: Any, backprops: Any) -> Any:
        computed = of_table(layer, activations, backprops)
        if layer.padding_idx is not None:
            for values in computed.values():
                values[:, layer.padding_idx] = 0
        return computed

    class RowHooks(GradSampleHooks):  # type: ignore[misc]
        GRAD_SAMPLERS: ClassVar[dict[Any, Any]] = {**GradSampleHooks.GRAD_SAMPLERS, nn.Embedding: without_padding}

    return RowHooks


def why_not_hooks(model: Any, loss: Loss, batch: Batch) -> str:
    """Why hooks do not give the gradients that the rows have alone; empty where they do.

    Args:
        model: The model, in the precision of its weights.
        loss: That of the task.
        batch: A few rows.
    """
    with _without_dropout(model):
        expected, _ = one_by_one(model, loss, batch)
    hooks = Hooks(model)
    try:
        with _without_dropout(model):
            computed, _ = hooks(model, loss, batch)
        reason = _difference(model, computed, expected)
    except Exception as error:  # whatever a hook meets in the layers of others
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:150]
    hooks.remove()
    model.zero_grad()
    return reason


def _difference(model: Any, computed: Gradients, expected: Mapping[Any, Any]) -> str:
    """The first weight of which two ways give other gradients; empty for none."""
    largest = max(float(values.abs().max()) for values in expected.values())
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            difference = float((computed[weight] - expected[weight]).abs().max())
            # Each weight by its size, since those of a new head are far larger; rounding is of all together.
            size = float(expected[weight].abs().max())
            if not difference <= rounding_tolerance(model) * (size + largest / 100):
                return f"that of {name} differs by {difference:.2g}"
    return ""


@contextlib.contextmanager
def _without_dropout(model: Any) -> Iterator[None]:
    """Only the layers that hold trained weights are in training, as the hooks need: none of them drops anything."""
    modes = {module: module.training for module in model.modules()}
    for module in modes:
        module.training = any(weight.requires_grad for weight in module.parameters(recurse=False))
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
