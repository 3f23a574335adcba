"""Labels of texts as published files write them: names, ids, numbers, or lists of them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any


def is_missing(value: Any) -> bool:
    """Whether a cell is empty."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def as_number(value: Any) -> float | None:
    """The finite number of a cell; None where there is none."""
    if isinstance(value, str) and "_" in value:  # Python reads 1_0 as 10
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def label_name(value: Any) -> str:
    """Name of the label in a cell; 1.0 is the label 1, since a missing cell turns ids into floats."""
    text = str(value).strip()
    return re.sub(r"^(-?\d+)\.0+$", r"\1", text) if isinstance(value, float | str) else text


def any_list(values: Iterable[Any]) -> bool:
    """Whether one of the cells is a list."""
    return any(isinstance(value, list) for value in values)


def are_vectors(values: Iterable[Any]) -> bool:
    """Whether the labels look like rows of 0 and 1, all of one length, rather than lists of names."""
    lists = [value for value in values if isinstance(value, list)]
    lengths = set(map(len, lists))
    if len(lengths) != 1 or len(lists[0]) < 2:
        return False
    return all(cell in (0, 1) for value in lists for cell in value)


def are_decimals(values: list[Any]) -> bool:
    """Whether the labels are numbers, some of them not whole."""
    numbers = []
    for value in values:
        number = None if isinstance(value, bool) else as_number(value)
        if number is not None:
            numbers.append(number)
    # A few cells that are no numbers among decimals are mistakes, to be named, not labels.
    return len(numbers) > 0.8 * len(values) and not all(number.is_integer() for number in numbers)


def in_order(names: Iterable[str]) -> list[str]:
    """Labels by value if all are numbers, else by name."""
    names = sorted(names)
    if all(as_number(name) is not None for name in names):
        return sorted(names, key=float)
    return names
