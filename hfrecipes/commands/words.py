"""Words of a command as settings, and the options that several commands share."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from .. import registry
from ..errors import HFRecipesError
from .completion import complete_file, complete_recipe, complete_run, complete_settings
from .group import fail

_Function = TypeVar("_Function", bound=Callable[..., Any])
# `--key value` then arrives as plain words, so the error can show the key=value form.
WORDS = {"ignore_unknown_options": True}
TRUST = click.option(
    "--trust",
    is_flag=True,
    help="Run code that only a recipe file or a run names: a task or a metric in a .py file, code of its model.",
)
INT8 = click.option(
    "--int8", is_flag=True, help="Compute in 8 bits, which is faster on a CPU and less exact; its score is printed."
)


def _needed(context: click.Context, _: click.Parameter, source: str | None) -> str | None:
    if source is None and not context.resilient_parsing:  # as for the completion of words
        given = shlex.quote(str(context.params.get("path", "")))
        fail(
            f"{context.info_name} needs a run and something to predict, found {given} alone:  "
            f'hfrecipes {context.info_name} RUN "text"  or  hfrecipes {context.info_name} RUN FILE'
        )
    return source


RUN = click.argument("path", metavar="RUN", shell_complete=complete_run)
RECIPE = click.argument("what", metavar="FILE|TASK", shell_complete=complete_recipe)


def settings_argument(metavar: str) -> Callable[[_Function], _Function]:
    """The argument for words that are settings."""
    return click.argument("words", nargs=-1, metavar=metavar, shell_complete=complete_settings)


INPUT = click.argument("source", metavar="INPUT", required=False, callback=_needed, shell_complete=complete_file)


def check_quoted(command: str, path: str, source: str, words: Sequence[str]) -> None:
    """Refuse a text that the shell has split into words."""
    if words and all("=" not in word for word in words):
        text = shlex.quote(" ".join((source, *words)))
        fail(f"put quotes around a text:  hfrecipes {command} {shlex.quote(path)} {text}")


def settings_in(words: Sequence[str], what: str | None = None, *, trust: bool = False) -> dict[str, Any]:
    """Read settings from key=value words; for `--key value`, print what to write instead.

    Args:
        words: Words of the command.
        what: Recipe file or task that the settings are for; None for settings of another kind.
        trust: Whether code that only a recipe file names may be run.
    """
    # It imports yaml, which `list` and `--help` do not need.
    from ..config.overrides import parse_overrides

    if any(word.startswith("-") for word in words):
        instead = _assettings_in(list(words), _columns_of(what))
        shown = " ".join(map(_quoted, instead))
        fail(f"settings are written as key=value; write: {shown}{_refusal(what, instead, trust)}")
    return parse_overrides(words)


def _quoted(word: str) -> str:
    """A word as a shell reads it; quoted no more than it must be."""
    return word if "'" in word or re.fullmatch(r"[^\s{}()<>|&;*?$`\"\\]*", word) else shlex.quote(word)


def _refusal(what: str | None, words: list[str], trust: bool) -> str:
    """What else is wrong with the settings that a command line means, so that the next try is the last one."""
    from ..config.overrides import parse_overrides

    if what is None:
        return ""
    from ..training.configuration import configure

    try:
        configure(what, parse_overrides(words), trust=trust, index=0)
    except HFRecipesError as error:
        return f"\n- then: {error}"
    return ""


def _columns_of(what: str | None) -> dict[str, Sequence[str]]:
    """Columns of a task that is named, each with other names for it; none where a recipe file is."""
    if what is None or not registry.is_task(what):
        return {}
    return {name: column.names for name, column in registry.find(what).columns.items()}


def _assettings_in(words: list[str], columns: Mapping[str, Sequence[str]]) -> list[str]:
    """The key=value words that `--key value`, `--key=value` and `--flag` mean."""
    settings = []
    while words:
        word = words.pop(0)
        if not word.startswith("-"):
            settings.append(word)
            continue
        key, equals, value = word.lstrip("-").partition("=")
        if not equals:
            value = "true"
            # The next word is the value, unless it is an option or a setting itself.
            if words and not words[0].startswith("-") and "=" not in words[0]:
                value = words.pop(0)
        settings += _as_known(key.replace("-", "_"), value, columns)
    return settings


def _as_known(key: str, value: str, columns: Mapping[str, Sequence[str]]) -> list[str]:
    """The settings that an option of another tool means; none where nothing replaces it."""
    from ..config.hints import column_hint, hint_for
    from ..config.yaml12 import parse_value

    hint = hint_for(key, parse_value(value)) or column_hint(key, parse_value(value), columns)
    # The column is not known by `columns.<name>`.
    if hint is None or hint.edit.startswith("columns.<"):
        return [f"{key}={value}"]
    return shlex.split(hint.edit)


def check_suffix(file: Path, suffixes: Sequence[str]) -> None:
    """Refuse the name of a file whose suffix is not one of these."""
    if file.suffix not in suffixes:
        *others, last = suffixes
        listed = f"{', '.join(others)} or {last}" if others else last
        fail(f"cannot write {file.name}: expected a name that ends in {listed}")


def check_new(file: Path) -> None:
    """Refuse the name of a file that exists, or cannot."""
    try:
        exists = file.exists()
    except OSError as error:
        fail(f"{file} cannot be written ({error.strerror}): choose another name")
    if exists:
        fail(f"{file} exists: choose another name")
    if not file.parent.is_dir():
        fail(f"there is no folder {file.parent}: create it first")
