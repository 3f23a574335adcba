"""The run that another one learns from: found and compared before anything is downloaded, and asked once."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import predictor
from ..config.run_config import RunConfig
from ..data.checks import input_keys
from ..data.features import encode_to_predict
from ..errors import ConfigError, ModelError, NotFoundError, counted
from ..evaluation.inference import outputs
from ..memory.shortage import release
from ..models.binding import LEARNED
from ..models.directory import ADAPTER, CONFIG
from ..recipe import Recipe
from ..run_folder import contents
from ..saved.run import settings_of
from .contract import check_task, distillable
from .losses import soft_number_loss

if TYPE_CHECKING:
    from datasets import Dataset

SHOWN = 6  # labels that an error names


# --- before rows are read ------------------------------------------------------------------------------------------


def check_run(config: RunConfig, kind: type[Recipe], *, trust: bool) -> None:
    """Refuse a teacher that this task cannot learn from, as far as its folder tells.

    Raises:
        ConfigError: The task has no labels, or the teacher is of another task.
        NotFoundError: There is no such folder.
        ModelError: It holds no finished run.
        UntrustedError: The teacher names code, and it is not trusted.
    """
    if config.distillation is None:
        return
    check_task(kind)
    for run in runs_of(config.distillation.run):
        _, recipe = settings_of(run, False, trust)
        if type(recipe).task != kind.task:
            raise ConfigError(f"distill: {run} is a run of {type(recipe).task}, expected one of {kind.task}")


def runs_of(name: str) -> list[Path]:
    """Folders of the runs that answer: one, or each of several over folds or seeds.

    Raises:
        NotFoundError: There is no such folder.
        ModelError: It holds no finished run, or runs of which one must be chosen.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise NotFoundError(f"distill: there is no folder {folder}, expected that of a finished run on this machine")
    contents.check_readable(folder)
    inner = sorted(part for part in folder.iterdir() if (part / contents.RUN).exists())
    parts = [part for part in inner if part.name.startswith(("fold-", "seed-"))]
    if inner and not parts:
        shown = ", ".join(part.name for part in inner)
        raise ModelError(f"distill: {folder} contains several runs: name one of {shown}")
    for run in [folder, *parts]:
        if not (run / contents.RECIPE).exists():
            raise ModelError(f"distill: {run} has no {contents.RECIPE}, expected the folder of a finished run")
        if not contents.is_complete(run):
            raise ModelError(f"distill: the run in {run} is not finished: give its command again, then this one")
    return parts or [folder]


# --- once the labels of the rows are known -------------------------------------------------------------------------


def check_labels(config: RunConfig, recipe: Recipe) -> list[str]:
    """Refuse a teacher with other labels than the rows, before a model is downloaded.

    Args:
        config: Settings with every guess about the rows filled in.
        recipe: The task, with the labels of the rows.

    Returns:
        A sentence on what is learnt from.

    Raises:
        ConfigError: The labels differ, or are of another kind, or numbers have a temperature.
    """
    settings = config.distillation
    if settings is None:
        return []
    runs, has_numbers = runs_of(settings.run), distillable(recipe).soft_loss() is soft_number_loss
    for run in runs:
        kinds = [config.options.get("problem_type"), settings_of(run, False, True)[0].options.get("problem_type")]
        if kinds[0] != kinds[1]:
            raise ConfigError(
                f"distill: {run} was trained with problem_type={kinds[1]}, and this run has problem_type={kinds[0]}: "
                "give both the same"
            )
        refuse_other_labels(str(run), _labels_of(run), recipe.labels)
    if has_numbers and isinstance(config.distill, dict) and "temperature" in config.distill:
        raise ConfigError("distill.temperature: leave it out, the labels are numbers")
    of_runs = f" ({counted(len(runs), 'model')})" if len(runs) > 1 else ""
    heat = "" if has_numbers else f"temperature {settings.temperature:g}, "
    alone = (
        ": labels, and options of their loss such as class_weights, have no part in it" if settings.weight == 1 else ""
    )
    return [f"distill: learning from {settings.run}{of_runs}, {heat}weight {settings.weight:g} of the loss{alone}"]


def refuse_other_labels(run: str, known: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuse a teacher whose labels are not those of the rows, in any order.

    Raises:
        ConfigError: They are not.
    """
    missing = [name for name in wanted if name not in known]
    extra = [name for name in known if name not in wanted]
    parts = []
    for what, names in (("has no label", missing), ("has the additional label", extra)):
        if names:
            parts.append(f"{what} {', '.join(names[:SHOWN])}{', …' if len(names) > SHOWN else ''}")
    if parts:
        raise ConfigError(
            f"distill: the labels of {run} are not those of the rows, it {' and '.join(parts)}: train the teacher on "
            "rows with the same labels"
        )


def _labels_of(run: Path) -> list[str]:
    """Labels of a finished run, without loading its model."""
    folder = run if (run / "config.json").exists() else run / ADAPTER / CONFIG
    learned = contents.read_json(folder / "config.json").get(LEARNED, {})
    return list(learned.get("labels", []))


# --- what it says --------------------------------------------------------------------------------------------------


def soft_labels(runs: Sequence[Path], rows: Dataset, labels: Sequence[str]) -> list[np.ndarray]:
    """What the teacher says of each row, the mean over its models, as `Distillable.soft_labels` describes it.

    Args:
        runs: From `runs_of`.
        rows: Under the column names of the task.
        labels: In the order that is wanted; empty where the task has none.
    """
    import torch

    sums: list[Any] = [0.0] * len(rows)
    answering = who_answers(runs, rows)
    # Random numbers stay as they are: a run that is resumed, and asks nobody, must draw the same ones.
    with torch.random.fork_rng():
        for run, answers in zip(runs, answering, strict=True):
            indices = np.flatnonzero(answers)
            if len(indices):
                of_run = _soft_labels_of(run, rows.select(indices), labels)
                for index, values in zip(indices.tolist(), of_run, strict=True):
                    sums[index] = sums[index] + values
    return [total / number for total, number in zip(sums, answering.sum(0).tolist(), strict=True)]


def who_answers(runs: Sequence[Path], rows: Dataset) -> np.ndarray:
    """Which of several models are asked about each row, (runs, rows)."""
    if len(runs) == 1:
        return np.ones((1, len(rows)), dtype=bool)
    # A model has learnt the labels of its own rows by heart, and says little more of them than those labels do. How
    # likely the others are, which is what a student learns from, shows where a model did not see the row: so a row of
    # one of the folds is asked of those that were not trained on it, and a new row of all.
    answers = ~trained_on(runs, rows)
    answers[:, ~answers.any(0)] = True  # as of seeds, all of which were trained on the same rows
    return answers


def trained_on(runs: Sequence[Path], rows: Dataset) -> np.ndarray:
    """Whether each run was trained on each row, by its input, (runs, rows); nowhere where its folder does not say."""
    return np.array([_were_trained_on(run, rows) for run in runs])


def _were_trained_on(run: Path, rows: Dataset) -> np.ndarray:
    _, recipe = settings_of(run, False, True)
    known = contents.read_trained_on(run) or set()
    return np.array([key in known for key in input_keys(rows, recipe)], dtype=bool)


def _soft_labels_of(run: Path, rows: Dataset, labels: Sequence[str]) -> list[np.ndarray]:
    """What one model says of rows, which is then no longer in memory."""
    # What its settings name was trusted when they were checked.
    loaded = predictor.load(run, trust=True)
    recipe = loaded.recipe
    refuse_other_labels(str(run), recipe.labels, labels)
    encoded = encode_to_predict(recipe, rows)
    logits = outputs(replace(loaded.inference, keeps_logits=True), encoded)
    soft = distillable(recipe).soft_labels(logits, encoded)
    # By name: the head of the teacher may have its labels in another order.
    order = [recipe.labels.index(name) for name in labels]
    del loaded, logits
    gc.collect()
    release()
    return [values[..., order] if order else values for values in soft]
