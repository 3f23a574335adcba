"""Outputs of any form, written whole or not at all."""

from __future__ import annotations

import datetime
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..data.tables import workbook_cells
from ..errors import MissingPackageError
from ..log import log
from ..output import json_line
from ..recipe import Row
from ..run_folder.writing import draft
from .partial import Partial
from .records import Records
from .table_style import TableStyle, as_cell, path_of, style_of

SUFFIXES = (".jsonl", ".csv", ".tsv", ".xlsx")
_BATCH = 1000
_LONGEST_CELL = 32_767  # characters that a cell of a spreadsheet may have


def write_output(output: Path, records: Records, partial: Partial, source: Any) -> None:
    """Write rows with their predictions.

    Args:
        output: File that does not exist.
        records: The rows.
        partial: One prediction for each of them.
        source: What was predicted.
    """
    if output.suffix == ".jsonl":
        _write_lines(output, records, partial)
    elif output.suffix == ".xlsx":
        _write_workbook(output, records, partial, source)
    else:
        _write_table(output, records, partial, style_of(source, output))


def check_packages(output: Path) -> None:
    """Look for what a spreadsheet needs before anything is predicted.

    Raises:
        MissingPackageError: openpyxl is not installed.
    """
    if output.suffix == ".xlsx":
        try:
            import openpyxl  # noqa: F401
        except ImportError as error:
            raise MissingPackageError(f"{output} is a spreadsheet: pip install openpyxl, or write .csv") from error


# --- jsonl -------------------------------------------------------------------------------------------------------


def _write_lines(output: Path, records: Records, partial: Partial) -> None:
    with draft(output) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for row, prediction in zip(records, partial.predictions(), strict=True):
            line = {**row, records.names["prediction"]: records.spelled(prediction)}
            file.write(json_line(line) + "\n")


# --- csv and tsv -------------------------------------------------------------------------------------------------


def _write_table(output: Path, records: Records, partial: Partial, style: TableStyle) -> None:
    """Write a table, in UTF-8 where the encoding of the input does not have a character."""
    header = [*_header(records), *_prediction_columns(records, partial)]
    if style != TableStyle(separator=style.separator, of_table=style.of_table, line_end=style.line_end):
        log(f"{output} is written like the input: {style.described}")
    try:
        _write_styled(output, header, records, partial, style)
    except UnicodeEncodeError as error:
        character = error.object[error.start]
        log(f"{output} is written in UTF-8, because the encoding of the input, {style.encoding}, has no {character!r}")
        _write_styled(output, header, records, partial, style.in_unicode())


def _write_styled(output: Path, header: list[str], records: Records, partial: Partial, style: TableStyle) -> None:
    with draft(output) as temporary, open(temporary, "wb") as file:
        file.write(style.mark + style.encode([list(map(as_cell, header))]))
        lines = _table_rows(records, partial, header, protected=not style.of_table)
        while batch := list(itertools.islice(lines, _BATCH)):
            file.write(style.encode(batch))


def _header(records: Records) -> list[str]:
    """Names of the columns that stand before the predictions."""
    first: Row = next(iter(records), {})
    return list(first)


def _prediction_columns(records: Records, partial: Partial) -> list[str]:
    """Names of the columns of all predictions: one may have keys that the first one has not."""
    names: dict[str, None] = {}
    for prediction in partial.predictions():
        names |= dict.fromkeys(_flat(records, prediction))
    return list(names) or [records.names["prediction"]]


def _flat(records: Records, prediction: Row | None) -> Row:
    """A prediction as cells: each key of a block is a column, and a list is JSON."""
    cells: Row = {}
    for key, value in (records.spelled(prediction) or {}).items():
        name = f"{records.names['prediction']}.{key}"
        if isinstance(value, dict):
            for inner, entry in value.items():
                cells[f"{name}.{inner}"] = as_cell(_as_text(entry))
        else:
            cells[name] = as_cell(_as_text(value))
    return cells


def _as_text(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict) else value


def _table_rows(records: Records, partial: Partial, header: Sequence[str], *, protected: bool) -> Iterator[list[Any]]:
    """Cells of each row.

    Args:
        records: The rows.
        partial: Their predictions.
        header: Names of the columns.
        protected: Whether texts of the input, too, get a quote where a spreadsheet would run them. Those of a table
            stay as they are: whoever opens the output has opened the input.
    """
    for row, prediction in zip(records, partial.predictions(), strict=True):
        cells: Row = {}
        for name, cell in row.items():
            cells[name] = as_cell(_as_text(cell)) if protected else _as_text(cell)
        cells |= _flat(records, prediction)
        yield [cells.get(name) for name in header]


# --- spreadsheets ------------------------------------------------------------------------------------------------


def _write_workbook(output: Path, records: Records, partial: Partial, source: Any) -> None:
    """Write a spreadsheet, with numbers and dates as they are in that of the input."""
    import openpyxl

    header = [*_header(records), *_prediction_columns(records, partial)]
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("predictions")
    sheet.append([_as_cell_of_sheet(sheet, name) for name in header])
    typed = _typed_cells(records, source)
    for cells in _table_rows(records, partial, header, protected=False):
        values = dict(zip(header, cells, strict=True)) | next(typed)
        sheet.append([_as_cell_of_sheet(sheet, values[name]) for name in header])
    with draft(output) as temporary:
        book.save(temporary)


def _typed_cells(records: Records, source: Any) -> Iterator[Row]:
    """Cells of each row of the spreadsheet that was read, by kept column; without any where it was something else."""
    path = path_of(source)
    if path is None or path.suffix.lower() != ".xlsx" or not records.given.is_aligned:
        yield from itertools.repeat({})
    columns = records.given.raw.column_names
    rows = workbook_cells(str(path))
    if columns != list(map(str, range(len(columns)))):
        next(rows, None)  # the header
    for cells in rows:
        values = dict(zip(columns, cells, strict=False))
        # Texts are those that were read; dates and numbers keep their types.
        yield {name: values[name] for name in records.kept if not isinstance(values.get(name), str)}


def _as_cell_of_sheet(sheet: Any, value: Any) -> Any:
    """A value that a cell can hold: without characters that XML does not have, and not longer than a cell may be."""
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE, WriteOnlyCell

    if value is None or isinstance(value, bool | int | float | datetime.date | datetime.time | datetime.timedelta):
        return value
    cell = WriteOnlyCell(sheet, ILLEGAL_CHARACTERS_RE.sub("", str(value))[:_LONGEST_CELL])
    cell.data_type = "s"  # a text that starts with "=" would become a formula
    return cell
