"""Numbers that are written for people: with marks between thousands, or a comma before the decimals."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import DataError, counted
from .labels import REGRESSION_SHARE, as_number, is_missing

_THOUSANDS_COMMA = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?")
_THOUSANDS_DOT = re.compile(r"[-+]?\d{1,3}(\.\d{3})+(,\d+)?")
_OTHER_MARKS = re.compile("[-+]?\\d{1,3}([ '’\u00a0\u202f]\\d{3})+([.,]\\d+)?")
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")
_MARKED = (_THOUSANDS_COMMA, _OTHER_MARKS, _THOUSANDS_DOT, _DECIMAL_COMMA)


@dataclass(frozen=True)
class Spelling:
    """How the numbers of a column are written."""

    has_decimal_comma: bool

    def read(self, column: str, cells: list[Any]) -> list[Any]:
        """The cells with numbers in the spelling of computers; what is no number stays as it is."""
        return [self.number(cell) if _is_marked(cell) else cell for cell in cells]

    def number(self, cell: str) -> str:
        """A number in the spelling of computers.

        Example:
            >>> Spelling(has_decimal_comma=False).number("1,234.5"), Spelling(has_decimal_comma=True).number("1.234,5")
            ('1234.5', '1234.5')
        """
        digits = re.sub(r"[ '’\u00a0\u202f]", "", cell.strip())
        if self.has_decimal_comma:
            return digits.replace(".", "").replace(",", ".")
        return digits.replace(",", "")


def _is_marked(cell: Any) -> bool:
    """Whether the cell is a number that only such a spelling explains."""
    if not isinstance(cell, str) or as_number(cell) is not None:
        return False
    return any(pattern.fullmatch(cell.strip()) for pattern in _MARKED)


def spelling_of(cells: Sequence[Any], column: str) -> tuple[Spelling | None, str]:
    """The spelling of a column of such numbers, and a sentence on it; None for other columns.

    Raises:
        DataError: Some cells have a comma before decimals, others between thousands.
    """
    present = [cell for cell in cells if not is_missing(cell)]
    marked = [cell.strip() for cell in present if _is_marked(cell)]
    plain = sum(as_number(cell) is not None for cell in present)
    if not marked or len(marked) + plain <= REGRESSION_SHARE * len(present):
        return None, ""
    decimals = [cell for cell in marked if _has_decimal_comma(cell)]
    thousands = [cell for cell in marked if _has_thousands_comma(cell)]
    if decimals and thousands:
        raise DataError(
            f"column {column} has {thousands[0]!r} and {decimals[0]!r}: a comma cannot mark both thousands and "
            "decimals; write numbers as 1234.5"
        )
    if decimals and len(marked) < 0.5 * len(present):
        # Lists of ids look so too: "2,27" beside "27".
        return None, (
            f"{column}: {counted(len(marked), 'label')} such as {marked[0]!r} taken as names; write numbers as 1234.5, "
            "and several labels as lists"
        )
    spelling = Spelling(has_decimal_comma=bool(decimals))
    example = max(marked, key=len)
    return spelling, (
        f"{column}: {example!r} is read as the number {spelling.number(example)}; "
        "options.problem_type=single_label_classification keeps such labels as names"
    )


def _has_decimal_comma(cell: str) -> bool:
    """Whether a comma in these cells can only be a decimal separator."""
    if _THOUSANDS_COMMA.fullmatch(cell):
        return cell.lstrip("+-").startswith("0")
    return "," in cell


def _has_thousands_comma(cell: str) -> bool:
    """Whether a comma in these cells can only be a thousands separator."""
    return bool(_THOUSANDS_COMMA.fullmatch(cell)) and (cell.count(",") > 1 or "." in cell)
