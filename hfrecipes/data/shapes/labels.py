"""Labels of texts in raw cells: names, lists of names, or numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Literal

from ...characters import composed

ProblemType = Literal["single_label_classification", "multi_label_classification", "regression"]
SINGLE: ProblemType = "single_label_classification"
MULTI: ProblemType = "multi_label_classification"
REGRESSION: ProblemType = "regression"
_INDICATORS = {"0", "1", "0.0", "1.0", "False", "True"}
REGRESSION_SHARE = 0.8  # of the cells must be numbers for a regression


def is_missing(value: Any) -> bool:
    """Whether a cell holds no label.

    Example:
        >>> is_missing(None), is_missing(" "), is_missing(float("nan")), is_missing(0)
        (True, True, True, False)
    """
    if isinstance(value, str):
        return not value.strip()
    # An empty cell of a DataFrame is NaN.
    return value is None or (isinstance(value, float) and math.isnan(value))


def as_number(value: Any) -> float | None:
    """The number in a cell; None if there is none.

    Example:
        >>> as_number("3.5"), as_number(2), as_number("n/a"), as_number("1_0"), as_number("inf")
        (3.5, 2.0, None, None, None)
    """
    # Python reads 1_0 as 10, but in data it is a name.
    if isinstance(value, str) and "_" in value:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def label_name(value: Any) -> str:
    """Name of the label in a cell.

    Example:
        >>> label_name(" spam "), label_name(1), label_name(1.0), label_name("2.50")
        ('spam', '1', '1', '2.50')
    """
    # A column with an empty cell turns ids into floats in a DataFrame: 1.0 is the label 1.
    return _name_in(str(value)) if isinstance(value, float | str) else composed(str(value).strip())


@lru_cache(maxsize=10_000)  # a few labels stand in many rows, each of which is read several times
def _name_in(text: str) -> str:
    return re.sub(r"^(-?\d+)\.0+$", r"\1", composed(text.strip()))


def is_decomposed(value: Any) -> bool:
    """Whether a label, or one in a list of them, is written with accents as characters of their own.

    Example:
        >>> is_decomposed("cafe" + chr(0x301)), is_decomposed(["café"])
        (True, False)
    """
    # Lists inside a list are no labels, and may be deeper than Python calls functions.
    labels = value if isinstance(value, list) else [value]
    return any(isinstance(label, str) and composed(label) != label for label in labels)


DECOMPOSED = "a label has accents as characters of their own, and is the label that looks the same (Unicode NFC)"
"""Sentence on such rows."""


def any_list(values: Iterable[Any]) -> bool:
    """Whether any cell is a list.

    Example:
        >>> any_list(["a", ["b"]]), any_list(["a", "b"])
        (True, False)
    """
    return any(isinstance(value, list) for value in values)


def are_indicators(values: Iterable[Any]) -> bool:
    """Whether the cells are vectors of 0 and 1, all of the same length, rather than lists of names.

    Example:
        >>> are_indicators([[0, 1], [1, 1]]), are_indicators([[0], [1]]), are_indicators([["a"], ["b", "a"]])
        (True, False, False)
    """
    lengths: set[int] = set()
    items: set[str] = set()
    for value in values:
        if isinstance(value, list):
            lengths.add(len(value))
            items.update(map(str, value))
    # Vectors of length 1 cannot be told from lists of one id.
    return len(lengths) == 1 and max(lengths) > 1 and items <= _INDICATORS


def problem_type_of(values: list[Any]) -> ProblemType:
    """The kind of problem that the cells show: lists are several labels, decimals a regression, all else one label.

    Example:
        >>> problem_type_of(["a", "b"]), problem_type_of([["a"], []]), problem_type_of([0.5, 3.0])
        ('single_label_classification', 'multi_label_classification', 'regression')
    """
    if any_list(values):
        return MULTI
    numbers = []
    for value in values:
        number = as_number(value)
        # Python counts True as 1.
        if number is not None and not isinstance(value, bool):
            numbers.append(number)
    has_decimals = not all(map(float.is_integer, numbers))
    # A few cells without a number among decimals are mistakes to report, not labels.
    return REGRESSION if len(numbers) > REGRESSION_SHARE * len(values) and has_decimals else SINGLE


def ordered(names: set[str]) -> list[str]:
    """Label names by value if all are numbers, else in alphabetical order.

    Example:
        >>> ordered({"10", "9", "1.5"}), ordered({"10", "9", "b"})
        (['1.5', '9', '10'], ['10', '9', 'b'])
    """
    if all(as_number(name) is not None for name in names):
        return sorted(names, key=_value_and_name)
    return sorted(names)


def _value_and_name(name: str) -> tuple[float, str]:
    # The name decides between 1.50 and 1.5, so that the order is the same in every process.
    return float(name), name
