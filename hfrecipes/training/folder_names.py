"""The folder of a run: the one that was given, or one named after the task, the data and the model."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path, PurePath
from typing import Any

from .. import repeats
from ..characters import visible_line
from ..config.blocks import ModelSettings
from ..config.run_config import RunConfig
from ..data.prepare import FROM_PYTHON, written_source
from ..log import log
from ..masking import mask_text
from ..recipe import (
    reference_columns,
)
from ..registry import find
from ..run_folder import claim
from .configuration import without_default_rate

_LONGEST_PART = 80  # characters of a name in the default output_dir; a file system takes about 250 in all


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
