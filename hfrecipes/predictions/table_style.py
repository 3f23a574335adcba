"""How a table is written, so that a spreadsheet opens the output as it opened the input."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..data.opening import SourceFile, encoding_of, suffix_of
from ..data.tables import find_separator

# First characters of a cell that a spreadsheet would run as a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_LOOKED_AT = 1000  # lines from which the decimal separator is recognized
_COMMA, _POINT = re.compile(r"-?\d+,\d+"), re.compile(r"-?\d+\.\d+")
# Encodings that repeat their byte order mark with each piece of text -> an encoding that does not, and the mark.
_MARKED = {
    "utf-8-sig": ("utf-8", codecs.BOM_UTF8),
    "utf-16": ("utf-16-le", codecs.BOM_UTF16_LE),
    "utf-32": ("utf-32-le", codecs.BOM_UTF32_LE),
}


@dataclass(frozen=True)
class TableStyle:
    """Separator, encoding and spelling of a table."""

    separator: str = ","
    encoding: str = "utf-8"
    """Python's name of it; `utf-8-sig` with a byte order mark."""
    line_end: str = "\r\n"
    decimal_comma: bool = False
    """Whether numbers are written as 0,5, as spreadsheets of many countries do."""
    of_table: bool = False
    """Whether the input is such a table too, so that a spreadsheet reads its cells as before."""

    @property
    def mark(self) -> bytes:
        """Bytes at the start of the file."""
        return _MARKED.get(self.encoding, ("", b""))[1]

    @property
    def described(self) -> str:
        """Encoding, separator and spelling of numbers, for a sentence."""
        number = ", numbers with a decimal comma" if self.decimal_comma else ""
        return f"in {self.encoding}, separated by {self.separator!r}{number}"

    def encode(self, records: Iterable[Sequence[Any]]) -> bytes:
        """The bytes of some records.

        Raises:
            UnicodeEncodeError: The encoding does not have a character.
        """
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self.separator, lineterminator=self.line_end)
        for cells in records:
            writer.writerow(map(self._spelled, cells))
        return text.getvalue().encode(_MARKED.get(self.encoding, (self.encoding, b""))[0])

    def _spelled(self, cell: Any) -> Any:
        if self.decimal_comma and isinstance(cell, float):
            return repr(cell).replace(".", ",")
        return cell

    def in_unicode(self) -> TableStyle:
        """The same in an encoding that has every character, and that spreadsheets recognize."""
        return replace(self, encoding="utf-8-sig")


def style_of(source: Any, output: Path) -> TableStyle:
    """How the output is written: as the input, as far as that is a file of text.

    Args:
        source: What is predicted: a path, or a path and how it is read, or rows.
        output: File of suffix .csv or .tsv.
    """
    style = TableStyle(separator="\t" if output.suffix == ".tsv" else ",")
    path = path_of(source)
    if path is None or suffix_of(str(path)) not in (".csv", ".tsv", ".txt"):
        return style
    given = source.get("encoding") if isinstance(source, Mapping) else None
    file = encoding_of(str(path)) if given is None else SourceFile(str(path), given)
    style = replace(style, encoding=_with_mark(file), line_end=_line_end(file))
    separator = find_separator(file)
    if separator is None or (separator == "\t") != (style.separator == "\t"):
        return style
    has_commas = _has_decimal_commas(file, separator, style.encoding)
    return replace(style, separator=separator, decimal_comma=has_commas, of_table=True)


def path_of(source: Any) -> Path | None:
    """The file that is predicted; None where it is something else."""
    path = source.get("path") if isinstance(source, Mapping) else source
    return Path(path) if isinstance(path, str | Path) and Path(path).is_file() else None


def _with_mark(file: SourceFile) -> str:
    """The encoding of a file, which has a byte order mark where the file has one."""
    if file.encoding != "utf-8-sig":
        return file.encoding
    with file.bytes() as content:
        return "utf-8-sig" if content.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8 else "utf-8"


def _line_end(file: SourceFile) -> str:
    first = next(file.lines(), "")
    return "\n" if first.endswith("\n") and not first.endswith("\r\n") else "\r\n"


def _has_decimal_commas(file: SourceFile, separator: str, encoding: str) -> bool:
    """Whether the first lines have numbers with a decimal comma, and none with a point.

    If they have neither, a semicolon as separator decides: spreadsheets use it if the comma is the decimal separator.
    """
    if separator == ",":
        return False
    with_comma = False
    for line in itertools.islice(file.lines(), _LOOKED_AT):
        for cell in line.strip().split(separator):
            if _POINT.fullmatch(cell.strip('" ')):
                return False
            with_comma = with_comma or bool(_COMMA.fullmatch(cell.strip('" ')))
    return with_comma or (separator == ";" and encoding.startswith(("cp125", "utf-8-sig")))


def as_cell(value: Any) -> Any:
    """The value as a spreadsheet may show it: a text that it would run as a formula gets a quote before it.

    Example:
        >>> as_cell("=1+1"), as_cell("-0.5"), as_cell(-0.5), as_cell("good")
        ("'=1+1", '-0.5', -0.5, 'good')
    """
    if not isinstance(value, str) or not value.startswith(_FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value
