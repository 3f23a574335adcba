"""Whether two runs differ by more than chance on the rows that both were scored on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..evaluation.scoring import Score
from ..metrics._uncertainty import TAIL, independent_units

if TYPE_CHECKING:
    from ..recipe import Recipe, Row

LEVEL = 0.05  # probability below which a difference is called significant
MCNEMAR, BOOTSTRAP = "McNemar", "paired bootstrap"


def mcnemar(right: np.ndarray, other: np.ndarray) -> float:
    """Exact test of McNemar (1947): two-sided, over the rows that only one of two models has right.

    Args:
        right: Whether the first model is right, for each row.
        other: The same of the second model.

    Example:
        >>> mcnemar(np.array([True, True, False]), np.array([True, True, False]))
        1.0
    """
    from scipy.special import bdtr

    only_first, only_second = int((right & ~other).sum()), int((other & ~right).sum())
    discordant = only_first + only_second
    if not discordant:
        return 1.0
    # The exact binomial test is used for any number of rows: it costs nothing, and needs no correction for few.
    return min(1.0, 2 * float(bdtr(min(only_first, only_second), discordant, 0.5)))


def bootstrap_test(difference: Score, units: np.ndarray) -> float:
    """Two-sided probability that belongs to the 95 % interval of a paired difference; NaN where there is none.

    Args:
        difference: As `scoring.paired_differences` gives it: Student's t interval with the error of the resamples.
        units: Index of the unit of each row.
    """
    from scipy.special import stdtr, stdtrit

    reach = math.nan if difference.high is None else difference.high - difference.value
    size = independent_units(units)
    if not math.isfinite(reach) or size <= 1:
        return math.nan
    if difference.value == 0:
        return 1.0
    # Not even a difference that is the same in all rows is surer than if each sign had been tossed.
    least = math.pow(2.0, 1 - size)
    if reach == 0:
        return least
    error = reach / float(stdtrit(size - 1, 1 - TAIL))
    return max(least, 2 * float(stdtr(size - 1, -abs(difference.value) / error)))


def holm(values: Sequence[float]) -> list[float]:
    """Probabilities of several tests, adjusted for their number (Holm 1979); NaN is no test, and stays.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    tested = sorted((value, index) for index, value in enumerate(values) if not math.isnan(value))
    adjusted, largest = list(values), 0.0
    for rank, (value, index) in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - rank) * value))
        adjusted[index] = largest
    return adjusted


def rows_right(
    recipe: Recipe, predictions: Sequence[Row], references: Sequence[Any], accuracy: float
) -> np.ndarray | None:
    """Whether each row is right; None where accuracy is no share of rows, as over tags, tokens or sets of labels."""
    key = recipe.prediction
    if key is None:
        return None
    right = []
    for prediction, reference in zip(predictions, references, strict=True):
        if not isinstance(reference, str | int) or not isinstance(prediction.get(key), str | int):
            return None
        right.append(prediction[key] == reference)
    is_share = bool(right) and math.isclose(float(np.mean(right)), accuracy, abs_tol=1e-5)
    return np.array(right) if is_share else None
