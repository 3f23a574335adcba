"""A model whose linear layers compute with 8-bit integers, which is faster on a CPU and less exact."""

from __future__ import annotations

import warnings
from typing import Any

from ..errors import ModelError


def in_int8(model: Any) -> int:
    """Replace the linear layers of a model on a CPU with ones that quantize their inputs on the fly.

    Returns:
        Number of the layers.

    Raises:
        ModelError: The model is on a GPU, or has no linear layers of PyTorch.
    """
    import torch

    if model.device.type != "cpu":
        raise ModelError(
            f"int8: found the model on {model.device.type}, and 8-bit layers compute on CPUs alone: leave it out here"
        )
    with warnings.catch_warnings():
        # PyTorch announces that these functions will move to a package of their own.
        warnings.simplefilter("ignore")
        from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic

        quantize_dynamic(model, {torch.nn.Linear: per_channel_dynamic_qconfig}, inplace=True)  # type: ignore[no-untyped-call]
    layers = sum(map(_is_int8, model.modules()))
    if not layers:
        raise ModelError(f"int8: {type(model).__name__} has no linear layers of PyTorch: leave it out")
    return layers


def is_int8(model: Any) -> bool:
    """Whether `in_int8` changed the model."""
    return any(map(_is_int8, model.modules()))


def _is_int8(module: Any) -> bool:
    # By name, so that nothing is imported where no layer was changed.
    kind = type(module)
    return kind.__name__ == "Linear" and kind.__module__.startswith("torch.ao.nn.quantized")
