"""Rows for a saved model, from any source and with any columns, in the form in which the model reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data import checks, kinds, sources
from ..data.columns import (
    check_lists,
    find_columns,
    keeps_rows,
    known_columns,
    normalize_columns,
    refuse_other_inputs,
    rename,
)
from ..data.indicators import Columns
from ..data.raw_cells import plain_cells, stays
from ..data.redacting import redact_rows
from ..data.task_cells import with_task_cells
from ..errors import DataError, HFRecipesError, counted
from ..log import log
from ..recipe import Finding, Recipe, file_formats, input_columns, text_column

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class InputRows:
    """Rows to predict."""

    raw: Dataset
    """Rows as they were read, with all of their columns."""
    rows: Dataset
    """The same rows under the column names of the task; where a row became several, there are more of them."""
    blank: frozenset[int]
    """Indices of the rows that have nothing to predict."""
    files: Sequence[tuple[str, int]] = ()
    """Name and number of rows of each file that they come from, where there are several."""
    unredacted: Dataset | None = None
    """The rows under the column names of the task as they were given, where the model reads them with placeholders."""
    is_aligned: bool = True
    """Whether each row is one of those that were read."""

    @property
    def with_columns(self) -> Dataset:
        """The rows with all columns that are known of them."""
        return self.raw if self.is_aligned else self.rows


@dataclass(frozen=True)
class RowReader:
    """Reads rows as a model was trained to read them."""

    recipe: Recipe
    trained: Mapping[str, str | int | list[str | int]]
    """Column of the training data for each column of the task."""

    @property
    def reads(self) -> list[str]:
        """Columns that the model was trained on."""
        inputs = input_columns(self.recipe)
        return [name for name in inputs if name in self.trained] or inputs

    # --- what was given ------------------------------------------------------------------------------------------

    def as_rows(self, rows: Any) -> Any:
        """Bare texts as rows of the column that they belong to; anything else as it is.

        Raises:
            DataError: A text alone is not enough for the task.
        """
        if not isinstance(rows, list) or not any(isinstance(row, str) for row in rows):
            return rows
        column = text_column(self.recipe)
        if column is None:
            raise DataError(f"found a text, expected rows with {' and '.join(self.reads)}")
        if not all(isinstance(row, str) for row in rows):
            return rows
        return [{column: text} for text in rows]

    def is_row(self, rows: Any) -> bool:
        """Whether this is one row, and not columns of cells."""
        if not isinstance(rows, Mapping) or ("path" in rows and not self.names_inputs(rows)):
            return False
        if any(isinstance(cell, str) for cell in rows.values()):
            return True
        of_lists: set[str] = set()
        for column, facts in self.recipe.columns.items():
            if isinstance(facts.kind, list):
                names = (column, str(self.trained.get(column, column)), *facts.names)
                of_lists.update(name.lower() for name in names)
        cells = [cell for name, cell in rows.items() if str(name).lower() in of_lists]
        if cells:
            return not len(cells[0]) or not isinstance(cells[0][0], list)
        return not all(sources.is_column(cell) for cell in rows.values())

    def names_inputs(self, names: Iterable[Any]) -> bool:
        """Whether one of the names is that of a column that the model reads."""
        known: set[str] = set()
        for column in input_columns(self.recipe):
            known |= {column, str(self.trained.get(column, column)), *self.recipe.columns[column].names}
        return any(str(name).lower() in map(str.lower, known) for name in names)

    def form_of(self, row: Mapping[str, Any]) -> tuple[tuple[str, type], ...] | None:
        """The form of a row that is read as it stands: its columns and their types.

        Rows of the same form can be read together, and each is read as it would be alone. None for other rows: what
        they are is inferred from all rows that are read with them.
        """
        columns = {name: column for column, name in self.trained.items() if isinstance(name, str)}
        kinds_by_column, cells = {}, {}
        for name, cell in row.items():
            column = columns.get(name, name)
            if column not in input_columns(self.recipe) or column in cells or not stays(cell):
                return None
            kinds_by_column[column] = kinds.features_of({column: kinds.kind_of([cell])})[column]
            cells[column] = [cell]
        try:
            is_changed = self.recipe.normalize_columns(kinds.Columns(kinds_by_column, cells)) is not None
        except HFRecipesError:
            is_changed = True
        return None if is_changed else tuple((name, type(cell)) for name, cell in row.items())

    # --- under the names of the task -----------------------------------------------------------------------------

    def read(self, rows: Any, named: Columns, *, needs_text: bool = True) -> InputRows:
        """Rows to predict from any source.

        Args:
            rows: As `Predictor.predict` takes them, but no bare text.
            named: Columns that the user named for these rows.
            needs_text: Whether one of the rows at least must have something to predict.

        Raises:
            DataError: They cannot be read, or none of them has anything to predict.
        """
        header = sources.header_of(named or self.trained)
        raw = sources.read_single_split(rows, header=header, formats=file_formats(self.recipe))
        files = sources.files_of(raw)
        plain = plain_cells(raw, named or self.trained)
        given, is_aligned = self._in_columns(plain, named or self.known_columns(plain), needs_reference=False)
        rows = redact_rows(given, self.recipe)
        blank = frozenset(_blank(rows, self.recipe, needs_text))
        return InputRows(raw, rows, blank, files, None if rows is given else given, is_aligned)

    def known_columns(self, rows: Dataset) -> dict[str, str | int | list[str | int]]:
        """Columns of training, as far as these rows have them; others are found by their usual names."""
        return known_columns(self.trained, rows.column_names)

    def in_columns(self, rows: Dataset, named: Columns, *, needs_reference: bool) -> tuple[Dataset, bool]:
        """The rows under the column names of the task, redacted where the model was trained on such rows, and whether
        each of them is one of those that are given.

        Raises:
            DataError: They do not have the columns that the model was trained on.
        """
        rows, is_aligned = self._in_columns(rows, named, needs_reference=needs_reference)
        return redact_rows(rows, self.recipe), is_aligned

    def _in_columns(self, rows: Dataset, named: Columns, *, needs_reference: bool) -> tuple[Dataset, bool]:
        kind, trained = type(self.recipe), set(self.trained)
        read = rows
        rows, given = normalize_columns(rows, self.recipe, named)
        is_aligned = keeps_rows(read, rows)
        columns = find_columns(rows.column_names, kind, given, needs_reference=needs_reference)
        if trained:
            refuse_other_inputs(columns, trained, kind)
        rows = rename(rows, columns, kind, "train" if needs_reference else "test")
        if needs_reference:
            check_lists(rows, columns, kind)
        return with_task_cells({"test": rows}, self.recipe)["test"], is_aligned


def as_list(rows: Any) -> Any:
    """Rows of an iterator, a tuple, or an array or column of texts as a list; anything else as it is."""
    if isinstance(rows, Iterator | tuple):
        return list(rows)
    if getattr(rows, "ndim", None) == 1 and hasattr(rows, "tolist"):
        return rows.tolist()
    return rows


def _blank(rows: Dataset, recipe: Recipe, needs_text: bool) -> list[int]:
    """Indices of the rows that have an empty input, which are printed.

    Raises:
        DataError: All of them have, and some text is needed.
    """
    empty = checks.empty_texts(rows, recipe)
    blank = np.unique(np.concatenate([np.empty(0, dtype=int), *map(np.asarray, empty.values())])).tolist()
    sentences = [checks.about_rows("input", Finding("note", text, indices)) for text, indices in empty.items()]
    if needs_text and blank and len(blank) == len(rows):
        raise DataError("; ".join(sentences))
    if blank:
        log(f"{'; '.join(sentences)}: the prediction of {counted(len(blank), 'row')} is null")
    return [int(index) for index in blank]
