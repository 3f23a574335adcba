"""What a row says, as a text for a cell of a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..data.row_origin import names_an_id
from ..metrics._schemes import OUTSIDE
from ..recipe import Row, input_columns
from .run_data import PredictedRow, RunData

LONGEST = 2000  # characters of a cell


def heads_and_cells(run: RunData, rows: Sequence[PredictedRow]) -> tuple[list[str], list[list[str]]]:
    """Heads and cells of ids, label, prediction and inputs of rows, without columns that all of them leave empty."""
    ids = [name for name in (rows[0].line if rows else ()) if name not in run.recipe.columns and names_an_id(name)]
    heads = [*ids, "label", "prediction", *input_columns(run.recipe)]
    cells = []
    for row in rows:
        told_by = [shown(row.line.get(name)) for name in ids]
        inputs = [shown(row.line.get(name)) for name in input_columns(run.recipe)]
        cells.append([*told_by, _as_answer(row, row.reference), _as_answer(row, predicted(run, row)), *inputs])
    columns = list(zip(heads, *cells, strict=True))
    kept = [column for column in columns if any(column[1:])]
    if not kept:
        return [], [[] for _ in rows]
    shown_heads, *lines = map(list, zip(*kept, strict=True))
    return shown_heads, lines


def predicted(run: RunData, row: PredictedRow) -> Any:
    """What the model answered; None where it only scores tokens."""
    return row.prediction.get(run.recipe.prediction or "generated_text")


def _as_answer(row: PredictedRow, value: Any) -> str:
    """A label or a prediction; tags and indices of choices with the words that they stand for."""
    if isinstance(value, bool):  # of tasks whose text is its own reference
        return ""
    tokens, choices = row.line.get("tokens"), row.line.get("choices")
    if isinstance(value, list) and isinstance(tokens, list) and len(value) == len(tokens):
        return _tagged(tokens, value)
    if isinstance(value, int) and isinstance(choices, list) and 0 <= value < len(choices):
        return f"{value}: {choices[value]}"
    return shown(value)


def _tagged(tokens: Sequence[Any], tags: Sequence[Any]) -> str:
    marked = []
    for token, tag in zip(tokens, tags, strict=True):
        if tag != OUTSIDE:
            marked.append(f"{token}/{tag}")
    return " ".join(marked) or OUTSIDE


def shown(value: Any) -> str:
    """A value as a text: turns on lines of their own, lists of texts with blanks between words, the rest as JSON.

    Example:
        >>> shown([{"role": "user", "content": "Hi"}]), shown(["a", "b"]), shown(None), shown({"a": 1})
        ('user: Hi', 'a, b', '', '{"a": 1}')
    """
    if value is None:
        return ""
    if isinstance(value, float):
        text = f"{value:.4g}"
    elif isinstance(value, list) and value and all(isinstance(turn, dict) and "content" in turn for turn in value):
        text = "\n".join(map(_turn, value))
    elif isinstance(value, list) and all(isinstance(part, str) for part in value):
        # Words of a sentence are many; labels, answers and choices are few.
        text = (", " if len(value) < 8 else " ").join(value)
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _turn(turn: Row) -> str:
    content = turn["content"]
    return f"{turn.get('role', '')}: {content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)}"
