"""Completion of words in a shell: tasks, recipe files, settings with their values, and runs, without a heavy import.

click gives the scripts of the shells; what is completed comes from the schema of recipe files.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import click
from click.shell_completion import BashComplete, CompletionItem, ZshComplete, add_completion_class

from .. import registry
from ..schema.files import shipped_schema

_PATHS = ("model", "dataset", "output_dir", "distill", "tests")  # settings, and blocks, whose values may be files
_MOST = 200  # files that are listed
_RUNS = "runs"  # where runs are written by default
# The whole block is no value: its keys are given with a dot.
_BLOCKS = ("columns", "options", "training", "splits", "tests", "search")

# Settings that commands take which use a run.
_TAKEN = {
    "evaluate": ("dataset", "tests", "splits", "columns", "by"),
    "predict": ("columns",),
    "explain": ("columns",),
}


# --- names -------------------------------------------------------------------------------------------------------


def complete_recipe(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Tasks and shipped recipe files; files where none has such a name."""
    items = []
    for name, summary in registry.list_tasks().items():
        items.append(CompletionItem(name, help=summary))
    for name in registry.recipe_files():
        items.append(CompletionItem(name, help="recipe file"))
    return [item for item in items if item.value.startswith(incomplete)] or [CompletionItem(incomplete, type="file")]


def complete_run(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Runs in the folder where they are written by default; folders where none has such a name."""
    items = []
    for file in sorted(Path(_RUNS).glob("*/run.json")):
        if f"{_RUNS}/{file.parent.name}".startswith(incomplete):
            items.append(CompletionItem(f"{_RUNS}/{file.parent.name}"))
    return items or [CompletionItem(incomplete, type="dir")]


def complete_file(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Any file."""
    return [CompletionItem(incomplete, type="file")]


# --- settings ----------------------------------------------------------------------------------------------------


class Settings:
    """The settings of a task that a command takes, by name, with the schema of each.

    Args:
        task: Name of the task; None for a task that does not ship, or where there is none.
        only: Settings and blocks that the command takes; None for all.
    """

    def __init__(self, task: str | None, only: Sequence[str] | None = None) -> None:
        self.task, self.only = task, only

    @cached_property
    def schema(self) -> Mapping[str, Any]:
        """The schema of recipe files."""
        return shipped_schema()

    @property
    def names(self) -> dict[str, Mapping[str, Any]]:
        """Setting -> its schema: those of the run, then the options of the task, then arguments of the Trainer."""
        shared: dict[str, Any] = dict(self.schema["properties"])
        of_task: Mapping[str, Any] = self.schema["definitions"].get(self.task, {})
        arguments = {name: shared.pop(name) for name in [*shared] if "$ref" in shared[name]}
        merged = {**shared, **of_task.get("properties", {}), **arguments}
        names = {
            name: self._target(schema) for name, schema in merged.items() if self.only is None or name in self.only
        }
        return {name: schema for name, schema in names.items() if not schema.get("doNotSuggest") and name != "task"}

    def keys(self, block: str) -> Mapping[str, Any]:
        """Keys of a block, with the schema of each."""
        if block == "search":
            return {**_properties(self.names.get(block, {})), **self.names}
        return {key: self._target(schema) for key, schema in _properties(self.names.get(block, {})).items()}

    def _target(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """The schema that a reference leads to."""
        while "$ref" in schema:
            target: Any = self.schema
            for part in schema["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            schema = target
        return schema


def _properties(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Keys of a setting that is a block, or may be one."""
    for form in (schema, *schema.get("anyOf", [])):
        if "properties" in form:
            properties: Mapping[str, Any] = form["properties"]
            return properties
    return {}


def values_of(schema: Mapping[str, Any]) -> list[str]:
    """Values that a setting can have, where they can be listed.

    Example:
        >>> values_of({"anyOf": [{"enum": ["embeddings", "backbone"]}, {"type": ["boolean", "null"]}]})
        ['embeddings', 'backbone', 'true', 'false']
    """
    values = []
    for form in (schema, *schema.get("anyOf", [])):
        kinds = form.get("type", [])
        values += [str(value) for value in form.get("enum", []) if isinstance(value, str) and value]
        if "boolean" in ([kinds] if isinstance(kinds, str) else kinds):
            values += ["true", "false"]
    return values


def complete_settings(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Names of settings up to their `=`, keys of a block after its dot, and values after the `=`."""
    settings = Settings(_task_of(context.params), _TAKEN.get(str(context.info_name)))
    words = [word for word in context.params.get(str(parameter.name)) or () if isinstance(word, str)]
    key, equals, start = incomplete.partition("=")
    if equals:
        return [*_values(settings, key, start, f"{key}=")]
    if setting := _key_before(words, settings):
        return [*_values(settings, setting, incomplete, "")]
    given = _given(words)
    items = [item for item in _names(settings, incomplete) if item.value.rstrip("=") not in given]
    return items or complete_file(context, parameter, incomplete)


def _key_before(words: Sequence[str], settings: Settings) -> str | None:
    """The setting whose value is completed, where it is a word of its own; None where a name is completed.

    Args:
        words: Those before the one that is completed. bash gives the words before and after the `=` alone, and the `=`
            too where a value has begun.
        settings: Those of the task.
    """
    if words[-1:] == ["="]:
        return "".join(words[-2:-1]) or None
    last = "".join(words[-1:])
    is_value = words[-2:-1] == ["="]
    is_name = last in settings.names or ("." in last and last.partition(".")[0] in settings.names)
    return last if is_name and not is_value and "=" not in last else None


def _given(words: Sequence[str]) -> set[str]:
    """Names of the settings that have a value already."""
    given = {word.partition("=")[0] for word in words if "=" in word}
    return given | {word for word, sign in itertools.pairwise(words) if sign == "="}


def _task_of(words: Mapping[str, Any]) -> str | None:
    """The task that a command is for: named, or that of its recipe file or of its run; None where nothing tells it.

    Args:
        words: Arguments of the command so far.
    """
    what = words.get("what")
    if isinstance(what, str) and registry.is_task(what):
        return what
    file = registry.recipe_files().get(str(what), Path(str(what)))
    if "path" in words:
        file = Path(str(words["path"]), "recipe.yaml")
    if file.suffix not in (".yaml", ".yml") or not registry.is_file(file):
        return None
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    named = re.search(r"""^task: *["']?([\w-]+)""", text, re.MULTILINE)
    return named[1].replace("_", "-") if named else None


def _names(settings: Settings, incomplete: str) -> Iterator[CompletionItem[str]]:
    """Names that begin like this: with an `=`, or with a dot where keys follow."""
    block, dot, _ = incomplete.rpartition(".")
    schemas = settings.keys(block) if dot else settings.names
    for name, schema in schemas.items():
        text = f"{block}{dot}{name}"
        if text.startswith(incomplete):
            end = "." if not dot and name in _BLOCKS else "="
            yield CompletionItem(f"{text}{end}", help=schema.get("description"))


def _values(settings: Settings, key: str, start: str, prefix: str) -> Iterator[CompletionItem[str]]:
    """Values that begin like this, and files for settings that name some.

    Args:
        settings: Those of the task.
        key: The setting, with a dot into its block.
        start: What stands after the `=`.
        prefix: What stands before it, where the shell replaces the whole word.
    """
    block, dot, name = key.rpartition(".")
    schemas = settings.keys(block) if dot else settings.names
    for value in values_of(schemas.get(name, {})):
        if value.startswith(start):
            yield CompletionItem(f"{prefix}{value}")
    if (block or name) in _PATHS:
        for path in _paths(start):
            yield CompletionItem(f"{prefix}{path}")


def _paths(start: str) -> list[str]:
    """Files and folders that begin like this; folders end with a slash."""
    folder, slash, beginning = start.rpartition("/")
    try:
        entries = sorted(os.scandir(os.path.expanduser(folder + slash) or "."), key=lambda entry: entry.name)
    except OSError:
        return []
    paths = []
    for entry in entries:
        if entry.name.startswith(beginning) and entry.name.startswith(".") == beginning.startswith("."):
            paths.append(f"{folder}{slash}{entry.name}{'/' * entry.is_dir()}")
    return paths[:_MOST]


# --- scripts -----------------------------------------------------------------------------------------------------


@add_completion_class
class Bash(BashComplete):
    """As that of click, without a space after a word that goes on: `learning_rate=`, `lora.`, `data/`."""

    source_template: ClassVar[str] = """\
%(complete_func)s() {
    local IFS=$'\\n'
    local completion type value
    for completion in $(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD %(complete_var)s=bash_complete $1); do
        IFS=',' read -r type value <<< "$completion"
        case $type in
            dir) COMPREPLY=(); compopt -o dirnames ;;
            file) COMPREPLY=(); compopt -o default ;;
            plain) COMPREPLY+=("$value"); [[ $value == *[=./] ]] && compopt -o nospace ;;
        esac
    done
    return 0
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


@add_completion_class
class Zsh(ZshComplete):
    """As that of click, without a space after a word that goes on."""

    source_template: ClassVar[str] = """\
#compdef %(prog_name)s
%(complete_func)s() {
    local -a whole open response
    local type key descr
    (( ! $+commands[%(prog_name)s] )) && return 1
    response=("${(@f)$(env COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT-1)) \
%(complete_var)s=zsh_complete %(prog_name)s)}")
    for type key descr in ${response}; do
        [[ "$descr" == "_" ]] && descr=""
        case $type in
            dir) _path_files -/ ;;
            file) _path_files -f ;;
            plain) if [[ "$key" == *[=./] ]]; then open+=("$key:$descr"); else whole+=("$key:$descr"); fi ;;
        esac
    done
    [ -n "$whole" ] && _describe -V unsorted whole -U
    [ -n "$open" ] && _describe -V unsorted open -U -S ''
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""
