"""The command for editors: schema."""

from __future__ import annotations

import click

from .. import registry
from ..log import explained
from ..output import say


@click.command()
def schema() -> None:
    """Print the JSON schema of recipe files, for editors: hfrecipes schema > recipe.schema.json

    It has the tasks of other packages that are installed, too. A recipe file names it in a line at its top:
    # yaml-language-server: $schema=recipe.schema.json
    """
    from ..schema.files import SCHEMA, schema_text

    tasks = list(registry.list_tasks())
    if tasks == registry.shipped_tasks():
        say(SCHEMA.read_text(encoding="utf-8"), end="")
        return
    with explained():
        from ..schema.json_schema import json_schema

        say(schema_text(json_schema(tasks)), end="")
