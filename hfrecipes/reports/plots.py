"""Plots of a page as SVG whose colours are those of the page, so that they can be read in light and dark."""

from __future__ import annotations

import io
import math
import re
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from ..characters import within
from .page import Bars, Lines, Matrix, Plot

INSTALL = "pip install matplotlib"
WIDE = 12  # labels from which a matrix has the whole width of the page
_SIZE = 8.5  # points of the texts
_WIDTH, _HEIGHT = 4.8, 3.0  # inches
_LONGEST = 28  # characters of a label
_NAMED = 12  # series that a legend names
_DASHES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1)), (0, (1, 3)))
# matplotlib knows no variables of CSS, so each color stands for one until the SVG is written.
_TEXT, _MUTED, _LINE, _PAPER = "#010101", "#020202", "#030303", "#040404"
_SERIES = tuple(f"#0505{number:02x}" for number in range(1, 7))
_VARIABLES = {_TEXT: "currentColor", _MUTED: "var(--muted)", _LINE: "var(--line)", _PAPER: "var(--paper)"}
_VARIABLES |= {color: f"var(--series-{number})" for number, color in enumerate(_SERIES, 1)}
# A file of its own is shown on pages of any color.
_ON_WHITE = {_TEXT: "#1c2430", _MUTED: "#5b6675", _LINE: "#d9dee5", _PAPER: "#ffffff"}
_ON_WHITE |= dict(zip(_SERIES, ("#0b62c4", "#c2500a", "#13795b", "#8b3fb5", "#a8305a", "#6b6b16"), strict=True))


def are_available() -> bool:
    """Whether matplotlib, which draws them, is installed."""
    return find_spec("matplotlib") is not None


def is_wide(plot: Plot) -> bool:
    """Whether a plot needs the whole width of the page."""
    return isinstance(plot, Matrix) and len(plot.labels) > WIDE


def svg(plot: Plot, name: str) -> str:
    """The plot as an element of a page, whose variables of CSS it takes its colors from.

    Args:
        plot: What is drawn.
        name: Prefix of its ids, which no other plot of the page has.
    """
    text = _element(plot, name, _VARIABLES)
    width = float(re.search(r'width="([\d.]+)pt"', text)[1])  # type: ignore[index]
    text = re.sub(r'(<svg [^>]*?)height="[\d.]+pt"', r"\1", text, count=1)
    return re.sub(r'width="[\d.]+pt"', f'style="min-width: {width:.0f}px"' if is_wide(plot) else "", text, count=1)


def svg_file(plot: Plot, name: str) -> str:
    """The plot as a file of its own, on white."""
    text = _element(plot, name, _ON_WHITE).replace("font-family: inherit", "font-family: sans-serif")
    start = text.index(">") + 1
    return f'{text[:start]}<rect width="100%" height="100%" fill="{_ON_WHITE[_PAPER]}"/>{text[start:]}'


def _element(plot: Plot, name: str, colors: Mapping[str, str]) -> str:
    from matplotlib import rc_context

    settings = {"svg.fonttype": "none", "svg.hashsalt": name, "font.size": _SIZE, "text.parse_math": False}
    settings |= dict.fromkeys(("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), _TEXT)
    settings |= dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), _MUTED)
    settings |= {"axes.spines.top": False, "axes.spines.right": False, "axes.facecolor": "none"}
    unsaid = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    file = io.StringIO()
    with rc_context(settings), warnings.catch_warnings():
        # A glyph that matplotlib's own font lacks is drawn by the browser, since texts stay texts.
        warnings.simplefilter("ignore")
        _draw(plot).savefig(file, format="svg", transparent=True, metadata=unsaid)
    return _cleaned(file.getvalue(), name, plot, colors)


def _draw(plot: Plot) -> Any:
    if isinstance(plot, Lines):
        return _lines(plot)
    return _bars(plot) if isinstance(plot, Bars) else _matrix(plot)


def _cleaned(text: str, name: str, plot: Plot, colors: Mapping[str, str]) -> str:
    """The element alone, with ids, fonts and colors of its own, and a text for those who do not see it."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', text)
    text = re.sub(r"font: ((?:\w+ )*)([\d.]+)px [^;\"]*", r"font-size: \2px; font-family: inherit", text)
    for color, value in colors.items():
        text = text.replace(color, value)
    return text.replace("<svg ", f'<svg role="img" aria-label="{_attribute(plot.title)}" ', 1)


def _attribute(text: str) -> str:
    from markupsafe import escape

    return str(escape(text))


# --- lines -------------------------------------------------------------------------------------------------------


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, figure.add_axes((0, 0, 1, 1))


def _inset(axes: Any, width: float, height: float, left: float, bottom: float, right: float, top: float) -> None:
    """Leave room around the axes, in inches."""
    axes.set_position((left / width, bottom / height, (width - left - right) / width, (height - bottom - top) / height))


def _lines(plot: Lines) -> Any:
    figure, axes = _figure(_WIDTH, _HEIGHT)
    rows = math.ceil(_legend_entries(plot) / 3)
    if plot.has_diagonal:
        axes.plot([0, 1], [0, 1], color=_MUTED, linewidth=1, linestyle=":")
    for index, series in enumerate(plot.series):
        color, dashes = _SERIES[index % len(_SERIES)], _DASHES[index % len(_DASHES)]
        if series.is_dots:
            axes.plot(series.xs, series.ys, "o", color=color, markersize=3, alpha=0.5, label=series.name)
        else:
            marker = "o" if len(series.xs) <= 20 else ""
            axes.plot(
                series.xs, series.ys, color=color, linestyle=dashes, marker=marker, markersize=3.5, label=series.name
            )
    if plot.mark is not None:
        axes.axvline(plot.mark, color=_MUTED, linewidth=1, linestyle="--", label=plot.mark_name or None)
    if plot.is_share:
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    if plot.is_step:
        axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(color=_LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel(plot.x)
    axes.set_ylabel(plot.y)
    # The name of the axis stands left of its numbers, whose digits depend on the values.
    numbers = axes.yaxis.get_major_formatter().format_ticks(axes.get_yticks())
    _inset(axes, _WIDTH, _HEIGHT, max(0.55, _widest(numbers) + 0.28), 0.5, 0.12, 0.12 + 0.2 * rows)
    if rows:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, frameon=False, borderaxespad=0.1)
    return figure


def _legend_entries(plot: Lines) -> int:
    """Number of names in the legend; none where there is nothing to tell apart, or more than can be told apart."""
    entries = len(plot.series) + (plot.mark is not None and bool(plot.mark_name))
    return entries if 1 < entries <= _NAMED else 0


# --- bars --------------------------------------------------------------------------------------------------------


def _bars(plot: Bars) -> Any:
    names = list(map(_shortened, plot.names))
    height = max(1.2, 0.24 * len(names) + 0.75)
    figure, axes = _figure(_WIDTH, height)
    _inset(axes, _WIDTH, height, _widest(names) + 0.15, 0.45, 0.2, 0.28 if plot.marks else 0.1)
    heights = range(len(names))
    axes.barh(heights, plot.values, height=0.62, color=_SERIES[0], alpha=0.75)
    for y, interval in zip(heights, plot.intervals, strict=False):
        if interval is not None:
            axes.plot(interval, [y, y], color=_TEXT, linewidth=1.2, marker="|", markersize=5)
    marked = [(mark, y) for mark, y in zip(plot.marks, heights, strict=False) if mark is not None]
    if marked:
        xs, ys = zip(*marked, strict=True)
        axes.plot(xs, ys, "D", color=_SERIES[1], markersize=4.5, label=plot.mark_name)
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1.0), frameon=False, borderaxespad=0.1)
    axes.set_yticks(heights, names)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.grid(axis="x", color=_LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel(plot.x)
    return figure


# --- matrix ------------------------------------------------------------------------------------------------------


def _matrix(plot: Matrix) -> Any:
    names, number = list(map(_shortened, plot.labels)), len(plot.labels)
    is_turned = number > 3 or _widest(names) > 0.9
    cell = max(0.17, min(0.62, (_WIDTH - _widest(names) - 0.4) / number))
    left, top = _widest(names) + 0.2, (_widest(names) if is_turned else 0.2) + 0.2
    width, height = left + cell * number + 0.1, top + cell * number + 0.1
    # Small matrices would be drawn larger than other plots, were they not as wide.
    shift = max(0.0, (_WIDTH - width) / 2)
    figure, axes = _figure(width + 2 * shift, height)
    _inset(axes, width + 2 * shift, height, left + shift, 0.1, 0.1 + shift, top)
    for row, counts in enumerate(plot.counts):
        for column, count in enumerate(counts):
            if count:
                _draw_cell(axes, row, column, count / max(1, sum(counts)), count, size=min(_SIZE, cell * 26))
    axes.set(xlim=(-0.5, number - 0.5), ylim=(number - 0.5, -0.5))
    axes.xaxis.tick_top()
    axes.set_xticks(range(number), names, rotation=90 if is_turned else 0)
    axes.set_yticks(range(number), names)
    axes.tick_params(length=0, labelsize=min(_SIZE, cell * 44))
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(_LINE)
    return figure


def _draw_cell(axes: Any, row: int, column: int, share: float, count: int, size: float) -> None:
    """A cell, the darker the larger its share of the row; errors in another color than what is right."""
    from matplotlib.patches import Rectangle

    color = _SERIES[0] if row == column else _SERIES[1]
    strength = 0.12 + 0.83 * share
    axes.add_patch(Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, facecolor=color, alpha=strength, linewidth=0))
    ink = _PAPER if strength > 0.6 else _TEXT
    axes.text(column, row, f"{count}", ha="center", va="center", color=ink, fontsize=size)


def _shortened(name: str) -> str:
    return within(" ".join(name.split()), _LONGEST)


def _widest(names: Sequence[str]) -> float:
    """Inches that the longest name takes; Chinese characters are twice as wide as letters."""
    return max((sum(map(_width, name)) for name in names), default=0.0) * _SIZE / 72


def _width(character: str) -> float:
    return 1.05 if unicodedata.east_asian_width(character) in "WF" else 0.58
