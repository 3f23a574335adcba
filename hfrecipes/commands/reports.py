"""The command that shows a run to people: report."""

from __future__ import annotations

import click

from ..log import LIBRARIES, explained
from ..output import say
from .answers import answer
from .words import RUN, TRUST


@click.command()
@RUN
@TRUST
def report(path: str, trust: bool) -> None:
    """Write report.html into a run: scores, curves, confusions, worst rows, likely label errors."""
    from ..predictor import write_report

    with explained(f"{LIBRARIES}, then the report"):
        file = write_report(path, trust=trust)
    answer(lambda: say(f"report: {file}"), lambda: {"path": str(file)})
