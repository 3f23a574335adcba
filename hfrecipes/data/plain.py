"""Bring rows of any origin to the same plain form: Datasets with a format, frames, lists of dicts with any cells.

What a column holds that nobody uses must never stop a run: cells that cannot be read leave their column out.
"""

from __future__ import annotations

import math
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ..errors import DataError
from ..log import log
from . import kinds
from .arrow_types import check_number, plain_array, plain_columns, plain_feature, plain_type
from .progress import hide_progress_bars

if TYPE_CHECKING:
    from datasets import Dataset

_SCALARS = {str, int, float, bool, type(None)}


class UnreadableCellError(TypeError):
    """A cell of a type that no task reads, such as a picture."""


# --- Datasets ----------------------------------------------------------------------------------------------------


def plain_dataset(rows: Dataset) -> Dataset:
    """The rows of a Dataset without its format, in the types that tasks read.

    Raises:
        DataError: A function was set that makes other rows of them.
    """
    if rows.format["type"] == "custom":
        raise DataError(
            "the dataset has a transform (set_transform), which is not applied: use map in its place, or reset_format()"
        )
    rows = rows.with_format(None)
    rows = _with_plain_features(rows.remove_columns(_undecodable(rows)))
    schema = rows.data.schema
    columns = plain_columns(schema, "the dataset")
    unread = [name for name in rows.column_names if name not in columns.kinds]
    changed = [name for name, kind in columns.kinds.items() if kind != schema.field(name).type]
    rows = rows.remove_columns(unread)
    if not changed:
        return rows
    features = rows.features.copy()
    for name in changed:
        features[name] = columns.features[name]
    arguments = {"targets": {name: columns.kinds[name] for name in changed}}
    with hide_progress_bars(len(rows)):
        changed = rows.with_format("arrow").map(
            _plain_table, batched=True, fn_kwargs=arguments, features=features, desc="Reading columns"
        )
    return changed.with_format(None)


def _with_plain_features(rows: Dataset) -> Dataset:
    """The rows with plain objects in place of the features that `datasets` has for texts by language."""
    features = rows.features.copy()
    for name, feature in rows.features.items():
        features[name] = plain_feature(feature)
    if features == rows.features:
        return rows
    with hide_progress_bars(len(rows)):
        return rows.cast(features)


def _undecodable(rows: Dataset) -> list[str]:
    """Columns that need a library to be read, such as those of pictures and sounds."""
    names = []
    for name, feature in rows.features.items():
        if _needs_library(feature):
            names.append(name)
    if names:
        log(f"columns left out, as they are no text: {', '.join(names)}")
    return names


def _needs_library(feature: Any) -> bool:
    from datasets import Json

    if isinstance(feature, dict):
        return any(map(_needs_library, feature.values()))
    if hasattr(feature, "feature"):
        return _needs_library(feature.feature)
    return hasattr(feature, "decode_example") and not isinstance(feature, Json)


def _plain_table(table: pa.Table, targets: Mapping[str, pa.DataType]) -> pa.Table:
    for name, kind in targets.items():
        cells = table.column(name).combine_chunks()
        position = table.schema.get_field_index(name)
        table = table.set_column(position, name, plain_array(cells, kind))
    return table


# --- Python objects ----------------------------------------------------------------------------------------------


def dataset_of_table(table: pa.Table) -> Dataset:
    """Rows of an arrow table.

    Raises:
        DataError: It has one name twice.
    """
    for name, count in Counter(table.column_names).items():
        if count > 1:
            raise DataError(f"two columns are named {name!r}: rename one of them")
    columns = plain_columns(table.schema, "the table")
    arrays = []
    for name, kind in columns.kinds.items():
        arrays.append(plain_array(table.column(name).combine_chunks(), kind))
    return in_memory(pa.table(arrays, schema=columns.schema))


def dataset_of_columns(columns: Mapping[Any, Any]) -> Dataset:
    """Rows of columns of any cells: lists, arrays, or columns of a DataFrame.

    Raises:
        DataError: They have different numbers of cells, or one name twice.
    """
    from datasets import Features

    check_number(len(columns), "the table")
    arrays: dict[str, pa.Array] = {}
    features: dict[str, Any] = {}
    for key, cells in columns.items():
        name = str(key)
        if name in arrays:
            raise DataError(f"two columns are named {name!r}: rename one of them")
        try:
            array, kind = _array(cells)
        except UnreadableCellError as error:
            log(f"column {name!r} is left out, as it holds {error}, which is neither text nor number")
            continue
        arrays[name] = array
        features |= kinds.features_of({name: kind})
    _check_lengths({name: len(array) for name, array in arrays.items()})
    schema = Features(features).arrow_schema
    return in_memory(pa.table(list(arrays.values()), schema=schema))


def in_memory(table: pa.Table) -> Dataset:
    """Rows of a table of types that `datasets` stores, which may never come from a cache."""
    from datasets import Dataset

    # Without a name of its own, its content is pickled and hashed: for one text that takes longer than the tokenizer.
    return Dataset(table, fingerprint=uuid.uuid4().hex[:16])


def _check_lengths(lengths: Mapping[str, int]) -> None:
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(f"the columns have different numbers of cells ({listed}): give each one a cell for each row")


def _array(cells: Any) -> tuple[pa.Array, pa.DataType]:
    """The cells of a column as they are stored, and their type."""
    if not isinstance(cells, list | tuple):
        quick = _quick_array(cells)
        if quick is not None:
            return quick
    values = list(cells)
    if not set(map(type, values)) <= _SCALARS or float in map(type, values):
        values = list(map(plain_cell, values))
    kind = kinds.kind_of(values)
    return kinds.array_of(values, kind), kind


def _quick_array(cells: Any) -> tuple[pa.Array, pa.DataType] | None:
    """The cells of an array or of a column of a DataFrame that has a type; None where they are any Python objects."""
    if str(getattr(cells, "dtype", "")).lower() == "object" or getattr(cells, "ndim", 1) != 1:
        return None
    try:
        # Columns of polars are in arrow's memory already.
        array = cells.to_arrow() if hasattr(cells, "to_arrow") else pa.array(cells, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError):
        return None
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    kind = plain_type(array.type)
    try:
        kinds.features_of({"cells": kind})
    except (ValueError, TypeError, KeyError):  # a type that `datasets` does not have
        return None
    return plain_array(array, kind), kind


def plain_cell(cell: Any) -> Any:
    """The cell as values of JSON; a gap of numpy or pandas is None.

    Raises:
        UnreadableCellError: It is, or has, something else.

    Example:
        >>> plain_cell(np.array([1, 2])), plain_cell({"a": (np.str_("b"), float("nan"))})
        ([1, 2], {'a': ['b', None]})
    """
    if isinstance(cell, np.generic):
        cell = cell.item()
    if isinstance(cell, float) and math.isnan(cell):
        return None
    if type(cell) in _SCALARS:
        return cell
    if isinstance(cell, Mapping):
        return {str(key): plain_cell(value) for key, value in cell.items()}
    if isinstance(cell, list | tuple):
        return list(map(plain_cell, cell))
    if isinstance(cell, set | frozenset):
        return sorted(map(plain_cell, cell), key=str)
    # Arrays of numpy and tensors of torch.
    if hasattr(cell, "tolist"):
        return plain_cell(cell.tolist())
    return _plain_scalar(cell)


def _plain_scalar(cell: Any) -> Any:
    """A cell of a class that is a kind of text or number, such as an Enum of texts."""
    import decimal
    import enum
    import os

    if isinstance(cell, enum.Enum):
        return plain_cell(cell.value)
    for kind in (str, int, float):
        if isinstance(cell, kind):
            return kind(cell)
    if isinstance(cell, decimal.Decimal | os.PathLike):
        return str(cell)
    if type(cell).__name__ in ("NAType", "NaTType"):  # the gaps of pandas
        return None
    raise UnreadableCellError(f"objects of the class {type(cell).__name__}")


def columns_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Columns in order of appearance; a cell that a row does not have is None."""
    columns: dict[str, list[Any]] = {}
    # Not Dataset.from_list: it takes the columns from the first row alone, and would drop the others.
    for row in rows:
        for name in row:
            columns.setdefault(name, [])
    for row in rows:
        for name, cells in columns.items():
            cells.append(row.get(name))
    return columns


# --- several parts -----------------------------------------------------------------------------------------------


def joined(parts: Sequence[Dataset]) -> Dataset:
    """The rows of several parts, one after the other; columns of which the type differs get one that holds both."""
    from datasets import concatenate_datasets

    if len(parts) == 1:
        # A single part keeps its file in the cache, and with it the cached work on its rows.
        return parts[0]
    widened: dict[str, pa.DataType] = {}
    for name in dict.fromkeys(name for part in parts for name in part.column_names):
        features = [part.features[name] for part in parts if name in part.features]
        if any(feature != features[0] for feature in features):
            widened[name] = _widest(features)
    return concatenate_datasets([_with_types(part, widened) for part in parts])


def _widest(features: Iterable[Any]) -> pa.DataType:
    kind = pa.null()
    for feature in features:
        kind = kinds.merged(kind, kinds.kind_of_feature(feature))
    return kind


def _with_types(rows: Dataset, types: Mapping[str, pa.DataType]) -> Dataset:
    """The rows with other types of some columns."""
    changed = {name: kind for name, kind in types.items() if name in rows.column_names}
    if not changed:
        return rows
    from datasets import Features

    features = {**rows.features, **kinds.features_of(changed)}
    arguments = {"types": changed, "features": rows.features}
    with hide_progress_bars(len(rows)):
        return rows.map(_retyped, batched=True, fn_kwargs=arguments, features=Features(features))


def _retyped(batch: Mapping[str, list[Any]], types: Mapping[str, pa.DataType], features: Any) -> dict[str, Any]:
    columns = {}
    for name, kind in types.items():
        cells = [kinds.decoded(cell, features[name]) for cell in batch[name]]
        names = getattr(features[name], "names", None)
        if names:  # of classes, which another part may number otherwise
            cells = [None if cell is None or cell < 0 else names[cell] for cell in cells]
        columns[name] = kinds.array_of(cells, kind).to_pylist()
    return columns
