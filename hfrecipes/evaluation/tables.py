"""Tables of scores as texts, the same for terminals and notebooks."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence

from ..characters import visible_line
from ..config.run_config import own_splits
from .breakdown import COLUMNS, Breakdown, listed_classes
from .scoring import CLEAN, GAP, Score, Scores, number


def score_cells(
    scores: Mapping[str, Scores], headline: Sequence[str], changes: Scores | None = None, compared_with: str = ""
) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of a table of scores: a row for each headline metric, and a column for each split."""
    splits = [split for split in own_splits(scores) if split != GAP]
    baseline: Scores | None = None
    for split in splits:
        # That of a part of test would look like another one of test.
        if split != CLEAN and any(entry.baseline is not None for entry in scores[split].values()):
            baseline = scores[split]
    heads = ["", *splits]
    if GAP in scores:
        heads.append(GAP)
    if baseline is not None:
        heads.append("baseline")
    if changes:
        heads.append(f"change from {compared_with}")
    unknown, rows = Score(math.nan), []
    for metric in headline:
        cells = [metric, *[str(scores[split].get(metric, unknown)) for split in splits]]
        if GAP in scores:
            cells.append(number(scores[GAP].get(metric, unknown).value))
        if baseline is not None:
            cells.append(number(baseline.get(metric, unknown).baseline))
        if changes:
            cells.append(change(changes.get(metric)))
        rows.append(cells)
    return heads, rows


def split_of_changes(scores: Mapping[str, Scores]) -> str:
    """The run's own split that other sets are compared with: test, else validation; empty where there is neither."""
    return next((split for split in ("test", "validation") if scores.get(split)), "")


def class_cells(split: str, report: Breakdown) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of a table of the labels of a split, or of the worst ones."""
    rows = []
    for name, entry in listed_classes(report).items():
        scores = [number(value) for value in (entry.precision, entry.recall, entry.f1)]
        rows.append([name, *scores, str(entry.support)])
    return [f"{report.by} ({split})", *COLUMNS], rows


def html_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table for a notebook; names come from the data, and are shown as they are."""
    head = "".join(f"<th>{html.escape(visible_line(name))}</th>" for name in heads)
    lines = []
    for row in rows:
        cells = "".join(f"<td>{html.escape(visible_line(cell))}</td>" for cell in row)
        lines.append(f"<tr>{cells}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def change(difference: Score | None) -> str:
    """`-0.115 (-0.220 to -0.010)`, or a dash where nothing is compared.

    Example:
        >>> from hfrecipes.evaluation.scoring import Score
        >>> change(Score(0.1, 0.05, 0.15)), change(None)
        ('+0.100 (+0.050 to +0.150)', '–')
    """
    if difference is None or not math.isfinite(difference.value):
        return "–"
    if difference.deviation is not None:
        return f"{difference.value:+z.3f} ± {number(difference.deviation)}"
    signed = [f"{value:+z.3f}" for value in (difference.value, *(difference.ci95 or []))]
    return f"{signed[0]} ({signed[1]} to {signed[2]})" if len(signed) > 1 else signed[0]
