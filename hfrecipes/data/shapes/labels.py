"""Labels of texts as published files write them: names, ids, numbers, or lists of them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from itertools import chain
from typing import Any

MOST = 0.8  # share of the cells that have to be numbers, so that the others are mistakes


def is_missing(value: Any) -> bool:
    """Whether a cell is empty."""
    if isinstance(value, str):
        return not value.strip()
    # pandas reads an empty cell as NaN.
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
    name = str(value).strip()
    if isinstance(value, float | str):
        return re.sub(r"^(-?\d+)\.0+$", r"\1", name)
    return name


def any_list(values: Iterable[Any]) -> bool:
    """Whether one of the cells is a list."""
    return list in map(type, values)


def are_vectors(values: Iterable[Any]) -> bool:
    """Whether the labels look like rows of 0 and 1, all of one length, rather than lists of names."""
    lists = [value for value in values if isinstance(value, list)]
    if len(set(map(len, lists))) != 1 or len(lists[0]) < 2:
        return False
    return set(chain.from_iterable(lists)) <= {0, 1}


def are_decimals(values: list[Any]) -> bool:
    """Whether the labels are numbers, some of them not whole."""
    numbers = []
    for value in values:
        number = as_number(value)
        # True and False are two classes, although Python counts with them.
        if number is not None and not isinstance(value, bool):
            numbers.append(number)
    return len(numbers) > MOST * len(values) and not all(map(float.is_integer, numbers))


def in_order(names: Iterable[str]) -> list[str]:
    """Labels by value if all are numbers, else by name."""
    by_name = sorted(names)
    if None in map(as_number, by_name):
        return by_name
    return sorted(by_name, key=float)
