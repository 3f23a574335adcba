"""What the command line writes: sentences and scores to a terminal or pipe of any encoding."""

from __future__ import annotations

import codecs
import io
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from .characters import visible, visible_json, visible_line
from .errors import counted
from .run_folder.writing import as_json_line

if TYPE_CHECKING:
    from rich.table import Table

    from .evaluation.breakdown import Breakdown
    from .evaluation.comparison import Evaluation
    from .evaluation.scoring import Scores
    from .evaluation.slices import Slices


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
    return visible_json(as_json_line(value))


# --- scores ------------------------------------------------------------------------------------------------------


def score_table(
    scores: dict[str, Scores], headline: Sequence[str], changes: Scores | None = None, compared_with: str = ""
) -> Table:
    """Scores as a table: a row for each headline metric, and a column for each split.

    Further columns show by how much train is above validation, the baseline of the last split that has one, and how
    scores changed from those of the run's own split.
    """
    from .evaluation.tables import score_cells

    return text_table(*score_cells(scores, headline, changes, compared_with))


def class_table(split: str, report: Breakdown) -> Table:
    """Precision, recall, F1 and support of each label of a split, or of the worst ones."""
    from .evaluation.tables import class_cells

    return text_table(*class_cells(split, report))


def text_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table without lines; all columns but the first keep their words whole."""
    from rich.table import Column, Table
    from rich.text import Text

    # Names come from the data: in a plain string, rich would take `[person]` for markup.
    columns = [Column(Text(visible_line(head)), overflow="fold" if head == heads[0] else "ellipsis") for head in heads]
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*[Text(visible_line(cell)) for cell in row])
    return table


def comparison_table(
    evaluations: Mapping[str, Evaluation], headline: Sequence[str], run_scores: Scores, by: str | None
) -> Table:
    """Several sets below each other: for each headline metric a line for each set, and for each slice of it.

    Args:
        evaluations: Name of the set -> its scores.
        headline: The metrics.
        run_scores: Scores of the run's own split, which stand above the others.
        by: Column of the slices.
    """
    from rich.table import Column, Table
    from rich.text import Text

    from .evaluation.scoring import number

    split = next(iter(evaluations.values())).compared_with
    columns = [
        Column(name, justify="right") if name == "rows" else Column(name) for name in ("rows", "score", "baseline")
    ]
    changes = [Column(f"change from {split}")] if split else []
    table = Table(Column("", overflow="fold"), *columns, *changes, box=None, pad_edge=False)
    for metric in headline:
        table.add_row(Text(visible_line(metric)))
        if metric in run_scores:
            score = run_scores[metric]
            table.add_row(*map(Text, [f"  the run's {split}", "", str(score), number(score.baseline)]))
        for name, evaluation in evaluations.items():
            table.add_row(*map(Text, _comparison_row(f"  {name}", evaluation, metric)))
            for value, part in evaluation.slices.items():
                table.add_row(*map(Text, _comparison_row(f"    {by}={value}", part, metric)[:-1]))
    return table


def _comparison_row(name: str, evaluation: Evaluation, metric: str) -> list[str]:
    """Cells of one line."""
    from .evaluation.scoring import number
    from .evaluation.tables import change

    entry = evaluation.scores.get(metric)
    score, baseline = ("–", "–") if entry is None else (str(entry), number(entry.baseline))
    return [visible_line(name), str(evaluation.rows), score, baseline, change(evaluation.changes.get(metric))]


def print_table(table: Table) -> None:
    """Print a table, as wide as the terminal."""
    from rich.console import Console

    console = Console()
    # Into a file or a pipe, rich would wrap at 80 characters.
    if not console.is_terminal:
        console.width = 120
    console.print(table)


def print_report(split: str, report: Breakdown, file: str = "report.json") -> None:
    """Print the scores by label of a split, and the labels that are confused.

    Args:
        split: Its name.
        report: The scores.
        file: What has all of them, where the table has a part.
    """
    from .evaluation.breakdown import sentences

    if report.classes:
        say("")
        print_table(class_table(split, report))
    for sentence in sentences(split, report, file):
        say(sentence)


def print_sets(scores: Mapping[str, Scores], headline: Sequence[str], slices: Slices) -> None:
    """Print the scores of the sets under `tests`, and of parts of rows, beside those of the run's own split."""
    from .config.run_config import named_sets
    from .evaluation.comparison import about_changes
    from .evaluation.slices import set_cells
    from .evaluation.tables import split_of_changes

    heads, rows = set_cells(scores, headline, slices)
    if rows:
        say("")
        print_table(text_table(heads, rows))
    if named_sets(scores) and split_of_changes(scores):
        say(about_changes(split_of_changes(scores)))


def show_evaluations(
    headline: Sequence[str], run_scores: Scores, evaluations: Mapping[str, Evaluation], by: str | None
) -> None:
    """Print the scores of one set with all metrics, of several sets and of slices with the headline metrics alone."""
    first = next(iter(evaluations.values()))
    if len(evaluations) == 1 and by is None:
        say(f"{counted(first.rows, 'row')} of {first.split}")
        print_table(score_table({first.split: first.scores}, list(first.scores), first.changes, first.compared_with))
        if first.report is not None:
            print_report(first.split, first.report, "the file of -o")
    else:
        print_table(comparison_table(evaluations, headline, run_scores, by))
    for name, evaluation in evaluations.items():
        for note in evaluation.notes:
            say(note if len(evaluations) == 1 else f"{name}: {note}")
    for sentence in dict.fromkeys(entry.about_changes for entry in evaluations.values() if entry.changes):
        say(sentence)
