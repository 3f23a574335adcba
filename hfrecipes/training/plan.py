"""Before any training: read and check the rows, and claim the folder."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from .._version import __version__
from ..config.run_config import RunConfig
from ..data import checks
from ..data.prepare import load_data, log_all
from ..data.rows import Data
from ..distilling import teacher
from ..errors import ConfigError, nearest
from ..evaluation import scoring
from ..hub.names import hub_ids, shareable
from ..models import suggestions
from ..models.directory import check_start, identity
from ..models.learning_rates import rate_of_model
from ..privacy import settings as privacy_settings
from ..recipe import (
    Recipe,
    input_columns,
)
from ..run_folder import claim
from ..run_folder.contents import RunInfo
from .arguments import try_arguments
from .intervals import is_greater_better

if TYPE_CHECKING:
    from datasets import Dataset

_LIBRARIES = ("torch", "transformers", "datasets", "evaluate", "accelerate", "peft")
# Settings in run.json: what a push shows of them, and what a model needs to predict if its recipe.yaml is lost.
_SHARED = (
    "task",
    "model",
    "dataset",
    "tests",
    "metrics",
    "training",
    "lora",
    "privacy",
    "distill",
    "options",
    "columns",
)


@dataclass(frozen=True)
class Plan:
    """A run with final settings and rows, whose folder is free or belongs to this run."""

    config: RunConfig
    """Every setting, defaults and guesses filled in."""
    recipe: Recipe
    """The task, with its labels."""
    data: Data
    path: Path
    """Folder of the run."""
    info: RunInfo
    """What identifies the run: versions, and a fingerprint of each split."""
    in_train: Sequence[int] = ()
    """Indices of the rows of test whose input is equal, or nearly equal, to one of train."""


def make_plan(config: RunConfig, recipe: Recipe, path: Path) -> Plan:
    """Read and check the rows, and raise errors for what cannot be run; cheap steps first.

    Args:
        config: Settings from `configure`.
        recipe: The task, made of these settings.
        path: Folder of the run.

    Raises:
        HFRecipesError: The data, the folder of the model or the output folder cannot be used.
    """
    try_arguments(config, recipe)
    if config.model:
        check_start(config.base)
    claim.check_writable(path)
    data, config = load_data(config, recipe)
    return plan_of_rows(config, recipe, data, path)


def plan_of_rows(config: RunConfig, recipe: Recipe, data: Data, path: Path) -> Plan:
    """As `make_plan`, from rows that were read.

    Args:
        config: Every setting, with what `load_data` has guessed.
        recipe: The task, with its labels.
        data: The rows.
        path: Folder of the run.

    Raises:
        HFRecipesError: The rows or the output folder cannot be used.
    """
    if not config.model:
        raise ConfigError(f"no model: add model=<hub id or folder>; {_suggested_models(recipe, data)}")
    check_metrics(config, recipe, data.splits["train"])
    check_tuning(recipe, data.splits)
    privacy_settings.check_rows(config, recipe)
    log_all(teacher.check_labels(config, recipe))
    info = _identify(config, data)
    claim.claim(path, config, info)
    return Plan(config, recipe, data, path, info)


def _suggested_models(recipe: Recipe, data: Data) -> str:
    inputs = [name for name in input_columns(recipe) if name in data.splits["train"].column_names]
    return suggestions.sentence(recipe.task, recipe.auto_model, data.splits["train"].select_columns(inputs))


def _identify(config: RunConfig, data: Data) -> RunInfo:
    """Versions, content of the rows, and settings as others may see them.

    Asked here, in the folder where the run was started: elsewhere a relative path would look like a Hub id.
    """
    shown = shareable(config)
    return RunInfo(
        hfrecipes=__version__,
        versions={name: version(name) for name in _LIBRARIES},
        data=checks.fingerprints(data.splits),
        origin=hub_ids(config),
        redacted=data.redacted or None,
        base=None if config.adapter is None else identity(config.base),
        shared={name: getattr(shown, name) for name in _SHARED},
    )


def with_rate(plan: Plan) -> Plan:
    """The plan with a learning rate, where the model could not be asked for its own when the settings were read.

    Raises:
        ModelError: It cannot be asked now either.
        OutputError: The folder contains a run with another one.
    """
    if "learning_rate" in plan.config.training:
        return plan
    training = {**plan.config.training, "learning_rate": rate_of_model(plan.config)}
    plan = replace(plan, config=replace(plan.config, training=training))
    claim.claim(plan.path, plan.config, plan.info)
    return plan


def check_tuning(recipe: Recipe, splits: Collection[str]) -> None:
    """Refuse options that only validation rows could decide where there are none.

    Raises:
        ConfigError: There are such options.
    """
    names = [] if "validation" in splits else recipe.tuned_options
    if names:
        listed = " and ".join(f"options.{name}" for name in names)
        raise ConfigError(f"{listed}: found no validation split to tune on: add one, or leave the option out")


def check_metrics(config: RunConfig, recipe: Recipe, train: Dataset) -> None:
    """Check the metrics that the user named, and the one that picks the checkpoint, before anything is trained.

    Raises:
        ConfigError: There is no such metric, or its direction is not known.
    """
    scoring.try_metrics(config.metrics, recipe, train)
    best = str(config.training.get("metric_for_best_model", "loss")).removeprefix("eval_")
    if best == "loss":
        return
    few = train.select(range(min(2, len(train))))
    predictions = recipe.baseline_predictions(few, recipe.baseline(few))
    if recipe.writer is not None and recipe.writer.generated_rows is not None:
        # What the model writes is scored after training alone.
        predictions = list(map(scoring.without_text, predictions))
    known = list(dict.fromkeys(["loss", *scoring.score(recipe, predictions, checks.references(recipe, few))]))
    if best not in known:
        raise ConfigError(f"metric_for_best_model: no score {best}{nearest(best, known)}; there are {', '.join(known)}")
    if config.training.get("greater_is_better") is None:
        is_greater_better(best, recipe)
