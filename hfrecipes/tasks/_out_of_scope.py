"""Rows that none of the labels fits: which label says so, and how well low probabilities tell them from the others."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from ..data.shapes.labels import label_name
from ..errors import ConfigError
from ..recipe import HIGHER, Measure, Metric, Row

METRICS: dict[str, Metric] = {"out_of_scope_roc_auc": HIGHER}
WITH_ABSTENTION: dict[str, Metric] = {"out_of_scope_abstained": HIGHER}


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


def measure(confidence: np.ndarray, predictions: list[Row], is_outside: np.ndarray, *, abstains: bool) -> Measure:
    """How well low probabilities find the rows out of scope; with abstention the share of them without an answer.

    Hendrycks and Gimpel 2017: the area under the ROC curve of 1 minus the probability of the predicted label.

    Args:
        confidence: Probability of the likeliest label, (rows,).
        predictions: One per row.
        is_outside: Whether a row is out of scope, (rows,).
        abstains: Whether predictions may be no answer.
    """
    from ..metrics import _weighted

    rank = _weighted.ranking(-confidence, is_outside)
    is_abstained = np.array([prediction.get("abstained", False) for prediction in predictions], dtype=np.float64)

    def measured(weights: np.ndarray) -> dict[str, np.ndarray]:
        values = {"out_of_scope_roc_auc": rank(weights)["roc_auc"]}
        if abstains:
            outside = weights[:, is_outside]
            rows = outside.sum(1)
            values["out_of_scope_abstained"] = outside @ is_abstained[is_outside] / np.where(rows > 0, rows, np.nan)
        return values

    return measured
