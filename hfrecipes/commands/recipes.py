"""The commands before a training: list, show, copy, check."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import registry
from ..log import explained
from ..output import json_line, say
from ..run_folder.writing import write_text
from ..schema.files import without_schema
from .answers import answer
from .completion import complete_recipe
from .group import fail
from .words import RECIPE, TRUST, WORDS, check_new, settings_argument, settings_in

if TYPE_CHECKING:
    from ..checkup import Report
    from ..recipe import Column, Recipe


SHOWN_ROWS = 2  # of the samples of a task: they show the form, and its tests need more of them


@click.command("list")
def list_() -> None:
    """List the tasks and the shipped recipe files."""
    tasks = registry.list_tasks()
    recipes = {name: _first_comment(file) for name, file in registry.recipe_files().items()}
    answer(lambda: _show_list(tasks, recipes), lambda: {"tasks": tasks, "recipe_files": recipes})


def _show_list(tasks: Mapping[str, str], recipes: Mapping[str, str]) -> None:
    width = max(map(len, tasks))
    for title, described in (("Tasks", tasks), ("\nRecipe files", recipes)):
        say(title)
        for name, text in described.items():
            say(f"  {name:<{width}}  {text}")


def _first_comment(file: Path) -> str:
    with open(file, encoding="utf-8") as lines:
        return next(lines).lstrip("# ").rstrip()


@click.command()
@RECIPE
def show(what: str) -> None:
    """Show the columns and options of a task, or a recipe file."""
    file = registry.find_recipe_file(what)
    if file is not None:
        from ..config.recipe_files import read_recipe_file, recipe_file_text

        answer(lambda: say(recipe_file_text(file).rstrip()), lambda: read_recipe_file(file))
        return
    recipe = registry.find(what)
    answer(lambda: _show_task(recipe), lambda: _task_as_json(recipe))


def _task_as_json(recipe: type[Recipe]) -> dict[str, Any]:
    """What is shown of a task, as JSON values."""
    from ..config.value_types import describe_type
    from ..recipe import DEFAULTS

    columns, options = {}, {}
    for name, column in recipe.columns.items():
        columns[name] = {"use": _use_of(column), "also_found_as": list(column.names)}
    for name, kind, default, explanation in registry.options(recipe):
        options[name] = {"type": describe_type(kind), "default": default, "description": explanation}
    return {
        "task": recipe.task,
        "summary": _summary(recipe),
        "columns": columns,
        "options": options,
        "training_defaults": {**DEFAULTS, **recipe.defaults},
        "training_defaults_with": recipe.defaults_with,
        "rows": recipe.samples[:SHOWN_ROWS],
    }


def _summary(recipe: type[Recipe]) -> str:
    return (sys.modules[recipe.__module__].__doc__ or "").partition("\n")[0]


def _show_task(recipe: type[Recipe]) -> None:
    """Print the columns, options and defaults of a task; each part can be copied into a command or a file."""
    from ..config.value_types import describe_type
    from ..config.yaml12 import format_value

    say(f"{recipe.task}: {_summary(recipe)}\n\nColumns")
    for name, column in recipe.columns.items():
        names = f"; also found as {', '.join(column.names)}" if column.names else ""
        say(f"  {name:<12} {_use_of(column)}{names}")
    say("\nOptions")
    for name, kind, default, explanation in registry.options(recipe):
        say(f"  {name}={format_value(default)}  ({describe_type(kind)})\n      {explanation}")
    say("\nTraining defaults")
    from ..recipe import DEFAULTS

    defaults = [f"{key}={format_value(value)}" for key, value in {**DEFAULTS, **recipe.defaults}.items()]
    say("  " + " ".join(defaults))
    if "learning_rate" not in recipe.defaults:
        say("  The learning rate follows the size of the model (docs/settings.md).")
    for option, changed in recipe.defaults_with.items():
        say(f"  with {option}: " + " ".join(f"{key}={format_value(value)}" for key, value in changed.items()))
    say("\nRows")
    for row in recipe.samples[:SHOWN_ROWS]:
        say("  " + json_line(row))


def _use_of(column: Column) -> str:
    if column.passthrough:
        return "passed through"
    if column.reference:
        return "reference"
    if column.optional:
        return "optional"
    return "needed"


@click.command()
@click.argument("file", shell_complete=complete_recipe)
@click.argument("dest", type=click.Path(path_type=Path))
def copy(file: str, dest: Path) -> None:
    """Copy a shipped recipe file, to edit it."""
    source = registry.find_recipe_file(file)
    if source is None:
        fail(f"there is no recipe file {file}; `hfrecipes list` shows the shipped ones")
    target = dest / source.name if os.path.isdir(dest) else dest
    # A file that was edited is worth more than a copy that can be made again.
    check_new(target)
    write_text(target, without_schema(source.read_text(encoding="utf-8")))
    answer(lambda: _print_copied(target), lambda: {"path": str(target)})


def _print_copied(target: Path) -> None:
    say(f"{target}: run it with  hfrecipes run {target}")
    say("for an editor that checks it: hfrecipes schema -o recipe.schema.json, and this line at the top of the file:")
    say("# yaml-language-server: $schema=recipe.schema.json")


@click.command(context_settings=WORDS)
@RECIPE
@settings_argument("key=value...")
@click.option("--strict", is_flag=True, help="Exit with code 1 for warnings, too.")
@click.option("--rehearse", is_flag=True, help="Also train two steps, evaluate, save and load, in a temporary folder.")
@TRUST
def check(what: str, words: tuple[str, ...], trust: bool, strict: bool, rehearse: bool) -> None:
    """Check the settings and every row, without training; given only a task file, check the task itself.

    Exits with code 1 if rows cannot be used, with code 2 if settings are wrong or files cannot be read.
    """
    settings = settings_in(words, what, trust=trust)
    if registry.is_task_file(what) and not settings:
        _check_task(what)
        return
    from .. import checkup
    from ..training.configuration import models_of

    with explained():
        if models_of(what, settings) is None:
            reports = {"": checkup.examine(what, settings, trust=trust)}
        else:
            reports = checkup.examine_models(what, settings, trust=trust)
    if rehearse:
        for report in reports.values():
            checkup.rehearse(report, trust=trust)
    answer(lambda: _print_reports(reports), lambda: checkup.all_as_json(reports))
    for report in reports.values():
        if report.stopped is not None:
            raise report.stopped
    sys.exit(max(checkup.exit_code(report, strict=strict) for report in reports.values()))


def _print_reports(reports: Mapping[str, Report]) -> None:
    """Print one report after another; that of a single model has no name."""
    from .. import checkup

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for number, (name, report) in enumerate(reports.items()):
        if name:
            blank = "\n" if number else ""
            say(f"{blank}model {name}")
        for line in checkup.lines(report, width):
            say(line)


def _check_task(file: str) -> None:
    """Print one line for each rule as soon as it is checked; exit with code 2 if a rule is broken."""
    from ..contract.report import check_task

    outcomes = []

    def show() -> None:
        for outcome in check_task(file):
            outcomes.append(outcome)
            say(
                f"wrong  {outcome.rule}: {'; '.join(outcome.problems)}"
                if outcome.problems
                else f"ok     {outcome.rule}"
            )
        if not any(outcome.problems for outcome in outcomes):
            say(f"no problem found; to check your data too:  hfrecipes check {file} dataset=<hub id, file or folder>")

    def value() -> dict[str, Any]:
        outcomes.extend(check_task(file))
        rules = [{"rule": outcome.rule, "problems": outcome.problems} for outcome in outcomes]
        return {"ok": not any(outcome.problems for outcome in outcomes), "rules": rules}

    answer(show, value)
    broken = sum(bool(outcome.problems) for outcome in outcomes)
    if broken:
        fail(f"{file}: {broken} of {len(outcomes)} rules are broken: make the edits above, and check it again")
