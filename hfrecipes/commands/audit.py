"""The command that tells how much a model gives away about its training rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..log import LIBRARIES, explained
from ..output import print_table, say, text_table
from .answers import answer
from .words import RUN, TRUST

if TYPE_CHECKING:
    from ..auditing.outcome import Audit


@click.command()
@RUN
@click.option("--shadows", type=int, default=0, help="Even number of trainings for the likelihood ratio attack.")
@click.option("--rows", type=int, default=1000, show_default=True, help="Rows of train, and of test, at most.")
@TRUST
def audit(path: str, shadows: int, rows: int, trust: bool) -> None:
    """Try to tell the training rows of a run from others: membership inference, with intervals.

    With --shadows, the run is trained again on other halves of the rows: the stronger attack. What the model remembers
    of secrets that privacy.canaries planted in train is measured too. Writes audit.json and a section on the card. The
    same command again trains only the shadow models that are missing.
    """
    with explained(f"{LIBRARIES}, then the model"):
        from ..auditing.audit import audit as audit_run

        result = audit_run(path, shadows=shadows, rows=rows, trust=trust)
    answer(lambda: _show(result), result.as_json)


def _show(result: Audit) -> None:
    for table in result.tables():
        print_table(text_table(*table))
        say("")
    for sentence in result.sentences:
        say(sentence)
    say(f"\nall numbers: {result.path}")
