"""Scores of answers to questions: of all, by type, and of those that are held out of training."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ..recipe import HIGHER, LOWER, Measure, Metric, Row, detail, together
from ._decision_answers import Reference, likeliest, shares_of
from ._decision_predictions import OTHER_ORDER, rows_by_type
from ._decision_questions import options_key
from ._out_of_scope import of_rows

METRICS: dict[str, Metric] = {
    "accuracy": HIGHER,
    "f1_macro": HIGHER,
    "log_loss": LOWER,
    "brier": detail(LOWER),
    "ece": detail(LOWER),
}
OF_LEVELS: dict[str, Metric] = {"rps": LOWER}
OF_ORDER: dict[str, Metric] = {"order_bias": LOWER}
PARTS = ("seen", "unseen")  # questions that train has, and those that are held out of it


def metrics_of(kinds: Sequence[str], *, has_unseen: bool, has_orders: bool) -> dict[str, Metric]:
    """Metrics of all questions, the accuracy of each part where there are several, those of levels and of orders."""
    parts = [*(kinds if len(kinds) > 1 else ()), *(PARTS if has_unseen else ())]
    by_part = {f"accuracy[{part}]": METRICS["accuracy"] for part in parts}
    return {**METRICS, **by_part, **(OF_LEVELS if "score" in kinds else {}), **(OF_ORDER if has_orders else {})}


def measure(predictions: list[Row], references: list[Reference]) -> Measure:
    """All metrics over all rows, and over those of each type where there are several."""
    parts = [_measure(predictions, references)]
    by_type = rows_by_type(predictions)
    parts_of_rows = dict(by_type) if len(by_type) > 1 else {}
    held = [row.get("unseen", False) for row in predictions]
    for name, is_held in zip(PARTS, (False, True), strict=True):
        if any(held):
            parts_of_rows[name] = [index for index, value in enumerate(held) if value == is_held]
    for kind, rows in parts_of_rows.items():
        if not rows:
            continue
        of_type = _measure([predictions[row] for row in rows], [references[row] for row in rows])
        parts.append(partial(_named, of_rows(of_type, np.array(rows)), kind))
    return together(parts)


def _named(measured: Measure, part: str, weights: np.ndarray) -> dict[str, np.ndarray]:
    """The metrics with the name of a part of the rows."""
    values = {name: value for name, value in measured(weights).items() if name in METRICS}
    return {f"{name}[{part}]": value for name, value in values.items()}


def _measure(predictions: list[Row], references: list[Reference]) -> Measure:
    from ..metrics import _weighted

    shares = [np.array(list(row["scores"].values())) for row in predictions]
    pairs = list(zip(predictions, references, strict=True))
    targets = [np.array(shares_of(reference, list(row["scores"]))) for row, reference in pairs]
    is_right = np.array([row["answer"] == likeliest(reference) for row, reference in pairs])
    chance = np.array([_chance(*pair) for pair in zip(shares, targets, strict=True)])
    predicted, actual = _class_ids(predictions, references)
    classes = int(max(predicted.max(initial=0), actual.max(initial=0))) + 1
    of_labels = partial(_weighted.single_label, predicted, actual, labels=classes)
    sure = np.array([row["score"] for row in predictions])[:, None]
    squared = np.array([_brier(*pair) for pair in zip(shares, targets, strict=True)])
    trusted = partial(_weighted.calibration, sure, is_right[:, None], squared)
    parts: list[Measure] = [partial(_only, of_labels), trusted, _weighted.log_loss(chance)]
    levels = [index for index, row in enumerate(predictions) if row["type"] == "score"]
    if levels:
        ranked = np.array([_rps(shares[index], targets[index]) for index in levels])
        parts.append(partial(_mean_of, "rps", np.array(levels), ranked))
    swapped = [index for index, row in enumerate(predictions) if OTHER_ORDER in row]
    if swapped:
        changes = np.array([predictions[index][OTHER_ORDER] != predictions[index]["answer"] for index in swapped])
        parts.append(partial(_mean_of, "order_bias", np.array(swapped), changes))
    return together(parts)


def _only(measured: Measure, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Accuracy and macro F1 among the scores of labels."""
    return {name: value for name, value in measured(weights).items() if name in METRICS}


def _mean_of(name: str, rows: np.ndarray, values: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Mean over some of the rows; NaN in resamples without any."""
    inside = weights[:, rows]
    number = inside.sum(1)
    return {name: inside @ values / np.where(number > 0, number, np.nan)}


def _chance(shares: np.ndarray, target: np.ndarray) -> float:
    """Probability of the reference, the geometric mean of those that share it; NaN where it is no option."""
    return float(np.exp(target @ np.log(np.maximum(shares, 1e-15)))) if target.any() else np.nan


def _brier(shares: np.ndarray, target: np.ndarray) -> float:
    """Squared distance of the probabilities, halved for two options; a reference that is no option is one more."""
    squared = float(((shares - target) ** 2).sum()) + float(not target.any())
    return squared / 2 if len(shares) == 2 else squared


def _rps(shares: np.ndarray, target: np.ndarray) -> float:
    """Ranked probability score (Epstein 1969), from 0 to 1: mean squared distance of the cumulated probabilities."""
    return float(((np.cumsum(shares) - np.cumsum(target))[:-1] ** 2).mean())


def _class_ids(predictions: list[Row], references: list[Reference]) -> tuple[np.ndarray, np.ndarray]:
    """Number of the option that is predicted, and of the one that is right, (rows,) each.

    Options are the same class in questions with the same options. Where most questions have options of their own, as
    endings of a sentence are, their position is the class.
    """
    keys = [options_key(row["type"], row["scores"]) for row in predictions]
    has_own = len(set(keys)) > len(keys) / 2 and len(keys) > 1
    ids: dict[Any, int] = {}
    predicted: list[int] = []
    actual: list[int] = []
    for row, reference, key in zip(predictions, references, keys, strict=True):
        names: dict[Any, Any] = {
            name: ("position", index) if has_own else (key, name) for index, name in enumerate(row["scores"])
        }
        right = likeliest(reference)
        wanted = names.get(right, ("unknown", right))
        for name, numbers in ((names[row["answer"]], predicted), (wanted, actual)):
            numbers.append(ids.setdefault(name, len(ids)))
    return np.array(predicted, dtype=int), np.array(actual, dtype=int)
