"""Training by CUDA graphs, where the device and the settings allow it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from .. import _upstream
from ..models.cuda_graphs import Padding, ReplayedForward
from ..models.hardware import count_parameters
from ..recipe import Recipe

if TYPE_CHECKING:
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
            self.forward = self.model.forward
            _upstream.set_forward(self.model, replayed_forward(self.model, Padding.of(recipe, self.model)))

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            _upstream.set_forward(self.model, self.forward)

    return [RecordBatches()]


def replayed_forward(model: Any, padding: Padding) -> Any:
    """The forward of a model, which is replayed in training alone."""
    import torch

    forward = model.forward
    replayed = ReplayedForward(forward, padding, [weight for weight in model.parameters() if weight.requires_grad])

    @functools.wraps(forward)
    def replay(*arguments: Any, **inputs: Any) -> Any:
        if arguments or not (model.training and torch.is_grad_enabled()):
            return forward(*arguments, **inputs)
        return replayed(inputs)

    vars(replay)["stop"] = replayed.stop
    return replay


def stop_replaying(model: Any) -> bool:
    """Free the memory of recordings, and compute from now on; whether there was anything to free."""
    stop = getattr(model.forward, "stop", None)
    return stop is not None and bool(stop())


def _can_be_recorded(trainer: Trainer) -> bool:
    """Whether nothing in a step depends on values on the GPU, or needs hooks of the weights."""
    args, model = trainer.args, trainer.model
    drops_layers = any("layerdrop" in name and value for name, value in model.config.to_dict().items())
    return (
        args.device.type == "cuda"
        and args.world_size == 1
        and not (args.torch_compile or args.activation_checkpointing)
        and not str(args.optim.value).endswith(("layerwise", "lomo"))
        and not _upstream.uses_flash_attention(model)
        and not drops_layers
        and getattr(model, "quantization_method", None) is None
        and count_parameters(model)["total"] <= LARGE
    )
