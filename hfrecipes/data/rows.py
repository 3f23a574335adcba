"""Rows of a run by split, under the column names of the task, with the names of their classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError, nearest
from ..log import log
from ..recipe import Recipe
from .sources import quiet_bars

if TYPE_CHECKING:
    from datasets import Dataset

GROUP = "__group__"  # column of train with the groups that folds keep together
ROW = "__row__"  # column with the number of each row, until all splits are final
_BLIND = {"-1", "-1.0", "None"}


@dataclass
class Data:
    """Rows by split, under the task's column names."""

    splits: dict[str, Dataset]
    """Split name -> rows."""
    columns: dict[str, str]
    """Task column -> column of the dataset."""
    chosen: dict[str, str]
    """Split -> split of the dataset; a drawn validation split is not among them."""
    class_names: list[str] = field(default_factory=list)
    """Names of the classes, where the dataset itself knows them."""
    places: dict[str, list[int]] = field(default_factory=dict)
    """Number of each row of a split in the data as it was read, from 0; a split that was drawn has those of train."""
    notes: dict[str, str] = field(default_factory=dict)
    """Split -> sentence on its labels that no prediction can match, and that count as wrong."""
    groups: dict[str, Sequence[Any] | None] = field(default_factory=dict)
    """Group of each row of a split, where folds keep groups together."""
    fold_groups: dict[int, Any] | None = None
    """Group of each row that is cut into folds, by its number; None where rows share nothing."""


def number_rows(data: Data) -> None:
    """Add the column that tells which row of its split each row is, whatever is dropped, drawn or moved from now on."""
    for split, rows in data.splits.items():
        with quiet_bars(len(rows)):
            data.splits[split] = rows.add_column(ROW, np.arange(len(rows)))


def _with_groups(rows: Dataset, found: Dataset, name: str) -> Dataset:
    """The rows, with the column that tells which of them belong together."""
    if name not in found.column_names:
        known = found.column_names
        raise DataError(f"folds.groups: no column {name!r}{nearest(name, known)}; there are {', '.join(known)}")
    cells = found[name][:]
    empty = [place for place, cell in enumerate(cells) if cell in (None, "") or cell != cell]
    if empty:
        raise DataError(
            f"folds.groups: column {name!r} is empty in {len(empty)} of {len(cells)} rows ({empty[0]}, …), which would "
            "be one large group: fill it in, or drop these rows",
            rows=empty,
        )
    return rows.add_column(GROUP, [str(cell) for cell in cells])


def drop_groups(data: Data) -> None:
    """Take that column away, into `groups`, and the numbers of rows, once all splits are drawn; no task reads them."""
    for split, rows in data.splits.items():
        data.places[split] = rows.with_format(None)[ROW][:]
        if GROUP in rows.column_names:
            data.groups[split] = rows[GROUP][:]
        data.splits[split] = rows.remove_columns([name for name in (GROUP, ROW) if name in rows.column_names])


def name_classes(data: Data, recipe: type[Recipe]) -> None:
    """Turn class ids into the names that the dataset's own features give them; -1 becomes missing."""
    for column in recipe.answers():
        data.class_names = data.class_names or _class_names(next(iter(data.splits.values())), column)
        for split, rows in data.splits.items():
            own = _class_names(rows, column)
            if own:
                data.splits[split] = _with_names(rows, column, own)


def drop_blind_answers(data: Data, recipe: type[Recipe]) -> None:
    """Take away the answers of a test split where each is -1, as benchmarks publish a test without answers."""
    for column in recipe.answers():
        rows = data.splits.get("test")
        if rows is not None and len(rows) and column in rows.column_names and all(map(_is_blind, rows[column])):
            data.splits["test"] = rows.remove_columns(column)
            log(f"test: every {column} is -1, empty or missing, so no row has an answer")


def _is_blind(cell: Any) -> bool:
    """Whether the cell holds no answer, as in a test split that is published without."""
    if isinstance(cell, dict):
        return all(map(_is_blind, cell.values()))
    return all(map(_is_blind, cell)) if isinstance(cell, list) else str(cell) in _BLIND


def _class_names(rows: Dataset, column: str) -> list[str]:
    kind = rows.features.get(column)
    names: list[str] = getattr(getattr(kind, "feature", kind), "names", None) or []
    return names


def _with_names(rows: Dataset, column: str, names: list[str]) -> Dataset:
    from datasets import List, Value

    several = hasattr(rows.features[column], "feature")
    features = rows.features.copy()
    features[column] = List(Value("string")) if several else Value("string")
    about = {"column": column, "names": names}
    with quiet_bars(len(rows)):
        return rows.map(_name_batch, batched=True, fn_kwargs=about, features=features, desc=f"Naming {column}")


def _name_batch(batch: dict[str, list[Any]], column: str, names: list[str]) -> dict[str, list[Any]]:
    return {column: [_class_name(value, names) for value in batch[column]]}


def _class_name(value: Any, names: list[str]) -> Any:
    if isinstance(value, list):
        return [_class_name(one, names) for one in value]
    return None if value is None or value < 0 else names[value]
