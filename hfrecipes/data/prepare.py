"""Rows from their source to checked splits, ready to be encoded."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from ..config import RunConfig
from ..errors import ConfigError, DataError
from ..log import log
from ..recipe import Recipe
from . import checks
from .columns import _columns_of, _more_answers, check_lists, find_columns, normalize_columns, rename
from .rows import Data, _with_groups, drop_blind_answers, drop_groups, name_classes, number_rows
from .sources import by_position, read
from .splits import _draw_validation, _say_splits, choose_splits, limit, take_fold

FROM_PYTHON = "(rows given from Python)"


def load(config: RunConfig, recipe: Recipe) -> Data:
    """Load the dataset of a run, its columns renamed.

    Raises:
        HFRecipesError: The data is not there, or not of a form that the task can use.
    """
    kind = type(recipe)
    found = read(config.dataset, header=not by_position(config.columns), formats=recipe.formats)
    chosen = choose_splits(list(found), config.splits)
    if "train" not in chosen:
        raise DataError(f"found the splits {', '.join(found)}, expected one to train on: splits.train=<one of them>")
    given: dict[str, Mapping[str, str | int]] = {}
    for split, name in chosen.items():
        before = found[name].column_names
        found[name], given[split] = normalize_columns(found[name], recipe, config.columns)
        if split == "train" and found[name].column_names != before:
            log(f"rows reshaped: {', '.join(before)} became {', '.join(found[name].column_names)}")
    _say_splits(chosen, found)
    columns = find_columns(found[chosen["train"]].column_names, kind, given["train"])
    splits = {}
    for split, name in chosen.items():
        own = _columns_of(found[name], columns, kind, given[split]) if split != "train" else columns
        own = {**own, **_more_answers(found[name], own, kind)} if split != "train" else own
        splits[split] = rename(found[name], own, kind, split)
    renamed = {task: own for task, own in columns.items() if task != own}
    if renamed:
        log("columns: " + ", ".join(f"{task} is {own!r}" for task, own in renamed.items()))
    others = [name for name in found[chosen["train"]].column_names if name not in columns.values()]
    if others:
        log(f"columns not used: {', '.join(others)}")
    for rows in splits.values():
        check_lists(rows, columns, kind)
    if isinstance(config.folds, dict) and config.folds.get("groups"):
        splits["train"] = _with_groups(splits["train"], found[chosen["train"]], str(config.folds["groups"]))
    data = Data(splits, columns, chosen)
    name_classes(data, kind)
    drop_blind_answers(data, kind)
    return data


def load_data(config: RunConfig, recipe: Recipe) -> tuple[Data, RunConfig]:
    """Rows of all splits, checked, labels read; and the settings with what was settled on the way."""
    if config.dataset is None:
        raise ConfigError("no dataset: add dataset=<hub id, file or folder>")
    if isinstance(config.dataset, str) and config.dataset == FROM_PYTHON:
        raise ConfigError("this run had its rows given from Python: add dataset=<hub id, file, folder or rows>")
    data = load(config, recipe)
    number_rows(data)
    recipe.labels = data.class_names
    for note in recipe.infer_labels(data.splits["train"]):
        log(note)
    checks.check(data, recipe)
    limit(data, config)
    take_fold(data, recipe, config)
    if "validation" not in data.splits and "validation" not in config.splits:
        _draw_validation(data, recipe, config.training["seed"])
    drop_groups(data)
    for note in recipe.label_counts(data.splits["train"]):
        log(note)
    data.notes = checks.scored_as_wrong(data, recipe)
    for note in [*data.notes.values(), *untested(data)]:
        log(note)
    return data, _settled(config, recipe, data)


def untested(data: Data) -> list[str]:
    """A sentence where no split is left that decided nothing."""
    if "test" in data.splits:
        return []
    return ["no test split: the validation scores also picked the checkpoint, and are flattered by that"]


def _settled(config: RunConfig, recipe: Recipe, data: Data) -> RunConfig:
    """The settings with every guess about the data filled in; rows given from Python leave a mark in their place."""
    dataset = config.dataset if _is_written_down(config.dataset) else FROM_PYTHON
    options = {f.name: getattr(recipe, f.name) for f in dataclasses.fields(recipe)}
    columns = {**config.columns, **{task: config.columns.get(task, own) for task, own in data.columns.items()}}
    splits = {**config.splits, **data.chosen}
    return dataclasses.replace(config, dataset=dataset, options=options, columns=columns, splits=splits)


def _is_written_down(dataset: Any) -> bool:
    """Whether a recipe file can name the dataset: a path, split -> path, or keywords of `load_dataset`."""
    if isinstance(dataset, str):
        return True
    if not isinstance(dataset, Mapping) or not (
        "path" in dataset or all(isinstance(one, str) for one in dataset.values())
    ):
        return False
    try:
        json.dumps(dataset)
    except TypeError:
        return False
    return True
