"""The block `search`: settings with the values that are tried, and how many trials there are."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import nearest
from .value_types import as_setting
from .yaml12 import format_value

TRIALS = 20
_KEYS = ("trials", "pruner", "cost")
# What all trials share: what they are scored on, and where they are written. Splits are drawn with the seed.
_SHARED = {
    *("task", "dataset", "splits", "tests", "by", "limit", "output_dir", "metrics"),
    *("seed", "seeds", "folds", "curve", "hub", "search", "metric_for_best_model", "greater_is_better"),
}
PRUNERS = ("median", "halving", "none")
COSTS = ("seconds", "parameters")
_RANGE = re.compile(r"\s*(uniform|loguniform|int)\s*\(\s*([^\s,()]+)\s*,\s*([^\s,()]+)\s*\)\s*")
FORMS = "loguniform(1e-5, 5e-4), uniform(0, 0.3), int(1, 5), or a list of values"


@dataclass(frozen=True)
class Range:
    """Numbers between two ends, which belong to it."""

    low: float
    high: float
    is_log: bool = False
    """Whether numbers are drawn uniformly by their logarithm."""
    is_integer: bool = False

    @property
    def examples(self) -> list[Any]:
        """Values that are checked before the first trial."""
        return [int(self.low), int(self.high)] if self.is_integer else [self.low, self.high]


@dataclass(frozen=True)
class Choices:
    """A few values."""

    values: tuple[Any, ...]

    @property
    def examples(self) -> list[Any]:
        """Values that are checked before the first trial."""
        return list(self.values)


@dataclass(frozen=True)
class SearchSettings:
    """What a search tries.

    Example:
        >>> SearchSettings.of({"lora": {"r": [4, 8]}, "trials": 10}).space
        {'lora.r': Choices(values=(4, 8))}
    """

    space: Mapping[str, Range | Choices]
    """Setting, with dots into its block -> its values."""
    trials: int = TRIALS
    """Number of trials, besides the one with the default settings."""
    pruner: str = "median"
    """How trials that do badly are ended early: `median`, `halving`, `none`."""
    cost: str | None = None
    """What is weighed against quality, `seconds` of training or `parameters`; None where quality alone counts."""

    @classmethod
    def of(cls, block: Mapping[str, Any]) -> SearchSettings:
        """The settings as the user writes them, without those that `problems` reports."""
        control = {key: block[key] for key in _KEYS if block.get(key) is not None}
        space = {}
        for name, values in _flat(block).items():
            parsed = _parsed(values)
            if parsed is not None:
                space[name] = parsed
        return cls(space, **control)


def problems(block: Mapping[str, Any]) -> list[str]:
    """Sentences on what is wrong in the block; values of settings are checked like the settings themselves."""
    sentences = _control_problems(block)
    names = _flat(block)
    if block and not names:
        sentences.append(f"search: found nothing to try, expected settings such as search.learning_rate={FORMS}")
    for name, values in names.items():
        shared = next((part for part in (name.partition(".")[0], name.rpartition(".")[2]) if part in _SHARED), None)
        if shared is not None:
            sentences.append(f"search.{name}: all trials have the same {shared}: leave it out")
        elif _parsed(values) is None:
            sentences.append(f"search.{name}: found {format_value(values)}, expected {_expected(values)}")
    return sentences


def _control_problems(block: Mapping[str, Any]) -> list[str]:
    sentences = []
    trials = TRIALS if block.get("trials") is None else block["trials"]
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        sentences.append(f"search.trials: found {format_value(trials)}, expected 1 or more")
    for key, known in (("pruner", PRUNERS), ("cost", COSTS)):
        value = block.get(key)
        if value is not None and value not in known:
            hint = nearest(str(value), known)
            sentences.append(f"search.{key}: found {format_value(value)}{hint}, expected one of {', '.join(known)}")
    return sentences


def _flat(block: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by dotted name, without what is no setting."""
    flat: dict[str, Any] = {}
    for key, value in block.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{name}.")
        elif name not in _KEYS and value is not None:
            flat[name] = value
    return flat


def _parsed(values: Any) -> Range | Choices | None:
    """A range or a list of values; None for anything else."""
    if isinstance(values, list | tuple):
        listed = tuple(map(as_setting, values))
        is_distinct = len({format_value(value) for value in listed}) == len(listed)
        return Choices(listed) if len(listed) > 1 and is_distinct else None
    match = _RANGE.fullmatch(values) if isinstance(values, str) else None
    if match is None:
        return None
    kind, *texts = match.groups()
    try:
        low, high = map(int if kind == "int" else float, texts)
    except ValueError:
        return None
    if not (math.isfinite(low) and math.isfinite(high) and low < high) or (kind == "loguniform" and low <= 0):
        return None
    return Range(low, high, is_log=kind == "loguniform", is_integer=kind == "int")


def _expected(values: Any) -> str:
    """What stands in place of values that cannot be read."""
    if isinstance(values, list | tuple):
        return "a list of two values or more, none of them twice"
    if isinstance(values, str) and _RANGE.fullmatch(values):
        return "two numbers, the lower one first; for loguniform both above 0, for int whole numbers"
    return FORMS
