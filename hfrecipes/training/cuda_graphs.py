"""CUDA graphs in training: the kernels of a batch are recorded once for its shape, and then started all at once.

A fast GPU computes a batch of a small model in less time than Python takes to start its kernels one by one.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import _upstream
from ..log import log
from ..models.hardware import count_parameters
from ..recipe import Recipe

if TYPE_CHECKING:
    import torch
    from transformers import Trainer, TrainerCallback

LARGE = 1_000_000_000  # parameters: a larger model keeps the GPU busy anyway
MOST = 40  # shapes that are recorded, each of which takes part of a second and some memory
WARM_UPS = 2  # passes before a recording, in which libraries choose their kernels
AGREEMENT = 0.05  # largest difference between replayed and computed gradients, as a share of their norm
_OF_ENCODER = ("input_ids", "attention_mask", "token_type_ids")
_OF_DECODER = ("decoder_input_ids", "decoder_attention_mask")


def recorder(trainer: Trainer, recipe: Recipe) -> list[TrainerCallback]:
    """What records and replays the batches of a training; nothing where the device or the settings do not allow it."""
    import transformers

    if not _can_be_recorded(trainer):
        return []

    class RecordBatches(transformers.TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
            self.model = keywords["model"]
            # Here, because accelerate puts its context of mixed precision around the forward before this.
            self.replayed = ReplayedForward(self.model, Padding.of(recipe))
            _upstream.set_forward(self.model, self.replayed)

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            _upstream.set_forward(self.model, self.replayed.forward)
            self.replayed.graphs.clear()

    return [RecordBatches()]


def _can_be_recorded(trainer: Trainer) -> bool:
    """Whether nothing in a step depends on values on the GPU, or needs hooks of the weights."""
    args, model = trainer.args, trainer.model
    layers_are_dropped = any("layerdrop" in name and value for name, value in model.config.to_dict().items())
    return (
        args.device.type == "cuda"
        and args.world_size == 1
        and not (args.torch_compile or args.activation_checkpointing)
        and not str(args.optim.value).endswith(("layerwise", "lomo"))
        and not _upstream.uses_flash_attention(model)
        and not layers_are_dropped
        and getattr(model, "quantization_method", None) is None
        and count_parameters(model)["total"] <= LARGE
    )


# --- padding -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Padding:
    """How batches are padded to few different lengths, so that few shapes are recorded."""

    fillers: dict[str, int]
    """Value of a padded token in each input."""
    is_left: bool
    """Whether padding is on the left, except in a decoder."""
    is_fixed: bool
    """Whether all batches have one length already."""

    @classmethod
    def of(cls, recipe: Recipe) -> Padding:
        """The padding of the tokenizer of a task."""
        token = recipe.tokenizer.pad_token_id
        fillers = dict.fromkeys((*_OF_ENCODER, *_OF_DECODER), 0)
        fillers |= {"input_ids": token, "decoder_input_ids": token}
        return cls(fillers, recipe.tokenizer.padding_side == "left", recipe.pads_to_max_length)

    def size(self, length: int, limit: float) -> int:
        """Length that a batch of a length is padded to: at most an eighth more, or 8 tokens."""
        step = max(8, 1 << max(0, (length - 1).bit_length() - 3))
        size = -(-length // step) * step
        return size if size <= limit else length

    def sizes(self, inputs: dict[str, torch.Tensor], limit: float) -> dict[str, int]:
        """Padded length of each input; those of unknown meaning keep all batches as they are."""
        lengths = {name: values.shape[-1] for name, values in inputs.items() if values.dim()}
        if self.is_fixed or "attention_mask" not in inputs or not self.fillers.keys() >= lengths.keys():
            return lengths
        return {name: self.size(length, limit) for name, length in lengths.items()}

    def part(self, name: str, length: int) -> tuple[Any, slice]:
        """Where the tokens of a batch are in a padded input or output."""
        if self.is_left and name not in _OF_DECODER:
            return ..., slice(-length, None)
        return ..., slice(0, length)


# --- forward -----------------------------------------------------------------------------------------------------


class ReplayedForward:
    """The forward of a model in training, replayed for shapes that were seen before.

    Args:
        model: On a GPU, as accelerate prepared it.
        padding: How its batches are padded.
    """

    def __init__(self, model: Any, padding: Padding) -> None:
        self.model, self.forward, self.padding = model, model.forward, padding
        self.limit = getattr(model.config, "max_position_embeddings", None) or float("inf")
        self.weights = [weights for weights in model.parameters() if weights.requires_grad]
        self.graphs: dict[Any, Graph] = {}
        self.gradients: list[torch.Tensor] = []
        self.pool: Any = None
        functools.update_wrapper(self, self.forward)

    def __call__(self, *args: Any, **inputs: Any) -> Any:
        """The outputs of the model."""
        import torch

        if args or not (self.model.training and torch.is_grad_enabled()):
            return self.forward(*args, **inputs)
        if not all(isinstance(values, torch.Tensor) for values in inputs.values()):
            return self.forward(**inputs)
        sizes = self.padding.sizes(inputs, self.limit - 2)
        key = tuple((name, *values.shape[:-1], sizes.get(name), values.dtype) for name, values in inputs.items())
        # At once, and not when it is seen again: replays draw other random numbers for dropout than the model itself,
        # and a run that is resumed must draw those that it would have drawn.
        graph = self.graphs.get(key) or self._record(key, inputs, sizes)
        return self.forward(**inputs) if graph is None else graph(inputs)

    def _record(self, key: Any, inputs: dict[str, torch.Tensor], sizes: dict[str, int]) -> Graph | None:
        """The graph of a shape; None, and no more tries, where the model does something that cannot be recorded."""
        import torch

        if len(self.graphs) >= MOST:
            return None
        if not self.gradients:
            self.gradients = [torch.zeros_like(weights) for weights in self.weights]
            self.pool = torch.cuda.graph_pool_handle()
        try:
            self.graphs[key] = Graph(self, inputs, sizes)
        except (RuntimeError, ValueError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            log(f"CUDA graphs: off, the steps of this model cannot be recorded ({type(error).__name__}: {reason})")
            self.stop()
        return self.graphs.get(key)

    def stop(self) -> None:
        """Compute all further batches without recordings."""
        _upstream.set_forward(self.model, self.forward)
        self.graphs.clear()
        self.gradients.clear()


class Graph:
    """Forward and backward of one shape of batch.

    Args:
        owner: The forward that is recorded.
        inputs: A batch of the shape.
        sizes: Padded length of each input.
    """

    def __init__(self, owner: ReplayedForward, inputs: dict[str, torch.Tensor], sizes: dict[str, int]) -> None:
        import torch

        self.owner, self.padding = owner, owner.padding
        self.inputs = {name: self._padded(name, values, sizes) for name, values in inputs.items()}
        if "attention_mask" in self.inputs:
            # Without any padding the model itself takes another kernel, with other random numbers, and the recording
            # could not be checked.
            self.inputs["attention_mask"][0, ..., 0 if self.padding.is_left else -1] = 0
        random = torch.cuda.get_rng_state()
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                torch.cuda.set_rng_state(random)
                self._compute()
                expected = self._differentiate([torch.ones_like(output) for output in self.outputs])
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.set_rng_state(random)
        self._capture()
        self._check(expected, random)
        torch.cuda.set_rng_state(random)

    def _padded(self, name: str, values: torch.Tensor, sizes: dict[str, int]) -> torch.Tensor:
        if name not in sizes or sizes[name] == values.shape[-1]:
            return values.clone()
        padded = values.new_full((*values.shape[:-1], sizes[name]), self.padding.fillers[name])
        padded[self.padding.part(name, values.shape[-1])] = values
        return padded

    # --- recording -----------------------------------------------------------------------------------------------

    def _compute(self) -> None:
        """The outputs that a loss reads; the others, such as a cache, are left out."""
        outputs = self.owner.forward(**self.inputs)
        self.kind = type(outputs)
        self.names = [name for name in outputs if name.endswith("logits")]
        self.outputs = [outputs[name] for name in self.names]

    def _differentiate(self, gradients: Sequence[torch.Tensor]) -> dict[int, torch.Tensor]:
        """Gradients of the weights that the outputs depend on, by their index."""
        import torch

        found = torch.autograd.grad(self.outputs, self.owner.weights, gradients, allow_unused=True)
        return {index: gradient for index, gradient in enumerate(found) if gradient is not None}

    def _capture(self) -> None:
        import torch

        record = functools.partial(torch.cuda.graph, pool=self.owner.pool, capture_error_mode="thread_local")
        self.forward_graph, self.backward_graph = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        with record(self.forward_graph):
            self._compute()
        self.given = [torch.zeros_like(output) for output in self.outputs]
        with record(self.backward_graph):
            found = self._differentiate(self.given)
            self.used = list(found)
            # All shapes share the gradients: those of each would take as much memory as the model.
            _upstream.copy_all(self._gradients(), list(found.values()))
        self.outputs = [output.detach() for output in self.outputs]

    def _gradients(self) -> list[torch.Tensor]:
        return [self.owner.gradients[index] for index in self.used]

    def _check(self, expected: dict[int, torch.Tensor], random: torch.Tensor) -> None:
        """Refuse a recording that does not compute what the model computes.

        Raises:
            ValueError: The gradients are others.
        """
        import torch
        from torch.nn.utils import get_total_norm

        torch.cuda.set_rng_state(random)
        held = [gradient.clone() for gradient in self._gradients()]  # of a step that accumulates, they may be in use
        self.forward_graph.replay()
        _upstream.copy_all(self.given, [torch.ones_like(output) for output in self.outputs])
        self.backward_graph.replay()
        known = [expected[index] for index in self.used]
        differences = [gradient - other for gradient, other in zip(self._gradients(), known, strict=True)]
        size, apart = float(get_total_norm(known)), float(get_total_norm(differences))
        _upstream.copy_all(self._gradients(), held)
        if not apart <= AGREEMENT * size:
            raise ValueError(f"replayed gradients differ from computed ones by {apart / max(size, 1e-12):.1%}")

    # --- replaying -----------------------------------------------------------------------------------------------

    def __call__(self, inputs: dict[str, torch.Tensor]) -> Any:
        """The outputs for a batch of this shape."""
        outputs = _replay(self, inputs)
        shown = {}
        for name, output in zip(self.names, outputs, strict=True):
            shown[name] = self._without_padding(name, output, inputs)
        return self.kind(**shown)

    def _without_padding(self, name: str, output: torch.Tensor, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """The part of an output for the tokens of the batch, where it is one for each token."""
        source = "decoder_input_ids" if "decoder_input_ids" in inputs else "input_ids"
        is_of_tokens = output.dim() == 3 or name in ("start_logits", "end_logits")
        if not is_of_tokens or source not in inputs:
            return output
        length = inputs[source].shape[-1]
        if length == self.inputs[source].shape[-1]:
            return output
        _, tokens = self.padding.part(source, length)
        return output[:, tokens]

    def fill(self, inputs: dict[str, torch.Tensor]) -> None:
        """Copy a batch to where the recorded kernels read it."""
        for name, values in inputs.items():
            held = self.inputs[name]
            if values.dim() and held.shape[-1] != values.shape[-1]:
                held.fill_(self.padding.fillers[name])
                held[self.padding.part(name, values.shape[-1])] = values
            else:
                held.copy_(values, non_blocking=True)

    def add_gradients(self) -> None:
        """Replay the backward, and add its gradients to those that the weights have."""
        weights = [self.owner.weights[index] for index in self.used]
        gradients = self._gradients()
        before: list[tuple[Any, Any]] = []
        for weight, gradient in zip(weights, gradients, strict=True):
            if weight.grad is not None:
                # The last part of the batch may have left its gradients where this one writes.
                is_here = weight.grad.data_ptr() == gradient.data_ptr()
                before.append((weight, weight.grad.clone() if is_here else weight.grad))
        self.backward_graph.replay()
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient
        for weight, gradient in before:
            weight.grad += gradient


def _replay(graph: Graph, inputs: dict[str, torch.Tensor]) -> Sequence[torch.Tensor]:
    # A weight among the arguments makes the outputs part of what is differentiated.
    outputs: Sequence[torch.Tensor] = _function().apply(graph, inputs, graph.owner.weights[0])
    return outputs


@functools.cache
def _function() -> Any:
    import torch

    class Replay(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, graph: Graph, inputs: dict[str, torch.Tensor], weight: torch.Tensor) -> Any:
            context.graph = graph
            graph.fill(inputs)
            graph.forward_graph.replay()
            return tuple(output.detach() for output in graph.outputs)

        @staticmethod
        def backward(context: Any, *gradients: torch.Tensor) -> Any:
            for held, gradient in zip(context.graph.given, gradients, strict=True):
                held.copy_(gradient)
            context.graph.add_gradients()
            return None, None, None

    return Replay
