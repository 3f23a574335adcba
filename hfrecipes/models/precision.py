"""The precision that a model computes in: one decision for training, evaluation and prediction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from .. import _upstream
from .hardware import machine_arguments

if TYPE_CHECKING:
    import torch


def mixed_precision(training: Mapping[str, Any]) -> str | None:
    """Mixed precision of a model: what the user decided as far as this machine can do it, else what suits the machine.

    Args:
        training: `TrainingArguments` keywords of the run.

    Returns:
        `bf16`, `fp16`, or None for the precision of the weights.
    """
    import torch

    is_cuda = torch.cuda.is_available() and not training.get("use_cpu")
    if training.get("fp16") and is_cuda:
        return "fp16"
    if training.get("bf16") and (not is_cuda or torch.cuda.get_device_capability() >= (8, 0)):
        return "bf16"
    if training.get("bf16") is False or training.get("fp16") is False:
        return None
    arguments, _ = machine_arguments({name: value for name, value in training.items() if name == "use_cpu"})
    for kind in ("bf16", "fp16"):
        if arguments.get(kind):
            return kind
    return None


def autocast(kind: str | None, device: torch.device, *, keeps_weights: bool = True) -> AbstractContextManager[Any]:
    """Context of mixed precision, as accelerate enters it in training; none where `kind` is None.

    Args:
        kind: `bf16` or `fp16`.
        device: Device of the model.
        keeps_weights: Whether weights that are converted are kept until the end of the context.
    """
    import torch

    if kind is None:
        return nullcontext()
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[kind]
    return torch.autocast(device.type, dtype=dtype, cache_enabled=keeps_weights)


@contextmanager
def writing(kind: str | None, model: Any) -> Iterator[None]:
    """Context in which a model generates texts: mixed precision converts each weight once, and not for each token.

    Autocast keeps what it has converted until the end of the context: not in inference mode, and only of weights that
    could be trained, so that frozen ones count as such here.

    Args:
        kind: `bf16` or `fp16`, None for the precision of the weights.
        model: The model, on its device.
    """
    import torch

    frozen = []
    if kind is not None:
        frozen = [
            weights for weights in model.parameters() if weights.is_floating_point() and not weights.requires_grad
        ]
    with torch.no_grad(), autocast(kind, model.device):
        try:
            for weights in frozen:
                weights.requires_grad_(True)
            yield
        finally:
            for weights in frozen:
                weights.requires_grad_(False)


def for_checks(model: Any, kind: str | None) -> AbstractContextManager[Any]:
    """Context to compare outputs of a model in: float32, except for flash attention, which needs half precision."""
    return autocast(kind, model.device) if _upstream.uses_flash_attention(model) else nullcontext()
