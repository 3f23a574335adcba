"""Training by CUDA graphs, where the device and the settings allow it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .. import _upstream
from ..models.cuda_graphs import Graph, Inputs, Padding, ReplayedForward, can_be_recorded, compare
from ..models.hardware import count_parameters
from ..recipe import Recipe

if TYPE_CHECKING:
    import torch
    from transformers import Trainer, TrainerCallback

LARGE = 1_000_000_000  # parameters: a larger model keeps the GPU busy anyway


def recorder(trainer: Trainer, recipe: Recipe) -> list[TrainerCallback]:
    """What records and replays the batches of a training; nothing where that cannot be done.

    A shape is recorded when it is first seen, and not later: replays draw other random numbers for dropout than the
    model itself, and a run that is resumed must draw those that it would have drawn.
    """
    import transformers

    if not _can_be_recorded(trainer):
        return []

    class RecordBatches(transformers.TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
            self.model = keywords["model"]
            # Here, because accelerate puts its context of mixed precision around the forward before this.
            self.replayed = replayed_forward(self.model, Padding.of(recipe, self.model))
            _upstream.set_forward(self.model, self.replayed)

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.replayed.stop()
            _upstream.set_forward(self.model, self.replayed.forward)

    return [RecordBatches()]


def replayed_forward(model: Any, padding: Padding) -> ReplayedForward:
    """The forward of a model, which is replayed in training alone."""
    import torch

    forward, pool = model.forward, torch.cuda.graph_pool_handle()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    gradients = [torch.zeros_like(weight) for weight in weights]

    def is_meant(inputs: Any) -> bool:
        return bool(model.training) and torch.is_grad_enabled()

    def record(inputs: Inputs) -> LearningGraph:
        return LearningGraph(forward, inputs, padding, pool, weights=weights, gradients=gradients)

    return ReplayedForward(forward, padding, record, is_meant)


def _can_be_recorded(trainer: Trainer) -> bool:
    """Whether nothing in a step depends on values on the GPU, or needs hooks of the weights."""
    args, model = trainer.args, trainer.model
    drops_layers = any("layerdrop" in name and value for name, value in model.config.to_dict().items())
    return (
        can_be_recorded(model)
        and args.world_size == 1
        and not (args.torch_compile or args.activation_checkpointing)
        and not str(args.optim.value).endswith(("layerwise", "lomo"))
        and not drops_layers
        and count_parameters(model)["total"] <= LARGE
    )


class LearningGraph(Graph):
    """Forward and backward of one shape of batch.

    Args:
        weights: Weights that are trained.
        gradients: Where their gradients are written; all shapes share them, as those of each would take as much memory
            as the weights.
    """

    def __init__(
        self,
        forward: Callable[..., Any],
        inputs: Inputs,
        padding: Padding,
        pool: Any,
        *,
        weights: list[Any],
        gradients: list[torch.Tensor],
    ) -> None:
        self.weights, self.gradients = weights, gradients
        super().__init__(forward, inputs, padding, pool)

    def __call__(self, inputs: Inputs) -> Any:
        """The outputs for a batch of this shape, from which a loss is differentiated."""
        import torch

        # An argument with a gradient makes the outputs part of what is differentiated. It is none of the weights: they
        # belong to the stream that recorded them, of which torch warns.
        anchor = torch.empty((), device=self.weights[0].device, requires_grad=True)
        return self.shown(_function().apply(self, inputs, anchor), inputs)

    def _computed(self) -> dict[int, torch.Tensor]:
        import torch

        self._compute()
        return self._differentiated([torch.ones_like(output) for output in self.outputs])

    def _differentiated(self, gradients: Sequence[torch.Tensor]) -> dict[int, torch.Tensor]:
        """Gradients of the weights that the outputs depend on, by their index."""
        import torch

        computed = torch.autograd.grad(self.outputs, self.weights, gradients, allow_unused=True)
        return {index: gradient for index, gradient in enumerate(computed) if gradient is not None}

    def capture(self) -> None:
        """Record the kernels of forward and backward."""
        import torch

        super().capture()
        self.given = [torch.zeros_like(output) for output in self.outputs]
        self.backward = torch.cuda.CUDAGraph()
        with self._record(self.backward):
            computed = self._differentiated(self.given)
            self.used = list(computed)
            _upstream.copy_all(self._written(), list(computed.values()))
        self.outputs = [output.detach() for output in self.outputs]

    def _written(self) -> list[torch.Tensor]:
        return [self.gradients[index] for index in self.used]

    def _check(self, expected: dict[int, torch.Tensor]) -> None:
        import torch

        written, held = self._written(), []
        if any(weight.grad is not None for weight in self.weights):  # of a step that accumulates, they are in use
            held = [gradient.clone() for gradient in written]
        self.graph.replay()
        _upstream.copy_all(self.given, [torch.ones_like(output) for output in self.outputs])
        self.backward.replay()
        try:
            compare(written, [expected[index] for index in self.used])
        finally:
            if held:
                _upstream.copy_all(written, held)

    def add_gradients(self) -> None:
        """Replay the backward, and add its gradients to those that the weights have."""
        weights = [self.weights[index] for index in self.used]
        gradients = self._written()
        before: list[tuple[Any, Any]] = []
        for weight, gradient in zip(weights, gradients, strict=True):
            if weight.grad is not None:
                # The last part of the batch may have left its gradients where this one writes.
                is_here = weight.grad.data_ptr() == gradient.data_ptr()
                before.append((weight, weight.grad.clone() if is_here else weight.grad))
        self.backward.replay()
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient
        for weight, gradient in before:
            weight.grad += gradient


@functools.cache
def _function() -> Any:
    import torch

    class Replay(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, graph: LearningGraph, inputs: Inputs, anchor: torch.Tensor) -> Any:
            context.graph = graph
            graph.fill(inputs)
            graph.graph.replay()
            return tuple(output.detach() for output in graph.outputs)

        @staticmethod
        def backward(context: Any, *gradients: torch.Tensor) -> Any:
            for held, gradient in zip(context.graph.given, gradients, strict=True):
                held.copy_(gradient)
            context.graph.add_gradients()
            return None, None, None

    return Replay
