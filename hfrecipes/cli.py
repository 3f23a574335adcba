"""The command line: each command is a function in `commands`."""

from __future__ import annotations

import click

from ._version import __version__
from .commands import audit, compare, demo, explain, export, recipes, reports, robustness, runs, schema, serve, skill
from .commands.answers import with_json
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
    runs.evaluate,
    compare.compare,
    reports.report,
    explain.explain,
    robustness.robustness,
    audit.audit,
    export.export,
    runs.push,
    runs.merge,
    runs.verify,
):
    main.add_command(with_json(command))

# These print no results: they go on until they are ended, or print a file as it is.
for command in (runs.chat, demo.demo, serve.serve, schema.schema, skill.skill):
    main.add_command(command)
