"""Losses and scores by step of the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...recipe import best_metric
from ...run_folder.history import FIRST, History
from ..page import Block, Lines, Section, Series, Table, score_cell
from ..run_data import RunData

_SHOWN = 8  # columns of the table


def section(run: RunData) -> Section | None:
    """Plots of the losses and of the metric that picks the checkpoint, and all that was logged in a table."""
    histories = {name: history for name, history in run.histories.items() if history.log}
    if not histories:
        return None
    blocks: list[Block] = [plot for plot in plots(histories, best_metric(run.recipe)) if plot is not None]
    for name, history in histories.items():
        if history.ending:
            blocks.append(history.ending if len(histories) == 1 else f"{name}: {history.ending}")
    if len(histories) == 1:
        blocks.append(_table(next(iter(histories.values()))))
    return Section("Learning curves", blocks)


def plots(histories: Mapping[str, History], metric: str) -> list[Lines | None]:
    """Loss, and the metric that picks the checkpoint, over steps; of several runs a line for each, on validation."""
    if len(histories) > 1:
        loss = _plot(histories, "Validation loss", {"eval_loss": ""}, None)
        return [loss, _plot(histories, f"Validation {metric}", {f"eval_{metric}": ""}, None)]
    best = next(iter(histories.values())).best_step
    return [
        _plot(histories, "Loss", {"loss": "train", "eval_loss": "validation"}, best),
        _plot(histories, metric, {f"eval_{metric}": "validation"}, best),
    ]


def _plot(histories: Mapping[str, History], title: str, names: Mapping[str, str], best: float | None) -> Lines | None:
    series = []
    for run, history in histories.items():
        for name, shown in names.items():
            xs, ys = _points(history.log, name)
            if xs:
                series.append(Series(shown or run, xs, ys))
    if not series:
        return None
    return Lines(f"{title} by step", "step", title.lower(), series, best, "weights that are kept", is_step=True)


def _points(log: Sequence[Mapping[str, Any]], name: str) -> tuple[list[float], list[float]]:
    xs, ys = [], []
    for row in log:
        if isinstance(row.get(name), int | float) and isinstance(row.get("step"), int | float):
            xs.append(float(row["step"]))
            ys.append(float(row[name]))
    return xs, ys


def _table(history: History) -> Table:
    names: dict[str, None] = {}
    for row in history.log:
        names |= dict.fromkeys(row)
    ordered = [name for name in FIRST if name in names]
    ordered += [name for name in names if name not in FIRST]
    shown = ordered[:_SHOWN]
    rows = []
    for row in history.log:
        rows.append([_cell(name, row.get(name)) for name in shown])
    return Table(shown, rows)


def _cell(name: str, value: Any) -> Any:
    if name == "learning_rate" and isinstance(value, float):
        return score_cell(value, f"{value:.2e}")
    if name == "epoch" and isinstance(value, float):
        return score_cell(value, f"{value:g}")
    return value
