"""What the command line writes: sentences and scores to a terminal or pipe of any encoding, predictions to files."""

from __future__ import annotations

import codecs
import csv
import html
import io
import json
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .characters import visible, visible_json, visible_line
from .run_folder.writing import draft, finite

if TYPE_CHECKING:
    from rich.table import Table

    from .evaluation.breakdown import Breakdown
    from .evaluation.scoring import Scores

# First characters by which a spreadsheet takes a cell for a formula, and runs it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


# --- streams -----------------------------------------------------------------------------------------------------


class _Output(io.TextIOWrapper):
    """Standard output or error that goes on without its reader, as after `| head`: a run still has to be saved."""

    def write(self, text: str, /) -> int:
        """Write a text, to nowhere once the pipe is closed."""
        try:
            return super().write(text)
        except BrokenPipeError:
            _write_to_nowhere(self)
            return len(text)

    def flush(self) -> None:
        """Write what is left."""
        try:
            super().flush()
        except BrokenPipeError:
            _write_to_nowhere(self)


def _write_to_nowhere(stream: io.TextIOWrapper) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def prepare_streams() -> None:
    """Let no character end a command that the terminal or pipe cannot show, and no pipe that is closed."""
    for name, errors in (("stdin", "replace"), ("stdout", "backslashreplace"), ("stderr", "backslashreplace")):
        stream = getattr(sys, name)
        # Tests and notebooks put other objects in place of the streams, and a service may have none.
        if not isinstance(stream, io.TextIOWrapper):
            continue
        # A locale of ASCII is one that nobody has set: click writes UTF-8 there too.
        is_ascii = codecs.lookup(stream.encoding).name == "ascii"
        stream.reconfigure(encoding="utf-8" if is_ascii else stream.encoding, errors=errors)
        if name != "stdin" and stream is getattr(sys, f"__{name}__"):
            keeps_lines = stream.line_buffering
            setattr(sys, name, _Output(stream.buffer, stream.encoding, errors, line_buffering=keeps_lines))


def say(text: str, *, err: bool = False, end: str = "\n") -> None:
    """Print a text; control characters in it, which come from data, are written out."""
    click.echo(visible(text) + end, err=err, nl=False)


def say_json(value: Any) -> None:
    """Print a value as a line of JSON, with escapes for what the terminal or pipe cannot show."""
    line = json_line(value)
    try:
        line.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        line = json.dumps(json.loads(line))
    click.echo(line)


def json_line(value: Any) -> str:
    """A value as JSON on one line: NaN and infinite numbers are null, and control characters are escapes."""
    return visible_json(json.dumps(finite(value), ensure_ascii=False, allow_nan=False))


# --- predictions -------------------------------------------------------------------------------------------------


def write_predictions(predictions: Iterable[dict[str, Any]], path: Path, *, unchanged: Sequence[str] = ()) -> None:
    """Write a file of predictions, .jsonl or .csv, in UTF-8 whatever the locale.

    Args:
        predictions: One for each row.
        path: File that does not exist.
        unchanged: Columns of the rows themselves, whose cells stay as they are in csv.
    """
    # csv needs newline="", or Windows would write an empty line after each row.
    with draft(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl":
            for prediction in predictions:
                file.write(json_line(prediction) + "\n")
            return
        rows = []
        for prediction in predictions:
            rows.append(_cells(prediction, unchanged))
        # A prediction may have keys that the first one has not.
        columns: dict[str, None] = {}
        for row in rows:
            columns |= dict.fromkeys(row)
        writer = csv.DictWriter(file, list(columns))
        writer.writeheader()
        writer.writerows(rows)


def _cells(prediction: dict[str, Any], unchanged: Sequence[str]) -> dict[str, Any]:
    """A prediction as cells of a csv file: a list becomes JSON, and each key of a block a column."""
    cells: dict[str, Any] = {}
    for key, value in finite(prediction).items():
        if isinstance(value, dict):
            for inner, entry in value.items():
                cells[as_cell(f"{key}.{inner}")] = as_cell(entry)
        elif isinstance(value, list):
            cells[as_cell(key)] = json.dumps(value, ensure_ascii=False)
        else:
            cells[as_cell(key)] = value if key in unchanged else as_cell(value)
    return cells


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


# --- scores ------------------------------------------------------------------------------------------------------


def score_table(scores: dict[str, Scores], headline: Sequence[str]) -> Table:
    """Scores as a table: a row for each headline metric, and a column for each split.

    Further columns show by how much train is above validation, and the baseline of the last split that has one.
    """
    return _table(*score_cells(scores, headline))


def class_table(split: str, report: Breakdown) -> Table:
    """Precision, recall, F1 and support of each label of a split, or of the worst ones."""
    return _table(*class_cells(split, report))


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    from rich.table import Column, Table
    from rich.text import Text

    # Names come from the data: in a plain string, rich would take `[person]` for markup.
    columns = [Column(Text(visible_line(head)), overflow="fold" if head == heads[0] else "ellipsis") for head in heads]
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*[Text(visible_line(cell)) for cell in row])
    return table


def score_cells(scores: Mapping[str, Scores], headline: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of `score_table`."""
    from .evaluation.scoring import CLEAN, GAP, Score, number

    splits = [split for split in scores if split != GAP]
    baseline: Scores | None = None
    for split in splits:
        # That of a part of test would look like another one of test.
        if split != CLEAN and any(entry.baseline is not None for entry in scores[split].values()):
            baseline = scores[split]
    heads = ["", *splits]
    if GAP in scores:
        heads.append(GAP)
    if baseline is not None:
        heads.append("baseline")
    unknown, rows = Score(math.nan), []
    for metric in headline:
        cells = [metric, *[str(scores[split].get(metric, unknown)) for split in splits]]
        if GAP in scores:
            cells.append(number(scores[GAP].get(metric, unknown).value))
        if baseline is not None:
            cells.append(number(baseline.get(metric, unknown).baseline))
        rows.append(cells)
    return heads, rows


def class_cells(split: str, report: Breakdown) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of `class_table`."""
    from .evaluation.breakdown import COLUMNS, listed_classes
    from .evaluation.scoring import number

    rows = []
    for name, entry in listed_classes(report).items():
        scores = [number(value) for value in (entry.precision, entry.recall, entry.f1)]
        rows.append([name, *scores, str(entry.support)])
    return [f"{report.by} ({split})", *COLUMNS], rows


def html_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table for a notebook; names come from the data, and are shown as they are."""
    head = "".join(f"<th>{html.escape(visible_line(name))}</th>" for name in heads)
    lines = []
    for row in rows:
        cells = "".join(f"<td>{html.escape(visible_line(cell))}</td>" for cell in row)
        lines.append(f"<tr>{cells}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def print_table(table: Table) -> None:
    """Print a table, as wide as the terminal."""
    from rich.console import Console

    console = Console()
    # Into a file or a pipe, rich would wrap at 80 characters.
    if not console.is_terminal:
        console.width = 120
    console.print(table)
