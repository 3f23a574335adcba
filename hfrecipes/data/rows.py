"""Rows of a run by split, under the column names of the task, with the names of their classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from ..characters import composed
from ..config.run_config import is_named_set
from ..errors import DataError, counted, nearest
from ..log import log
from ..recipe import Recipe, reference_columns
from .batches import cells_of
from .progress import hide_progress_bars
from .redacting import REDACTED, counts_in
from .row_origin import Origin

if TYPE_CHECKING:
    from datasets import Dataset

GROUP = "__group__"  # column of train with the groups that folds keep together
ROW = "__row__"  # column with the number of each row, until all splits are final
_NO_REFERENCE = {"", "-1", "-1.0", "None"}


@dataclass(frozen=True)
class Data:
    """Rows by split, under the column names of the task."""

    splits: Mapping[str, Dataset]
    """Split -> rows."""
    columns: Mapping[str, str | list[str | int]]
    """Task column -> column of the dataset, or several of 0 and 1 that were joined."""
    chosen: Mapping[str, str]
    """Split -> split of the dataset; a drawn validation split is not among them."""
    class_names: Sequence[str] = ()
    """Names of the classes, where the dataset itself knows them."""
    row_numbers: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Number of each row of a split in the data as it was read, from 0; a split that was drawn has those of train."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Split -> sentence on its labels that no prediction can match, and that count as wrong."""
    groups: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Group of each row of a split, where the user named a column of groups."""
    fold_groups: Mapping[int, Any] | None = None
    """Group of each row that is split into folds, by its number; None where rows share nothing."""
    slice_cells: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Split -> value of each row, as it was read, in the column `by`; of splits without that column there is none."""
    origins: Mapping[str, Origin] = field(default_factory=dict)
    """How to find the rows of each split in the dataset again, besides by their numbers."""
    redacted: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    """Split -> kind -> number of `matches` that were replaced in texts, and of `rows` with one."""
    references: Mapping[str, list[Any]] = field(default_factory=dict)
    """What the prediction of each row is scored against, by split, or None; once all splits are final."""

    def with_split(self, name: str, rows: Dataset) -> Data:
        """The same data with other rows in one split."""
        return replace(self, splits={**self.splits, name: rows})

    def without_tests(self) -> Data:
        """The same data as if it had no test split, and no set under `tests`."""
        kept: dict[str, Any] = {}
        for name in (
            "splits",
            "chosen",
            "row_numbers",
            "notes",
            "groups",
            "origins",
            "references",
            "slice_cells",
            "redacted",
        ):
            by_split = getattr(self, name)
            kept[name] = {split: value for split, value in by_split.items() if split in ("train", "validation")}
        return replace(self, **kept)


def number_rows(data: Data) -> Data:
    """Add a column with the number of each row, which stays the same when rows are later dropped, sampled or moved."""
    for split, rows in data.splits.items():
        numbers = data.row_numbers.get(split, ())
        # A row that became several ones has no number of its own.
        if len(numbers) != len(rows):
            numbers = range(len(rows))
        with hide_progress_bars(len(rows)):
            data = data.with_split(split, rows.add_column(ROW, np.asarray(numbers, dtype=np.int64)))
    return data


def is_tested(split: str) -> bool:
    """Whether rows of the split are only tested on, so that some of them may have no reference."""
    return split == "test" or is_named_set(split)


def values_to_slice_by(data: Data, split: str) -> list[str] | None:
    """Value of each row of a split in the column `by`; None where the split does not have it."""
    cells = data.slice_cells.get(split)
    return None if cells is None else [cells[number] for number in data.row_numbers[split]]


def numbers_of(data: Data, split: str) -> Sequence[int]:
    """Number of each row of a split in the data as it was read."""
    rows = data.splits[split]
    if ROW in rows.column_names:
        numbers: list[int] = rows.with_format(None)[ROW][:]
        return numbers
    return data.row_numbers.get(split, range(len(rows)))


def with_groups(rows: Dataset, raw: Dataset, name: str) -> Dataset:
    """The rows, with the column that tells which of them belong together.

    Raises:
        DataError: There is no such column, or it is empty in some rows.
    """
    if name not in raw.column_names:
        known = raw.column_names
        raise DataError(f"folds.groups: no column {name!r}{nearest(name, known)}; there are {', '.join(known)}")
    cells = raw[name][:]
    # A cell that differs from itself is NaN, as pandas has it for a gap.
    empty = [row for row, cell in enumerate(cells) if cell in (None, "") or cell != cell]
    if empty:
        raise DataError(
            f"folds.groups: column {name!r} is empty in {len(empty)} of {counted(len(cells), 'row')} ({empty[0]}, …), "
            "which would be one large group: fill it in, or drop these rows",
            rows=empty,
        )
    return rows.add_column(GROUP, [str(cell) for cell in cells])


def drop_helper_columns(data: Data) -> Data:
    """Move groups and numbers of rows out of the columns, once all splits are final; no task reads them."""
    splits: dict[str, Dataset] = {}
    row_numbers: dict[str, list[int]] = {}
    groups: dict[str, Sequence[Any]] = {}
    redacted = dict(data.redacted)
    for split, rows in data.splits.items():
        row_numbers[split] = rows.with_format(None)[ROW][:]
        if GROUP in rows.column_names:
            groups[split] = rows[GROUP][:]
        if REDACTED in rows.column_names:
            redacted[split] = counts_in(rows)
        helpers = [name for name in (GROUP, ROW, REDACTED) if name in rows.column_names]
        splits[split] = rows.remove_columns(helpers)
    return replace(data, splits=splits, row_numbers=row_numbers, groups=groups, redacted=redacted)


# --- classes of the dataset itself -------------------------------------------------------------------------------


def name_classes(data: Data, recipe: type[Recipe]) -> Data:
    """Turn class ids into the names that the features of the dataset give them; -1 becomes missing."""
    for column in reference_columns(recipe):
        if not data.class_names:
            data = replace(data, class_names=_class_names(next(iter(data.splits.values())), column))
        for split, rows in data.splits.items():
            names = _class_names(rows, column)
            if names:
                data = data.with_split(split, _with_names(rows, column, names))
    return data


def drop_empty_references(data: Data, recipe: type[Recipe], labels: Iterable[str] = ()) -> Data:
    """Remove the references of a split to test on in which each is -1, as benchmarks publish a test without labels.

    Args:
        data: Rows by split.
        recipe: The task.
        labels: Labels of a model; those that train has are read from it. -1 may be among them.
    """
    for split, column in product(filter(is_tested, data.splits), reference_columns(recipe)):
        rows = data.splits[split]
        if not len(rows) or column not in rows.column_names:
            continue
        train = data.splits.get("train", rows.select([]))
        cells = cells_of(train, column) if column in train.column_names else []
        used = {*labels, *(str(cell) for cell in cells if cell is not None)}
        if "-1" in used or "-1.0" in used:
            used |= {"-1", "-1.0"}
        if all(_is_empty(cell, _NO_REFERENCE - used) for cell in cells_of(rows, column)):
            data = data.with_split(split, rows.remove_columns(column))
            log(f"{split}: every {column} is -1, empty or missing, so no row has a reference")
    return data


def _is_empty(cell: Any, stand_ins: set[str]) -> bool:
    """Whether the cell holds no reference; of a list or a block, whether none of its cells does."""
    if isinstance(cell, dict):
        cell = list(cell.values())
    if isinstance(cell, list):
        return all(_is_empty(entry, stand_ins) for entry in cell)
    return cell is None or str(cell).strip() in stand_ins


def _class_names(rows: Dataset, column: str) -> list[str]:
    """Names of the ClassLabel feature in a column, or in its lists; empty for other features."""
    kind = rows.features.get(column)
    names: list[str] = getattr(getattr(kind, "feature", kind), "names", None) or []
    return list(map(composed, names))


def _with_names(rows: Dataset, column: str, names: list[str]) -> Dataset:
    from datasets import List, Value

    features = rows.features.copy()
    is_list = hasattr(rows.features[column], "feature")
    features[column] = List(Value("string")) if is_list else Value("string")
    arguments = {"column": column, "names": names}
    with hide_progress_bars(len(rows)):
        return rows.map(_name_batch, batched=True, fn_kwargs=arguments, features=features, desc=f"Naming {column}")


def _name_batch(batch: dict[str, list[Any]], column: str, names: list[str]) -> dict[str, list[Any]]:
    return {column: [_class_name(cell, names) for cell in batch[column]]}


def _class_name(cell: Any, names: list[str]) -> Any:
    if isinstance(cell, list):
        return [_class_name(entry, names) for entry in cell]
    return None if cell is None or cell < 0 else names[cell]
