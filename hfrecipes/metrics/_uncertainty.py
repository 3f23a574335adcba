"""95 % intervals from how a metric varies over bootstrap resamples of its units: rows, or groups of rows.

Percentiles of the resamples have no width where all rows are right, and too little where there are few. What is used in
their place depends on whether the metric has a greatest value: `effective_size` and `of_share`, or Student's t. The
script benchmarks/coverage.py measures how often the intervals hold the true value.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np

# Least and greatest value of metrics that do not go from 0 to 1.
RANGES = {
    **dict.fromkeys(("loss", "perplexity", "byte_perplexity", "mse", "mae", "generated_tokens"), (0.0, math.inf)),
    **dict.fromkeys(("matthews_correlation", "pearsonr", "spearmanr"), (-1.0, 1.0)),
    "r2": (-math.inf, 1.0),
}
# Weight of a unit that is right and of one that is wrong, to be added before variances are compared: few groups may be
# alike by chance. With half of it, 90 % of the intervals of 2 or 3 groups hold the true value.
ADDED = 0.1
TAIL = 0.025
_ROUNDING = 1e-9
_FARTHEST = 700.0  # beyond it, the exponential overflows


def numbered(groups: Sequence[Hashable]) -> list[int]:
    """Groups as numbers by first appearance, which do not depend on hashes that differ from process to process."""
    known: dict[Hashable, int] = {}
    return [known.setdefault(group, len(known)) for group in groups]


def independent_units(units: np.ndarray) -> float:
    """Number of units, as if all had the same number of rows (Kish 1965).

    Args:
        units: Number of the unit of each row, (rows,).
    """
    sizes = np.bincount(units)
    return float(sizes.sum() ** 2 / (sizes.astype(float) ** 2).sum())


def interval(
    value: float, draws: np.ndarray, units: np.ndarray, bounds: tuple[float, float], alone: np.ndarray | None = None
) -> list[float]:
    """The 95 % interval of a metric; NaN where it cannot be known.

    Args:
        value: Over all rows.
        draws: Over each resample of units, (resamples,).
        units: Number of the unit of each row, (rows,).
        bounds: Least and greatest value that the metric can take; ignored where it is seen to go beyond them.
        alone: Over single units, (some units,); without them, the metric is taken to depend on all.
    """
    draws = draws[np.isfinite(draws)]
    if not len(draws) or not np.isfinite(value):
        return [math.nan, math.nan]
    low, high = bounds
    is_bounded = low - _ROUNDING <= min(value, draws.min()) and max(value, draws.max()) <= high + _ROUNDING
    at_end = is_bounded and min(value - low, high - value) < _ROUNDING
    size = independent_units(units)
    if alone is not None:
        # Precision, recall and F1 of rows without the label are 0 by convention, even if all is right.
        depends = np.isclose(alone, value) if at_end else np.isfinite(alone)
        size *= float(depends.mean()) or 1.0
    if math.isinf(low):
        return _below(high, value, draws, size)
    if not is_bounded or math.isinf(high):
        return _of_number(value, draws, size)
    scale = high - low
    share = float(np.clip((value - low) / scale, 0, 1))
    variance = 0.0 if at_end else float(draws.var()) / scale**2 * _for_few_groups(units)
    edges = of_share(share, effective_size(share, variance, size))
    return [min(value, low + scale * edges[0]), max(value, low + scale * edges[1])]


def _for_few_groups(units: np.ndarray) -> float:
    """Factor that makes the variance over resamples of groups unbiased; 1 where each row is a group."""
    groups, rows = int(units.max()) + 1, len(units)
    return groups / max(1, groups - 1) * (rows - 1) / rows


def effective_size(share: float, variance: float, units: float) -> float:
    """Number of independent answers, right or wrong, whose share would vary as much (Korn and Graubard 1998).

    `units` where each unit is right or wrong as a whole, more where units are right in part.

    Args:
        share: From 0 to 1.
        variance: Of the share, over resamples of units.
        units: Number of independent units.
    """
    total = units + 2 * ADDED
    mean = (units * share + ADDED) / total
    squares = units**2 * variance + units * (share - mean) ** 2 + ADDED * (mean**2 + (1 - mean) ** 2)
    return max(1.0, mean * (1 - mean) * total**2 / squares - 2 * ADDED)


def of_share(share: float, size: float) -> tuple[float, float]:
    """Interval of a share of so many independent answers (Clopper and Pearson 1934), from 0 to 1.

    Example:
        >>> [round(edge, 3) for edge in of_share(1.0, 20)]
        [0.832, 1.0]
    """
    from scipy.special import betaincinv

    right, wrong = size * share, size * (1 - share)
    return (
        float(betaincinv(right, wrong + 1, TAIL)) if share > 0 else 0.0,
        float(betaincinv(right + 1, wrong, 1 - TAIL)) if share < 1 else 1.0,
    )


def _below(high: float, value: float, draws: np.ndarray, units: float) -> list[float]:
    """Student's t interval of the logarithm of the distance to a greatest value, as R2 has to 1."""
    from scipy.special import stdtrit

    distances = high - draws[draws < high]
    if value >= high or len(distances) < 2 or units <= 1:
        return [float(min(value, draws.min())), high]
    error = float(np.log(distances).std()) * math.sqrt(units / (units - 1))
    factor = math.exp(min(float(stdtrit(units - 1, 1 - TAIL)) * error, _FARTHEST))
    return [high - (high - value) * factor, high - (high - value) / factor]


def _of_number(value: float, draws: np.ndarray, units: float) -> list[float]:
    """Student's t interval with the standard error of the resamples, of the logarithm where all are above 0."""
    from scipy.special import stdtrit

    if units <= 1:
        return [math.nan, math.nan]
    error = float(draws.std()) * math.sqrt(units / (units - 1))
    reach = float(stdtrit(units - 1, 1 - TAIL)) * error
    if min(value, draws.min()) <= 0:
        return [value - reach, value + reach]
    factor = math.exp(min(reach / value, _FARTHEST))
    return [value / factor, value * factor]
