"""A list of models under `model`: each is trained as a run of its own, and validation chooses one of them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import repeats
from ..config.blocks import ModelSettings
from ..config.run_config import RunConfig
from ..config.value_types import as_setting
from ..config.yaml12 import format_value
from ..errors import ConfigError, counted
from ..models.loading import load_tokenizer
from ..run_folder import claim, contents
from ..training.configuration import without_default_rate
from ..training.folder_names import model_name
from ..training.plan import Plan

COMPARISON = "comparison.json"


def check(models: Sequence[Any]) -> None:
    """Refuse a list that names no models to choose from.

    Args:
        models: Entries of the list.

    Raises:
        ConfigError: It has fewer than two entries, one of them twice, or one that is no model.
    """
    problems = []
    for model in models:
        path = model.get("path") if isinstance(model, Mapping) else model
        if not isinstance(path, str | os.PathLike) or not str(path):
            shown = format_value(as_setting(model))[:100]
            problems.append(f"model: found {shown} in the list, expected Hub ids or folders, or blocks with a path")
    if problems:
        raise ConfigError(problems)
    if len(models) < 2:
        instead = f"; for one, model={format_value(as_setting(models[0]))}" if models else ""
        raise ConfigError(f"model: found a list of {len(models)}, expected two models or more{instead}")
    known = [_identity(model) for model in models]
    for index, model in enumerate(models):
        if known[index] in known[:index]:
            raise ConfigError(f"model: found {format_value(as_setting(model))} twice in the list: name each model once")


def _identity(model: Any) -> str:
    """A text that two entries share if they are the same model, however they are written."""
    keywords = dict(model) if isinstance(model, Mapping) else {"path": model}
    path = os.fspath(keywords["path"])
    keywords["path"] = os.path.realpath(path) if os.path.exists(path) else path
    return json.dumps(as_setting(keywords), sort_keys=True, default=str)


def check_settings(config: RunConfig) -> None:
    """Refuse settings that a list of models cannot be combined with.

    Args:
        config: Settings of one of the runs.

    Raises:
        ConfigError: They ask for several runs of each model, or for a push.
    """
    problems = []
    if config.search:
        problems.append(
            "model and search: write search.model=[…] in place of the list, and name no model or the usual one"
        )
    if repeats.are_wanted(config):
        block = repeats.setting_of(config)
        problems.append(f"model and {block}: give one model, or leave {block} out; a list of models takes no {block}")
    if config.hub:
        problems.append(
            "hub: leave it out, a list of models gives several runs; push the one you choose:  hfrecipes push"
        )
    if problems:
        raise ConfigError(problems)


def check_validation(plan: Plan) -> None:
    """Refuse rows that give nothing to choose by.

    Raises:
        ConfigError: There is no validation split.
    """
    if "validation" not in plan.data.splits:
        raise ConfigError(
            "model: a list of models needs a validation split, which chooses one of them: leave out "
            "splits.validation=null, or name one model"
        )


def check_there(plan: Plan) -> None:
    """Refuse a model that cannot be read, before another one is trained.

    Raises:
        ModelError: Its config or its tokenizer is not there.
    """
    if not contents.is_complete(plan.path):
        load_tokenizer(plan.config, plan.recipe)


def with_models(config: RunConfig, models: Sequence[Any]) -> RunConfig:
    """The settings of all runs together, from those of one of them."""
    together: dict[str, Any] = {"model": list(map(as_setting, models))}
    return replace(without_default_rate(config), **together)


def names(models: Sequence[Any]) -> list[str]:
    """A short name of each model, with a number where two have the same.

    Example:
        >>> names(["me/small", {"path": "me/large"}, "you/small"])
        ['small', 'large', 'small-3']
    """
    chosen: list[str] = []
    for number, model in enumerate(models, 1):
        name = model_name(ModelSettings.of(as_setting(model)).name) or "model"
        chosen.append(name if name not in chosen else f"{name}-{number}")
    return chosen


def folders(path: Path, models: Sequence[Any]) -> list[Path]:
    """Folder of the run of each model.

    Example:
        >>> [folder.as_posix() for folder in folders(Path("runs/x"), ["me/small", "me/large"])]
        ['runs/x/model-1-small', 'runs/x/model-2-large']
    """
    return [path / f"model-{number}-{name}" for number, name in enumerate(names(models), 1)]


def write_start(path: Path, plans: Sequence[Plan], models: Sequence[Any]) -> None:
    """Turn the folder around all runs into theirs, or refuse one that holds something else.

    Raises:
        OutputError: It does.
    """
    first = plans[0]
    shared = {**first.info.shared, "model": [plan.info.shared["model"] for plan in plans]}
    info = replace(first.info, data={}, base=None, shared=shared, origin={**first.info.origin, "model": None})
    together = with_models(first.config, models)
    claim.claim(path, together, info)
    contents.write_start(path, together, info)


def described(models: Sequence[Any]) -> str:
    """A sentence on what is trained."""
    return f"{counted(len(models), 'model')} ({', '.join(names(models))}): each is trained, then validation chooses one"
