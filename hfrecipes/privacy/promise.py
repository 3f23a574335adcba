"""What a private training promises, and what it does not, in sentences for the log and the card."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..config.run_config import RunConfig
from ..data.checks import input_keys
from ..data.rows import Data
from ..errors import counted
from ..recipe import Recipe
from .accounting import Mechanism


def rounded_up(value: float) -> str:
    """Three digits, which are never less than the value.

    Example:
        >>> rounded_up(3.1412), rounded_up(8.144e-05), rounded_up(8.0)
        ('3.15', '8.15e-05', '8')
    """
    if not 0 < value < math.inf:
        return f"{value:g}"
    exponent = math.floor(math.log10(value)) - 2
    return f"{math.ceil(value / 10.0**exponent - 1e-9) * 10.0**exponent:.3g}"


def plan_of(mechanism: Mechanism) -> str:
    """A sentence on what each step does, before the first one."""
    planned = mechanism.spent(mechanism.history(mechanism.steps))
    return (
        f"privacy: epsilon {rounded_up(planned['epsilon'])} after {counted(mechanism.steps, 'step')} with delta "
        f"{rounded_up(mechanism.delta)}: each draws a row with probability {mechanism.sample_rate:.3g}, clips its "
        f"gradient to {mechanism.max_grad_norm:g} and adds noise of {mechanism.noise_multiplier:.3g} times that (RDP "
        "accountant)"
    )


def sentence(spent: Mapping[str, Any]) -> str:
    """What the weights promise, for the card.

    Args:
        spent: As `Mechanism.spent` gives it.
    """
    return (
        f"Trained by DP-SGD: the weights are ({rounded_up(spent['epsilon'])}, {rounded_up(spent['delta'])})"
        "-differentially private "
        f"for one row of train added or removed, after {spent['steps']} steps with noise multiplier "
        f"{spent['noise_multiplier']:.3g}, gradients of rows clipped to {spent['max_grad_norm']:g}, Poisson sampling "
        f"with probability {spent['sample_rate']:.3g} (RDP accountant of Opacus)."
    )


def limits(config: RunConfig, recipe: Recipe, data: Data) -> list[str]:
    """Sentences on what the promise does not cover; none for a training that is not private.

    Args:
        config: The settings.
        recipe: The task.
        data: The rows.
    """
    if config.private is None:
        return []
    return [
        _unit(input_keys(data.splits["train"], recipe)),
        *_validation(config, recipe, data),
        "privacy: the weights alone are protected; names and counts of labels (class weights too, and "
        "questions and options in config.json), losses and scores on train, baseline.json, "
        "trained_on.npy, the fingerprints in run.json, predictions.jsonl and report.html come "
        "from the rows without noise",
        "privacy: rows and noise are drawn from fresh entropy that is not kept: the same command trains another model",
    ]


def _unit(inputs: Sequence[int]) -> str:
    """Whose protection is counted, and rows that stand for one another."""
    numbers = Counter(inputs).values()
    repeated = sum(number for number in numbers if number > 1)
    duplicates = ""
    if repeated:
        duplicates = (
            f"; {counted(repeated, 'row')} of train have the input of another one, {max(numbers)} times at most"
        )
    return (
        "privacy: what is protected is one row of train; for somebody with k rows, or a text that occurs k times, "
        f"epsilon is k times as large{duplicates}"
    )


def _validation(config: RunConfig, recipe: Recipe, data: Data) -> list[str]:
    """What the rows that are not protected decide."""
    if "validation" not in data.splits:
        return []
    decides = []
    if config.training.get("load_best_model_at_end", True):
        decides.append("choose the checkpoint")
        if config.early_stopping:
            decides.append("stop the training early")
    tuned = list(recipe.tuned_options)
    # A task may fit it without being asked, and do without it where there is no validation.
    if getattr(recipe, "temperature_scaling", False) and "temperature_scaling" not in tuned:
        tuned.append("temperature_scaling")
    if tuned:
        decides.append(f"tune {', '.join(tuned)}")
    what = f": they {' and '.join(decides)}" if decides else ""
    return [f"privacy: rows of validation and test are not protected{what}; use public rows, or rows of others"]
