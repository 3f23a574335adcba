"""Quality against cost, with the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

from ..errors import MissingPackageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ON, _OFF = "#0b6fa4", "#8a8a8a"
_FAR = 20  # times the smallest price


@dataclass(frozen=True)
class Point:
    """A run in the plot."""

    name: str
    price: float
    score: float
    interval: Sequence[float]
    """Both ends of the 95 % interval of the score."""
    spread: Sequence[float]
    """Quartiles of the price, where it was measured."""
    is_on_front: bool

    @property
    def color(self) -> str:
        """That of the front, or of the others."""
        return _ON if self.is_on_front else _OFF


def empty_figure(width: float = 7, height: float = 4.5) -> Figure:
    """A figure of so many inches.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    try:
        figure = _figure_class()
    except ImportError as error:
        raise MissingPackageError("a plot needs matplotlib: pip install matplotlib") from error
    return figure(figsize=(width, height), layout="constrained")


@cache
def _figure_class() -> type[Figure]:
    """Figures that notebooks show without `%matplotlib inline`, as they show tables."""
    from matplotlib.figure import Figure

    class NotebookFigure(Figure):
        """A figure that is shown where it is the last line of a cell."""

        def _repr_png_(self) -> bytes:
            picture = BytesIO()
            self.savefig(picture, format="png")
            return picture.getvalue()

    return NotebookFigure


def draw(points: Sequence[Point], price: str, score: str) -> Figure:
    """A point for each run, with the interval of its score and the quartiles of its price; steps join the front.

    Args:
        points: The runs.
        price: Label of the axis of costs.
        score: Label of the axis of scores.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    figure = empty_figure()
    axes = figure.add_subplot()
    for index, point in enumerate(sorted(points, key=lambda point: point.price)):
        # Names of neighbours, above and below their points, cover each other less.
        _draw_point(axes, point, above=index % 2 == 0)
    steps = sorted((point.price, point.score) for point in points if point.is_on_front)
    if len(steps) > 1:
        axes.step(*zip(*steps, strict=True), where="post", color=_ON, linewidth=1, linestyle="--", zorder=1)
    axes.set(xlabel=price, ylabel=score)
    axes.set_title("Quality against cost; on the Pareto front in blue", fontsize=11)
    prices = [point.price for point in points]
    # From 0 on, so that models that are about as fast stand side by side; unless some are far larger than others.
    if prices and max(prices) > _FAR * min(prices):
        axes.set_xscale("log")
        axes.margins(x=0.2)
    elif prices:
        axes.set_xlim(0, 1.3 * max(prices))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_point(axes: Any, point: Point, *, above: bool) -> None:
    axes.vlines(point.price, *point.interval, color=point.color, linewidth=1.2)
    axes.hlines(point.score, *point.spread, color=point.color, linewidth=1.2)
    axes.scatter(point.price, point.score, color=point.color, s=36, zorder=2)
    # A dollar in the name of a folder would begin a formula.
    name = point.name.replace("$", r"\$")
    corner = (point.price, point.score)
    axes.annotate(
        name, corner, xytext=(7, 5 if above else -12), textcoords="offset points", fontsize=9, color=point.color
    )
