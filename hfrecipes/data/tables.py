"""Tables with a record a line: csv and tsv with any separator, and spreadsheets. Every cell stays text, "NA" too."""

from __future__ import annotations

import csv
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..characters import shortened
from ..errors import DataError, counted
from ..log import log
from .arrow_types import check_names
from .batches import in_batches
from .opening import SourceFile, workbook_rows

_SEPARATORS = ("\t", ",", ";")
_BATCH = 10_000  # rows
_LOOKED_AT = 1_000  # records that tell whether the first one is a header
_SHOWN = 200  # characters of a list of columns in an error
# Names of columns that are hardly ever cells: two of them make a header, however few rows there are.
_USUAL_NAMES = {
    *("text", "sentence", "sentence1", "sentence2", "review", "content", "document", "title", "body", "id", "index"),
    *("label", "labels", "category", "class", "score", "rating", "sentiment", "target", "source", "tag", "tags"),
    *("question", "answer", "context", "summary", "input", "output", "premise", "hypothesis", "tokens"),
}


@dataclass(frozen=True)
class Table:
    """A file that is a table, and how it is read."""

    source: SourceFile
    separator: str
    """What separates the cells of a line."""
    header: bool | None
    """Whether the first record names the columns; None where that is to be told from the records."""

    def batches(self) -> Iterator[dict[str, list[str]]]:
        """Columns of each batch of rows; they are called "0", "1", … where the file has no header.

        Raises:
            DataError: A record has another number of cells, or the quotes are broken.
        """
        records = _records(self.source, self.separator, quoted=_is_quoted(self.source, self.separator))
        yield from batches_of_records(records, self.header, self.source.path)


def batches_of_records(records: Iterator[list[str]], header: bool | None, path: str) -> Iterator[dict[str, list[str]]]:
    """Columns of each batch of records."""
    number = 0
    try:
        first = list(itertools.islice(records, _LOOKED_AT))
        if not first:
            raise DataError(f"{path} is empty: expected rows")
        has_header = _first_names_columns(first, path) if header is None else header
        names = _column_names(first[0], path) if has_header else list(map(str, range(len(first[0]))))
        number = int(has_header)  # the header is a record too
        for batch in in_batches(itertools.chain(first[number:], records), _BATCH):
            for cells in batch:
                number += 1
                if len(cells) != len(names):
                    raise DataError(_ragged(path, number, cells, names))
            columns = zip(*batch, strict=True)
            yield {name: list(column) for name, column in zip(names, columns, strict=True)}
    except csv.Error as error:
        # In the words of the csv module, "unexpected end of data".
        reason = "a quote is never closed" if "end of data" in str(error) else str(error)
        raise DataError(f"{path} is not well-formed after record {number}: {reason}; fix the quotes there") from error


# --- separators and quotes ---------------------------------------------------------------------------------------


def find_separator(source: SourceFile) -> str | None:
    """The separator that gives all of the first records the same number of cells; None for plain text."""
    fallback = {".tsv": "\t", ".csv": ","}.get(source.suffix)
    # In a file of another suffix, a comma in every line may be prose; a tab in every line is not.
    candidates = _SEPARATORS if fallback else ("\t",)
    for separator in candidates:
        try:
            widths = _first_widths(source, separator, quoted=True)
        except (csv.Error, DataError):
            widths = set()
        if separator == "\t" and (len(widths) != 1 or widths == {1}):
            widths = _first_widths(source, separator, quoted=False)
        if len(widths) == 1 and widths != {1}:
            return separator
    return fallback


def _first_widths(source: SourceFile, separator: str, *, quoted: bool) -> set[int]:
    """Numbers of cells that the first records with any text have."""
    records = _records(source, separator, quoted=quoted)
    with_text = (cells for cells in records if any(map(str.strip, cells)))
    return set(map(len, itertools.islice(with_text, 50)))


def _records(source: SourceFile, separator: str, *, quoted: bool) -> Iterator[list[str]]:
    """Cells of each record, without blank lines.

    Args:
        source: The file.
        separator: What separates the cells of a line.
        quoted: Whether quotes wrap cells, or are part of the text.
    """
    # The limit of Python is 131,072 characters a cell, which long documents exceed.
    csv.field_size_limit(2**31 - 1)
    # csv.reader wants line ends as they are, for those inside quotes; without quotes only "\n" ends a line.
    with source.text(newline="" if quoted else "\n") as file:
        try:
            if quoted:
                yield from filter(_has_text, csv.reader(file, delimiter=separator, strict=True))
                return
            for line in file:
                if line.strip():
                    yield line.rstrip("\r\n").split(separator)
        except UnicodeDecodeError as error:
            raise DataError(source.wrong_encoding(error)) from error


def _has_text(cells: list[str]) -> bool:
    """Whether the record is more than a blank line."""
    return len(cells) > 1 or bool(cells and cells[0].strip())


def _is_quoted(source: SourceFile, separator: str) -> bool:
    """Whether quotes wrap cells, as in csv, or are part of the text, as in many published tsv files.

    They are part of the text where every line by itself has as many cells as the first, and reading quotes as wrappers
    either fails or joins lines.
    """
    if separator != "\t":
        return True
    widths, lines, has_quotes = set(), 0, False
    for cells in _records(source, separator, quoted=False):
        widths.add(len(cells))
        lines += 1
        has_quotes = has_quotes or any(cell.startswith('"') for cell in cells)
    if not has_quotes:
        return False
    # Lines of different lengths: quotes may hide separators and line ends.
    if len(widths) != 1:
        return True
    try:
        return sum(1 for _ in _records(source, separator, quoted=True)) == lines
    except csv.Error:
        return False


# --- headers -----------------------------------------------------------------------------------------------------


def _first_names_columns(records: Sequence[list[str]], path: str) -> bool:
    """Whether the first record names columns, in a file whose columns are given by their positions."""
    first, others = records[0], records[1:]
    if not _is_header(first, others):
        return False
    shown = ", ".join(map(repr, first))[:_SHOWN]
    log(f"{path}: the first record, {shown}, names the columns; dataset.header=false makes it a row")
    return True


def _is_header(first: list[str], others: Sequence[list[str]]) -> bool:
    cells = [cell.strip() for cell in first]
    # pandas numbers the columns of a frame that has no names, after an empty cell above its index.
    counted = list(map(str, range(len(cells))))
    if len(cells) > 1 and cells in (counted, ["", *counted[:-1]]):
        return True
    if len(_USUAL_NAMES.intersection(map(str.lower, cells))) > 1:
        return True
    if not others or len(set(cells)) < len(cells) or any(map(_is_number, cells)):
        return False
    for index, cell in enumerate(cells):
        column = [record[index].strip() for record in others if index < len(record)]
        if cell and _stands_out(cell, column):
            return True
    return False


def _stands_out(cell: str, column: list[str]) -> bool:
    """Whether a first cell cannot be one of its column: a word above numbers, or above few names that repeat."""
    if len(column) > 1 and all(map(_is_number, column)):
        return True
    counts = Counter(column)
    # A label that only the first of many rows has would be odd, where all others occur several times.
    return cell not in counts and len(column) > 3 and min(counts.values()) > 1 and " " not in cell


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def _column_names(cells: list[str], path: str) -> list[str]:
    """Names of the columns from the first record; a column without a name, as pandas writes its index, gets one."""
    names: list[str] = []
    for index, cell in enumerate(cells):
        names.append(cell.strip().strip('"').strip() or f"column {index}")
    # A hundred thousand names are counted once.
    counts = Counter(names)
    for name in names:
        if counts[name] > 1:
            raise DataError(
                f"{path} has two columns named {shortened(name, _SHOWN)!r}: rename one of them in its first line; or, "
                f"if that is a row, give the columns by their positions from 0, {_positions(cells)}"
            )
    check_names(names, path)
    return names


def _positions(cells: list[str]) -> str:
    """Settings that name columns by position: that of the longest cell may be a text."""
    longest = max(range(len(cells)), key=lambda index: len(cells[index]))
    return f"such as columns.text={longest}"


def _ragged(path: str, number: int, cells: list[str], names: list[str]) -> str:
    start, listed = " ".join(cells)[:60], ", ".join(names)
    if len(listed) > _SHOWN:
        listed = f"{listed[:_SHOWN]}…"
    return (
        f"{path} record {number} has {counted(len(cells), 'cell')}, expected {len(names)} ({listed}): "
        f'"{start}…"; put quotes around cells that contain the separator'
    )


# --- spreadsheets ------------------------------------------------------------------------------------------------


def workbook_records(path: str) -> Iterator[list[str]]:
    """Cells of each row of a spreadsheet as texts; rows and columns that are empty throughout are left out."""
    for cells in workbook_cells(path):
        yield list(map(_as_text, cells))


def workbook_cells(path: str) -> Iterator[list[Any]]:
    """Cells of a workbook with their types: numbers, dates and texts."""
    width = 0
    for row in workbook_rows(path):
        cells = list(row)
        if not any(map(_as_text, cells)):
            continue
        # Sheets are as wide as their widest row, which may hold only formats.
        width = width or max(index for index, cell in enumerate(cells, 1) if _as_text(cell))
        while len(cells) > width and not _as_text(cells[-1]):
            cells.pop()
        yield cells + [None] * (width - len(cells))


def _as_text(cell: Any) -> str:
    """The cell as it is shown: without the ".0" of whole numbers, and dates without the time that they do not have."""
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).removesuffix(" 00:00:00")
