"""The page with every setting, docs/all-settings.md; a test compares it with what `page` gives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..config.trainer_keywords import table
from ..config.value_types import describe_type
from ..config.yaml12 import format_value
from ..recipe import DEFAULTS, Recipe
from ..registry import find
from .settings import NO_DEFAULT, Setting, block_settings, members, option_settings, run_settings, training_settings

_HEAD = """\
# Every setting

All commands run in a checkout of this repository after `make quickstart`, with `.venv/bin` on the `PATH`.

This page is made from the code, as is the JSON schema by which editors check recipe files. [Settings](settings.md)
explains how they are written, and which models there are to start from. The same for one task, in a terminal:

```bash
hfrecipes show text-classification
```

Each description as a program reads it:

```python
import json
from importlib.resources import files

schema = json.loads(files("hfrecipes.schema").joinpath("recipe.json").read_text(encoding="utf-8"))
print(schema["properties"]["early_stopping"]["description"])
```

A dot reaches into a block: `lora.r=8` on the command line is `lora: {r: 8}` in a file and `lora={"r": 8}` in Python.
Options and arguments of the Trainer are written with their block or without it: `options.max_length=128` or
`max_length=128`. `null` stands for the default of a setting, an
option or an argument; keys of blocks take it where their values say so.
"""
_NEXT = "Next: [token classification](token-classification.md), the first of the pages for other tasks\n"
_HEADS = ("| setting | values | default | what it does |", "|---|---|---|---|")


def page(tasks: Sequence[str]) -> str:
    """The page in Markdown.

    Args:
        tasks: Names of the tasks whose options it lists.
    """
    blocks = block_settings()
    parts = [_HEAD, "## The run\n", *_table(run_settings())]
    for name, keys in blocks.items():
        described = [key for key in keys if key.description]
        parts += [f"### Keys of `{name}`\n", *_table(described, f"{name}.")]
    others = [f"`{key.name}`" for key in blocks["lora"] if not key.description]
    parts += [f"Further keys of `lora` are explained in the documentation of PEFT: {', '.join(others)}.\n"]
    shared = option_settings(Recipe)
    parts += ["## Options of every task\n", *_table(shared)]
    for task in tasks:
        parts += _of_task(task, shared)
    parts += ["## Arguments of the Trainer\n"]
    for group, settings in training_settings().items():
        parts += [f"### {group}\n", *_table(settings)]
    parts += ["### Arguments with one value\n", "Another one is refused, for the reason given.\n", f"{table()}\n"]
    return "\n".join(
        [*parts, "Next: [token classification](token-classification.md), the first of the pages for other tasks\n"]
    )


def _of_task(task: str, shared: Sequence[Setting]) -> list[str]:
    """What a task has beside the options of every task, or with another default."""
    recipe = find(task)
    changed = [setting for setting in option_settings(recipe) if setting not in shared]
    columns = ", ".join(f"`{name}`" for name in recipe.columns)
    lines = [f"## Options of {task}\n", f"Columns: {columns}.\n", *_table(changed)]
    defaults = {name: value for name, value in recipe.defaults.items() if DEFAULTS.get(name) != value}
    if defaults:
        lines.append(f"It trains with {_assignments(defaults)}.\n")
    for option, others in recipe.defaults_with.items():
        lines.append(f"With `{option}`, it trains with {_assignments(others)}.\n")
    return lines


def _assignments(values: dict[str, Any]) -> str:
    return ", ".join(f"`{name}={format_value(value)}`" for name, value in values.items())


def _table(settings: Iterable[Setting], prefix: str = "") -> list[str]:
    """The lines of a table, with an empty one after it."""
    lines = [*_HEADS]
    for setting in settings:
        cells = [f"`{prefix}{setting.name}`", _values(setting), _default(setting), setting.description]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _values(setting: Setting) -> str:
    """The type in words, and the range of numbers that have one."""
    words = " or ".join(map(describe_type, members(setting.kind)))
    return words if setting.range is None else f"{words}: {str(setting.range).removeprefix('a number ')}"


def _default(setting: Setting) -> str:
    if setting.follows:
        return f"by {setting.follows}"
    return "–" if setting.default is NO_DEFAULT else f"`{format_value(setting.default)}`"
