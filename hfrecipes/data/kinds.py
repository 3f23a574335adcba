"""Types of cells from JSON or Python, without guesses: a text stays a text, and cells of several types stay JSON.

A column whose cells differ in type, or are objects with different keys, is stored as JSON, a text for each cell, and
decoded where rows are brought into the shape of the task. `datasets` has a feature for that, `Json`, which is not used:
it changes the last digits of numbers, and reads the text "7" as a number once it is written again.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ..log import log

if TYPE_CHECKING:
    from datasets import Features

JSON = pa.json_(pa.large_string())
_DEEPEST = 16  # lists and structs in a type; Arrow writes 64 at most
_ID = "json"  # `Value.id` of a column of JSON; other columns have none
_SCALARS = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.large_string()}
_INT64 = range(-(2**63), 2**63)


# --- types of cells ----------------------------------------------------------------------------------------------


def kind_of(cells: list[Any], depth: int = 0) -> pa.DataType:
    """Arrow type that holds all of the cells as they are; `JSON` where none does.

    Args:
        cells: Cells of a column, or of what is inside one.
        depth: Number of lists and structs around them.

    Example:
        >>> kind_of([1, None]), kind_of(["2024-01-01"]), kind_of([1, 0.5])
        (DataType(int64), DataType(large_string), JsonType(extension<arrow.json>))
    """
    types = set(map(type, cells)) - {type(None)}
    if not types:
        return pa.null()
    kind = types.pop()
    if types or depth > _DEEPEST:
        return JSON
    present = cells if None not in cells else [cell for cell in cells if cell is not None]
    if kind is list:
        return pa.list_(kind_of(list(itertools.chain.from_iterable(present)), depth + 1))
    if kind is dict:
        return _struct_of(present, depth + 1)
    if kind is int and not (min(present) in _INT64 and max(present) in _INT64):
        return JSON
    return _SCALARS.get(kind, JSON)


def _struct_of(objects: list[dict[str, Any]], depth: int) -> pa.DataType:
    """The struct of objects that have the same keys in the same order; `JSON` for others."""
    keys = set(map(tuple, objects))
    # In a struct, a key that an object does not have would become null, and its order would be that of the first.
    if len(keys) != 1 or keys == {()}:
        return JSON
    fields = []
    for key in keys.pop():
        cells = [item[key] for item in objects]
        # A null that stands in the file must not look like a key that a table filled in.
        if None in cells:
            return JSON
        fields.append((key, kind_of(cells, depth)))
    return pa.struct(fields)


def merged(first: pa.DataType, second: pa.DataType) -> pa.DataType:
    """The type that holds the cells of both types.

    Example:
        >>> merged(pa.null(), pa.int64()), merged(pa.int64(), pa.large_string())
        (DataType(int64), JsonType(extension<arrow.json>))
    """
    if first == second or pa.types.is_null(second):
        return first
    if pa.types.is_null(first):
        return second
    if pa.types.is_list(first) and pa.types.is_list(second):
        return pa.list_(merged(first.value_type, second.value_type))
    if pa.types.is_struct(first) and pa.types.is_struct(second) and _names(first) == _names(second):
        fields = []
        for left, right in zip(first.fields, second.fields, strict=True):
            fields.append((left.name, merged(left.type, right.type)))
        return pa.struct(fields)
    return JSON


def _names(struct: pa.StructType) -> list[str]:
    return [field.name for field in struct.fields]


def features_of(kinds: Mapping[str, pa.DataType]) -> Features:
    """Features of `datasets` for columns of these types."""
    from datasets import Features

    return Features({name: _feature(kind) for name, kind in kinds.items()})


def kind_of_feature(feature: Any) -> pa.DataType:
    """The type of the cells of a column of plain rows, of the widest of its family."""
    if isinstance(feature, dict):
        return pa.struct([(name, kind_of_feature(inner)) for name, inner in feature.items()])
    if hasattr(feature, "feature"):
        return pa.list_(kind_of_feature(feature.feature))
    if is_json(feature):
        return JSON
    if getattr(feature, "names", None):  # classes, which are joined by their names
        return pa.large_string()
    kind = feature()
    if pa.types.is_integer(kind):
        return pa.int64()
    if pa.types.is_floating(kind):
        return pa.float64()
    return pa.large_string() if pa.types.is_string(kind) else kind


def _feature(kind: pa.DataType) -> Any:
    from datasets import Features, List, Value

    if kind == JSON:
        return Value("large_string", id=_ID)
    if pa.types.is_list(kind):
        return List(_feature(kind.value_type))
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind.fields}
    return Features.from_arrow_schema(pa.schema([("cells", kind)]))["cells"]


# --- cells of these types ----------------------------------------------------------------------------------------


def array_of(cells: list[Any], kind: pa.DataType) -> pa.Array:
    """The cells as they are stored for `features_of`."""
    storage = stored_type(kind)
    if storage != kind:
        cells = [_encoded(cell, kind) for cell in cells]
    try:
        return pa.array(cells, storage)
    except UnicodeEncodeError:
        # Half of a character beyond the first 65,536, as texts end in it that were cut.
        log("half of a character, such as \\ud83d, is read as \ufffd")
        return pa.array([_whole_characters(cell) for cell in cells], storage)


def stored_type(kind: pa.DataType) -> pa.DataType:
    """The type with texts in place of JSON."""
    if kind == JSON:
        return pa.large_string()
    if pa.types.is_list(kind):
        return pa.list_(stored_type(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, stored_type(field.type)) for field in kind.fields])
    return kind


def _encoded(cell: Any, kind: pa.DataType) -> Any:
    """The cell with its JSON parts as texts."""
    if cell is None:
        return None
    if kind == JSON:
        return as_json(cell)
    if pa.types.is_list(kind):
        return [_encoded(item, kind.value_type) for item in cell]
    if pa.types.is_struct(kind):
        return {field.name: _encoded(cell[field.name], field.type) for field in kind.fields}
    return cell


def as_json(cell: Any) -> str:
    """The cell as JSON, in the usual spelling."""
    return json.dumps(cell, ensure_ascii=False, default=str)


def _whole_characters(cell: Any) -> Any:
    if isinstance(cell, str):
        return cell.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if isinstance(cell, list):
        return list(map(_whole_characters, cell))
    if isinstance(cell, dict):
        return {key: _whole_characters(value) for key, value in cell.items()}
    return cell


# --- columns of JSON ---------------------------------------------------------------------------------------------


def is_json(feature: Any) -> bool:
    """Whether cells of this feature are stored as JSON."""
    return getattr(feature, "id", None) == _ID


def has_json(feature: Any) -> bool:
    """Whether cells of this feature are JSON, or have parts that are."""
    if isinstance(feature, dict):
        return any(map(has_json, feature.values()))
    inner = getattr(feature, "feature", None)
    return is_json(feature) if inner is None else has_json(inner)


def decoded(cell: Any, feature: Any) -> Any:
    """The cell with its JSON parts read."""
    if cell is None or not has_json(feature):
        return cell
    if isinstance(feature, dict):
        return {key: decoded(cell[key], inner) for key, inner in feature.items()}
    if hasattr(feature, "feature"):
        return [decoded(item, feature.feature) for item in cell]
    return json.loads(cell)


class Columns(dict[str, Any]):
    """Columns with their types of `datasets`, and their cells in the first rows.

    Attributes:
        cells: By column, decoded.
    """

    def __init__(self, kinds: Mapping[str, Any], cells: Mapping[str, list[Any]]) -> None:
        super().__init__(kinds)
        self.cells = cells


class Keys(dict[str, Any]):
    """Keys of JSON objects: each object has its own keys, while each row of a table has all columns, some with null."""


def described(feature: Any, cells: list[Any]) -> Any:
    """The feature, with what these decoded cells show in place of JSON; `Json` of `datasets` where types are mixed.

    Args:
        feature: Of a column.
        cells: Some of its cells.
    """
    if not has_json(feature):
        return feature
    return _shape(cells)


def _shape(cells: list[Any]) -> Any:
    """The feature of decoded cells; of objects with different keys, each key that one of them has."""
    from datasets import Json, List

    present = [cell for cell in cells if cell is not None]
    types = set(map(type, present))
    if types == {list}:
        return List(_shape(list(itertools.chain.from_iterable(present))))
    if types == {dict}:
        shapes = Keys()
        for key in dict.fromkeys(itertools.chain.from_iterable(present)):
            shapes[key] = _shape([item.get(key) for item in present])
        return shapes
    kind = kind_of(present)
    return Json() if kind == JSON else _feature(kind)
