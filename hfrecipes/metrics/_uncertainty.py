"""95 % intervals from how a metric varies over bootstrap resamples of its units: rows, or groups of rows.

Percentiles of the resamples have no width if all rows are right, and too little width if there are few rows. Metrics
between two bounds get the interval of a share instead (`effective_size`, `share_interval`), the others a t interval.
The script benchmarks/coverage.py measures how often the intervals contain the true value.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np

# Least and greatest value of the metrics whose range is not 0 to 1.
RANGES = {
    **dict.fromkeys(
        (
            "loss",
            "log_loss",
            "answerable_log_loss",
            "perplexity",
            "byte_perplexity",
            "mse",
            "mae",
            "cost",
            "generated_tokens",
        ),
        (0.0, math.inf),
    ),
    **dict.fromkeys(("matthews_correlation", "pearsonr", "spearmanr"), (-1.0, 1.0)),
    "r2": (-math.inf, 1.0),
    "set_size": (1.0, math.inf),
}
# Weight of the right unit and the wrong unit that are added before variances are compared, since few groups may agree
# by chance. With half of it, only 90 % of the intervals of 2 or 3 groups contain the true value.
PSEUDO_UNITS = 0.1
TAIL = 0.025  # probability on each side of a 95 % interval
_ROUNDING = 1e-9
_MAX_EXPONENT = 700.0  # beyond it, `math.exp` overflows


def group_indices(groups: Sequence[Hashable]) -> list[int]:
    """A number for each group, by first appearance."""
    # Not the hash: that of a text differs from process to process.
    known: dict[Hashable, int] = {}
    return [known.setdefault(group, len(known)) for group in groups]


def independent_units(units: np.ndarray) -> float:
    """Effective sample size: number of units of equal size with the same information as these (Kish 1965).

    Args:
        units: Index of the unit of each row, (rows,).
    """
    sizes = np.bincount(units)
    return float(sizes.sum() ** 2 / (sizes.astype(float) ** 2).sum())


def interval(
    value: float, draws: np.ndarray, units: np.ndarray, bounds: tuple[float, float], alone: np.ndarray | None = None
) -> list[float]:
    """The 95 % interval of a metric; NaN if it cannot be estimated.

    Args:
        value: The metric over all rows.
        draws: The metric over each resample of units, (resamples,).
        units: Index of the unit of each row, (rows,).
        bounds: Least and greatest value that the metric can take; ignored if any of the values is beyond them.
        alone: The metric over single units, (some units,); None if every unit counts for the metric.
    """
    draws = draws[np.isfinite(draws)]
    if not len(draws) or not np.isfinite(value):
        return [math.nan, math.nan]
    low, high = bounds
    # A metric of the user's may leave the range of 0 to 1 that is assumed for it.
    is_bounded = low - _ROUNDING <= min(value, draws.min()) and max(value, draws.max()) <= high + _ROUNDING
    at_end = is_bounded and min(value - low, high - value) < _ROUNDING
    size = independent_units(units)
    if alone is not None:
        # Precision, recall and F1 of rows without the label are 0 by convention, even if all is right: such rows tell
        # nothing about the metric, and must not narrow its interval.
        depends = np.isclose(alone, value) if at_end else np.isfinite(alone)
        size *= float(depends.mean()) or 1.0
    if math.isinf(low):
        return _below(high, value, draws, size)
    if not is_bounded or math.isinf(high):
        return _of_number(value, draws, size)
    scale = high - low
    # From here on as a share, 0 to 1.
    share = float(np.clip((value - low) / scale, 0, 1))
    variance = 0.0 if at_end else float(draws.var()) / scale**2 * _for_few_groups(units)
    edges = share_interval(share, effective_size(share, variance, size))
    # An interval contains its value whatever the rounding.
    return [min(value, low + scale * edges[0]), max(value, low + scale * edges[1])]


def _for_few_groups(units: np.ndarray) -> float:
    """Factor that makes the variance over resamples of groups unbiased; 1 if each row is a group."""
    groups, rows = int(units.max()) + 1, len(units)
    return groups / max(1, groups - 1) * (rows - 1) / rows


def effective_size(share: float, variance: float, units: float) -> float:
    """Number of independent answers, right or wrong, whose share would vary as much (Korn and Graubard 1998).

    It equals `units` if each unit is right or wrong as a whole, and is greater if units are partly right.

    Args:
        share: Share that is right, 0 to 1.
        variance: Variance of the share over resamples of units.
        units: Number of independent units.
    """
    total = units + 2 * PSEUDO_UNITS
    mean = (units * share + PSEUDO_UNITS) / total
    squares = units**2 * variance + units * (share - mean) ** 2 + PSEUDO_UNITS * (mean**2 + (1 - mean) ** 2)
    return max(1.0, mean * (1 - mean) * total**2 / squares - 2 * PSEUDO_UNITS)


def share_interval(share: float, size: float) -> tuple[float, float]:
    """The 95 % interval of a share of `size` independent answers (Clopper and Pearson 1934), 0 to 1.

    Example:
        >>> [round(edge, 3) for edge in share_interval(1.0, 20)]
        [0.832, 1.0]
    """
    from scipy.special import betaincinv

    right, wrong = size * share, size * (1 - share)
    low, high = 0.0, 1.0
    # The quantile of the beta distribution is undefined where one of its parameters is 0.
    if share > 0:
        low = float(betaincinv(right, wrong + 1, TAIL))
    if share < 1:
        high = float(betaincinv(right + 1, wrong, 1 - TAIL))
    return low, high


def _below(high: float, value: float, draws: np.ndarray, units: float) -> list[float]:
    """Student's t interval of the logarithm of the distance to the greatest value, such as that of R2 to 1."""
    from scipy.special import stdtrit

    distances = high - draws[draws < high]
    if value >= high or len(distances) < 2 or units <= 1:
        return [float(min(value, draws.min())), high]
    error = float(np.log(distances).std()) * math.sqrt(units / (units - 1))
    factor = math.exp(min(float(stdtrit(units - 1, 1 - TAIL)) * error, _MAX_EXPONENT))
    return [high - (high - value) * factor, high - (high - value) / factor]


def _of_number(value: float, draws: np.ndarray, units: float) -> list[float]:
    """Student's t interval with the standard error of the resamples, of the logarithm if all values are above 0."""
    around = reach(draws, units)
    if math.isnan(around):
        return [math.nan, math.nan]
    if min(value, draws.min()) <= 0:
        return [value - around, value + around]
    # By the delta method, the standard error of a logarithm is the standard error over the value.
    factor = math.exp(min(around / value, _MAX_EXPONENT))
    return [value / factor, value * factor]


def reach(draws: np.ndarray, units: float) -> float:
    """Half of the width of Student's t interval with the standard error of the resamples; NaN for a single unit."""
    from scipy.special import stdtrit

    draws = draws[np.isfinite(draws)]
    if units <= 1 or not len(draws):
        return math.nan
    error = float(draws.std()) * math.sqrt(units / (units - 1))
    return float(stdtrit(units - 1, 1 - TAIL)) * error
