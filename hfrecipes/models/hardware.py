"""What suits this machine: precision, number of GPUs, and how much its arithmetic rounds."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import _upstream
from ..log import log

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, TrainingArguments


def count_parameters(model: torch.nn.Module) -> dict[str, float]:
    """Number of all weights as `total`, number of trained ones as `trained`, and their `share`."""
    total = trained = 0
    for weights in model.parameters():
        number = _upstream.number_of_weights(weights)
        total += number
        if weights.requires_grad:
            trained += number
    return {"total": total, "trained": trained, "share": float(f"{trained / total:.3g}")}


def rounding_tolerance(model: PreTrainedModel) -> float:
    """How much rounding may change an output in the precision that the model computes in now.

    Returns:
        A share of the largest output.
    """
    import torch

    device, precision = model.device.type, model.dtype
    if torch.is_autocast_enabled(device):
        precision = torch.get_autocast_dtype(device)
    elif device == "cuda" and torch.backends.cuda.matmul.allow_tf32:
        precision = torch.float16  # TF32 keeps as many bits of a number as float16
    # Far above what was measured between two kernels or batch shapes, far below what wrong weights change.
    return {torch.float16: 2e-2, torch.bfloat16: 6e-2}.get(precision, 1e-3)


def machine_arguments(training: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """TrainingArguments that suit this machine.

    Args:
        training: TrainingArguments that the user set; they win.

    Returns:
        The arguments, precision first, and a sentence about the choice, empty where the user made it.
    """
    import torch

    is_set_by_user = "bf16" in training or "fp16" in training
    if torch.cuda.is_available() and not training.get("use_cpu"):
        # Batches are copied while the GPU computes.
        copied = {"accelerator_config": {"non_blocking": True}} if training.get("dataloader_pin_memory", True) else {}
        if is_set_by_user:
            return copied, ""
        # GPUs before Ampere emulate bf16, slowly.
        precision = "bf16" if torch.cuda.get_device_capability() >= (8, 0) else "fp16"
        return {precision: True, **copied}, f"precision: {precision} on the GPU (weights stay float32)"
    # Pinned memory only speeds up the copy to a CUDA device.
    arguments: dict[str, Any] = {"dataloader_pin_memory": False}
    if torch.backends.mps.is_available() and not training.get("use_cpu"):
        return arguments, "precision: float32 on the Apple GPU"
    arguments["use_cpu"] = True  # without it, each of several processes on CPUs takes itself for the only one
    if is_set_by_user:
        return arguments, ""
    if _upstream.cpu_has_bf16():
        arguments["bf16"] = True
        return arguments, "precision: bf16 on the CPU, which has it in hardware (weights stay float32)"
    return arguments, "precision: float32 on the CPU"


def place(model: Any) -> Any:
    """Move a loaded model to the device that a Trainer would choose here; of several processes, each joins the others.

    Returns:
        The same model.
    """
    from accelerate import PartialState

    machine, _ = machine_arguments({})
    device = PartialState(cpu=machine.get("use_cpu", False)).device
    # Weights that bitsandbytes packed are where they were loaded to.
    if getattr(model, "quantization_method", None) != "bitsandbytes":
        model.to(device)
    return model


def has_fp16(training: Mapping[str, Any]) -> bool:
    """Whether the device that is trained on has fp16 arithmetic, as GPUs do."""
    import torch

    has_gpu = torch.cuda.is_available() or torch.xpu.is_available() or torch.backends.mps.is_available()
    return has_gpu and not training.get("use_cpu")


def limit_to_one_gpu(arguments: TrainingArguments) -> TrainingArguments:
    """The arguments, changed to use one GPU where several are visible.

    With several, the Trainer splits each batch over all of them in one process, slower than one process for each.
    """
    if arguments.n_gpu > 1:
        log(f"{arguments.n_gpu} GPUs are visible and one is used; torchrun --nproc_per_node {arguments.n_gpu} uses all")
        _upstream.use_one_gpu(arguments)
    return arguments


def describe_machine() -> str:
    """Name of the GPU or CPU that the run uses, and how many there are."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, {torch.cuda.device_count()} visible"
    return f"{_cpu_name()}, {os.cpu_count()} cores"


def _cpu_name() -> str:
    """Name of the CPU; outside Linux only its architecture is known."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
