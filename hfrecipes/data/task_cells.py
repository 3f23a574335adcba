"""Cells of the columns that a task reads, in the types that it expects: objects as JSON texts, numbers as numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ..errors import DataError
from ..log import log
from ..recipe import Column, Recipe
from . import kinds
from .progress import hide_progress_bars
from .shapes import numbers
from .shapes.cells import as_text

if TYPE_CHECKING:
    from datasets import Dataset

_BATCH = 1_000


def with_task_cells(splits: Mapping[str, Dataset], recipe: Recipe) -> dict[str, Dataset]:
    """The splits with the cells of each column in the types of the task.

    Raises:
        DataError: A column of references holds something else, such as dates.
    """
    settled = {}
    for split, rows in splits.items():
        for column, facts in recipe.columns.items():
            if column in rows.column_names:
                rows = _settled(rows, column, facts, is_shown=split == "train")
        settled[split] = rows
    return _with_numbers(settled, recipe)


def _settled(rows: Dataset, column: str, facts: Column, *, is_shown: bool) -> Dataset:
    """The rows with one column in its type."""
    feature = rows.features[column]
    if facts.reference:
        _check_reference(column, feature)
    if isinstance(facts.kind, str):
        return _as_texts(rows, column, facts, is_shown=is_shown)
    if not kinds.has_json(feature) or facts.passthrough:
        return rows
    if isinstance(facts.kind, dict):
        return _with_column(rows, column, partial(_objects, keys=tuple(facts.kind)))
    return _with_column(rows, column, _labels if facts.kind is None else _text_items)


def _check_reference(column: str, feature: Any) -> None:
    """Refuse references of types that no task reads."""
    dtype = str(getattr(feature, "dtype", ""))
    if dtype.startswith(("timestamp", "date", "time", "duration", "binary", "large_binary")):
        raise DataError(f"column {column} holds {dtype}, expected texts: write them as they are to be learnt")


# --- texts -------------------------------------------------------------------------------------------------------


def _as_texts(rows: Dataset, column: str, facts: Column, *, is_shown: bool) -> Dataset:
    """The rows with a column of texts in place of one with objects, lists, or both numbers and texts."""
    feature = rows.features[column]
    if _is_list_of_texts(feature):
        return rows
    inner = getattr(feature, "feature", None)
    dtype = str(getattr(feature, "dtype", ""))
    is_bool = dtype == "bool"  # which Python would spell True
    if not isinstance(feature, dict) and inner is None and not kinds.is_json(feature) and not is_bool:
        # Whole numbers have one spelling.
        if facts.reference and is_shown and dtype.startswith("float"):
            log(f"{column} holds numbers: read as texts, as Python spells them; quotes in the file keep 1.50 as it is")
        return rows
    cells = kinds.decoded(rows[:_BATCH][column], _list_of(feature))
    example = next((cell for cell in cells if isinstance(cell, dict | list)), None)
    if example is not None and not (facts.reference or facts.passthrough):
        return rows  # the checks of inputs say what the column holds
    if is_shown and not facts.passthrough:
        what = "objects or lists" if example is not None else "numbers or true and false"
        if example is None:
            example = next((cell for cell in cells if cell is not None and not isinstance(cell, str)), None)
        log(f"{column} holds {what}: read as texts, in the spelling of JSON, such as {as_text(example)[:60]}")
    return _with_column(rows, column, _texts)


def _is_list_of_texts(feature: Any) -> bool:
    inner = getattr(feature, "feature", None)
    return getattr(inner, "dtype", None) in ("string", "large_string") and not kinds.is_json(inner)


def _list_of(feature: Any) -> Any:
    from datasets import List

    return List(feature)


def _texts(column: str, cells: list[Any]) -> list[Any]:
    return [None if cell is None else as_text(cell) for cell in cells]


# --- labels and lists --------------------------------------------------------------------------------------------


def _labels(column: str, cells: list[Any]) -> list[Any]:
    """Labels of rows that differ in type: single ones as texts, while lists and objects are left to the task."""
    labels: list[Any] = []
    for cell in cells:
        # The name of a label is that of Python in a column of true and false alone.
        is_as_it_is = cell is None or isinstance(cell, list | dict)
        labels.append(cell if is_as_it_is else as_text(str(cell) if isinstance(cell, bool) else cell))
    return labels


def _objects(column: str, cells: list[Any], keys: tuple[str, ...]) -> list[Any]:
    """Objects with the same keys in the same order, such as answers with their texts and starts."""
    objects: list[Any] = []
    for row, cell in enumerate(cells):
        if cell is not None and not isinstance(cell, dict):
            raise DataError(f"column {column} holds {str(cell)[:60]!r} in row {row}, expected {', '.join(keys)}")
        objects.append(None if cell is None else {key: cell.get(key) for key in keys})
    return objects


def _text_items(column: str, cells: list[Any]) -> list[Any]:
    """Lists with texts in place of numbers and objects; what is no list as a text."""
    values: list[Any] = []
    for cell in cells:
        if isinstance(cell, list):
            values.append([None if item is None else as_text(item) for item in cell])
        else:
            values.append(None if cell is None else as_text(cell))
    return values


def _with_column(rows: Dataset, column: str, change: Callable[[str, list[Any]], list[Any]]) -> Dataset:
    """The rows with other cells in a column, of the type that holds all of them."""
    from datasets import Features, Json

    feature = rows.features[column]
    kind = kinds.kind_of([])
    for batch in rows.select_columns(column).iter(_BATCH):
        cells = [kinds.decoded(cell, feature) for cell in batch[column]]
        kind = kinds.merged(kind, kinds.kind_of(change(column, cells)))
    # Lists beside texts, and lists of several types, which the task reads or refuses: `Json` reads them on access.
    if kinds.stored_type(kind) != kind:
        kind = kinds.JSON
    new = Json() if kind == kinds.JSON else kinds.features_of({column: kind})[column]
    features = Features({**rows.features, column: new})
    arguments = {"column": column, "feature": feature, "change": change, "kind": kind}
    with hide_progress_bars(len(rows)):
        changed = rows.with_format("arrow").map(
            _changed_table, batched=True, fn_kwargs=arguments, features=features, desc="Reading columns"
        )
    return changed.with_format(None)


def _changed_table(table: pa.Table, column: str, feature: Any, change: Any, kind: pa.DataType) -> pa.Table:
    cells = [kinds.decoded(cell, feature) for cell in table.column(column).to_pylist()]
    array = kinds.array_of(change(column, cells), kind)
    if kind == kinds.JSON:
        array = pa.ExtensionArray.from_storage(pa.json_(), array.cast(pa.string()))
    return table.set_column(table.schema.get_field_index(column), column, array)


# --- numbers -----------------------------------------------------------------------------------------------------


def _with_numbers(splits: dict[str, Dataset], recipe: Recipe) -> dict[str, Dataset]:
    """The splits with numbers for labels that are written with thousands marks or decimal commas."""
    column = next((name for name, facts in recipe.columns.items() if facts.reference and facts.kind is None), None)
    # Where the user names another kind of problem, such labels are names.
    if column is None or getattr(recipe, "problem_type", None) not in (None, "regression"):
        return splits
    spelling = None
    for split, rows in splits.items():
        feature = rows.features.get(column)
        if getattr(feature, "dtype", None) not in ("string", "large_string"):
            continue
        if spelling is None:
            spelling, sentence = numbers.spelling_of(rows[column][:], column)
            if sentence and split == "train":
                log(sentence)
        if spelling is not None:
            splits[split] = _with_column(rows, column, spelling.read)
    return splits
