"""The command line: list, show, copy, check, run, evaluate, predict, chat, merge, push."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from . import registry
from ._version import __version__
from .errors import HFRecipesError
from .log import is_main

if TYPE_CHECKING:
    from rich.table import Table

DEBUG = "HFRECIPES_DEBUG"
_WORDS = {"ignore_unknown_options": True}


def fail(message: object) -> NoReturn:
    """Say what is wrong and leave with exit code 2."""
    click.echo(f"hfrecipes: {message}", err=True)
    sys.exit(2)


class Group(click.Group):
    """Turns every error raised on purpose into its message; the traceback waits for HFRECIPES_DEBUG=1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except HFRecipesError as error:
            if os.environ.get(DEBUG):
                raise
            fail(error)
        except KeyboardInterrupt:
            fail("interrupted; the same command resumes from the last checkpoint")
        except BrokenPipeError:
            sys.exit(0)
        except (click.exceptions.Exit, click.ClickException, click.Abort):
            raise
        except Exception as error:
            if os.environ.get(DEBUG):
                raise
            what = " ".join(str(error).split())[:500]
            fail(f"unexpected {type(error).__name__}: {what} ({DEBUG}=1 shows where; please report it)")


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hfrecipes")
def main() -> None:
    """Fine-tune a pretrained language model on your own data.

    Settings are key=value words: model=<hub id> dataset=<file> learning_rate=3e-5 columns.text=review
    """


def _settings(words: Sequence[str]) -> dict[str, Any]:
    """Settings from key=value words; for --key value, show the form that is meant."""
    from .config import parse_overrides

    if any(word.startswith("-") for word in words):
        fail(f"settings are key=value words; write: {' '.join(_as_settings(list(words)))}")
    return parse_overrides(words)


def _as_settings(words: list[str]) -> list[str]:
    """The key=value words that `--key value`, `--key=value` and `--flag` mean."""
    meant = []
    while words:
        word = words.pop(0)
        key, equals, value = word.lstrip("-").partition("=")
        if word.startswith("-") and not equals:
            takes_next = words and not words[0].startswith("-") and "=" not in words[0]
            value = words.pop(0) if takes_next else "true"
        meant.append(f"{key.replace('-', '_')}={value}" if word.startswith("-") else word)
    return meant


@main.command("list")
def list_() -> None:
    """List tasks and the recipe files that ship."""
    click.echo("Tasks")
    found = registry.tasks()
    width = max(map(len, found))
    for name, summary in found.items():
        click.echo(f"  {name:<{width}}  {summary}")
    click.echo("\nRecipe files")
    for name, file in registry.recipe_files().items():
        click.echo(f"  {name:<{width}}  {_first_comment(file)}")


def _first_comment(file: Path) -> str:
    with open(file, encoding="utf-8") as lines:
        return next(lines).lstrip("# ").rstrip()


@main.command()
@click.argument("what", metavar="TASK|FILE")
def show(what: str) -> None:
    """Show a task's columns and options, or a recipe file."""
    file = registry.find_recipe_file(what)
    if file is not None:
        click.echo(file.read_text(encoding="utf-8").rstrip())
        return
    recipe = registry.find(what)
    from .config import describe_type
    from .yaml12 import format_value

    click.echo(f"{recipe.task}: {_doc(sys.modules[recipe.__module__])}\n\nColumns")
    for name, column in recipe.columns.items():
        uses = {
            "goes along": column.passthrough,
            "the answer": column.reference,
            "optional": column.optional,
            "needed": True,
        }
        use = next(use for use, applies in uses.items() if applies)
        known = f"; also found as {', '.join(column.names)}" if column.names else ""
        click.echo(f"  {name:<12} {use}{known}")
    click.echo("\nOptions")
    for name, kind, default, text in registry.options(recipe):
        click.echo(f"  {name}={format_value(default)}  ({describe_type(kind)})\n      {text}")
    click.echo(
        "\nTraining defaults\n  " + " ".join(f"{key}={format_value(value)}" for key, value in recipe.defaults.items())
    )
    click.echo("\nRows\n" + "\n".join("  " + json.dumps(row, ensure_ascii=False) for row in recipe.samples[:2]))


def _doc(module: Any) -> str:
    return (module.__doc__ or "").partition("\n")[0]


@main.command()
@click.argument("file")
@click.argument("dest", type=click.Path(path_type=Path))
def copy(file: str, dest: Path) -> None:
    """Copy a recipe file that ships, to edit it."""
    source = registry.find_recipe_file(file)
    if source is None:
        fail(f"there is no recipe file {file}; there are {', '.join(registry.recipe_files())}")
    target = dest / source.name if dest.is_dir() else dest
    if target.exists():
        fail(f"{target} exists: choose another name")
    if not target.parent.is_dir():
        fail(f"there is no folder {target.parent}: make it first")
    target.write_bytes(source.read_bytes())
    click.echo(f"{target}: run it with  hfrecipes run {target}")


@main.command(context_settings=_WORDS)
@click.argument("what", metavar="FILE|TASK")
@click.argument("words", nargs=-1, metavar="key=value...")
def check(what: str, words: tuple[str, ...]) -> None:
    """Check settings and read every row, without training."""
    settings = _settings(words)
    from .training.plan import check as check_all

    report = check_all(what, **settings)
    if report.get("example"):
        click.echo(f"{report['example']}\n")
    click.echo("no problem found; settings:\n")
    from .config import to_yaml

    click.echo(to_yaml(report["config"]).rstrip())


@main.command(context_settings=_WORDS)
@click.argument("what", metavar="FILE|TASK")
@click.argument("words", nargs=-1, metavar="key=value...")
def run(what: str, words: tuple[str, ...]) -> None:
    """Fine-tune, evaluate and save; the same command again resumes."""
    settings = _settings(words)
    from . import results, runner

    result = runner.run(what, **settings)
    if not is_main():
        return
    _print(score_table(result.scores, result.headline))
    for note in result.notes.values():
        click.echo(note)
    if isinstance(result, results.Results):
        meant = f"mean ± standard deviation of {len(result.runs)} runs"
        models = f"models: {', '.join(map(str, result.runs))}"
    else:
        meant, models = "values with 95 % intervals", f"model: {result.path}\ntry it: {_try_it(result)}"
    click.echo(f"\n{meant}; all metrics: {result.path / 'metrics.json'}\n{models}")


def _try_it(result: Any) -> str:
    """A command that predicts: a line of text where one is all that the model reads, else a file."""
    recipe = result.predictor.recipe
    inputs = result.predictor.reads
    if "messages" in inputs:
        return f"hfrecipes chat {result.path}"
    if len(inputs) > 1:
        row = json.dumps(recipe.example(inputs), ensure_ascii=False)
        return f"echo {shlex.quote(row)} | hfrecipes predict {result.path} -"
    shown = recipe.example(inputs)[inputs[0]]
    return f'echo "{shown if isinstance(shown, str) else " ".join(shown)}" | hfrecipes predict {result.path} -'


@main.command(context_settings=_WORDS)
@click.argument("path", metavar="RUN")
@click.argument("words", nargs=-1, metavar="dataset=... [splits.test=...]")
def evaluate(path: str, words: tuple[str, ...]) -> None:
    """Score a run, or a model on the Hub, on other rows."""
    settings = _settings(words)
    unknown = set(settings) - {"dataset", "splits", "columns"}
    if unknown or "dataset" not in settings:
        fail(
            "evaluate needs dataset=<file, folder or Hub id>, and takes splits.test= and columns.<name>=; "
            f"found {', '.join(sorted(settings)) or 'none'}"
        )
    from .predictor import load

    predictor = load(path)
    found = predictor.evaluate(settings["dataset"], splits=settings.get("splits"), columns=settings.get("columns"))
    click.echo(f"{found.rows} rows of {found.split}")
    _print(score_table({found.split: found.scores}, list(found.scores)))
    for note in found.notes:
        click.echo(note)


@main.command()
@click.argument("path", metavar="RUN")
@click.argument("source", metavar="INPUT")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File for the predictions, .jsonl or .csv.")
def predict(path: str, source: str, output: Path | None) -> None:
    """Predict the rows of INPUT, a csv, tsv, jsonl, parquet or txt file; `-` reads a text, or a row in JSON, a line."""
    if output is not None and output.exists():
        fail(f"{output} exists: choose another name")
    if output is not None and output.suffix not in (".jsonl", ".csv"):
        fail(f"cannot write {output.name}: expected a name that ends in .jsonl or .csv")
    if output is not None and not output.parent.is_dir():
        fail(f"there is no folder {output.parent}: make it first")
    from .predictor import load

    made = load(path).predict(_stdin() if source == "-" else Path(source))
    if output is None:
        for prediction in made:
            click.echo(json.dumps(prediction, ensure_ascii=False))
        return
    _write(made, output)
    click.echo(f"{len(made)} predictions: {output}", err=True)


@main.command(context_settings=_WORDS)
@click.argument("path", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("repo", metavar="me/model")
@click.argument("words", nargs=-1, metavar="key=value...")
def push(path: Path, repo: str, words: tuple[str, ...]) -> None:
    """Push a complete run to the Hub: private=true revision=v1 tag=v1 model=adapter card.license=mit"""
    settings = _settings(words)
    from .hub.push import push as push_to_hub

    click.echo(f"pushed to {push_to_hub(path, {'repo_id': repo, **settings})}")


@main.command()
@click.argument("path", metavar="RUN|ADAPTER")
@click.argument("dest", type=click.Path(path_type=Path))
def merge(path: str, dest: Path) -> None:
    """Merge an adapter into its base: DEST becomes an ordinary model directory."""
    from .predictor import merge as merge_adapter

    merge_adapter(path, dest)
    click.echo(f"model: {dest}")


@main.command()
@click.argument("path", metavar="RUN")
@click.option("--system", help="What the assistant is told first, where it was trained with such messages.")
def chat(path: str, system: str | None) -> None:
    """Talk to a chat model, a line each; an empty line starts anew, Ctrl-D ends."""
    from .predictor import load

    predictor = load(path)
    if "messages" not in predictor.recipe.columns:
        fail(f"{path} is a model for {predictor.recipe.task}, not for chat: use  hfrecipes predict {path} -")
    start = [{"role": "system", "content": system}] if system else []
    dialogue = list(start)
    while (line := _asked()) is not None:
        if not line:
            dialogue = list(start)
            click.echo("(new dialogue)")
            continue
        asked = [*dialogue, {"role": "user", "content": line}]
        try:
            reply = predictor.stream({"messages": asked}, lambda text: click.echo(text, nl=False))
        except KeyboardInterrupt:
            click.echo(" (stopped)")
            continue
        click.echo()
        dialogue = [*asked, {"role": "assistant", "content": reply}]


def _asked() -> str | None:
    """The next line, without blanks around it; None at the end of the input."""
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except (EOFError, KeyboardInterrupt):
        return None


def _stdin() -> list[Any]:
    try:
        content = sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        fail("standard input is not UTF-8 text")
    if not content.strip():
        fail("standard input is empty: expected one text a line")
    lines = [line.rstrip("\r") for line in content.rstrip().split("\n")]
    try:
        rows = [json.loads(line) for line in lines if line.lstrip().startswith("{")]
    except ValueError:
        return lines
    return rows if len(rows) == len(lines) else lines


def _write(predictions: list[dict[str, Any]], output: Path) -> None:
    with open(output, "w", encoding="utf-8", newline="") as file:
        if output.suffix == ".jsonl":
            file.writelines(json.dumps(one, ensure_ascii=False) + "\n" for one in predictions)
            return
        import csv

        flat = [_flat(one) for one in predictions]
        writer = csv.DictWriter(file, list(flat[0]) if flat else [])
        writer.writeheader()
        writer.writerows(flat)


def _flat(prediction: dict[str, Any]) -> dict[str, Any]:
    """A prediction as cells: lists as JSON, blocks as one column a key."""
    cells: dict[str, Any] = {}
    for key, value in prediction.items():
        if isinstance(value, dict):
            cells |= {f"{key}.{inner}": one for inner, one in value.items()}
        else:
            cells[key] = json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value
    return cells


def score_table(scores: dict[str, dict[str, dict[str, Any]]], headline: Sequence[str]) -> Table:
    """A row for each headline metric, a column for each split; beside them how far train is above validation, and the
    baseline of the last split.

    Names come from the data and are printed as they are: in a plain text rich would take `[person]` for markup.
    """
    from rich.table import Column, Table
    from rich.text import Text

    from .evaluation.scoring import GAP, number, shown

    splits = [split for split in scores if split != GAP]
    trivial = next((scores[split] for split in reversed(splits) if _has_baseline(scores[split])), None)
    others = [GAP] * (GAP in scores) + ["baseline"] * (trivial is not None)
    heads = [Column(Text(name)) for name in [*splits, *others]]
    table = Table(Column("", overflow="fold"), *heads, box=None, pad_edge=False)
    for metric in headline:
        cells = [shown(scores[split].get(metric, {})) for split in splits]
        last = {
            GAP: number(scores.get(GAP, {}).get(metric, {}).get("value")),
            "baseline": number((trivial or {}).get(metric, {}).get("baseline")),
        }
        table.add_row(*map(Text, [metric, *cells, *(last[name] for name in others)]))
    return table


def _has_baseline(found: dict[str, dict[str, Any]]) -> bool:
    return any("baseline" in entry for entry in found.values())


def _print(table: Table) -> None:
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = 120
    console.print(table)
