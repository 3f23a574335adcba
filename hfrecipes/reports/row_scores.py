"""A number for each row that says how badly it was predicted: its loss, or its score by the metric of the task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..recipe import Recipe, Row, metric_named
from .run_data import PredictedRow

_TOGETHER = 200  # rows that are measured in one go, each as a resample of its own
_TINY = 1e-12


@dataclass(frozen=True)
class RowScores:
    """The number of each row."""

    name: str
    """`loss`, or the metric."""
    values: np.ndarray
    """One per row; NaN where it cannot be known."""
    lower_is_better: bool

    def worst(self, number: int) -> list[int]:
        """Indices of the worst rows, the worst first."""
        badness = self.values if self.lower_is_better else -self.values
        known = np.flatnonzero(np.isfinite(self.values))
        order = known[np.argsort(-badness[known], kind="stable")]
        return [int(index) for index in order[:number]]


def row_scores(recipe: Recipe, rows: Sequence[PredictedRow]) -> RowScores | None:
    """The loss of each row where its prediction holds probabilities, else its score by the first metric that has one.

    Args:
        recipe: The task.
        rows: Rows with a reference.
    """
    if not rows:
        return None
    losses = [row_loss(row.prediction, row.reference) for row in rows]
    known = [math.nan if loss is None else loss for loss in losses]
    if any(map(math.isfinite, known)):
        return RowScores("loss", np.array(known), lower_is_better=True)
    return measured_rows(recipe, rows)


def row_loss(prediction: Row, reference: Any) -> float | None:
    """Negative log probability of the reference, summed over labels where there are several; None without any.

    Example:
        >>> round(row_loss({"scores": {"a": 0.5, "b": 0.5}}, "a"), 3)
        0.693
        >>> row_loss({"loss": 2.5, "tokens": 3}, True)
        2.5
    """
    loss, scores = prediction.get("loss"), prediction.get("scores")
    if isinstance(loss, int | float):
        return float(loss)
    if isinstance(scores, dict) and isinstance(reference, str):
        return _log_loss(scores.get(reference, 0.0))
    if isinstance(scores, dict) and isinstance(reference, list):
        others = [_log_loss(1.0 - share) for name, share in scores.items() if name not in reference]
        return sum(others) + sum(_log_loss(scores.get(name, 0.0)) for name in reference)
    # Choices: the reference is the index of a probability. Tags have a probability for each word, and no such index.
    if isinstance(scores, list) and isinstance(reference, int) and 0 <= reference < len(scores):
        return _log_loss(scores[reference])
    return None


def _log_loss(share: float) -> float:
    return -math.log(max(share, _TINY))


def measured_rows(recipe: Recipe, rows: Sequence[PredictedRow]) -> RowScores | None:
    """The score of each row by the first metric of the task that a row has by itself; None where no metric has."""
    parts: dict[str, list[np.ndarray]] = {}
    # A row without a text of the model has nothing that could be measured.
    scored = [index for index, row in enumerate(rows) if recipe.prediction in row.prediction]
    for start in range(0, len(scored), _TOGETHER):
        some = [rows[index] for index in scored[start : start + _TOGETHER]]
        measure = recipe.measure([row.prediction for row in some], [row.reference for row in some])
        with np.errstate(all="ignore"):
            for name, values in measure(np.eye(len(some), dtype=np.float32)).items():
                parts.setdefault(name, []).append(np.asarray(values, dtype=float))
    for name in recipe.metrics:
        values = np.full(len(rows), math.nan)
        if name in parts:
            together = np.concatenate(parts[name])
            if len(together) == len(scored):
                values[scored] = together
        if scored and np.isfinite(values[scored]).all():
            metric = metric_named(recipe, name)
            return RowScores(name, values, lower_is_better=metric is not None and not metric.greater_is_better)
    return None
