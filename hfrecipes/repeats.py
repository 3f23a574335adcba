"""Several runs for one answer: k folds, each row scored once by a model that did not see it, or several seeds."""

from __future__ import annotations

import dataclasses
import heapq
import json
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import checks, folder, scoring
from .config import RunConfig
from .data import GROUP, ROW, Data
from .errors import DataError, nearest
from .metrics._uncertainty import numbered
from .recipe import Recipe
from .say import say

if TYPE_CHECKING:
    from datasets import Dataset

OUT_OF_FOLD = "out_of_fold"  # beside the splits: all rows together, each scored once
_KEYS = ("n_splits", "groups", "fold")


# --- settings ----------------------------------------------------------------------------------------------------


def are_wanted(config: RunConfig) -> bool:
    """Whether the settings ask for several runs, or for one of several."""
    return bool(config.seeds) or config.folds is not None


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
    found += [f"seeds: found {seed}, expected 0 or more" for seed in config.seeds if seed < 0]
    if config.seeds and config.folds is not None:
        found.append("folds and seeds: give one of them")
    if config.hub and are_wanted(config):
        found.append("hub: several runs leave no one model to push; push the one you choose:  hfrecipes push")
    return found


def names(config: RunConfig) -> list[str]:
    """Names of the folders of all runs, whether this command carries out each of them or one."""
    seeds = [f"seed-{seed}" for seed in config.seeds]
    return seeds or [f"fold-{fold}" for fold in range(1, _number(config) + 1)]


def parts(config: RunConfig) -> dict[str, dict[str, Any]]:
    """Settings that each run of this command has of its own, by the name of its folder."""
    if config.seeds:
        return {f"seed-{seed}": {"seeds": [], "seed": seed} for seed in config.seeds}
    keywords, all_folds = {"n_splits": _number(config), **_keywords(config)}, range(1, _number(config) + 1)
    chosen = [keywords["fold"]] if "fold" in keywords else all_folds
    return {f"fold-{fold}": {"folds": {**keywords, "fold": fold}} for fold in chosen}


def whole(config: RunConfig, of_part: RunConfig) -> RunConfig:
    """Settings of all runs together: those that were settled for one, without what is its own."""
    folds = {key: value for key, value in _keywords(of_part).items() if key != "fold"} or None
    return dataclasses.replace(
        of_part,
        training={**of_part.training, "seed": config.training["seed"]},
        seeds=config.seeds,
        folds=folds,
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
    if config.folds is None:
        return
    rows, number, fold = data.splits["train"], _number(config), _keywords(config).get("fold")
    groups = groups_of(rows, recipe)
    data.fold_groups = None if groups is None else dict(zip(rows[ROW], groups, strict=True))
    folds = _held(rows, recipe, groups, number, config.training["seed"])
    if fold is None:  # only looked at
        return
    held = folds[fold - 1]
    kept = np.setdiff1d(np.arange(len(rows)), held)
    rest = {split: own for split, own in data.splits.items() if split == "validation"}
    data.splits = {"train": rows.select(kept), **rest, "test": rows.select(held)}
    left = "; the dataset's own test split is left alone" if "test" in data.chosen else ""
    say(f"fold {fold} of {number}: {len(kept)} rows of train to learn from, the other {len(held)} to score on{left}")


def _held(rows: Dataset, recipe: Recipe, groups: list[int] | None, number: int, seed: int) -> list[np.ndarray]:
    """Places of the rows of each fold, in their order."""
    from sklearn import model_selection

    strata = recipe.strata(rows)
    if groups is None and checks.repeated_rows(rows, recipe):
        groups = numbered(checks.input_keys(rows, recipe))
    units = len(rows) if groups is None else len(set(groups))
    if units < number:
        raise DataError(f"folds: found {units} {'rows' if groups is None else 'groups'}, expected {number} or more")
    counts = Counter(map(str, strata)) if strata is not None else Counter()
    if counts and max(counts.values()) < number:
        most = max(counts.values())
        raise DataError(f"folds: no label has more than {most} rows, expected {number}: fewer folds")
    few = [name for name, times in counts.items() if times < number]
    if few:
        say(f"folds: too few rows to be in each of {number} folds: {', '.join(few[:8])}{', …' * (len(few) > 8)}")
    name = f"{'' if strata is None else 'Stratified'}{'' if groups is None else 'Group'}KFold"
    folds = getattr(model_selection, name)(number, shuffle=True, random_state=seed)
    labels = None if strata is None else [str(one) for one in strata]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of few rows, which was said
        return [np.sort(held) for _, held in folds.split(np.zeros(len(rows)), labels, groups)]


def groups_of(rows: Dataset, recipe: Recipe) -> list[int] | None:
    """Number of what each row shares with others that stay in the same split: a column of the user's, or a text."""
    groups = rows[GROUP][:] if GROUP in rows.column_names else recipe.groups(rows)
    return None if groups is None else numbered(groups)


# --- what comes of them ------------------------------------------------------------------------------------------


def summary(paths: Sequence[Path]) -> dict[str, dict[str, dict[str, Any]]]:
    """Mean and standard deviation of each score over the runs, with each run's own."""
    each = list(map(folder.read_scores, paths))
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for split, metrics in each[0].items():
        shared = [name for name in metrics if all(name in one.get(split, {}) for one in each)]
        found[split] = {name: _over_runs([one[split][name] for one in each]) for name in shared}
    return found


def _over_runs(entries: list[dict[str, Any]]) -> dict[str, Any]:
    values = [float("nan") if entry["value"] is None else entry["value"] for entry in entries]
    found: dict[str, Any] = {"value": float(np.mean(values)), "sd": float(np.std(values, ddof=1))}
    for name in ("baseline", "untuned"):
        given = [entry[name] for entry in entries if entry.get(name) is not None]
        if len(given) == len(entries):
            found[name] = float(np.mean(given))
    return {**found, "runs": values}


def out_of_fold(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Each row of train with its prediction, by a model that did not see it, in the order of the rows."""
    return heapq.merge(*(_scored_rows(path, fold) for fold, path in enumerate(paths, 1)), key=lambda line: line["row"])


def _scored_rows(path: Path, fold: int) -> Iterator[dict[str, Any]]:
    with open(path / folder.PREDICTIONS, encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            if line.pop("split") == "test":
                yield {"fold": fold, **line}


def score_all(
    path: Path, recipe: Recipe, config: RunConfig, groups: Mapping[int, Any] | None
) -> dict[str, dict[str, Any]]:
    """Scores over all out-of-fold predictions together, each row once, with their intervals.

    Args:
        path: Folder with the predictions.
        recipe: The task.
        config: Of all runs together.
        groups: Group of each row that was cut into folds, by its number; None for none.
    """
    rows, predictions, references = [], [], []
    with open(path / folder.PREDICTIONS, encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            rows.append(line["row"])
            predictions.append(line["prediction"])
            references.append(checks.written_reference(recipe, line))
    of_rows = None if groups is None else [groups[row] for row in rows]
    seed, others = config.training["seed"], config.metrics
    return scoring.scores(recipe, predictions, references, seed=seed, others=others, groups=of_rows)
