"""The command that shows runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..log import LIBRARIES, explained
from ..output import print_table, say, text_table
from .answers import answer
from .completion import complete_run
from .words import TRUST, check_new, check_suffix

if TYPE_CHECKING:
    from ..comparing.comparison import Comparison


@click.command()
@click.argument("runs", metavar="RUN RUN...", nargs=-1, shell_complete=complete_run)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write to: .html, .csv or .json.")
@click.option("--no-timing", is_flag=True, help="Do not measure the time of predictions, and load one model at a time.")
@TRUST
def compare(runs: tuple[str, ...], output: Path | None, no_timing: bool, trust: bool) -> None:
    """Compare runs that were scored on the same rows: scores, paired tests, costs, Pareto front.

    The others are tested against the run with the best validation score. With -o, everything is written to a file; a
    page (.html) also has a plot of quality against cost.
    """
    from ..comparing.files import SUFFIXES, check_packages, write

    if output is not None:
        check_new(output)
        check_suffix(output, SUFFIXES)
        check_packages(output)
    with explained(f"{LIBRARIES}, then the models"):
        from ..comparing.compare import compare as compare_runs

        comparison = compare_runs(*runs, timing=not no_timing, trust=trust)
    answer(lambda: show(comparison), comparison.as_json)
    if output is not None:
        write(output, comparison)
        say(f"comparison: {output}", err=True)


def show(comparison: Comparison) -> None:
    """Print both tables of a comparison, and what they mean."""
    from ..comparing.comparison import cost_cells, score_cells

    print_table(text_table(*score_cells(comparison)))
    say("")
    print_table(text_table(*cost_cells(comparison)))
    say("")
    for sentence in comparison.sentences:
        say(sentence)
