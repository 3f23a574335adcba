"""Quality against cost: a run and its teacher on the same rows, with their scores, sizes and speeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import predictor
from ..comparing.compare import Loaded, compared_with
from ..comparing.comparison import Comparison
from ..comparing.cost import DASH, Cost, Latency, compact
from ..comparing.runs import Run
from ..errors import counted
from ..evaluation import scoring
from ..evaluation.inference import predict_rows
from ..evaluation.scoring import Scores
from ..evaluation.tables import change
from ..log import once
from ..predictor import Predictor
from ..recipe import Row
from ..run_folder.contents import RunInfo
from . import teacher
from .contract import distillable

if TYPE_CHECKING:
    from ..evaluation.evaluate import Predicted

NAMES = ("this run", "its teacher")
ROWS = 1000  # that seconds are shown for


def quality_against_cost(student: Loaded, runs: Sequence[Path], predicted: Predicted) -> dict[str, Any]:
    """Scores, differences, sizes and speeds of both, as JSON values; their speed is measured here and now.

    Args:
        student: The run, with its predictions.
        runs: Models of the teacher, from `teacher.runs_of`.
        predicted: The rows that were predicted.

    Raises:
        KeyError: Predictions of the teacher have not all that options of the run ask for, such as label sets.
    """
    with once():
        loaded = predictor.load(runs[0], trust=True)
        predictions = _predictions(student, loaded, runs, predicted)
    of_teacher = _as_run(student, loaded, runs[0], predictions, predicted)
    timed = None if student.predictor is None else loaded
    comparison = compared_with(student, Loaded(of_teacher, loaded.recipe, timed), NAMES)
    if len(runs) > 1:
        comparison = _of_several(comparison, len(runs))
    # A row is predicted by those of several models that were not trained on it, where there is one.
    return as_json(comparison, int(teacher.trained_on(runs, predicted.rows).all(axis=0).sum()))


def _predictions(student: Loaded, loaded: Predictor, runs: Sequence[Path], predicted: Predicted) -> list[Row]:
    """Predictions of the teacher; of several models those that follow from the mean of their probabilities."""
    if len(runs) == 1:
        return predict_rows(loaded.inference, predicted.rows)
    soft_labels = teacher.soft_labels(runs, predicted.rows, student.recipe.labels)
    return distillable(student.recipe).predictions_of(soft_labels, predicted.rows)


def _as_run(student: Loaded, loaded: Predictor, path: Path, predictions: list[Row], predicted: Predicted) -> Run:
    """The teacher as a run that was scored on the rows of the student."""
    run = student.run
    lines = []
    for line, prediction in zip(run.lines, predictions, strict=True):
        lines.append({**line, "prediction": prediction})
    seed = run.config.training["seed"]
    scores = scoring.scores(student.recipe, predictions, predicted.references, seed=seed, groups=predicted.groups)
    infos = [RunInfo.read(path) or RunInfo()]
    return Run(str(path), path, path, loaded.config, loaded.recipe, infos, {run.split: scores}, run.split, lines)


def _of_several(comparison: Comparison, number: int) -> Comparison:
    """The comparison with the costs of all models of the teacher, of which one was measured."""
    first, last = comparison.runs
    cost = last.cost
    latency = cost.latency
    together = Cost(
        parameters=None if cost.parameters is None else number * cost.parameters,
        size=None if cost.size is None else number * cost.size,
        latency=None if latency is None else Latency(*(number * value for value in vars(latency).values())),
        rows_per_second=None if cost.rows_per_second is None else cost.rows_per_second / number,
    )
    sentences = [
        *comparison.sentences,
        f"the teacher is the mean of {counted(number, 'model')}: its costs are {number} times those of one, and it has "
        "no thresholds and no temperature that were tuned on validation",
    ]
    return replace(comparison, runs=[first, replace(last, cost=together)], sentences=sentences)


def as_json(comparison: Comparison, seen: int) -> dict[str, Any]:
    """The numbers, and the table that shows them.

    Args:
        comparison: The run, and its teacher.
        seen: Number of the rows that the teacher was trained on.
    """
    metric, rows, runs = comparison.metric, [], {}
    for run in comparison.runs:
        rate = run.cost.rows_per_second
        seconds = None if rate is None else ROWS / rate
        score, difference = run.scores.get(metric), run.differences.get(metric)
        shown = [DASH if score is None else str(score), "" if run.name == comparison.reference else change(difference)]
        speed = DASH if seconds is None else f"{seconds:.3g}"
        rows.append([run.name, *shown, compact(run.cost.parameters), speed])
        scored = {"scores": run.scores, "differences": run.differences}
        runs[run.name] = {
            **scoring.to_json({key: _headline(scores, comparison) for key, scores in scored.items()}),
            "parameters": run.cost.parameters,
            "seconds_per_1000_rows": seconds,
        }
    sentences = list(comparison.sentences)
    if seen:
        sentences.append(
            f"the teacher was trained on {seen} of these {counted(comparison.rows, 'row')}: its score is optimistic, "
            "and that of this run may be"
        )
    heads = ["", f"{comparison.split} {metric}", "difference", "parameters", f"s per {ROWS:,} rows"]
    return {
        "split": comparison.split,
        "rows": comparison.rows,
        "runs": runs,
        "table": [heads, *rows],
        "sentences": sentences,
    }


def _headline(scores: Scores, comparison: Comparison) -> Scores:
    return {name: scores[name] for name in comparison.metrics if name in scores}
