"""Scores of each split with their intervals, beside the baseline."""

from __future__ import annotations

from typing import Any

from ...config.run_config import named_sets
from ...evaluation.comparison import about_changes
from ...evaluation.scoring import CLEAN, GAP, Score, number
from ...evaluation.slices import Slices, set_cells
from ...evaluation.tables import score_cells, split_of_changes
from ...recipe import metric_named, table_metrics
from ...run_folder import contents
from ..page import Bars, Block, Section, Table, score_cell
from ..run_data import RunData


def section(run: RunData) -> Section | None:
    """The scores that a run prints, as a plot and a table; then all of them."""
    if not run.scores:
        return None
    heads, rows = score_cells(run.scores, headline(run))
    shown = Table(["metric", *heads[1:]], rows)
    blocks: list[Block] = [shown, *_of_sets(run), *run.notes.values(), *sentences(run), *run.info.limits, table(run)]
    plots = [bars(run, name) for name in headline(run)[:2]]
    return Section("Scores", [*(plot for plot in plots if plot is not None), *blocks])


def _of_sets(run: RunData) -> list[Block]:
    """The scores of the sets under `tests` and of parts of rows; nothing where there are none."""
    heads, rows = set_cells(run.scores, headline(run), Slices.of(contents.read_slices(run.path)))
    blocks: list[Block] = [Table(heads, rows)] if rows else []
    if named_sets(run.scores) and split_of_changes(run.scores):
        blocks.append(about_changes(split_of_changes(run.scores)))
    return blocks


def headline(run: RunData) -> list[str]:
    """Metrics that tables show, as far as the run has them."""
    known = {name for scores in run.scores.values() for name in scores}
    return [name for name in table_metrics(run.recipe) if name in known]


def table(run: RunData) -> Table:
    """A row for each split and metric, the metrics of tables first."""
    first = headline(run)
    rows = []
    for split, scores in run.scores.items():
        for name in sorted(scores, key=lambda name: first.index(name) if name in first else len(first)):
            rows.append([split, name, *_cells(scores[name])])
    several = any(score.deviation is not None for scores in run.scores.values() for score in scores.values())
    around = "deviation or 95 % interval" if several else "95 % interval"
    return Table(["split", "metric", "value", around, "baseline"], rows)


def _cells(score: Score) -> list[Any]:
    around = "–"
    if score.deviation is not None:
        around = f"± {number(score.deviation)}"
    elif score.low is not None and score.high is not None:
        around = f"{number(score.low)} to {number(score.high)}"
    return [score_cell(score.value), around, score_cell(score.baseline)]


def sentences(run: RunData) -> list[str]:
    """How to read the scores of this run."""
    lines = []
    if "test" in run.scores and "validation" in run.scores:
        lines.append("Validation also chose the checkpoint, so its scores are optimistic; no choice depended on test.")
    if GAP in run.scores:
        lines.append("gap is train minus validation, on similar numbers of rows.")
    if CLEAN in run.scores:
        lines.append(f"{CLEAN}: the rows of test whose input is not in train.")
    lower = [name for name in headline(run) if _is_lower_better(run, name)]
    if lower:
        lines.append(f"Lower is better for {', '.join(lower)}.")
    return lines


def _is_lower_better(run: RunData, name: str) -> bool:
    metric = metric_named(run.recipe, name)
    return metric is not None and not metric.greater_is_better


def bars(run: RunData, metric: str) -> Bars | None:
    """A metric by split with its interval, and the baseline as a mark."""
    splits = [split for split in run.scores if split != GAP and metric in run.scores[split]]
    entries = [run.scores[split][metric] for split in splits]
    if not entries:
        return None
    return Bars(
        f"{metric} by split",
        metric,
        splits,
        [entry.value for entry in entries],
        [_interval(entry) for entry in entries],
        [entry.baseline for entry in entries],
        "baseline",
    )


def _interval(score: Score) -> tuple[float, float] | None:
    if score.deviation is not None:
        return (score.value - score.deviation, score.value + score.deviation)
    return None if score.low is None or score.high is None else (score.low, score.high)
