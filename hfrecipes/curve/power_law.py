"""Power laws through scores at growing numbers of training rows.

The error of a model falls with its training rows about as a power of their number, until it comes near to what no model
can avoid (Hestness et al. 2017). Later parts say more about what follows, and count for more (Figueroa et al. 2012).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# From nearly the logarithm of the rows, without an end in sight, to scores that hardly change after a few parts. With
# steeper ones, any chance rise at the start would look like the end of the curve.
EXPONENTS = np.geomspace(0.05, 2.0, 40)


@dataclass(frozen=True)
class PowerLaws:
    """Fits `score = a - b * (rows / scale) ** -c`, one for each resample, where greater scores are better."""

    a: np.ndarray
    """Score that is approached with ever more rows, (resamples,)."""
    b: np.ndarray
    """Distance to it at `scale` rows; negative where scores fall with more rows."""
    c: np.ndarray
    scale: float
    """Largest number of rows that was fitted."""

    def at(self, rows: np.ndarray) -> np.ndarray:
        """Scores at numbers of rows, (resamples, numbers)."""
        powers = (np.asarray(rows, dtype=float) / self.scale) ** -self.c[:, None]
        return np.asarray(self.a[:, None] - self.b[:, None] * powers)


def fit(rows: np.ndarray, scores: np.ndarray, errors: np.ndarray, best: float) -> PowerLaws:
    """The power law with the least squares for each resample, weighted by the errors and by the rows.

    With a given exponent, the other two numbers follow in closed form (variable projection, Golub and Pereyra 1973), so
    the fit looks at all exponents of a grid: it needs no start, and cannot get stuck.

    Args:
        rows: Number of training rows of each part, (parts,).
        scores: Score of each part in each resample, greater ones better, (resamples, parts).
        errors: Standard error of each part, (parts,).
        best: Best possible score, which no fit goes beyond; infinity for none.

    Example:
        >>> rows = np.array([100, 200, 300, 400])
        >>> law = fit(rows, 0.9 - 2.0 * rows[None] ** -0.5, np.full(4, 0.01), best=1.0)
        >>> law.at(np.array([800])).round(2).tolist()
        [[0.83]]
    """
    rows = np.asarray(rows, dtype=float)
    scale = float(rows.max())
    weights = rows / np.asarray(errors) ** 2
    weights = weights / weights.sum()
    least = np.full(len(scores), np.inf)
    a, b, c = np.zeros(len(scores)), np.zeros(len(scores)), np.zeros(len(scores))
    for exponent in EXPONENTS:
        powers = (rows / scale) ** -exponent
        end, distance = _line(powers, scores, weights, best)
        squares = (scores - end[:, None] + distance[:, None] * powers) ** 2 @ weights
        # A worse fit by the last digits of floats is no better one.
        is_better = squares < least * (1 - 1e-9)
        least[is_better] = squares[is_better]
        a[is_better], b[is_better], c[is_better] = end[is_better], distance[is_better], exponent
    return PowerLaws(a, b, c, scale)


def _line(powers: np.ndarray, scores: np.ndarray, weights: np.ndarray, best: float) -> tuple[np.ndarray, np.ndarray]:
    """`a` and `b` for a given exponent: a weighted straight line, whose end is `best` where it would be beyond."""
    mean_power, mean_score = weights @ powers, scores @ weights
    away = powers - mean_power
    slope = (scores - mean_score[:, None]) @ (weights * away) / (weights @ away**2)
    end = mean_score - slope * mean_power
    if np.isinf(best):
        return end, -slope
    # Squares are convex in both numbers, so the best fit within the limit lies on the limit.
    at_limit = (best - scores) @ (weights * powers) / (weights @ powers**2)
    is_beyond = end > best
    return np.where(is_beyond, best, end), np.where(is_beyond, at_limit, -slope)
