"""The command for editors: schema."""

from __future__ import annotations

from pathlib import Path

import click

from .. import registry
from ..log import explained
from ..output import say
from .words import check_new


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write the schema to.")
def schema(output: Path | None) -> None:
    """Print the JSON schema of recipe files, for editors, or write it: hfrecipes schema -o recipe.schema.json

    It has the tasks of other packages that are installed, too. A recipe file names it in a line at its top:
    # yaml-language-server: $schema=recipe.schema.json
    """
    if output is None:
        say(_text(), end="")
        return
    from ..run_folder.writing import write_text

    check_new(output)
    write_text(output, _text())
    say(f"{output}: the schema of recipe files")


def _text() -> str:
    """The schema of all tasks that are installed."""
    from ..schema.files import SCHEMA, schema_text

    tasks = list(registry.list_tasks())
    if tasks == registry.shipped_tasks():
        return SCHEMA.read_text(encoding="utf-8")
    with explained():
        from ..schema.json_schema import json_schema

        return schema_text(json_schema(tasks))
