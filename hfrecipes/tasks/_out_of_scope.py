"""Rows that none of the labels fits: which label says so, and how well doubt tells them from the others."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from ..data.shapes.labels import label_name
from ..errors import ConfigError
from ..recipe import DISTANCE, HIGHER, Measure, Metric, Row, detail

METRICS: dict[str, Metric] = {"out_of_scope_roc_auc": HIGHER}
WITH_ABSTENTION: dict[str, Metric] = {"out_of_scope_abstained": HIGHER}
# By distance, the other area is there to compare.
WITH_DISTANCES: dict[str, Metric] = {"out_of_scope_roc_auc_by_probability": detail(HIGHER)}


def label_of(given: Any, labels_in_train: Collection[str]) -> str:
    """Name of the label that means that no label fits.

    Raises:
        ConfigError: Training rows have it.
    """
    name = label_name(given)
    if name in labels_in_train:
        raise ConfigError(
            f"out_of_scope: train has rows with the label {name!r}, expected it in validation and test alone: leave "
            "the option out, so that it is learnt as others are, or take these rows out of train"
        )
    return name


def of_rows(measure: Measure, rows: np.ndarray) -> Measure:
    """The metrics over some of the rows, whose indices are given; NaN in resamples that have none of them."""

    def measured(weights: np.ndarray) -> dict[str, np.ndarray]:
        inside = weights[:, rows]
        with np.errstate(invalid="ignore", divide="ignore"):
            values = measure(inside)
        is_empty = inside.sum(1) == 0
        return {name: np.where(is_empty, np.nan, value) for name, value in values.items()}

    return measured


def with_distances(predictions: Sequence[Row], distances: Sequence[float]) -> list[Row]:
    """Predictions with the distance of each row from train."""
    return [{**row, DISTANCE: distance} for row, distance in zip(predictions, distances, strict=True)]


def distances_of(predictions: Sequence[Row]) -> np.ndarray | None:
    """Their distances, (rows,); None where predictions have none, as those of the baseline, or during training."""
    known = [row[DISTANCE] for row in predictions if DISTANCE in row]
    return np.array(known) if known and len(known) == len(predictions) else None


def measure(
    confidence: np.ndarray, predictions: list[Row], is_outside: np.ndarray, *, abstains: bool, by_distance: bool
) -> Measure:
    """How well doubt finds the rows out of scope; with abstention the share of them without an answer.

    The area under the ROC curve of the distance where predictions have one (Lee et al. 2018), else of 1 minus the
    probability of the predicted label (Hendrycks and Gimpel 2017).

    Args:
        confidence: Probability of the likeliest label, (rows,).
        predictions: One per row.
        is_outside: Whether a row is out of scope, (rows,).
        abstains: Whether predictions may be no answer.
        by_distance: Whether the area by probability is wanted too.
    """
    from ..metrics import _weighted

    distances = distances_of(predictions)
    doubts = {"out_of_scope_roc_auc": -confidence if distances is None else distances}
    if by_distance:
        doubts["out_of_scope_roc_auc_by_probability"] = -confidence
    ranks = {name: _weighted.ranking(doubt, is_outside) for name, doubt in doubts.items()}
    is_abstained = np.array([prediction.get("abstained", False) for prediction in predictions], dtype=np.float64)

    def measured(weights: np.ndarray) -> dict[str, np.ndarray]:
        values = {name: rank(weights)["roc_auc"] for name, rank in ranks.items()}
        if abstains:
            outside = weights[:, is_outside]
            rows = outside.sum(1)
            values["out_of_scope_abstained"] = outside @ is_abstained[is_outside] / np.where(rows > 0, rows, np.nan)
        return values

    return measured
