"""Cells of tables that hold more than a word: lists and dicts spelled out as text."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from ...errors import DataError

_OPENS = re.compile(r"""\s*(\[\S|array\(|\{\s*["'])""")
_NO_COMMA = re.compile(r"""["']\s+["']""")  # as numpy prints lists of texts, which Python would join


def spelled(text: str) -> Any:
    """The list or dict that a text spells in JSON or Python, as a csv file made from a DataFrame has it; else None.

    Raises:
        DataError: It looks like one and is none, as a printed array.
    """
    if not _OPENS.match(text):
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError):
            continue
        if isinstance(value, list | dict) and not (read is ast.literal_eval and _NO_COMMA.search(text)):
            return value
    raise DataError(f"a cell holds {text[:60]!r}, which is no list: save the rows as jsonl or parquet")


def whole(cell: Any) -> int | None:
    """The whole number in a cell, also when a table made 25.0 of it; None for an empty one.

    Raises:
        ValueError: It is no whole number.
    """
    if cell is None or str(cell).strip().lower() in ("", "na", "nan", "none", "null"):
        return None
    number = float(cell)
    if not number.is_integer():
        raise ValueError(cell)
    return int(number)


def below(asked: Any, about: Any) -> str | None:
    """A request and, where there is one, the text that it is about, as one text; None for no request."""
    if asked is None or not str(asked).strip():
        return None
    return str(asked) if about is None or not str(about).strip() else f"{asked}\n\n{about}"
