"""The page of a search: its trials, the default settings against the chosen ones, and pictures of both."""

from __future__ import annotations

from dataclasses import asdict
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ..comparing.comparison import cost_cells, score_cells
from ..comparing.files import as_svg, html_page, paragraphs
from ..comparing.plot import empty_figure
from ..config.yaml12 import format_value
from ..errors import counted
from ..evaluation.tables import html_table
from ..run_folder.contents import REPORT_PAGE
from ..run_folder.writing import write_text
from .outcome import COLUMNS, Search, shown_costs, trial_cells
from .study import Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BEST, _OTHER, _DEFAULT = "#0b6fa4", "#8a8a8a", "#c2570c"
_WIDE = 20  # times the smallest number, from which on an axis is logarithmic


def write_page(search: Search) -> None:
    """Write the page; without matplotlib it has no pictures."""
    body = html_table(*trial_cells(search)) + paragraphs(search.sentences)
    if search.comparison is not None:
        comparison = search.comparison
        body += "<h2>The default settings against the chosen ones</h2>"
        body += html_table(*score_cells(comparison)) + html_table(*cost_cells(comparison))
        body += paragraphs(comparison.sentences)
    if find_spec("matplotlib") is not None:
        body += f"<h2>{search.metric} by trial and setting</h2>{as_svg(draw(search))}"
    write_text(search.path / REPORT_PAGE, html_page(f"Search of {counted(len(search.trials) - 1, 'trial')}", body))


def draw(search: Search) -> Figure:
    """The score of each trial in its order, against each setting, and against what it has cost."""
    trials = [trial for trial in search.trials if trial.score is not None]
    settings = list(next((trial.values for trial in trials if trial.number), {}))
    pictures: list[tuple[str, list[Any]]] = [("trial", [trial.number for trial in trials])]
    for name in settings:
        pictures.append((name, [trial.values.get(name) for trial in trials]))
    for cost in shown_costs(search):
        pictures.append((COLUMNS[cost][0], [asdict(trial.costs)[cost] for trial in trials]))
    rows = (len(pictures) + 1) // 2
    figure = empty_figure(9, 3 * rows)
    for index, (label, positions) in enumerate(pictures, 1):
        axes = figure.add_subplot(rows, 2, index)
        _draw_points(axes, search, trials, positions)
        axes.set(xlabel=label, ylabel=search.metric)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_points(axes: Axes, search: Search, trials: list[Trial], positions: list[Any]) -> None:
    """A point for each trial that has a value there; settings that are no numbers are names on the axis."""
    known = [position for position in positions if position is not None]
    is_number = all(isinstance(position, int | float) and not isinstance(position, bool) for position in known)
    if not is_number:
        positions = [None if position is None else format_value(position)[:30] for position in positions]
    for trial, position in zip(trials, positions, strict=True):
        if position is None or trial.score is None:
            continue
        color = _DEFAULT if not trial.number else _OTHER
        if search.best.path.name.endswith(f"-{trial.number}"):
            color = _BEST
        axes.scatter(position, trial.score, color=color, s=30, marker="o" if trial.state == "complete" else "x")
    if is_number and known and min(known) > 0 and max(known) > _WIDE * min(known):
        axes.set_xscale("log")
