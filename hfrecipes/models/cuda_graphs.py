"""CUDA graphs: the kernels of a batch are recorded once for its shape, and then started all at once.

A fast GPU computes a batch of a small model in less time than Python takes to start its kernels one by one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import _upstream
from ..log import log
from .precision import autocast

if TYPE_CHECKING:
    import torch

    from ..recipe import Recipe

MOST = 40  # shapes that are recorded, each of which takes part of a second and some memory
WARM_UPS = 2  # passes before a recording, in which libraries choose their kernels
AGREEMENT = 0.05  # largest difference between what is replayed and what is computed, as a share of its norm
_OF_ENCODER = ("input_ids", "attention_mask", "token_type_ids")
_OF_DECODER = ("decoder_input_ids", "decoder_attention_mask")
Inputs = dict[str, "torch.Tensor"]


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
    limit: float = float("inf")
    """Number of tokens that the model has positions for."""

    @classmethod
    def of(cls, recipe: Recipe, model: Any) -> Padding:
        """The padding of the tokenizer of a task."""
        token = recipe.tokenizer.pad_token_id
        fillers = dict.fromkeys((*_OF_ENCODER, *_OF_DECODER), 0)
        fillers |= {"input_ids": token, "decoder_input_ids": token}
        # Some models count positions from the padding token on, which takes up to two of them.
        limit = (getattr(model.config, "max_position_embeddings", None) or float("inf")) - 2
        return cls(fillers, recipe.tokenizer.padding_side == "left", recipe.pads_to_max_length, limit)

    def size(self, length: int) -> int:
        """Length that a batch of a length is padded to: at most a quarter more, or 8 tokens."""
        step = max(8, 1 << max(0, (length - 1).bit_length() - 3))
        size = -(-length // step) * step
        return size if size <= self.limit else length

    def sizes(self, inputs: Inputs) -> dict[str, int]:
        """Padded length of each input; those of unknown meaning keep all batches as they are."""
        lengths = {name: values.shape[-1] for name, values in inputs.items() if values.dim()}
        if self.is_fixed or "attention_mask" not in inputs or not self.fillers.keys() >= lengths.keys():
            return lengths
        return {name: self.size(length) for name, length in lengths.items()}

    def part(self, name: str, length: int) -> tuple[Any, slice]:
        """Where the tokens of a batch are in a padded input or output."""
        if self.is_left and name not in _OF_DECODER:
            return ..., slice(-length, None)
        return ..., slice(0, length)

    def padded(self, inputs: Inputs) -> Inputs:
        """A copy of a batch in its padded length."""
        copies = {}
        for name, size in {**dict.fromkeys(inputs, 0), **self.sizes(inputs)}.items():
            values = inputs[name]
            if not values.dim() or size == values.shape[-1]:
                copies[name] = values.clone()
                continue
            copies[name] = values.new_full((*values.shape[:-1], size), self.fillers[name])
            copies[name][self.part(name, values.shape[-1])] = values
        return copies

    def key(self, inputs: Inputs) -> tuple[Any, ...]:
        """What batches that share a recording have in common."""
        sizes = self.sizes(inputs)
        return tuple((name, values.shape[:-1], sizes.get(name), values.dtype) for name, values in inputs.items())


# --- one shape ---------------------------------------------------------------------------------------------------


class Graph:
    """The forward of one shape of batch.

    Args:
        forward: The forward of the model.
        inputs: A batch of the shape.
        padding: How batches are padded.
        pool: Memory that recordings share, since only one of them is replayed at a time.

    Raises:
        RuntimeError: The model does something that cannot be recorded.
        ValueError: What is replayed is not what the model computes.
    """

    def __init__(self, forward: Callable[..., Any], inputs: Inputs, padding: Padding, pool: Any) -> None:
        import torch

        self.forward, self.padding, self.pool = forward, padding, pool
        self.inputs = padding.padded(inputs)
        if "attention_mask" in self.inputs:
            # Without any padding the model itself takes another kernel, with other random numbers, and the recording
            # could not be checked.
            self.inputs["attention_mask"][0, ..., 0 if padding.is_left else -1] = 0
        random = torch.cuda.get_rng_state()
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        expected: dict[int, torch.Tensor] = {}
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                expected.clear()
                torch.cuda.set_rng_state(random)
                expected = self._computed()
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.set_rng_state(random)
        self.capture()
        torch.cuda.set_rng_state(random)
        self._check(expected)
        torch.cuda.set_rng_state(random)

    # --- recording -----------------------------------------------------------------------------------------------

    def _compute(self) -> None:
        """The outputs that are read; the others, such as a cache, are left out."""
        outputs = self.forward(**self.inputs)
        self.kind = type(outputs)
        self.names = [name for name in outputs if name.endswith("logits")]
        self.outputs = [outputs[name] for name in self.names]

    def _computed(self) -> dict[int, torch.Tensor]:
        """What the model computes without a recording, to compare it."""
        self._compute()
        return {index: output.detach().clone() for index, output in enumerate(self.outputs)}

    def _record(self, graph: Any) -> Any:
        """Context in which kernels are recorded and not run."""
        import torch

        return torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local")

    def capture(self) -> None:
        """Record the kernels."""
        import torch

        self.graph = torch.cuda.CUDAGraph()
        with self._record(self.graph):
            self._compute()

    def _check(self, expected: dict[int, torch.Tensor]) -> None:
        self.graph.replay()
        compare(self.outputs, list(expected.values()))

    # --- replaying -----------------------------------------------------------------------------------------------

    def __call__(self, inputs: Inputs) -> Any:
        """The outputs for a batch of this shape; those of the next one are written over them."""
        self.fill(inputs)
        self.graph.replay()
        return self.shown(self.outputs, inputs)

    def fill(self, inputs: Inputs) -> None:
        """Copy a batch to where the recorded kernels read it."""
        for name, values in inputs.items():
            held = self.inputs[name]
            if values.dim() and held.shape[-1] != values.shape[-1]:
                held.fill_(self.padding.fillers[name])
                held[self.padding.part(name, values.shape[-1])] = values
            else:
                held.copy_(values, non_blocking=True)

    def shown(self, outputs: Sequence[torch.Tensor], inputs: Inputs) -> Any:
        """Outputs as the model gives them, without those of padded tokens."""
        shown = {}
        for name, output in zip(self.names, outputs, strict=True):
            shown[name] = self._without_padding(name, output, inputs)
        return self.kind(**shown)

    def _without_padding(self, name: str, output: torch.Tensor, inputs: Inputs) -> torch.Tensor:
        source = "decoder_input_ids" if "decoder_input_ids" in inputs else "input_ids"
        is_of_tokens = output.dim() == 3 or name in ("start_logits", "end_logits")
        if not is_of_tokens or source not in inputs:
            return output
        length = inputs[source].shape[-1]
        if length == self.inputs[source].shape[-1]:
            return output
        _, tokens = self.padding.part(source, length)
        return output[:, tokens]


def compare(replayed: Sequence[torch.Tensor], computed: Sequence[torch.Tensor]) -> None:
    """Refuse a recording that does not compute what the model computes.

    Raises:
        ValueError: It does not.
    """
    size = apart = 0.0
    # One after the other: the differences of all gradients would take as much memory as the weights.
    for one, other in zip(replayed, computed, strict=True):
        size += float(other.float().square().sum())
        apart += float((one.float() - other.float()).square().sum())
    if not apart <= AGREEMENT**2 * size:
        share = math.sqrt(apart / max(size, 1e-24))
        raise ValueError(f"what is replayed differs by {share:.1%} from what the model computes")


# --- forward and backward ----------------------------------------------------------------------------------------


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

        found = torch.autograd.grad(self.outputs, self.weights, gradients, allow_unused=True)
        return {index: gradient for index, gradient in enumerate(found) if gradient is not None}

    def capture(self) -> None:
        """Record the kernels of forward and backward."""
        import torch

        super().capture()
        self.given = [torch.zeros_like(output) for output in self.outputs]
        self.backward = torch.cuda.CUDAGraph()
        with self._record(self.backward):
            found = self._differentiated(self.given)
            self.used = list(found)
            _upstream.copy_all(self._written(), list(found.values()))
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


# --- all shapes --------------------------------------------------------------------------------------------------


class ReplayedForward:
    """A forward that is replayed for shapes that are recorded, and records them.

    Args:
        forward: The forward of a model on a GPU.
        padding: How its batches are padded.
        weights: Weights that are trained; None where nothing is.
        from_time: How often a shape is seen until it is recorded.
    """

    def __init__(
        self, forward: Callable[..., Any], padding: Padding, weights: list[Any] | None = None, from_time: int = 1
    ) -> None:
        import torch

        self.forward, self.padding, self.from_time = forward, padding, from_time
        self.graphs: dict[Any, Graph] = {}
        self.seen: dict[Any, int] = {}
        self.is_on, self.pool = True, torch.cuda.graph_pool_handle()
        self.learning: Mapping[str, Any] = {}
        if weights is not None:
            self.learning = {"weights": weights, "gradients": [torch.zeros_like(weight) for weight in weights]}

    def __call__(self, inputs: Inputs) -> Any:
        """The outputs of the model."""
        import torch

        if not self.is_on or not all(isinstance(values, torch.Tensor) for values in inputs.values()):
            return self.forward(**inputs)
        key = self.padding.key(inputs)
        if key not in self.graphs:
            self.seen[key] = self.seen.get(key, 0) + 1
            if self.seen[key] < self.from_time or len(self.graphs) >= MOST or not self._record(key, inputs):
                return self.forward(**inputs)
        return self.graphs[key](inputs)

    def _record(self, key: Any, inputs: Inputs) -> bool:
        """Record a shape; whether that could be done: if not, nothing more is recorded."""
        kind = LearningGraph if self.learning else Graph
        try:
            self.graphs[key] = kind(self.forward, inputs, self.padding, self.pool, **self.learning)
        except (RuntimeError, ValueError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            log(f"CUDA graphs: off, batches of this model cannot be recorded ({type(error).__name__}: {reason})")
            self.stop()
        return self.is_on

    def stop(self) -> bool:
        """Compute all further batches without recordings, and free the memory of those that there are.

        Returns:
            Whether there were any.
        """
        were_any, self.is_on, self.learning = bool(self.graphs), False, {}
        self.graphs.clear()
        return were_any


def replay_rows(model: Any, recipe: Recipe, precision: str | None) -> Any:
    """Make a loaded model replay single rows, as a service is asked for them one after the other; others it computes.

    Args:
        model: The model, on its device; off a GPU it stays as it is.
        recipe: The task.
        precision: `bf16` or `fp16` for mixed precision, None for that of the weights.

    Returns:
        The model.
    """
    import torch

    is_quantized = getattr(model, "quantization_method", None) is not None
    if model.device.type != "cuda" or is_quantized or _upstream.uses_flash_attention(model):
        return model
    forward = model.forward

    def alone(**inputs: Any) -> Any:
        # Weights that are converted outside of a recording would not be there when it is replayed.
        with autocast(precision, model.device, keeps_weights=False):
            return forward(**inputs)

    replayed = ReplayedForward(alone, Padding.of(recipe, model), from_time=3)
    first = next(model.parameters())
    place = first.data_ptr()

    @functools.wraps(forward)
    def replay(*arguments: Any, **inputs: Any) -> Any:
        is_in_place = first.data_ptr() == place and not model.training  # neither moved nor trained
        if arguments or not (is_in_place and torch.is_inference_mode_enabled() and _is_one_row(inputs)):
            return forward(*arguments, **inputs)
        return replayed(inputs)

    _upstream.set_forward(model, replay)
    return model


def _is_one_row(inputs: Mapping[str, Any]) -> bool:
    ids = inputs.get("input_ids")
    return ids is not None and len(ids) == 1
