"""Heads of few outputs, as labels, tags, spans and numbers have: in float32, and for numbers of any size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from ..log import log

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel


def heads(model: PreTrainedModel) -> dict[str, nn.Module]:
    """What a model has beside its base, by name; nothing for a language model, whose head is its vocabulary.

    Some classes have no module called like their base, but the embeddings and stacks of layers themselves.
    """
    from torch import nn

    if model.get_output_embeddings() is not None:
        return {}
    kept = {}
    for name, module in model.named_children():
        is_body = name == model.base_model_prefix
        is_body |= any(isinstance(part, nn.Embedding | nn.ModuleList) for part in module.modules())
        if not is_body and any(True for _ in module.parameters()):
            kept[name] = module
    return kept


def compute_in_float32(model: PreTrainedModel) -> None:
    """Have the heads compute in float32, whatever the precision of the model below them.

    Half precision has 8 or 11 bits: scores of two labels would fall together, and a number near 3,000 would be a
    multiple of 16.
    """
    for head in heads(model).values():
        head.float()
        if not isinstance(head.forward, partial):  # it may have been done before
            head.forward = partial(_in_float32, head, head.forward)


def bring_body_to(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Bring all weights but those of the heads to a precision, as they were in a training in that precision."""
    kept = {id(weights) for head in heads(model).values() for weights in head.parameters()}
    for weights in model.parameters():
        if id(weights) not in kept and weights.is_floating_point():
            weights.data = weights.data.to(dtype)


def _in_float32(head: nn.Module, forward: Callable[..., Any], *inputs: Any, **keywords: Any) -> Any:
    import torch

    weights = next(head.parameters())
    if weights.dtype in (torch.float16, torch.bfloat16):  # as `bf16_full_eval` leaves them
        head.float()
    # Autocast would bring the layers of the head back to half precision.
    with torch.autocast(weights.device.type, enabled=False):
        return forward(*map(_upcast, inputs), **{name: _upcast(value) for name, value in keywords.items()})


def _upcast(value: Any) -> Any:
    import torch

    return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def outputs(model: Any, batch: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The logits that the model gives for a batch without dropout, in float32 on the CPU, by their name.

    Raises:
        ModelError: The model cannot read the batch.
    """
    import torch

    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            made = model(**{name: values.to(model.device) for name, values in batch.items() if name != "labels"})
    except (AssertionError, IndexError, RuntimeError, ValueError) as error:
        size = batch["input_ids"].shape[-1]
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"a model of type {model.config.model_type} cannot read rows of {size} tokens ({reason}): lower max_length"
        ) from error
    finally:
        model.train(was_training)
    names = ("logits", "start_logits", "end_logits")
    return {name: made[name].float().cpu() for name in names if made.get(name) is not None}


# --- numbers -----------------------------------------------------------------------------------------------------


def unit_of(deviation: float) -> float:
    """The power of two next to a standard deviation, 1 where all numbers are the same.

    Multiplying by a power of two changes no digit, so that a resumed run goes on with the very same weights.

    Example:
        >>> unit_of(50_235)
        65536.0
    """
    return 2.0 ** round(math.log2(deviation)) if deviation > 0 else 1.0


def learn_numbers(model: PreTrainedModel, mean: float, unit: float, fresh: list[str]) -> tuple[float, float]:
    """Have the head learn numbers in units of `unit`, and a new head start from their mean.

    The model itself gives the numbers as they are, in memory and wherever it is saved: what it computes is multiplied,
    and so are its weights when they are written; reading them divides.

    Args:
        model: With a head of one output.
        mean: Of the numbers to learn.
        unit: About their standard deviation, a power of two.
        fresh: Modules that the checkpoint did not bring.

    Returns:
        Mean and unit as they are used: where the head has no bias to start from the mean with, the unit is as large as
        the numbers themselves.
    """
    import torch

    layer, is_fresh = _last_layer(model, fresh)
    if layer is None:
        log("labels: this model has no last layer of its own, so numbers are learnt as they are")
        return 0.0, 1.0
    if layer.bias is None:
        mean, unit = 0.0, unit_of(math.hypot(mean, unit))
    with torch.no_grad():
        if not is_fresh:
            layer.weight /= unit
        if layer.bias is not None:
            layer.bias.copy_(torch.full_like(layer.bias, mean / unit) if is_fresh else layer.bias / unit)
    layer.forward = partial(_multiplied, layer.forward, unit)
    layer.register_state_dict_post_hook(partial(_write_plain, unit=unit))
    layer.register_load_state_dict_pre_hook(partial(_read_plain, unit=unit))
    start = f" around their mean {mean:g}" if is_fresh and layer.bias is not None else ""
    log(f"labels: learnt in units of {unit:g}{start}; the model gives them, and is saved to give them, as they are")
    return mean, unit


def in_units(loss: Callable[..., Any], unit: float) -> Callable[..., Any]:
    """A squared error in the unit that numbers are learnt in, about 1 for a model that knows nothing but their mean."""
    return partial(_of_units, loss, unit)


def _of_units(loss: Callable[..., Any], unit: float, outputs: Any, labels: Any, **keywords: Any) -> Any:
    # Divided first: the square of a very large or small number is none any more.
    return loss({"logits": outputs["logits"].float() / unit}, labels / unit, **keywords)


def scale_of(values: torch.Tensor, numbers: tuple[float, float] | None) -> float:
    """What a difference between outputs is to be compared with: the largest of them, or the unit of numbers.

    Args:
        values: Outputs.
        numbers: As `Recipe.number_scale`; numbers may lie far from 0, and close together.
    """
    return numbers[1] if numbers is not None else float(values.abs().max())


def _last_layer(model: PreTrainedModel, fresh: list[str]) -> tuple[Any, bool]:
    """The layer that gives the number, and whether it is new."""
    from torch import nn

    layer, is_fresh = None, False
    for name, head in heads(model).items():
        for module in head.modules():
            if isinstance(module, nn.Linear) and module.out_features == 1:
                layer, is_fresh = module, name in fresh
    return layer, is_fresh


def _multiplied(forward: Callable[..., torch.Tensor], unit: float, *inputs: Any) -> torch.Tensor:
    return forward(*inputs) * unit


def _write_plain(layer: nn.Module, state: dict[str, Any], prefix: str, about: Any, *, unit: float) -> None:
    for name in ("weight", "bias"):
        if f"{prefix}{name}" in state:
            state[f"{prefix}{name}"] = state[f"{prefix}{name}"] * unit


def _read_plain(layer: nn.Module, state: dict[str, Any], prefix: str, *others: Any, unit: float) -> None:
    for name in ("weight", "bias"):
        if f"{prefix}{name}" in state:
            state[f"{prefix}{name}"] = state[f"{prefix}{name}"] / unit
