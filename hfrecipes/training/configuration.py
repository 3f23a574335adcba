"""The settings of a run: layers merged, every key checked, defaults filled in, and the recipe made of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import predictor
from .. import trust as trust_
from ..config.blocks import PrivacySettings
from ..config.layers import merge, move_bare_keys_into_blocks
from ..config.recipe_files import read_recipe_file
from ..config.resolving import resolve
from ..config.run_config import RunConfig
from ..config.trainer_keywords import training_types, without_effect
from ..data.prepare import log_all
from ..distilling import teacher
from ..errors import ConfigError, NotFoundError, require_packages
from ..masking import mask
from ..models.learning_rates import default_rate
from ..privacy import settings as privacy_settings
from ..recipe import (
    Recipe,
    arguments_name,
    option_types,
    options,
    training_defaults,
    undefined,
)
from ..redaction.names import name_finder
from ..registry import find, find_recipe_file, is_task_file, list_tasks, recipe_files
from .intervals import with_strategies
from .setting_checks import check_settings

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
    kind = _task_of(layers)
    config = _resolved(layers, kind)
    if index is not None and PrivacySettings.ask_for_noise(config.privacy):
        raise ConfigError(
            "model: found a list with privacy, expected one model, since all trainings would spend the same budget"
        )
    check_settings(config, kind)
    teacher.check_run(config, kind, trust=trust)
    config = _with_defaults(config, kind)
    recipe = kind(**config.options)
    recipe.find_names = name_finder(recipe.redact, predictor.load)
    return config, recipe


def _task_of(layers: Sequence[Mapping[str, Any]]) -> type[Recipe]:
    """The task that the last layer names.

    Raises:
        ConfigError: None names one, or the task is not complete.
        MissingPackageError: The task needs a package that is not installed.
        NotFoundError: There is no such task.
    """
    names = [layer["task"] for layer in layers if isinstance(layer.get("task"), str)]
    if not names:
        raise ConfigError(f"no task: name one of {', '.join(list_tasks())}")
    kind = find(names[-1])
    missing = undefined(kind)
    if missing:
        raise ConfigError(
            f"{names[-1]}: {kind.__name__} does not define {', '.join(missing)}; docs/write-a-task.md shows how"
        )
    require_packages(names[-1], *kind.packages)
    return kind


def _resolved(layers: Sequence[dict[str, Any]], kind: type[Recipe]) -> RunConfig:
    """The settings in their blocks, of the right types, in the form that the rest of the code reads.

    Raises:
        ConfigError: Names are unknown or values have the wrong type.
    """
    known_options, training = option_types(kind), training_types(arguments_name(kind))
    placed = []
    for layer in layers:
        bare_moved = move_bare_keys_into_blocks(layer, options=known_options, training=training)
        placed.append({**bare_moved, **with_strategies(bare_moved)})
    columns = {name: column.names for name, column in kind.columns.items()}
    config = resolve(merge(*placed), option_types=known_options, training=training, columns=columns)
    if config.privacy is not None:
        # A key with null takes back what a recipe file says.
        given = {key: value for key, value in config.privacy.items() if value is not None}
        config = replace(config, privacy=None if config.privacy == {"canaries": None} else given)
    if isinstance(config.distill, str):
        config = replace(config, distill={"run": config.distill})
    if config.output_dir:
        # Expanded once: the Trainer does it too, and everything else would go to a folder named `~`.
        config = replace(config, output_dir=os.path.expanduser(config.output_dir))
    return config


def _with_defaults(config: RunConfig, kind: type[Recipe]) -> RunConfig:
    """The settings with every training argument; those without an effect are printed."""
    defaults = _training_defaults(config, kind)
    changed = {key: value for key, value in config.training.items() if value != defaults.get(key)}
    # Names of runs and the like go to trackers, and into each checkpoint.
    config = replace(config, training=mask({**defaults, **config.training}))
    log_all(without_effect(changed, config.training))
    return config


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
    if config.private is not None:
        defaults |= privacy_settings.TRAINING
    rate = default_rate(config, defaults.pop("learning_rate", None))
    return defaults if rate is None else {**defaults, "learning_rate": rate}


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
