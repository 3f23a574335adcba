"""Checks of settings that need more than their types: what excludes what, and keywords of other libraries."""

from __future__ import annotations

from typing import Any

from .. import repeats
from ..config import distillation
from ..config.run_config import RunConfig
from ..config.search_space import problems as search_problems
from ..config.trainer_keywords import Range
from ..config.value_types import type_problems
from ..data.prepare import named_sources
from ..errors import ConfigError, nearest
from ..hub.names import hub_ids
from ..hub.settings import problems as push_problems
from ..masking import MASK
from ..models import adapters
from ..models.loading import dtype_problems, label_problems, quantization_problems
from ..privacy import settings as privacy_settings
from ..recipe import (
    Recipe,
)

_EARLY_STOPPING = {"early_stopping_patience": int, "early_stopping_threshold": float}
STOPPING_RANGES = {"early_stopping_patience": Range(1), "early_stopping_threshold": Range(0)}


def check_settings(config: RunConfig, kind: type[Recipe]) -> None:
    """Check keywords of the blocks whose libraries are imported only where they are used.

    Raises:
        ConfigError: With everything that is wrong.
    """
    problems = _early_stopping_problems(config.early_stopping) + _masked_problems(config)
    if config.lora == {}:
        problems.append("lora: found an empty block, expected true, false or keywords of LoraConfig")
    if config.lora and config.options.get("freeze"):
        problems.append("freeze: leave it out, lora freezes all but the adapters and the head")
    problems += repeats.problems(config) + push_problems(config, hub_ids(config)["model"])
    problems += adapters.problems(config.adapter, kind) + dtype_problems(config)
    problems += quantization_problems(config) + label_problems(config) + distillation.problems(config.distill)
    problems += search_problems(config.search) + _combined_with_search(config)
    problems += privacy_settings.problems(config, kind)
    if problems:
        raise ConfigError(problems)


def _combined_with_search(config: RunConfig) -> list[str]:
    """Sentences on settings that ask for several runs, or for a push, of each trial of a search."""
    if not config.search:
        return []
    problems, folds = [], config.cross_validation
    if config.seeds:
        problems.append("search and seeds: leave seeds out, and run the settings that are found with several seeds")
    if config.curve is not None:
        problems.append("search and curve: leave curve out, and run it with the settings that are found")
    if folds is not None and folds.fold is not None:
        problems.append("search and folds.fold: leave fold out, each trial is scored on all folds")
    if config.hub:
        problems.append("hub: leave it out, a search gives several runs; push the best one:  hfrecipes push")
    return problems


def _masked_problems(config: RunConfig) -> list[str]:
    """Sentences on settings of a run that was written down without its secrets."""
    problems = []
    for name, value in {"dataset": config.dataset, "model": config.model, **named_sources(config)}.items():
        if _is_masked(value):
            problems.append(
                f"{name}: {MASK} stands for a secret that is never written down: give {name}=… with it again"
            )
    return problems


def _is_masked(value: Any) -> bool:
    """Whether a setting has lost a secret; rows that were given in Python may have `***` in their texts."""
    if isinstance(value, dict):
        return any(map(_is_masked, value.values()))
    if isinstance(value, list):  # of files and URLs, or of rows or cells
        return any(isinstance(entry, str) and "://" in entry and MASK in entry for entry in value)
    return isinstance(value, str) and MASK in value


def _early_stopping_problems(given: bool | dict[str, Any]) -> list[str]:
    problems = []
    for key, value in given.items() if isinstance(given, dict) else ():
        if key in _EARLY_STOPPING:
            wrong = type_problems(f"early_stopping.{key}", value, _EARLY_STOPPING[key])
            # A patience of 0 or less would stop at the first evaluation.
            problems += wrong or STOPPING_RANGES[key].problems(f"early_stopping.{key}", value)
        else:
            hint = nearest(key, _EARLY_STOPPING) or f"; it takes {' and '.join(_EARLY_STOPPING)}"
            problems.append(f"unknown setting early_stopping.{key}{hint}")
    return problems
