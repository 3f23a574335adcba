"""Cells of tables that hold more than a word, as lists and dicts written as text; changes of a batch in order."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from ...errors import DataError
from ...recipe import Batch
from ..kinds import as_json
from .python_cells import are_joined, printed_list

Change = Callable[[Batch], Batch]

_LOOKS_LIKE_A_LIST = re.compile(r"""\s*(\[\S|\[\s+["'\d]|((np|numpy|torch)\.)?(array|tensor)\(|\{\s*["'])""")


def parse_list(text: str) -> Any:
    """The list or dict that a text contains as JSON or Python, as in a csv file made from a DataFrame; else None.

    Raises:
        DataError: The text looks like a list or a dict but is none, such as a printed array.

    Example:
        >>> parse_list("['a', 'b']"), parse_list('{"a": 1}'), parse_list("a, b")
        (['a', 'b'], {'a': 1}, None)
    """
    if not _LOOKS_LIKE_A_LIST.match(text):
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
        # Lists in thousands of lists are none that a task reads; the parser of Python runs out of memory on some.
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, list | dict) and not (read is ast.literal_eval and are_joined(text)):
            return value
    printed = printed_list(text)
    if printed is not None:
        return printed
    raise DataError(f"a cell holds {text[:60]!r}, which is not a list: save the rows as jsonl or parquet")


def as_text(cell: Any) -> str:
    """A text as it is; anything else in the spelling of JSON.

    Example:
        >>> as_text("7"), as_text(7), as_text({"age": None, "known": True})
        ('7', '7', '{"age": null, "known": true}')
    """
    return cell if isinstance(cell, str) else as_json(cell)


def first_column(by_name: Mapping[str, str], names: Iterable[str]) -> str | None:
    """The column of the data with the first of these names that it has.

    Args:
        by_name: Columns by their names in lower case.
        names: Names to look for.
    """
    for name in names:
        if name.lower() in by_name:
            return by_name[name.lower()]
    return None


def first_value(cell: Mapping[str, Any], names: Iterable[str], default: Any = None) -> Any:
    """The first value under one of the names that is not None."""
    for name in names:
        if cell.get(name) is not None:
            return cell[name]
    return default


def whole_number(cell: Any) -> int | None:
    """The whole number in a cell; None for an empty cell.

    Raises:
        ValueError: The cell holds something else than a whole number.

    Example:
        >>> whole_number("25"), whole_number(25.0), whole_number("NaN")
        (25, 25, None)
    """
    if cell is None or str(cell).strip().lower() in ("", "na", "nan", "none", "null"):
        return None
    # A column with an empty cell turns 25 into 25.0 in a DataFrame.
    number = float(cell)
    if not number.is_integer():
        raise ValueError(cell)
    return int(number)


def join_request(asked: Any, about: Any) -> str | None:
    """A request and, if there is one, the text that it is about, as one text; None for no request."""
    if asked is None or not str(asked).strip():
        return None
    if about is None or not str(about).strip():
        return str(asked)
    return f"{asked}\n\n{about}"


def in_order(first: Change | None, second: Change | None) -> Change | None:
    """Both changes of a batch, one after the other; None where there is neither."""
    if first is None or second is None:
        return first or second
    return partial(_changed_twice, first=first, second=second)


def _changed_twice(batch: Batch, first: Change, second: Change) -> Batch:
    return second(first(batch))
