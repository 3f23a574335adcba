"""What people type in a demo: a box for each column that the model reads, and rows to start from."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ..errors import DataError, HFRecipesError
from ..evaluation.first_prediction import own_row
from ..recipe import Recipe, Row, text_column
from ..run_folder import contents
from .schema import sample_rows

if TYPE_CHECKING:
    from ..predictor import Predictor

EXAMPLES = 4  # rows to start from
_LOOKED_AT = 200  # predictions of the run that they are picked from
_LONG = ("context", "document", "article", "source", "input")  # columns whose texts take several lines


@dataclass(frozen=True)
class Box:
    """A box for a column of the task."""

    column: str
    form: Literal["text", "lines", "json"]
    """What stands in it: a text, a text on each line, or any JSON."""
    lines: int
    """Height."""

    @property
    def label(self) -> str:
        """The text above it."""
        extra = {"text": "", "lines": " (one on each line)", "json": " (JSON)"}[self.form]
        return self.column + extra

    def read(self, text: str) -> Any:
        """What was typed, as a cell; None for an empty box that expects JSON.

        Raises:
            DataError: It is not JSON where that is expected.
        """
        if self.form == "lines":
            return [line.strip() for line in text.split("\n") if line.strip()]
        if self.form == "text":
            return text
        if not text.strip():
            return None
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{self.column} is not JSON ({str(error)[:100]}): write it in quotes if it is text") from (
                error
            )

    def written(self, cell: Any) -> str:
        """A cell as it would be typed."""
        if self.form == "json":
            return json.dumps(cell, ensure_ascii=False, default=str)
        if isinstance(cell, list):
            return ("\n" if self.form == "lines" else " ").join(map(str, cell))
        return "" if cell is None else str(cell)


def boxes_of(recipe: Recipe, reads: Sequence[str]) -> list[Box]:
    """The boxes of a model, by the types of the columns that it reads."""
    column = text_column(recipe)
    if column is not None and len(reads) == 1:
        return [Box(column, "text", 5 if reads[0] in _LONG else 3)]
    boxes = []
    for name in reads:
        kind = recipe.columns[name].kind
        if kind == "string":
            boxes.append(Box(name, "text", 5 if name in _LONG else 2))
        else:
            boxes.append(Box(name, "lines" if kind == ["string"] else "json", 4))
    return boxes


def row_of(boxes: Sequence[Box], texts: Sequence[str]) -> Row:
    """The row that was typed.

    Raises:
        DataError: It has something that is not JSON.
    """
    return {box.column: box.read(text or "") for box, text in zip(boxes, texts, strict=True)}


def example_rows(predictor: Predictor) -> list[Row]:
    """Short rows to start from: of the data of the run where its folder has them, else sample rows of the task."""
    rows = _rows_of_run(predictor)
    examples: list[Row] = []
    # One of each part: neighbours are often alike.
    for start in range(min(EXAMPLES, len(rows))):
        row = _short(predictor, rows[start::EXAMPLES])
        if row is not None and row not in examples:
            examples.append(row)
    return examples or sample_rows(predictor)


def _short(predictor: Predictor, rows: list[Row]) -> Row | None:
    """A short row of some, None where they have none."""
    from datasets import Dataset

    try:
        row = own_row(predictor.recipe, {"test": Dataset.from_list(rows)}, predictor.reads)
    except (HFRecipesError, ValueError, TypeError):  # cells that are not of one type
        return None
    return None if row in sample_rows(predictor)[:1] and row not in rows else row


def _rows_of_run(predictor: Predictor) -> list[Row]:
    """The first rows of test, or else of validation, that the run has predicted."""
    if predictor.folder is None:
        return []
    rows: dict[str, list[Row]] = {}
    try:
        for record in contents.read_predictions(predictor.folder):
            if isinstance(record, dict):
                rows.setdefault(str(record.get("split")), []).append(_inputs(record, predictor.reads))
            if len(rows.get("test", ())) >= _LOOKED_AT:
                break
    except (OSError, ValueError):  # a model on the Hub has no rows
        return []
    chosen = rows.get("test") or rows.get("validation") or []
    return list(itertools.islice(filter(None, chosen), _LOOKED_AT))


def _inputs(record: Mapping[str, Any], reads: Sequence[str]) -> Row:
    """The columns that the model reads, where the record has all of them."""
    row = {name: record[name] for name in reads if name in record}
    return row if len(row) == len(reads) else {}
