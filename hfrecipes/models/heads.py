"""Heads with few outputs, for labels, tags, spans and numbers: computed in float32, and for numbers of any size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from .. import _upstream
from ..errors import ModelError
from ..log import log
from ..recipe import TEACHER

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel


_OUTPUTS = ("logits", "start_logits", "end_logits")  # names of what the heads of all tasks return


class UnreadableError(ModelError):
    """The model cannot read rows of this length."""


def heads(model: PreTrainedModel) -> dict[str, nn.Module]:
    """The modules on top of the model's body, by name; none for a language model, whose head is its vocabulary.

    Some classes have no module called like their base, but the embeddings and stacks of layers themselves.
    """
    from torch import nn

    if model.get_output_embeddings() is not None:
        return {}
    kept = {}
    for name, module in model.named_children():
        is_body = name == model.base_model_prefix
        is_body |= any(isinstance(part, nn.Embedding | nn.ModuleList) for part in module.modules())
        has_weights = next(module.parameters(), None) is not None
        if has_weights and not is_body:
            kept[name] = module
    return kept


def last_layer(model: PreTrainedModel, outputs: int) -> tuple[str, Any]:
    """Name of the head that returns the logits, and its linear layer; None where no layer has as many outputs."""
    from torch import nn

    known: tuple[str, Any] = ("", None)
    for name, head in heads(model).items():
        for module in head.modules():
            # The last one wins: layers are in the order in which they compute.
            if isinstance(module, nn.Linear) and module.out_features == outputs:
                known = (name, module)
    return known


def modules_below_base(model: PreTrainedModel) -> dict[str, nn.Module]:
    """All modules by their names without that of the base model, as `encoder.layer.0` for `bert.encoder.layer.0`."""
    prefix = f"{model.base_model_prefix}."
    return {name.removeprefix(prefix): module for name, module in model.named_modules()}


def compute_in_float32(model: PreTrainedModel) -> None:
    """Make the heads compute in float32, whatever the precision of the model below them.

    Half precision has 8 or 11 bits: the scores of two labels would become equal, and a number near 3,000 would be a
    multiple of 16.
    """
    for head in heads(model).values():
        head.float()
        # A partial is there already if this was called before; wrapping it again would only cost time.
        if not isinstance(head.forward, partial):
            _upstream.set_forward(head, partial(_in_float32, head, head.forward))


def convert_body(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Convert all weights except those of the heads to the precision that the model was trained in."""
    kept = set()
    for head in heads(model).values():
        for weights in head.parameters():
            kept.add(id(weights))
    for weights in model.parameters():
        if id(weights) not in kept and weights.is_floating_point():
            weights.data = weights.data.to(dtype)


def _in_float32(head: nn.Module, forward: Callable[..., Any], *inputs: Any, **keywords: Any) -> Any:
    """The forward of a head, computed in float32."""
    import torch

    upcast_inputs = [_upcast(value) for value in inputs]
    upcast_keywords = {name: _upcast(value) for name, value in keywords.items()}
    weights = next(head.parameters(), None)
    if weights is None:  # layers in 8 bits have none
        return forward(*upcast_inputs, **upcast_keywords)
    # `bf16_full_eval` and `fp16_full_eval` convert the whole model, head included.
    if weights.dtype in (torch.float16, torch.bfloat16):
        head.float()
    # Autocast would bring the layers of the head back to half precision.
    with torch.autocast(weights.device.type, enabled=False):
        return forward(*upcast_inputs, **upcast_keywords)


def _upcast(value: Any) -> Any:
    """The value in float32 if it is a tensor of floating point numbers; anything else as it is."""
    import torch

    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return value.float()
    return value


def compute_logits(model: Any, batch: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Logits of a batch by their names, without dropout, in float32 on the CPU.

    Raises:
        UnreadableError: The model cannot read the batch.
    """
    import torch

    was_training = model.training
    sparse = _sparse_attention(model)
    model.eval()
    inputs = {name: values.to(model.device) for name, values in batch.items() if name != "labels"}
    try:
        with torch.no_grad():
            made = model(**inputs)
    # An index beyond the table of positions is reported in one of these ways, depending on the architecture.
    except (AssertionError, IndexError, RuntimeError, ValueError) as error:
        size = batch["input_ids"].shape[-1]
        reason = " ".join(str(error).split())[:200]
        raise UnreadableError(
            f"a model of type {model.config.model_type} cannot read rows of {size} tokens ({reason}): lower max_length"
        ) from error
    finally:
        model.train(was_training)
        for module in sparse:
            module.set_attention_type("block_sparse")
    logits = {}
    for name in _OUTPUTS:
        if made.get(name) is not None:
            logits[name] = made[name].float().cpu()
    return logits


def _sparse_attention(model: Any) -> list[Any]:
    """The part of a model with sparse attention, which a short row would change to full attention for good."""
    for module in model.modules():
        if hasattr(module, "set_attention_type") and module.attention_type == "block_sparse":
            return [module]
    return []


# --- numbers -----------------------------------------------------------------------------------------------------


def unit_of(deviation: float) -> float:
    """The power of two nearest to a standard deviation; 1 where all numbers are equal.

    Multiplying by a power of two rounds nothing, so a resumed run continues with exactly the same weights.

    Example:
        >>> unit_of(50_235)
        65536.0
    """
    if deviation > 0:
        return 2.0 ** round(math.log2(deviation))
    return 1.0


def learn_numbers(model: PreTrainedModel, mean: float, unit: float, fresh: list[str]) -> tuple[float, float]:
    """Make the head learn numbers in units of `unit`, and a new head start from their mean.

    The model itself still returns the numbers as they are, in memory and wherever it is loaded: its output is
    multiplied by the unit, its weights are multiplied when they are saved, and divided when they are loaded.

    Args:
        model: With a head of one output.
        mean: Mean of the numbers to learn.
        unit: About their standard deviation, a power of two.
        fresh: Modules that were not in the checkpoint.

    Returns:
        Mean and unit that are used. Where the head has no bias to start from the mean with, the mean is 0 and the unit
        is as large as the numbers themselves.
    """
    import torch

    head, layer = last_layer(model, outputs=1)
    is_fresh = head in fresh
    if layer is None:
        log("labels: this model's head has no last layer with one output, so numbers are learnt without rescaling")
        return 0.0, 1.0
    if layer.bias is None:
        mean, unit = 0.0, unit_of(math.hypot(mean, unit))
    with torch.no_grad():
        # A new head starts with small random weights; a trained one predicts in the original scale.
        if not is_fresh:
            layer.weight /= unit
        if layer.bias is not None:
            layer.bias.copy_(torch.full_like(layer.bias, mean / unit) if is_fresh else layer.bias / unit)
    _upstream.set_forward(layer, partial(_multiplied, layer.forward, unit))
    layer.register_state_dict_post_hook(partial(_multiply_saved, unit=unit))
    layer.register_load_state_dict_pre_hook(partial(_divide_loaded, unit=unit))
    start = f" around their mean {mean:g}" if is_fresh and layer.bias is not None else ""
    log(f"labels: trained in units of {unit:g}{start}; the saved model returns them in their original scale")
    return mean, unit


def loss_in_units(loss: Callable[..., Any], unit: float) -> Callable[..., Any]:
    """The loss of numbers in units of `unit`; a squared error is then about 1 for a model that only knows the mean."""
    return partial(_loss_in_units, loss, unit)


def _loss_in_units(loss: Callable[..., Any], unit: float, compute_logits: Any, labels: Any, **keywords: Any) -> Any:
    # Divided before the loss squares them: the square of 1e23 does not fit into float32, that of 1e-23 becomes 0.
    outputs = {name: compute_logits[name].float() / unit for name in ("logits", TEACHER) if name in compute_logits}
    return loss(outputs, labels / unit, **keywords)


def scale_of(values: torch.Tensor, numbers: tuple[float, float] | None) -> float:
    """What a difference between outputs is compared with: the largest output, or the unit of numbers.

    Args:
        values: Outputs.
        numbers: Mean and unit, from `Recipe.number_scale`; numbers may be far from 0 and close together.
    """
    if numbers is not None:
        return numbers[1]
    return float(values.abs().max())


def _multiplied(forward: Callable[..., torch.Tensor], unit: float, *inputs: Any) -> torch.Tensor:
    return forward(*inputs) * unit


def _multiply_saved(layer: nn.Module, state: dict[str, Any], prefix: str, metadata: Any, *, unit: float) -> None:
    """Hook after `state_dict`: weights that return the numbers themselves in a model without this module's code."""
    for name in (f"{prefix}weight", f"{prefix}bias"):
        if name in state:
            state[name] = state[name] * unit


def _divide_loaded(layer: nn.Module, state: dict[str, Any], prefix: str, *others: Any, unit: float) -> None:
    """Hook before `load_state_dict`: the inverse of `_multiply_saved`."""
    for name in (f"{prefix}weight", f"{prefix}bias"):
        if name in state:
            state[name] = state[name] / unit
