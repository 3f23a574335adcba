"""The command that exports the model of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..log import LIBRARIES, explained
from ..output import print_table, say, text_table
from .answers import answer
from .words import RUN, TRUST

if TYPE_CHECKING:
    from ..exporting.outcome import Export


@click.command()
@RUN
@click.option("--to", type=click.Choice(["onnx"]), default="onnx", help="Format of the model: onnx.")
@click.option("--int8", is_flag=True, help="Weights in 8 bits: smaller and less exact, by how much is scored.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="New folder; RUN/onnx by default.")
@TRUST
def export(path: str, to: str, int8: bool, output: Path | None, trust: bool) -> None:
    """Export the model of a run for use without PyTorch, and compare its predictions with those of the run.

    The folder has the graph, the tokenizer, labels and thresholds; predict, evaluate and serve take it as a run.
    """
    with explained(f"{LIBRARIES}, then the model"):
        from ..exporting.export import export as export_run

        result = export_run(path, to, int8=int8, output=output, trust=trust)
    answer(lambda: _show(result), lambda: {"path": str(result.path), **result.as_json()})


def _show(result: Export) -> None:
    print_table(text_table(*result.cells()))
    say("")
    for sentence in result.sentences:
        say(sentence)
    say(f"\nall numbers: {result.path / 'export.json'}\nmodel: {result.path}")
