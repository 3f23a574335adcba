"""The command that changes the texts of test, and shows what that does to the scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import SHOWN
from ..log import LIBRARIES, explained
from ..output import print_table, say, text_table
from .answers import answer
from .completion import complete_file
from .words import RUN, TRUST, check_new, check_suffix

if TYPE_CHECKING:
    from ..robustness.suite import Robustness


@click.command()
@RUN
@click.argument("dataset", metavar="[FILE]", required=False, shell_complete=complete_file)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="JSON file to write all numbers and examples to.")
@TRUST
def robustness(path: str, dataset: str | None, output: Path | None, trust: bool) -> None:
    """Score a run on its test rows with typos, in other case, without punctuation, with other names, and so on.

    FILE has other rows with labels. Chinese rows also get homophones, and signs of the other width.
    """
    if output is not None:
        check_suffix(output, [".json"])
        check_new(output)
    with explained(f"{LIBRARIES}, then the model"):
        from ..predictor import load
        from ..run_folder.writing import write_json

        result = load(path, trust=trust).robustness(dataset)
    answer(lambda: _show(result), result.as_json)
    if output is not None:
        write_json(output, result.as_json())
        say(f"all numbers: {output}", err=True)


def _show(result: Robustness) -> None:
    from ..robustness.suite import sentences

    print_table(text_table(*result.cells()))
    say("")
    for entry in result.perturbed[:SHOWN]:
        for example in entry.examples[:1]:
            say(f"{entry.name}: {example.before[:100]!r} is {example.predicted}")
            say(f"{' ' * len(entry.name)}  {example.after[:100]!r} is {example.predicted_after}")
    for sentence in sentences(result):
        say(sentence)
