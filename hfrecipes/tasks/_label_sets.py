"""Sets of labels that hold the right one as often as was asked for: split conformal prediction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import ConfigError, counted
from ..recipe import HIGHER, IGNORED, LOWER, Metric, Row

METRICS: dict[str, Metric] = {"coverage": HIGHER, "set_size": LOWER}
Coverage = float | dict[str, float]
_NAME = "least_share"


def check_coverage(coverage: Any) -> None:
    """Refuse a coverage that is no share.

    Raises:
        ConfigError: It is none.
    """
    if coverage is None:
        return
    share = coverage["by_label"] if isinstance(coverage, dict) and set(coverage) == {"by_label"} else coverage
    if not (isinstance(share, float | int) and 0 < share < 1):
        raise ConfigError(f"coverage: {coverage}, expected a share between 0 and 1, such as 0.9 or {{by_label: 0.9}}")


def tune(
    shares: np.ndarray, ids: np.ndarray, labels: list[str], coverage: Coverage
) -> tuple[dict[str, float], list[str]]:
    """The probability that a label needs to be in the set of a row, and sentences on it.

    Split conformal prediction with 1 minus the probability of the right label as score (Sadinle et al. 2019): rows that
    are drawn like those of validation have their label in the set with the probability `coverage` at least, if nothing
    else was chosen on validation.

    Args:
        shares: Probabilities, (rows, labels).
        ids: Label id of each row, (rows,); `IGNORED` for a label that the model does not have.
        labels: Names of the labels.
        coverage: Probability that a set holds the right label, of all rows together or of those of each label.
    """
    is_unknown = ids == IGNORED
    # No set holds a label that the model does not have, so such a row counts as the least probable one.
    of_right = np.where(is_unknown, 0.0, shares[np.arange(len(ids)), np.where(is_unknown, 0, ids)])
    if not isinstance(coverage, dict):
        least = _least(of_right, coverage)
        return {_NAME: least}, [f"label sets: {_about(least, len(ids), int(is_unknown.sum()), coverage)}"]
    numbers, too_few = {}, []
    for index, name in enumerate(labels):
        numbers[f"{_NAME}[{name}]"] = _least(of_right[ids == index], coverage["by_label"])
        if numbers[f"{_NAME}[{name}]"] == 0:
            too_few.append(name)
    lowest, highest = min(numbers.values()), max(numbers.values())
    sentences = [f"label sets: labels with a probability of {lowest:.3g} to {highest:.3g} or more, by label"]
    if too_few:
        shown = ", ".join(too_few[:6]) + (", …" if len(too_few) > 6 else "")
        sentences.append(f"label sets: too few validation rows of {shown}, which are in all sets")
    return numbers, sentences


def _about(least: float, rows: int, unknown: int, coverage: float) -> str:
    """What is in a set, and why that is all labels where it is."""
    among = counted(rows, "validation row")
    if least > 0:
        return f"labels with a probability of {least:.3g} or more, from {among}"
    if _least(np.ones(rows), coverage) and unknown:
        return (
            f"{unknown} of {among} have labels that train does not have, so a coverage of {coverage:g} cannot be "
            "promised, and sets hold all labels"
        )
    return f"{among} are too few for a coverage of {coverage:g}, so sets hold all labels"


def _least(of_right: np.ndarray, coverage: float) -> float:
    """The probability that enough of the right labels reach, with one more row that is not known yet."""
    missed = int(np.floor((len(of_right) + 1) * (1 - coverage) + 1e-9))
    # The row that is not known yet may be the least probable one.
    return float(np.sort(of_right)[missed - 1]) if missed else 0.0


def with_sets(predictions: list[Row], shares: np.ndarray, labels: list[str], numbers: Mapping[str, float]) -> list[Row]:
    """Predictions with `label_set`, the labels that may be right, the most probable one first.

    The predicted label is always among them.
    """
    if not any(name.startswith(_NAME) for name in numbers):
        return predictions
    together = numbers.get(_NAME, 0.0)
    least = np.array([numbers.get(f"{_NAME}[{name}]", together) for name in labels])
    is_in = shares >= least
    predicted = [labels.index(prediction["label"]) for prediction in predictions]
    is_in[np.arange(len(shares)), predicted] = True
    added: list[Row] = []
    for prediction, order, inside in zip(predictions, np.argsort(-shares, axis=1), is_in, strict=True):
        added.append({**prediction, "label_set": [labels[index] for index in order if inside[index]]})
    return added


def measure(predictions: list[Row], references: list[str]) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Share of the rows whose set holds the right label, and the mean number of labels in a set."""
    sets = [prediction.get("label_set", [prediction["label"]]) for prediction in predictions]
    covered = np.array([reference in names for reference, names in zip(references, sets, strict=True)], dtype=float)
    sizes = np.array([len(names) for names in sets], dtype=float)

    def measured(weights: np.ndarray) -> dict[str, np.ndarray]:
        rows = weights.sum(1)
        return {"coverage": weights @ covered / rows, "set_size": weights @ sizes / rows}

    return measured
