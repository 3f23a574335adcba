"""Answers and generated texts: scores by the length of the reference, and texts beside their references."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import counted
from ...metrics._squad import is_cjk, mostly_cjk, segments
from ..cells import heads_and_cells
from ..page import Block, Lines, Section, Series, Table, score_cell
from ..row_scores import measured_rows
from ..run_data import PredictedRow, RunData
from .worst_rows import rows_to_measure

_LIMITS = (1, 2, 4, 8, 16, 32, 64, 128, 256)  # words, or characters of Chinese and Japanese
_TEXTS = 20  # rows that are shown beside their references
_DOTS = 2000  # points of the plot


def section(run: RunData) -> Section | None:
    """For each split whose predictions and references are texts."""
    blocks: list[Block] = []
    for split in reversed(run.rows):
        rows = [] if run.recipe.labels else [row for row in run.known_rows(split) if is_text(run, row)]
        if rows:
            blocks += _of_split(run, split, rows)
    return Section("Texts and their lengths", blocks) if blocks else None


def is_text(run: RunData, row: PredictedRow) -> bool:
    """Whether the prediction is a text that is scored against texts; none of them where there is no answer."""
    is_reference = isinstance(row.reference, str | list) and all(isinstance(text, str) for text in row.reference)
    return isinstance(row.prediction.get(run.recipe.prediction or ""), str) and is_reference


def _of_split(run: RunData, split: str, rows: Sequence[PredictedRow]) -> list[Block]:
    looked_at = rows_to_measure(run, rows)
    scores = measured_rows(run.recipe, looked_at)
    if scores is None:
        return []
    texts = [first_text(row.reference) for row in looked_at]
    unit = "characters" if mostly_cjk(texts) else "words"
    lengths = np.array([length(text, unit) for text in texts])
    table = by_length(lengths, scores.values, scores.name, unit, split)
    dots = Series(split, lengths[:_DOTS].tolist(), scores.values[:_DOTS].tolist(), is_dots=True)
    plot = Lines(f"{scores.name} by length of the reference on {split}", unit, scores.name, [dots])
    blocks: list[Block] = [plot, table]
    if run.recipe.writer is not None:
        blocks.append(_side_by_side(run, split, looked_at[:_TEXTS], scores.values, scores.name))
    return blocks


def first_text(reference: Any) -> str:
    """The first of several references; empty where there is no answer."""
    if isinstance(reference, str):
        return reference
    return str(reference[0]) if reference else ""


def length(text: str, unit: str) -> int:
    """Number of words, or of characters with words of other scripts as one."""
    return len(segments(text)) if unit == "characters" and is_cjk(text) else len(text.split())


def by_length(lengths: np.ndarray, values: np.ndarray, metric: str, unit: str, split: str) -> Table:
    """Mean score of the rows in each range of lengths."""
    edges = [0, *_LIMITS]
    bins = np.searchsorted(edges, lengths)
    rows = []
    for number in np.unique(bins).tolist():
        inside = bins == number
        known = values[inside][np.isfinite(values[inside])]
        mean = float(known.mean()) if len(known) else math.nan
        rows.append([_range(edges, number), int(inside.sum()), score_cell(mean)])
    caption = f"{metric} by length of the reference on {split}, in {unit}"
    return Table([unit, "rows", f"mean {metric}"], rows, caption)


def _range(edges: Sequence[int], number: int) -> Any:
    """Name of a range of lengths: none, 1, 3 to 4, more than 256."""
    if number == 0:
        return "none"
    low = edges[number - 1] + 1
    if number == len(edges):
        return f"more than {edges[-1]}"
    return str(low) if low == edges[number] else f"{low} to {edges[number]}"


def _side_by_side(run: RunData, split: str, rows: Sequence[PredictedRow], values: np.ndarray, metric: str) -> Table:
    heads, cells = heads_and_cells(run, rows)
    table = []
    for row, value, line in zip(rows, values.tolist(), cells, strict=False):
        table.append([row.number, score_cell(value), *line])
    return Table(["row", metric, *heads], table, f"{split}: the first {counted(len(table), 'row')}")
