"""Several runs for one answer: k folds, each row scored once by a model that did not see it, or several seeds."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import checks, folder, scoring
from .config import RunConfig
from .data import GROUP, Data
from .errors import DataError, nearest
from .recipe import Recipe
from .say import say

if TYPE_CHECKING:
    from datasets import Dataset

OUT_OF_FOLD = "out_of_fold"  # beside the splits: all rows together, each scored once
_KEYS = ("n_splits", "groups", "fold")


# --- settings ----------------------------------------------------------------------------------------------------


def are_wanted(config: RunConfig) -> bool:
    """Whether the settings ask for several runs."""
    return bool(config.seeds) or (config.folds is not None and "fold" not in _keywords(config))


def problems(config: RunConfig) -> list[str]:
    """Sentences on settings that make no runs."""
    found = [f"unknown setting folds.{key}{nearest(key, _KEYS)}" for key in _keywords(config) if key not in _KEYS]
    number, fold = _number(config), _keywords(config).get("fold")
    if config.folds is not None and not (isinstance(number, int) and number >= 2):
        found.append(f"folds: found {number}, expected 2 or more")
    elif fold is not None and not (isinstance(fold, int) and 1 <= fold <= number):
        found.append(f"folds.fold: found {fold}, expected a number from 1 to {number}")
    if config.seeds and len(set(config.seeds)) < 2:
        found.append(f"seeds: found {config.seeds}, expected two or more that differ; for one, seed={config.seeds[0]}")
    if config.seeds and config.folds is not None:
        found.append("folds and seeds: give one of them")
    if config.hub and are_wanted(config):
        found.append("hub: several runs leave no one model to push; push the one you choose:  hfrecipes push")
    return found


def parts(config: RunConfig) -> dict[str, dict[str, Any]]:
    """Settings that each of the runs has of its own, by the name of its folder."""
    if config.seeds:
        return {f"seed-{seed}": {"seeds": [], "seed": seed} for seed in config.seeds}
    keywords = {"n_splits": _number(config), **_keywords(config)}
    return {f"fold-{fold}": {"folds": {**keywords, "fold": fold}} for fold in range(1, keywords["n_splits"] + 1)}


def whole(config: RunConfig, of_part: RunConfig) -> RunConfig:
    """Settings of all runs together: those that were settled for one, without what is its own."""
    return dataclasses.replace(
        of_part,
        training={**of_part.training, "seed": config.training["seed"]},
        seeds=config.seeds,
        folds=config.folds,
        output_dir=config.output_dir,
    )


def _keywords(config: RunConfig) -> dict[str, Any]:
    return config.folds if isinstance(config.folds, dict) else {}


def _number(config: RunConfig) -> Any:
    return _keywords(config).get("n_splits", 5) if isinstance(config.folds, dict) else config.folds


# --- folds -------------------------------------------------------------------------------------------------------


def take_fold(data: Data, recipe: Recipe, config: RunConfig) -> None:
    """Let one of the folds of train be the test split; the dataset's own is left alone.

    Folds have the labels in like shares; rows that share a group, a text or the whole input stay together.

    Raises:
        DataError: There are fewer groups, or rows, than folds.
    """
    fold, groups = _keywords(config).get("fold"), None
    if GROUP in data.splits["train"].column_names:
        groups = data.splits["train"][GROUP][:]
        data.splits["train"] = data.splits["train"].remove_columns(GROUP)
    if fold is None:
        return
    rows, number = data.splits["train"], _number(config)
    held = _held(rows, groups, recipe, number, config.training["seed"])[fold - 1]
    kept = np.setdiff1d(np.arange(len(rows)), held)
    rest = {split: own for split, own in data.splits.items() if split == "validation"}
    data.splits = {"train": rows.select(kept), **rest, "test": rows.select(held)}
    data.places = {"test": held.tolist()}
    left = "; the dataset's own test split is left alone" if "test" in data.chosen else ""
    say(f"fold {fold} of {number}: {len(kept)} rows of train to learn from, the other {len(held)} to score on{left}")


def _held(rows: Dataset, groups: Sequence[Any] | None, recipe: Recipe, number: int, seed: int) -> list[np.ndarray]:
    """Places of the rows of each fold, in their order."""
    from sklearn import model_selection

    strata, groups = recipe.strata(rows), groups or recipe.groups(rows)
    if groups is None and checks.repeated_rows(rows, recipe):
        groups = checks.input_keys(rows, recipe)
    units = len(rows) if groups is None else len(set(groups))
    if units < number:
        raise DataError(f"folds: found {units} {'rows' if groups is None else 'groups'}, expected {number} or more")
    name = f"{'' if strata is None else 'Stratified'}{'' if groups is None else 'Group'}KFold"
    folds = getattr(model_selection, name)(number, shuffle=True, random_state=seed)
    names = None if strata is None else [str(one) for one in strata]
    return [np.sort(held) for _, held in folds.split(np.zeros(len(rows)), names, groups)]


# --- what comes of them ------------------------------------------------------------------------------------------


def summary(paths: Sequence[Path]) -> dict[str, dict[str, dict[str, Any]]]:
    """Mean and standard deviation of each score over the runs, with each run's own."""
    each = [folder.read_json(path / folder.METRICS) for path in paths]
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for split, metrics in each[0].items():
        shared = [name for name in metrics if all(name in one.get(split, {}) for one in each)]
        found[split] = {name: _over_runs([one[split][name] for one in each]) for name in shared}
    return found


def _over_runs(entries: list[dict[str, Any]]) -> dict[str, Any]:
    values = [float("nan") if entry["value"] is None else entry["value"] for entry in entries]
    found: dict[str, Any] = {"value": statistics.fmean(values)}
    found["sd"] = statistics.stdev(values) if len(values) > 1 else float("nan")
    for name in ("baseline", "untuned"):
        given = [entry[name] for entry in entries if entry.get(name) is not None]
        if len(given) == len(entries):
            found[name] = statistics.fmean(given)
    return {**found, "runs": values}


def out_of_fold(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Each row of train with its prediction, by a model that did not see it, in the order of the rows."""
    return sorted(_scored_rows(paths), key=lambda line: line["row"])


def _scored_rows(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for fold, path in enumerate(paths, 1):
        with open(path / folder.PREDICTIONS, encoding="utf-8") as lines:
            for line in map(json.loads, lines):
                if line.pop("split") == "test":
                    yield {"fold": fold, **line}


def score_all(lines: list[dict[str, Any]], recipe: Recipe, config: RunConfig) -> dict[str, dict[str, Any]]:
    """Scores over all out-of-fold predictions together, each row once, with their intervals."""
    predictions, references = [line["prediction"] for line in lines], [recipe.gold(line) for line in lines]
    return scoring.scores(recipe, predictions, references, seed=config.training["seed"], others=config.metrics)
