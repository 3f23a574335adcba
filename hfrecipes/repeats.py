"""Several runs that are summarized: k folds, each row scored once by a model that did not see it, several seeds, or
growing parts of train."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .config.blocks import CurveSettings, FoldSettings
from .config.run_config import RunConfig
from .config.trainer_keywords import SEEDS, Range
from .data.checks import written_reference
from .data.rows import Data
from .errors import nearest
from .evaluation import scoring
from .evaluation.breakdown import Breakdown, breakdown
from .evaluation.comparison import Evaluation, sliced
from .evaluation.evaluate import Predicted
from .evaluation.scoring import Score, Scores
from .evaluation.slices import Slices
from .log import log
from .recipe import Recipe, Row
from .run_folder import contents

if TYPE_CHECKING:
    from datasets import Dataset

OUT_OF_FOLD = "out_of_fold"  # beside the splits: all rows together, each scored once
FOLDS = Range(2, 10_000)  # each is a training
LEAST_STEPS, MOST_STEPS = 3, 20  # parts of train; a curve through fewer points tells nothing
STEPS = Range(LEAST_STEPS, MOST_STEPS)
_KEYS = ("n_splits", "groups", "fold")
_CURVE_KEYS = ("steps", "step")


# --- settings ----------------------------------------------------------------------------------------------------


def are_wanted(config: RunConfig) -> bool:
    """Whether the settings ask for several runs, or for one of several."""
    return bool(config.seeds) or config.folds is not None or config.curve is not None


def setting_of(config: RunConfig) -> str:
    """Name of the setting that asks for several runs."""
    if config.curve is not None:
        return "curve"
    return "folds" if config.folds is not None else "seeds"


def problems(config: RunConfig) -> list[str]:
    """Problems in `folds`, `seeds` and `curve`, a sentence for each."""
    sentences = _seed_problems(config.seeds)
    if config.curve is not None:
        sentences = _curve_problems(config) + sentences
    if config.folds is not None:
        sentences = _fold_problems(config.folds) + sentences
    if config.seeds and config.folds is not None:
        sentences.append("folds and seeds: give only one of them")
    if config.hub and are_wanted(config):
        sentences.append(
            "hub: leave it out, several runs give several models; push the one you choose:  hfrecipes push"
        )
    return sentences


def _fold_problems(folds: int | Mapping[str, Any]) -> list[str]:
    keys = folds if isinstance(folds, Mapping) else {}
    sentences = [f"unknown setting folds.{key}{nearest(key, _KEYS)}" for key in keys if key not in _KEYS]
    settings = FoldSettings.of(folds)
    number: Any = settings.n_splits if settings is not None else None
    fold: Any = settings.fold if settings is not None else None
    if not isinstance(number, int) or number < FOLDS.low:
        sentences.append(f"folds: found {number}, expected {FOLDS.low} or more")
    elif number > FOLDS.high:
        sentences.append(f"folds: found {number}, expected {FOLDS.high} or less, since each fold is a training")
    elif fold is not None and not (isinstance(fold, int) and 1 <= fold <= number):
        sentences.append(f"folds.fold: found {fold}, expected a number from 1 to {number}")
    return sentences


def _curve_problems(config: RunConfig) -> list[str]:
    keys = config.curve if isinstance(config.curve, Mapping) else {}
    sentences = [f"unknown setting curve.{key}{nearest(key, _CURVE_KEYS)}" for key in keys if key not in _CURVE_KEYS]
    settings = CurveSettings.of(config.curve)
    steps: Any = settings.steps if settings is not None else None
    step: Any = settings.step if settings is not None else None
    if not isinstance(steps, int) or not STEPS.holds(steps):
        sentences.append(f"curve: found {steps}, expected the number of parts of train, {LEAST_STEPS} to {MOST_STEPS}")
    elif step is not None and not (isinstance(step, int) and 1 <= step <= steps):
        sentences.append(f"curve.step: found {step}, expected a number from 1 to {steps}")
    if config.folds is not None:
        sentences.append("curve and folds: give only one of them")
    if "validation" in config.splits and config.splits["validation"] is None:
        sentences.append("curve: its validation scores are extrapolated: leave out splits.validation=null")
    return sentences


def _seed_problems(seeds: Sequence[int]) -> list[str]:
    sentences = []
    if seeds and len(set(seeds)) < 2:
        sentences.append(f"seeds: found {list(seeds)}, expected two or more that differ; for one, seed={seeds[0]}")
    elif len(set(seeds)) < len(seeds):
        repeated = next(seed for seed in seeds if seeds.count(seed) > 1)
        sentences.append(f"seeds: found {repeated} twice, and its run would count twice: leave it out once")
    for seed in seeds:
        sentences += SEEDS.problems("seeds", seed)
    return sentences


def names(config: RunConfig) -> list[str]:
    """Names of the folders of all runs, whether this command carries out each of them or one."""
    if config.learning_curve is not None:
        return list(parts(replace(config, curve={"steps": config.learning_curve.steps})))
    settings = config.cross_validation
    if settings is None:
        return [f"seed-{seed}" for seed in config.seeds]
    return [f"fold-{fold}" for fold in range(1, settings.n_splits + 1)]


def parts(config: RunConfig) -> dict[str, RunConfig]:
    """Settings of each run of this command, by the name of its folder."""
    if config.learning_curve is not None:
        return _parts_of_curve(config, config.learning_curve)
    settings = config.cross_validation
    if settings is None:
        return {f"seed-{seed}": _with_seed(replace(config, seeds=[]), seed) for seed in config.seeds}
    folds = [settings.fold] if settings.fold is not None else range(1, settings.n_splits + 1)
    keywords: dict[str, Any] = {"n_splits": settings.n_splits}
    if settings.groups is not None:
        keywords["groups"] = settings.groups
    return {f"fold-{fold}": replace(config, folds={**keywords, "fold": fold}) for fold in folds}


def _parts_of_curve(config: RunConfig, settings: CurveSettings) -> dict[str, RunConfig]:
    """The smallest part of train first, for which every problem of the data is found; with each of the seeds."""
    of_runs = {}
    for step in [settings.step] if settings.step is not None else range(1, settings.steps + 1):
        name = f"rows-{settings.percent(step)}-percent"
        of_part = replace(config, curve={"steps": settings.steps, "step": step}, seeds=[])
        if not config.seeds:
            of_runs[name] = of_part
        for seed in config.seeds:
            of_runs[f"{name}-seed-{seed}"] = _with_seed(of_part, seed)
    return of_runs


def _with_seed(config: RunConfig, seed: int) -> RunConfig:
    return replace(config, training={**config.training, "seed": seed})


def whole(config: RunConfig, of_part: RunConfig) -> RunConfig:
    """Settings of all runs together: those of one, without what belongs to it alone.

    Args:
        config: Settings as the user gave them.
        of_part: Settings of one run, with every guess about the data filled in.
    """
    folds = of_part.folds
    if isinstance(folds, dict):
        folds = {key: value for key, value in folds.items() if key != "fold"} or None
    curve = config.learning_curve
    steps = None if curve is None else {"steps": curve.steps}
    together = replace(of_part, seeds=config.seeds, folds=folds, curve=steps, output_dir=config.output_dir)
    return _with_seed(together, config.training["seed"])


# --- scores over all runs ----------------------------------------------------------------------------------------


def summary(each: Sequence[Mapping[str, Scores]]) -> dict[str, Scores]:
    """Mean and standard deviation of each score over the runs, with the value of each run.

    Args:
        each: Scores by split and metric, of each run.
    """
    together: dict[str, Scores] = {}
    for split, entries in each[0].items():
        together[split] = {}
        for name in entries:
            of_runs = [scores.get(split, {}).get(name) for scores in each]
            known = [entry for entry in of_runs if entry is not None]
            if len(known) == len(each):
                together[split][name] = _over_runs(known)
    return together


def slices_of_runs(each: Sequence[Slices]) -> Slices:
    """Mean and standard deviation of the scores of parts of rows that all runs have, for values that all runs have.

    Args:
        each: Parts of the rows of each run.
    """
    splits: dict[str, dict[str, Evaluation]] = {}
    for split in each[0].splits:
        parts = [run.splits.get(split, {}) for run in each]
        together = summary([_scores_by_value(of_run) for of_run in parts])
        splits[split] = {}
        for value, scores in together.items():
            if scores:
                splits[split][value] = Evaluation(value, parts[0][value].rows, scores, [])
    return Slices(each[0].by, splits)


def _scores_by_value(parts: Mapping[str, Evaluation]) -> dict[str, Scores]:
    return {value: part.scores for value, part in parts.items()}


def _over_runs(entries: Sequence[Score]) -> Score:
    values = tuple(entry.value for entry in entries)
    changes = [entry.change for entry in entries if entry.change is not None]
    return Score(
        value=float(np.mean(values)),
        baseline=_mean([entry.baseline for entry in entries]),
        uncalibrated=_mean([entry.uncalibrated for entry in entries]),
        deviation=float(np.std(values, ddof=1)),
        runs=values,
        change=_over_runs(changes) if len(changes) == len(entries) else None,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of a number that all runs have."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def out_of_fold(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Each row of train with its prediction, by a model that did not see it, in the order of the rows."""
    folds = [_scored_rows(path, fold) for fold, path in enumerate(paths, 1)]
    return heapq.merge(*folds, key=lambda line: line["row"])


def _scored_rows(path: Path, fold: int) -> Iterator[dict[str, Any]]:
    for line in contents.read_predictions(path):
        if line.pop("split") == "test":
            yield {"fold": fold, **line}


@dataclass(frozen=True)
class OutOfFold:
    """All out-of-fold predictions together, each row once."""

    scores: Scores
    report: Breakdown | None
    """Scores by label; None where the task has no labels."""
    slices: Mapping[str, Evaluation]
    """Value of the column `by` -> scores of its rows."""


def score_out_of_fold(path: Path, recipe: Recipe, config: RunConfig, data: Data) -> OutOfFold:
    """Scores over all out-of-fold predictions together, with their intervals.

    Args:
        path: Folder with the predictions.
        recipe: The task.
        config: Settings of all runs together.
        data: Rows of one of the folds, which knows groups and values of all rows by their numbers.
    """
    groups = data.fold_groups
    lines = list(contents.read_predictions(path))
    predictions, references = [], []
    for line in lines:
        predictions.append(line["prediction"])
        references.append(written_reference(recipe, line))
    recipe.not_averaged = []  # of one fold; all rows together have all labels
    of_rows = None if groups is None else [groups[line["row"]] for line in lines]
    predicted = Predicted(_sliced_columns(recipe, lines), references, of_rows, predictions)
    score = partial(_scores, recipe, config)
    slices: dict[str, Evaluation] = {}
    if "test" in data.slice_cells:
        cells = [data.slice_cells["test"][line["row"]] for line in lines]
        slices, sentences = sliced(recipe, cells, predicted, score)
        for sentence in sentences:
            log(sentence)
    return OutOfFold(score(predicted), breakdown(recipe, predicted), slices)


def _scores(recipe: Recipe, config: RunConfig, predicted: Predicted) -> Scores:
    return scoring.scores(
        recipe,
        predicted.predictions,
        predicted.references,
        seed=config.training["seed"],
        others=config.metrics,
        groups=predicted.groups,
    )


def _sliced_columns(recipe: Recipe, lines: Sequence[Row]) -> Dataset:
    """The columns whose parts are scored separately, of rows that were written with their predictions."""
    from datasets import Dataset

    columns = {}
    for name, column in recipe.columns.items():
        if column.slice_of is not None and all(name in line for line in lines):
            columns[name] = [line[name] for line in lines]
    return Dataset.from_dict(columns)
