"""Before any training: resolve the settings, read and check the rows, and claim the folder."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from .. import predictor, repeats
from .. import trust as trust_
from .._version import __version__
from ..characters import visible_line
from ..config import distillation
from ..config.blocks import ModelSettings
from ..config.layers import merge, move_bare_keys_into_blocks
from ..config.recipe_files import read_recipe_file
from ..config.resolving import resolve
from ..config.run_config import RunConfig
from ..config.search_space import problems as search_problems
from ..config.trainer_keywords import training_types, without_effect
from ..config.value_types import type_problems
from ..data import checks
from ..data.prepare import FROM_PYTHON, load_data, log_all, named_sources, written_source
from ..data.rows import Data
from ..distilling import teacher
from ..errors import ConfigError, MissingPackageError, NotFoundError, nearest
from ..evaluation import scoring
from ..hub.names import hub_ids, shareable
from ..hub.settings import problems as push_problems
from ..log import log
from ..masking import MASK, mask, mask_text
from ..models import adapters, suggestions
from ..models.directory import check_start, identity
from ..models.learning_rates import default_rate, rate_of_model
from ..models.loading import dtype_problems, label_problems, quantization_problems
from ..privacy import settings as privacy_settings
from ..recipe import (
    Recipe,
    arguments_name,
    input_columns,
    option_types,
    options,
    reference_columns,
    training_defaults,
    undefined,
)
from ..redaction.names import name_finder
from ..registry import find, find_recipe_file, is_task_file, recipe_files, tasks
from ..run_folder import claim
from ..run_folder.contents import RunInfo
from .arguments import try_arguments
from .intervals import is_greater_better, with_strategies

if TYPE_CHECKING:
    from datasets import Dataset

# Defaults of every run, whatever its task.
RUN_DEFAULTS: dict[str, Any] = {
    "eval_strategy": "epoch",
    "logging_strategy": "epoch",
    "save_total_limit": 1,
    "train_sampling_strategy": "group_by_length",
    "restore_callback_states_from_checkpoint": True,
    "report_to": "none",
    "seed": 42,
}
_LONGEST_PART = 80  # characters of a name in the default output_dir; a file system takes about 250 in all
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
_EARLY_STOPPING = {"early_stopping_patience": int, "early_stopping_threshold": float}
_LEAST = {"early_stopping_patience": 1, "early_stopping_threshold": 0}


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


# --- settings ----------------------------------------------------------------------------------------------------


def configure(
    what: Any,
    settings: Mapping[str, Any],
    *,
    trust: bool = False,
    index: int | None = None,
    above: Mapping[str, Any] | None = None,
) -> tuple[RunConfig, Recipe]:
    """Merge the layers, check every key, and make the recipe.

    Args:
        what: As for `run`.
        settings: Those that the user gave with it.
        trust: Whether code that only a recipe file names may be run.
        index: Which one of a list of models is meant; None where there must be one model.
        above: Settings that win over both, such as those of a trial.

    Raises:
        ConfigError: With everything that is wrong.
        UntrustedError: A recipe file names code, and it is not trusted.
    """
    below, file = _settings_of(what)
    layers = [below, dict(settings)] if index is None else _with_one_model(below, dict(settings), index)
    layers += [dict(above)] if above else []
    # Checked before the task is looked for, which imports it.
    merged = merge(*layers)
    trust_.require(merged, source=file or "", trust=trust, said=layers[1] if file else merged)
    named = [layer["task"] for layer in layers if isinstance(layer.get("task"), str)]
    if not named:
        raise ConfigError(f"no task: name one of {', '.join(tasks())}")
    kind = find(named[-1])
    _check_task(kind, named[-1])
    known_options, training = option_types(kind), training_types(arguments_name(kind))
    placed = []
    for layer in layers:
        bare_moved = move_bare_keys_into_blocks(layer, options=known_options, training=training)
        placed.append({**bare_moved, **with_strategies(bare_moved)})
    columns = {name: column.names for name, column in kind.columns.items()}
    config = resolve(merge(*placed), option_types=known_options, training=training, columns=columns)
    if index is not None and config.privacy:
        raise ConfigError("a list of models: give one with privacy, since each training spends from the same budget")
    if config.privacy is not None:
        # A key with null takes back what a recipe file says.
        config = replace(config, privacy={key: value for key, value in config.privacy.items() if value is not None})
    if isinstance(config.distill, str):
        config = replace(config, distill={"run": config.distill})
    _check_keywords(config, kind)
    teacher.check_run(config, kind, trust=trust)
    defaults = _training_defaults(config, kind)
    changed = {key: value for key, value in config.training.items() if value != defaults.get(key)}
    # Names of runs and the like go to trackers, and into each checkpoint.
    config = replace(config, training=mask({**defaults, **config.training}))
    log_all(without_effect(changed, config.training))
    if config.output_dir:
        # Expanded once: the Trainer does it too, and everything else would go to a folder named `~`.
        config = replace(config, output_dir=os.path.expanduser(config.output_dir))
    recipe = kind(**config.options)
    recipe.find_names = name_finder(recipe.redact, predictor.load)
    return config, recipe


def merged(what: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a recipe file and those that were given with it, before anything is checked."""
    below, _ = _settings_of(what)
    return merge(below, settings)


def models_of(what: Any, settings: Mapping[str, Any]) -> list[Any] | None:
    """The entries of a list of models; None where one model is given, or none."""
    model = merged(what, settings).get("model")
    return list(model) if isinstance(model, list | tuple) else None


def _with_one_model(below: dict[str, Any], above: dict[str, Any], index: int) -> list[dict[str, Any]]:
    """The layers with one entry of a list of models in its place: a model of a file stays one that the file names."""
    if isinstance(above.get("model"), list | tuple):
        return [{**below, "model": None}, {**above, "model": above["model"][index]}]
    if isinstance(below.get("model"), list | tuple):
        return [{**below, "model": below["model"][index]}, above]
    return [below, above]


def _training_defaults(config: RunConfig, kind: type[Recipe]) -> dict[str, Any]:
    """The training arguments of a run of this task that sets none."""
    defaults = {**RUN_DEFAULTS, **training_defaults(kind, config.options)}
    if config.privacy:
        defaults |= privacy_settings.TRAINING
    rate = default_rate(config, defaults.pop("learning_rate", None))
    return defaults if rate is None else {**defaults, "learning_rate": rate}


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


def without_defaults(config: RunConfig) -> RunConfig:
    """The settings without options and training arguments that are as they are by default."""
    kind = find(config.task)
    usual = {**options(kind()), **_training_defaults(config, kind)}
    changed = {}
    for block in ("options", "training"):
        given = getattr(config, block)
        changed[block] = {name: value for name, value in given.items() if name not in usual or usual[name] != value}
    return replace(config, options=changed["options"], training=changed["training"])


def without_default_rate(config: RunConfig) -> RunConfig:
    """The settings of several runs, without a learning rate that follows the model of one of them."""
    training = dict(config.training)
    rate = _training_defaults(config, find(config.task)).get("learning_rate")
    if training.get("learning_rate") == rate:
        training.pop("learning_rate", None)
    return replace(config, training=training)


def _settings_of(what: Any) -> tuple[dict[str, Any], Path | None]:
    """Settings of a recipe file, with that file; or of a dict, or of a task's name alone, with None.

    Raises:
        ConfigError: It is none of these.
    """
    if isinstance(what, Mapping):
        return dict(what), None
    if isinstance(what, os.PathLike):
        what = os.fspath(what)
    if not isinstance(what, str):
        raise ConfigError(
            f"found {what!r} ({type(what).__name__}), expected the name of a task, a recipe file or a dict of settings"
        )
    file = None if is_task_file(what) else find_recipe_file(what)
    if file is not None:
        return read_recipe_file(file), file
    try:
        find(what)
    except NotFoundError as error:
        if "/" in what and not is_task_file(what):
            raise NotFoundError(
                f"{what} is not a recipe file; the shipped ones are {', '.join(recipe_files())}"
            ) from error
        raise
    return {"task": what}, None


def _check_task(kind: type[Recipe], name: str) -> None:
    """Refuse a task that is not complete, or needs packages that are not installed.

    Raises:
        ConfigError: It lacks facts or methods.
        MissingPackageError: A package is missing.
    """
    missing = undefined(kind)
    if missing:
        raise ConfigError(
            f"{name}: {kind.__name__} does not define {', '.join(missing)}; docs/write-a-task.md shows how"
        )
    packages = [package for package in kind.packages if find_spec(package) is None]
    if packages:
        shown = " ".join(package.replace("_", "-") for package in packages)
        raise MissingPackageError(f"{name} needs {' and '.join(packages)}: pip install {shown}")


def _check_keywords(config: RunConfig, kind: type[Recipe]) -> None:
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
            if not wrong and value < _LEAST[key]:
                wrong = [f"early_stopping.{key}: found {value}, expected {_LEAST[key]} or more"]
            problems += wrong
        else:
            hint = nearest(key, _EARLY_STOPPING) or f"; it takes {' and '.join(_EARLY_STOPPING)}"
            problems.append(f"unknown setting early_stopping.{key}{hint}")
    return problems


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


# --- names -------------------------------------------------------------------------------------------------------


def folder_of(what: Any, config: RunConfig) -> Path:
    """Folder of a run; without `output_dir` one that the same command always gets, so that it finds its run again.

    Raises:
        OutputError: The `output_dir` holds a run of other settings.
    """
    known = _known_settings(config)
    if config.output_dir:
        claim.refuse_other_run(Path(config.output_dir), known)
        return Path(config.output_dir)
    path, taken = claim.free_folder(default_folder(what, config), known)
    if taken:
        log(f"{taken}: this run is written to {path}")
    return path


def _known_settings(config: RunConfig) -> dict[str, Any]:
    """Settings that stay what they are once rows are read."""
    if config.search:  # as it is written down
        config = without_default_rate(config)
    tests = {name: written_source(source) for name, source in config.tests.items()}
    known = asdict(replace(config, dataset=written_source(config.dataset), tests=tests))  # which copies all values
    # A position becomes a name, and a list of columns may be completed.
    known["columns"] = {name: column for name, column in config.columns.items() if isinstance(column, str)}
    plain = (str, int, float, bool)
    known["options"] = {name: value for name, value in config.options.items() if isinstance(value, plain)}
    folds = config.cross_validation
    if folds is not None:
        known["folds"] = {"n_splits": folds.n_splits, "groups": folds.groups}
        known["folds"] = {name: value for name, value in known["folds"].items() if value is not None}
    if config.learning_curve is not None:
        known["curve"] = {"steps": config.learning_curve.steps}
    return known


def default_folder(what: Any, config: RunConfig) -> Path:
    """Name of the folder of a run by task, dataset, column of labels where it was given, and model."""
    if isinstance(what, os.PathLike):
        what = os.fspath(what)
    several = ""
    if config.search:
        several = "-search"
    elif config.curve is not None:
        several = "-curve"
    elif repeats.are_wanted(config):
        several = f"-{len(repeats.names(config))}-{repeats.setting_of(config)}"
    if isinstance(what, str) and what != config.task and not what.endswith(".py"):
        if isinstance(config.model, list):
            several = f"-{len(config.model)}-models"
        return Path("runs", visible_line(PurePath(what).stem) + several)
    source = config.dataset.get("path", "data") if isinstance(config.dataset, dict) else config.dataset
    dataset = "data"
    if isinstance(source, str) and source != FROM_PYTHON:
        # The query of a URL is no part of the name.
        dataset = PurePath(mask_text(source).partition("?")[0]).stem.strip("*.")[:_LONGEST_PART]
    name = f"{PurePath(config.task).stem}-{dataset}{_label_column(config)}-{_model_part(config)}{several}"
    return Path("runs", visible_line(name + "-distilled" * (config.distillation is not None)))


def _label_column(config: RunConfig) -> str:
    """The column of labels, where the user named it, with a hyphen before it."""
    for column in reference_columns(find(config.task)):
        name = config.columns.get(column)
        if isinstance(name, str | int):
            return "-" + "-".join(str(name).split("/"))[:_LONGEST_PART]
    return ""


def _model_part(config: RunConfig) -> str:
    """The name of the model in that of the folder; of a list of models all of them, if they are not too long."""
    if not isinstance(config.model, list):
        return model_name(config.base.name) if config.model else "None"
    parts = [model_name(ModelSettings.of(model).name) for model in config.model]
    together = "-or-".join(parts)
    return together if len(together) <= _LONGEST_PART else f"{len(parts)}-models"


def model_name(name: str) -> str:
    """Last part of the name of a model; of a model inside a package, the package.

    Example:
        >>> model_name("me/small"), model_name("pkg://package/model#sha256=0")
        ('small', 'package')
    """
    name = name.partition("#")[0]
    if name.startswith("pkg://"):
        return name.removeprefix("pkg://").partition("/")[0]
    return PurePath(mask_text(name)).name[:_LONGEST_PART]
