"""The learning rate of a run that sets none: by the width of its model, its family, and what is trained of it.

The smaller a model, the larger the steps that it needs. docs/settings.md has the measured and published figures
that the numbers below follow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..config.run_config import RunConfig
from ..errors import HFRecipesError
from .loading import load_config

if TYPE_CHECKING:
    from transformers import PretrainedConfig


class Rates(NamedTuple):
    """Usual learning rates of AdamW."""

    full: float
    """Where all weights are trained."""
    adapter: float
    """Where an adapter is trained, as LoRA adds it."""


# Hidden size that a model of this kind has at most -> rates; larger ones have the last rates.
_BY_WIDTH = ((512, Rates(1.5e-4, 1.5e-3)), (1023, Rates(5e-5, 5e-4)))
_LARGE = Rates(2e-5, 2e-4)
_ROBERTA = Rates(2e-5, 4e-4)
_T5 = Rates(3e-4, 1e-3)
_BY_FAMILY = {
    **dict.fromkeys(("roberta", "xlm-roberta", "camembert", "deberta", "deberta-v2"), _ROBERTA),
    **dict.fromkeys(("t5", "mt5", "umt5", "longt5", "byt5"), _T5),
}
_ADAPTER_FACTOR = 10  # how much more an adapter needs than all weights, where only a rate for these is known


def default_rate(config: RunConfig, of_task: float | None) -> float | None:
    """The learning rate of a run that sets none; None while its model is not known or cannot be read.

    Args:
        config: Settings of the run.
        of_task: What the task declares, whatever the model.
    """
    if of_task is not None:
        return of_task * _ADAPTER_FACTOR if config.adapter else of_task
    if not config.model:
        return None
    try:
        return rate_of_model(config)
    except HFRecipesError:  # raised again by what needs the model
        return None


def rate_of_model(config: RunConfig) -> float:
    """The learning rate that follows the model of a run.

    Raises:
        ModelError: Its config cannot be read.
    """
    return _of_method(config, _rates(load_config(config.base))[0])


def explained(config: RunConfig, of_task: float | None, model_config: PretrainedConfig) -> str:
    """A sentence on the learning rate if it is the default one, else an empty one."""
    rate = config.training.get("learning_rate")
    rates, kind = _rates(model_config)
    if rate is None or rate != (_of_method(config, rates) if of_task is None else default_rate(config, of_task)):
        return ""
    if of_task is not None:
        factor = f"learning_rate: {rate:g}, {_ADAPTER_FACTOR} times that of the task, for an adapter"
        return factor if config.adapter else ""
    trained = "an adapter of " if config.adapter else ""
    return f"learning_rate: {rate:g}, the default for {trained}{kind}"


def _of_method(config: RunConfig, rates: Rates) -> float:
    return rates.adapter if config.adapter else rates.full


def _rates(model_config: PretrainedConfig) -> tuple[Rates, str]:
    """Usual rates for a model, and what they were chosen by."""
    family = model_config.model_type
    if family in _BY_FAMILY:
        return _BY_FAMILY[family], f"models of type {family}"
    width = getattr(model_config.get_text_config(), "hidden_size", None)
    if not isinstance(width, int):
        return _BY_WIDTH[-1][1], "models of unknown size"
    rates = next((rates for most, rates in _BY_WIDTH if width <= most), _LARGE)
    return rates, f"models of hidden size {width}"
