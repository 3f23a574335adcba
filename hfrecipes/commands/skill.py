"""The command for coding agents: skill."""

from __future__ import annotations

from importlib.resources import files

import click

from ..output import say


@click.command()
def skill() -> None:
    """Print how to work with hfrecipes, for coding agents: hfrecipes skill > skills/hfrecipes/SKILL.md"""
    say(files("hfrecipes").joinpath("skill", "SKILL.md").read_text(encoding="utf-8"), end="")
