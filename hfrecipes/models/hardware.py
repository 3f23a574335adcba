"""What this machine is good at: precision, one GPU, and how far its arithmetic rounds."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..log import log

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, TrainingArguments


def parameters(model: torch.nn.Module) -> dict[str, float]:
    """Number of all weights, of those that are trained, and their share."""
    sizes = [(_size(weights), weights.requires_grad) for weights in model.parameters()]
    total, trained = sum(size for size, _ in sizes), sum(size for size, trains in sizes if trains)
    return {"total": total, "trained": trained, "share": float(f"{trained / total:.3g}")}


def _size(weights: torch.nn.Parameter) -> int:
    """Number of weights, also where several share a byte."""
    packed = getattr(weights, "quant_state", None)
    return int(weights.numel() if packed is None else packed.shape.numel())


def rounding(model: PreTrainedModel) -> float:
    """Share of the largest output that rounding may change, in the precision that the model computes in now."""
    import torch

    kind, precision = model.device.type, model.dtype
    if torch.is_autocast_enabled(kind):
        precision = torch.get_autocast_dtype(kind)
    elif kind == "cuda" and torch.backends.cuda.matmul.allow_tf32:
        precision = torch.float16  # TF32 has as many digits
    return {torch.float16: 2e-2, torch.bfloat16: 6e-2}.get(precision, 1e-3)


def machine_arguments(training: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """TrainingArguments that this machine decides, precision first, and a sentence on what was chosen.

    Args:
        training: What the user decided.
    """
    import torch

    by_user = {"bf16", "fp16"} & set(training)
    if torch.cuda.is_available() and not training.get("use_cpu"):
        kind = "bf16" if torch.cuda.get_device_capability() >= (8, 0) else "fp16"
        return ({}, "") if by_user else ({kind: True}, f"precision: {kind} on the GPU (weights stay float32)")
    arguments: dict[str, Any] = {"dataloader_pin_memory": False}
    if torch.backends.mps.is_available() and not training.get("use_cpu"):
        return arguments, "precision: float32 on the Apple GPU"
    arguments["use_cpu"] = True  # without it, several processes on CPUs each take themselves for the only one
    if by_user:
        return arguments, ""
    if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported():
        return {
            **arguments,
            "bf16": True,
        }, "precision: bf16 on the CPU, which has it in hardware (weights stay float32)"
    return arguments, "precision: float32 on the CPU"


def one_gpu(arguments: TrainingArguments) -> TrainingArguments:
    """The arguments for one GPU: with several, the Trainer splits each batch over all, slower than processes would."""
    if arguments.n_gpu > 1:
        log(f"{arguments.n_gpu} GPUs are visible and one is used; torchrun --nproc_per_node {arguments.n_gpu} uses all")
        arguments._n_gpu = 1
    return arguments


def machine() -> str:
    """What the run is carried out on."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, {torch.cuda.device_count()} visible"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"
