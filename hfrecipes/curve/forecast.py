"""What more training rows would bring, from the scores at fewer, with its uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..evaluation.scoring import Score
from ..metrics._uncertainty import TAIL
from .power_law import fit

DRAWS = 1000  # resamples
MORE = 2  # times the rows that there are
_WIDTH = 3.92  # of a 95 % interval, in standard errors
_NUMBERS = 3  # of a power law
_POINTS = 60  # of the band in the picture


@dataclass(frozen=True)
class Band:
    """The mean of the fitted curves and their 95 % interval, by rows, for the picture."""

    rows: Sequence[float]
    value: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


@dataclass(frozen=True)
class Forecast:
    """What is expected of more rows, if the curve goes on as a power law.

    Attributes:
        rows: Number of training rows it is about.
        score: Expected score with its 95 % interval.
        gain: Expected score minus the one that the curve has at all rows of train, with its 95 % interval.
        band: The mean of the fitted curves, with their interval.
    """

    rows: int
    score: Score
    gain: Score
    band: Band


def standard_errors(runs: Sequence[Sequence[Score]]) -> np.ndarray:
    """Standard error of the mean score of each part, (parts,); NaN where it is not known.

    The larger one of two: what the intervals of the scores say, and how far seeds differ, over all parts together.

    Args:
        runs: Scores of the runs of each part.
    """
    of_intervals, variances = [], []
    for scores in runs:
        widths = [math.nan if score.ci95 is None else score.ci95[1] - score.ci95[0] for score in scores]
        values = [score.value for score in scores]
        of_intervals.append(float(np.mean(widths)) / _WIDTH)
        variances.append(float(np.var(values, ddof=1)) if len(values) > 1 else 0.0)
    errors = np.fmax(np.array(of_intervals), math.sqrt(float(np.mean(variances))))
    return np.asarray(errors / math.sqrt(len(runs[0])))


def forecast(
    rows: Sequence[int],
    scores: Sequence[float],
    errors: np.ndarray,
    *,
    bounds: tuple[float, float],
    greater_is_better: bool,
    seed: int,
) -> Forecast | None:
    """The expected score at twice the rows; None where the scores, or their errors, are not known.

    Args:
        rows: Number of training rows of each part.
        scores: Score of each part.
        errors: Standard error of each.
        bounds: Least and greatest possible score.
        greater_is_better: Whether greater scores are better.
        seed: Seed of the resamples.

    Example:
        >>> rows = [200, 400, 600, 800]
        >>> scores = [0.9 - 2.0 * number**-0.5 for number in rows]
        >>> made = forecast(rows, scores, np.full(4, 0.001), bounds=(0, 1), greater_is_better=True, seed=1)
        >>> made.rows, round(made.score.value, 3), round(made.gain.value, 3)
        (1600, 0.85, 0.021)
    """
    values = np.array(scores, dtype=float)
    if not (np.isfinite(values).all() and np.isfinite(errors).all() and (errors > 0).all()):
        return None
    sign = 1.0 if greater_is_better else -1.0
    low, high = sorted(sign * bound for bound in bounds)
    counts = np.array(rows, dtype=float)
    law = fit(counts, sign * values[None], errors, high)
    draws = np.random.default_rng(seed).normal(size=(DRAWS, len(values)))
    resamples = sign * values + draws * errors * _scatter(sign * values - law.at(counts)[0], errors)
    points = np.concatenate([np.geomspace(counts[0], MORE * counts[-1], _POINTS), counts[-1:]])
    # No promise goes beyond what the metric can be.
    drawn = sign * np.clip(fit(counts, resamples, errors, high).at(points), low, high)
    band = Band(*(column[:-1].tolist() for column in (points, drawn.mean(axis=0), *_edges(drawn))))
    return Forecast(int(MORE * rows[-1]), _expected(drawn[:, -2]), _expected(drawn[:, -2] - drawn[:, -1]), band)


def _scatter(residuals: np.ndarray, errors: np.ndarray) -> float:
    """How many times as far the scores are from the curve as their errors allow, 1 at least (Birge 1932).

    It takes in what the intervals do not know of, such as the luck of a training.
    """
    free = len(residuals) - _NUMBERS
    if free < 1:
        return 1.0
    return max(1.0, math.sqrt(float(np.sum((residuals / errors) ** 2)) / free))


def _expected(draws: np.ndarray) -> Score:
    """The mean over the resampled curves, which errs less than the one curve through the scores (Breiman 1996)."""
    value, (low, high) = float(draws.mean()), _edges(draws)
    # Of a few far values the mean may be beyond the quantiles.
    return Score(value, min(float(low), value), max(float(high), value))


def _edges(draws: np.ndarray) -> np.ndarray:
    return np.asarray(np.quantile(draws, [TAIL, 1 - TAIL], axis=0))
