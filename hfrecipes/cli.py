"""The command line: each command is a function in `commands`."""

from __future__ import annotations

import click

from ._version import __version__
from .commands import audit, compare, demo, explain, export, recipes, reports, robustness, runs, schema, serve
from .commands.group import Group


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hfrecipes")
def main() -> None:
    """Fine-tune a pretrained language model on your own data.

    Settings are written as key=value: model=<hub id> dataset=<file> learning_rate=3e-5 columns.text=review
    """


for command in (
    recipes.list_,
    recipes.show,
    recipes.copy,
    recipes.check,
    runs.run,
    runs.search,
    runs.predict,
    runs.chat,
    runs.evaluate,
    compare.compare,
    reports.report,
    explain.explain,
    robustness.robustness,
    audit.audit,
    demo.demo,
    serve.serve,
    export.export,
    runs.push,
    runs.merge,
    runs.verify,
    schema.schema,
):
    main.add_command(command)
