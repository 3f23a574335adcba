"""Bring arrow columns of any origin to the few types that tasks read; polars, pandas and arrow have many more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ..characters import shortened
from ..errors import DataError
from ..log import log
from . import kinds

if TYPE_CHECKING:
    from datasets import Features

MOST_COLUMNS = 1_000


@dataclass(frozen=True)
class PlainColumns:
    """Columns of a table in the types that tasks read."""

    kinds: dict[str, pa.DataType]
    features: Features

    @property
    def schema(self) -> pa.Schema:
        """Schema of the rows as they are stored."""
        schema: pa.Schema = self.features.arrow_schema
        return schema


def plain_columns(schema: pa.Schema, name: str) -> PlainColumns:
    """The columns of a table; those of types that `datasets` does not have are left out.

    Args:
        schema: Of the table, with the features of `datasets` among its metadata if it was saved from there.
        name: Of the table, for the sentence on columns that are left out.
    """
    from datasets import Features

    columns: dict[str, pa.DataType] = {}
    features = {}
    check_names(schema.names, name)
    for field in schema:
        kind = plain_type(field.type)
        try:
            if kind == field.type:
                # The metadata may name the classes of a column of numbers.
                part = Features.from_arrow_schema(pa.schema([field], metadata=schema.metadata))
                features[field.name] = plain_feature(part[field.name])
            else:
                features |= kinds.features_of({field.name: kind})
        except (ValueError, TypeError, KeyError):
            log(f"{name}: column {field.name!r} is left out, as its type, {field.type}, is none that is read")
            continue
        columns[field.name] = kind
    return PlainColumns(columns, Features(features))


def check_names(columns: Iterable[str], source: str) -> None:
    """Refuse columns that no table can have.

    Raises:
        DataError: There are very many, two have the same name, or a name has a zero byte, where arrow would cut it.
    """
    names = list(columns)
    check_number(len(names), source)
    for name, times in Counter(names).items():
        if times > 1:
            raise DataError(f"{source} has two columns named {shortened(name, 100)!r}: rename one of them")
        if "\0" in name:
            raise DataError(f"{source} has a zero byte in the name of its column {name!r}: rename it")


def check_number(columns: int, source: str) -> None:
    """Refuse a table of very many columns, whose types `datasets` copies in each step, which would take minutes."""
    if columns > MOST_COLUMNS:
        raise DataError(
            f"{source} has {columns:,} columns, expected {MOST_COLUMNS:,} at most: keep those that the task uses"
        )


def plain_feature(feature: Any) -> Any:
    """An object of texts in place of the two features that `datasets` has for texts by language, else the same."""
    from datasets import List, Translation, TranslationVariableLanguages, Value

    if isinstance(feature, Translation):
        return dict.fromkeys(sorted(feature.languages), Value("string"))
    if isinstance(feature, TranslationVariableLanguages):
        return dict.fromkeys(("language", "translation"), List(Value("string")))
    return feature


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type that a column of this type is brought to; the same type where tasks read it as it is.

    Example:
        >>> plain_type(pa.string_view()), plain_type(pa.dictionary(pa.int8(), pa.string()))
        (DataType(large_string), DataType(string))
    """
    # Numbers beyond 64 bits with a sign do not come back from Python.
    if isinstance(kind, pa.JsonType) or pa.types.is_uint64(kind):
        return kinds.JSON
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_float16(kind):
        return pa.float32()
    if _is_list(kind):
        inner = plain_type(kind.value_type)
        return kind if pa.types.is_list(kind) and inner == kind.value_type else pa.list_(inner)
    if pa.types.is_struct(kind):
        fields = [(field.name, plain_type(field.type)) for field in kind.fields]
        return kind if fields == [(field.name, field.type) for field in kind.fields] else pa.struct(fields)
    return kind


def _is_list(kind: pa.DataType) -> bool:
    tests = ("list", "large_list", "fixed_size_list", "list_view", "large_list_view")
    return any(getattr(pa.types, f"is_{name}")(kind) for name in tests)


def plain_array(cells: pa.Array, kind: pa.DataType) -> pa.Array:
    """The cells as they are stored in the type that `plain_type` gives for theirs."""
    storage = kinds.stored_type(kind)
    if cells.type == storage:
        return cells
    if isinstance(cells, pa.ExtensionArray):
        return cells.storage.cast(storage)
    try:
        if pa.types.is_dictionary(cells.type):
            return plain_array(cells.dictionary_decode(), kind)
        return cells.cast(storage)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        # Arrow does not cast all of its rare types inside of lists.
        return pa.array(cells.to_pylist(), storage)


def plain_batches(batches: Iterable[pa.RecordBatch], columns: PlainColumns) -> Iterator[pa.RecordBatch]:
    """The batches in these columns.

    Raises:
        ArrowInvalid: The bytes of a batch do not fit its types, as in a damaged file.
    """
    for batch in batches:
        batch.validate(full=True)
        arrays = []
        for name, kind in columns.kinds.items():
            arrays.append(plain_array(batch.column(name), kind))
        yield pa.record_batch(arrays, schema=columns.schema)
