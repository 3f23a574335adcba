"""The rows that are predicted worst, as a person reads them."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import counted
from ..cells import heads_and_cells
from ..page import Block, Section, Table, score_cell
from ..row_scores import row_scores
from ..run_data import PredictedRow, RunData

NUMBER = 50  # rows of each split
_MEASURED = 300  # rows with generated texts that the part of a run looks at, since their metrics take long


def section(run: RunData) -> Section | None:
    """For each split the rows with the highest loss, or the lowest score."""
    blocks: list[Block] = []
    for split in reversed(run.rows):
        table = worst(run, split)
        if table is not None:
            blocks.append(table)
    return Section("Worst rows", blocks) if blocks else None


def worst(run: RunData, split: str) -> Table | None:
    """The worst rows of a split; None where nothing can be said of single rows."""
    rows = run.known_rows(split)
    looked_at = rows_to_measure(run, rows)
    scores = row_scores(run.recipe, looked_at)
    if scores is None:
        return None
    chosen = scores.worst(NUMBER)
    heads, cells = heads_and_cells(run, [looked_at[index] for index in chosen])
    table = []
    for index, line in zip(chosen, cells, strict=True):
        table.append([looked_at[index].number, score_cell(float(scores.values[index])), *line])
    order = "highest" if scores.lower_is_better else "lowest"
    caption = f"{split}: the {counted(len(table), 'row')} with the {order} {scores.name}"
    if len(looked_at) < len(rows):
        caption += f" of the first {len(looked_at)}; hfrecipes report looks at all {len(rows)}"
    return Table(["row", scores.name, *heads], table, caption)


def rows_to_measure(run: RunData, rows: Sequence[PredictedRow]) -> Sequence[PredictedRow]:
    """The rows whose scores are computed: all, or the first ones where generated texts would take long."""
    return rows if run.is_full or run.recipe.writer is None else rows[:_MEASURED]
