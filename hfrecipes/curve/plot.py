"""The picture of a learning curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..comparing.plot import empty_figure
from ..evaluation.scoring import Score
from .forecast import Band

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLORS = {"validation": "#0b6fa4", "test": "#c2500a"}


def draw(points: Mapping[str, Sequence[tuple[int, Score]]], band: Band | None, score: str) -> Figure:
    """Scores with their intervals by rows, and the fitted curve of validation with its band; dashed beyond train.

    Args:
        points: Split -> number of rows and score of each part.
        band: The fitted curve; None for none.
        score: Label of the axis of scores.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    figure = empty_figure()
    axes = figure.add_subplot()
    for index, (split, scores) in enumerate(points.items()):
        # Side by side, so that the intervals of two splits do not cover each other.
        rows = [number * 1.012**index for number, _ in scores]
        values = [entry.value for _, entry in scores]
        axes.errorbar(rows, values, yerr=_reach(scores), fmt="o", color=_COLORS[split], capsize=2, lw=1.2, label=split)
    if band is not None:
        color, last = _COLORS["validation"], max(number for number, _ in points["validation"])
        axes.fill_between(band.rows, band.low, band.high, color=color, alpha=0.15, lw=0, label="95 % band")
        axes.plot(band.rows, band.value, color=color, lw=1, ls="--", label="power law, fitted to validation")
        axes.axvline(last, color="#8a8a8a", lw=0.8, ls=":")
    axes.set(xlabel="training rows", ylabel=score)
    axes.legend(frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _reach(scores: Sequence[tuple[int, Score]]) -> list[list[float]]:
    """How far the intervals, or one standard deviation over seeds, go below and above the values."""
    below, above = [], []
    for _, score in scores:
        low, high = score.ci95 or [score.value, score.value]
        if score.deviation is not None:
            low, high = score.value - score.deviation, score.value + score.deviation
        below.append(score.value - low)
        above.append(high - score.value)
    return [below, above]
