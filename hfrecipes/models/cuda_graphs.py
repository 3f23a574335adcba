"""CUDA graphs: the kernels of a batch are recorded once for its shape, and then started all at once.

A fast GPU computes a batch of a small model in less time than Python takes to start its kernels one by one.
"""

from __future__ import annotations

import copy
import functools
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import _upstream
from ..log import log
from .precision import autocast

if TYPE_CHECKING:
    import torch

    from ..recipe import Recipe

MOST = 64  # shapes that are recorded, each of which takes part of a second and some memory
WARM_UPS = 2  # passes before a recording, in which libraries choose their kernels
AGREEMENT = 0.05  # largest difference between what is replayed and what is computed, as a share of its norm
Inputs = dict[str, "torch.Tensor"]


# --- padding -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Padding:
    """How batches are padded to few different lengths, so that few shapes are recorded."""

    fillers: dict[str, int]
    """Value of a padded token in each input."""
    is_left: bool
    """Whether padding is on the left."""
    is_fixed: bool
    """Whether all batches have one length already."""
    limit: float = float("inf")
    """Number of tokens that the model has positions for."""

    @classmethod
    def of(cls, recipe: Recipe, model: Any) -> Padding:
        """The padding of the tokenizer of a task."""
        fillers = {"input_ids": recipe.tokenizer.pad_token_id, "attention_mask": 0, "token_type_ids": 0}
        # Texts to continue are padded on the right in training, whatever the tokenizer does in generation.
        is_left = recipe.tokenizer.padding_side == "left" and recipe.auto_model != "AutoModelForCausalLM"
        # Some models count positions from the padding token on, which takes up to two of them.
        limit = (getattr(model.config, "max_position_embeddings", None) or float("inf")) - 2
        return cls(fillers, is_left, recipe.pads_to_max_length, limit)

    def size(self, length: int) -> int:
        """Length that a batch of a length is padded to: at most a quarter more, or 8 tokens."""
        step = max(8, 1 << max(0, (length - 1).bit_length() - 3))
        size = -(-length // step) * step
        return size if size <= self.limit else length

    def sizes(self, inputs: Inputs) -> dict[str, int]:
        """Padded length of each input; those of unknown meaning keep all batches as they are."""
        lengths = {name: values.shape[-1] for name, values in inputs.items() if values.dim()}
        if self.is_fixed or not self.fillers.keys() >= lengths.keys():
            return lengths
        return {name: self.size(length) for name, length in lengths.items()}

    def part(self, length: int) -> tuple[Any, slice]:
        """Where the tokens of a batch are in a padded input or output."""
        return ..., slice(-length, None) if self.is_left else slice(0, length)

    def room(self, inputs: Inputs) -> Inputs:
        """Tensors that hold a batch in its padded length."""
        sizes, held = self.sizes(inputs), {}
        for name, values in inputs.items():
            shape = (*values.shape[:-1], sizes[name]) if name in sizes else values.shape
            held[name] = values.new_empty(shape)
        return held

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
        self.inputs = padding.room(inputs)
        self.fill(inputs)
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
        """The outputs for a batch of this shape."""
        self.fill(inputs)
        self.graph.replay()
        return self.shown([output.clone() for output in self.outputs], inputs)

    def fill(self, inputs: Inputs) -> None:
        """Copy a batch to where the recorded kernels read it."""
        for name, values in inputs.items():
            held = self.inputs[name]
            if values.dim() and held.shape[-1] != values.shape[-1]:
                held.fill_(self.padding.fillers[name])
                held[self.padding.part(values.shape[-1])] = values
            else:
                held.copy_(values, non_blocking=True)

    def shown(self, outputs: Sequence[torch.Tensor], inputs: Inputs) -> Any:
        """Outputs as the model gives them, without those of padded tokens."""
        shown = {}
        for name, output in zip(self.names, outputs, strict=True):
            shown[name] = self._without_padding(name, output, inputs)
        return self.kind(**shown)

    def _without_padding(self, name: str, output: torch.Tensor, inputs: Inputs) -> torch.Tensor:
        length = inputs["input_ids"].shape[-1]
        is_of_tokens = output.dim() == 3 or name in ("start_logits", "end_logits")
        if not is_of_tokens or length == self.inputs["input_ids"].shape[-1]:
            return output
        return output[:, self.padding.part(length)[1]]


def compare(replayed: Sequence[torch.Tensor], computed: Sequence[torch.Tensor]) -> None:
    """Refuse a recording that does not compute what the model computes.

    Raises:
        ValueError: It does not.
    """
    size = apart = 0.0
    # One after the other: the differences of all gradients would take as much memory as the weights.
    for result, expected in zip(replayed, computed, strict=True):
        size += float(expected.float().square().sum())
        apart += float((result.float() - expected.float()).square().sum())
    if not apart <= AGREEMENT**2 * size:
        share = math.sqrt(apart / max(size, 1e-24))
        raise ValueError(f"what is replayed differs by {share:.1%} from what the model computes")


# --- all shapes --------------------------------------------------------------------------------------------------


class ReplayedForward:
    """Takes the place of the forward of a model, and replays the shapes that are recorded.

    A copy of the model gets its forward back, since recordings belong to the weights that they were made with.

    Args:
        forward: The forward of a model on a GPU.
        padding: How its batches are padded.
        record: Makes the recording of a batch.
        is_meant: Whether a batch is one that is replayed.
        from_time: How often a shape is seen until it is recorded.
    """

    def __init__(
        self,
        forward: Callable[..., Any],
        padding: Padding,
        record: Callable[[Inputs], Graph],
        is_meant: Callable[[Mapping[str, Any]], bool],
        from_time: int = 1,
    ) -> None:
        self.forward, self.padding, self.record = forward, padding, record
        self.is_meant, self.from_time = is_meant, from_time
        self.graphs: dict[Any, Graph] = {}
        self.seen: dict[Any, int] = {}
        self.is_on = True
        # A recording reads and writes the same memory for all batches of a shape.
        self.lock = threading.Lock()
        functools.update_wrapper(self, forward)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(self.forward, memo)

    def __call__(self, *arguments: Any, **inputs: Any) -> Any:
        """The outputs of the model."""
        if not self.is_on or arguments or not self.is_meant(inputs) or not _can_be_padded(inputs):
            return self.forward(*arguments, **inputs)
        with self.lock:
            graph = self._graph_of(inputs)
            if graph is not None:
                return graph(inputs)
        return self.forward(**inputs)

    def _graph_of(self, inputs: Inputs) -> Graph | None:
        """The recording for a batch, made now if its shape was seen often enough."""
        key = self.padding.key(inputs)
        if key not in self.graphs:
            self.seen[key] = self.seen.get(key, 0) + 1
            if self.seen[key] < self.from_time or len(self.graphs) >= MOST:
                return None
            self._add(key, inputs)
        return self.graphs.get(key)

    def _add(self, key: Any, inputs: Inputs) -> None:
        """Record a shape; if that cannot be done, nothing more is recorded."""
        try:
            self.graphs[key] = self.record(inputs)
        except (RuntimeError, ValueError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            log(f"CUDA graphs: off, batches of this model cannot be recorded ({type(error).__name__}: {reason})")
            self.stop()

    def stop(self) -> bool:
        """Compute all further batches without recordings, and free the memory of those that there are.

        Returns:
            Whether there were any.
        """
        were_any, self.is_on = bool(self.graphs), False
        self.graphs.clear()
        return were_any


def _can_be_padded(inputs: Mapping[str, Any]) -> bool:
    """Whether a batch is of tensors alone, with a mask for its padding.

    Packed rows have none, and nearly each batch of them, or of texts to write, would be of a shape of its own.
    """
    import torch

    is_plain = "attention_mask" in inputs and "decoder_input_ids" not in inputs
    return is_plain and all(isinstance(values, torch.Tensor) for values in inputs.values())


def can_be_recorded(model: Any) -> bool:
    """Whether a model is on a GPU, and its layers do nothing that is known not to be recordable."""
    is_quantized = getattr(model, "quantization_method", None) is not None
    return model.device.type == "cuda" and not is_quantized and not _upstream.uses_flash_attention(model)


def stop_replaying(model: Any) -> bool:
    """Free the memory of recordings, and compute from now on; whether there was anything to free."""
    forward = model.forward
    return isinstance(forward, ReplayedForward) and forward.stop()


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

    if not can_be_recorded(model):
        return model
    padding, pool = Padding.of(recipe, model), torch.cuda.graph_pool_handle()
    forward, first = model.forward, next(model.parameters())
    address = first.data_ptr()

    def alone(**inputs: Any) -> Any:
        # Weights that are converted outside of a recording would not be there when it is replayed.
        with autocast(precision, model.device, keeps_weights=False):
            return forward(**inputs)

    def is_meant(inputs: Mapping[str, Any]) -> bool:
        is_changed = first.data_ptr() != address or model.training  # moved, converted, or trained
        ids = inputs.get("input_ids")
        return torch.is_inference_mode_enabled() and not is_changed and ids is not None and len(ids) == 1

    def record(inputs: Inputs) -> Graph:
        return Graph(alone, inputs, padding, pool)

    _upstream.set_forward(model, ReplayedForward(forward, padding, record, is_meant, from_time=3))
    return model
