"""Several runs for one answer: k folds, each row scored once by a model that did not see it, or several seeds."""

from __future__ import annotations

import dataclasses
import heapq
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import run_folder
from .config import RunConfig
from .data import checks
from .data.splits import _keywords, _number
from .errors import nearest
from .evaluation import scoring
from .recipe import Recipe

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


# --- what comes of them ------------------------------------------------------------------------------------------


def summary(paths: Sequence[Path]) -> dict[str, dict[str, dict[str, Any]]]:
    """Mean and standard deviation of each score over the runs, with each run's own."""
    each = list(map(run_folder.read_scores, paths))
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
    with open(path / run_folder.PREDICTIONS, encoding="utf-8") as lines:
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
    with open(path / run_folder.PREDICTIONS, encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            rows.append(line["row"])
            predictions.append(line["prediction"])
            references.append(checks.written_reference(recipe, line))
    of_rows = None if groups is None else [groups[row] for row in rows]
    seed, others = config.training["seed"], config.metrics
    return scoring.scores(recipe, predictions, references, seed=seed, others=others, groups=of_rows)
