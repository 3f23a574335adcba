"""Precision, recall and F1 of each label, what is confused with what, and scores of parts of the rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...evaluation.breakdown import COLUMNS, Breakdown
from ..page import Bars, Block, Matrix, Section, Table, score_cell
from ..run_data import RunData

LARGEST = 60  # labels that a matrix shows; of more, those that are confused the most
_PAIRS = 100  # confusions in the table
_BARS = 40


def section(run: RunData) -> Section | None:
    """All of it for the last split, and the tables of the others."""
    blocks: list[Block] = []
    for split, report in reversed(list(run.breakdowns.items())):
        if report.classes:
            is_last = not blocks
            blocks.append(_table(split, report))
            if is_last:
                blocks += _pictures(split, report)
            if report.confusions:
                blocks.append(_confusions(split, report))
        for column, parts in report.slices.items():
            blocks.append(_parts(split, column, parts))
    return Section("By label and by part", blocks) if blocks else None


def _table(split: str, report: Breakdown) -> Table:
    rows = []
    for name, scores in report.classes.items():
        cells = [score_cell(value) for value in (scores.precision, scores.recall, scores.f1)]
        rows.append([name, *cells, scores.support])
    return Table([report.by, *COLUMNS], rows, f"Scores by {report.by} on {split}")


def _pictures(split: str, report: Breakdown) -> list[Block]:
    table = matrix(split, report)
    if table is not None:
        return [table]
    names = sorted(report.classes, key=lambda name: report.classes[name].f1)[:_BARS]
    return [Bars(f"F1 by {report.by} on {split}", "F1", names, [report.classes[name].f1 for name in names])]


def matrix(split: str, report: Breakdown) -> Matrix | None:
    """Labels by predictions, of the labels that are confused the most where there are many; None without confusions."""
    if not report.confusions:
        return None
    names = _most_confused(report)
    columns = {name: column for column, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)), dtype=int)
    for name, column in columns.items():
        if name in report.classes:
            # What is right is not among the confusions; recall times support is a whole number.
            counts[column, column] = round(report.classes[name].recall * report.classes[name].support)
    for label, given, times in report.confusions:
        if label in columns and given in columns:
            counts[columns[label], columns[given]] = times
    return Matrix(f"Labels (rows) and predictions (columns) on {split}", names, counts.tolist())


def _most_confused(report: Breakdown) -> list[str]:
    """All labels in their order, also those beyond the classes, such as `O`; of many those in the most confusions."""
    names = dict.fromkeys(report.classes)
    errors: dict[str, int] = {}
    for label, given, times in report.confusions:
        names |= dict.fromkeys((label, given))
        for name in (label, given):
            errors[name] = errors.get(name, 0) + times
    if len(names) <= LARGEST:
        return list(names)
    chosen = set(sorted(names, key=lambda name: -errors.get(name, 0))[:LARGEST])
    return [name for name in names if name in chosen]


def _confusions(split: str, report: Breakdown) -> Table:
    rows = [list(confusion) for confusion in report.confusions[:_PAIRS]]
    return Table([report.by, "prediction", "times"], rows, f"What is confused on {split}")


def _parts(split: str, column: str, parts: Mapping[str, Mapping[str, float]]) -> Table:
    """Scores of the parts of the rows that a column tells apart, the largest first."""
    metrics: dict[str, None] = {}
    for scores in parts.values():
        metrics |= dict.fromkeys(name for name in scores if name != "rows")
    rows = []
    for name in sorted(parts, key=lambda name: -parts[name]["rows"]):
        cells = [score_cell(parts[name].get(metric)) for metric in metrics]
        rows.append([name, int(parts[name]["rows"]), *cells])
    return Table([column, "rows", *metrics], rows, f"Scores by {column} on {split}")
