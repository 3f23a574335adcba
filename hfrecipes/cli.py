"""The command line: list, show, copy, check, run, evaluate, predict, chat, merge, push, verify."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shlex
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from . import registry
from ._version import __version__
from .characters import shortened
from .errors import SHOWN, HFRecipesError, NotFoundError
from .log import LIBRARIES, explained, is_main
from .masking import mask_text
from .output import json_line, prepare_streams, print_report, print_table, say, say_json, score_table, show_evaluations
from .run_folder.writing import write_text

if TYPE_CHECKING:
    from .recipe import Column, Recipe
    from .results import Result, Results

DEBUG = "HFRECIPES_DEBUG"
# `--key value` then arrives as plain words, so the error can show the key=value form.
_WORDS = {"ignore_unknown_options": True}
_TRUST = click.option(
    "--trust",
    is_flag=True,
    help="Run code that only a recipe file or a run names: a task or a metric in a .py file, code of its model.",
)


def fail(message: object) -> NoReturn:
    """Print what is wrong and exit with code 2."""
    say(shortened(mask_text(f"hfrecipes: {message}")), err=True)
    sys.exit(2)


@contextlib.contextmanager
def _short_errors() -> Iterator[None]:
    """Shorten the errors of click, which repeat long arguments in full."""
    try:
        yield
    except click.ClickException as error:
        error.message = shortened(mask_text(error.message))  # type: ignore[misc]
        raise


class _Terminated(SystemExit):
    """SIGTERM, which ends a command as Ctrl-C does: half-written files are deleted, and locks are released."""


@contextlib.contextmanager
def _raising_sigterm() -> Iterator[None]:
    """Raise SIGTERM as an exception; training sets a handler of its own, which saves a checkpoint first."""
    process = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:  # in a forked worker, which ends like any other process
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        raise _Terminated(128 + number)

    # Only the main thread may set a handler, and an existing handler belongs to the caller.
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, end)
    hook, sys.unraisablehook = sys.unraisablehook, _send_again
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sys.unraisablehook = hook


def _send_again(ignored: sys.UnraisableHookArgs) -> None:
    """Send a signal again that came while an object was deleted: Python ignores what is raised there."""
    numbers = {KeyboardInterrupt: signal.SIGINT, _Terminated: signal.SIGTERM}
    number = numbers.get(ignored.exc_type)
    if number is None:
        sys.__unraisablehook__(ignored)
    else:
        # Not at once: it would be ignored as well.
        threading.Timer(0.05, signal.raise_signal, (number,)).start()


def _check_working_folder() -> None:
    """Refuse to work in a folder that was deleted, where libraries cannot even be imported.

    Raises:
        NotFoundError: It was.
    """
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise NotFoundError("the working folder was deleted or moved: change to another one with cd") from error


class Group(click.Group):
    """Prints each error as one line; with HFRECIPES_DEBUG=1, the traceback is shown."""

    def main(self, *arguments: Any, **keywords: Any) -> Any:
        """Start the command, in a process that reads arguments and file names as UTF-8."""
        # In the locale of ASCII that nobody has set, Python would read Chinese as single bytes.
        is_command = not arguments and keywords.get("args") is None
        if is_command and sys.getfilesystemencoding() == "ascii":
            os.environ["PYTHONUTF8"] = "1"
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
        return super().main(*arguments, **keywords)

    def make_context(self, *arguments: Any, **keywords: Any) -> click.Context:
        """Read the words before the name of the command."""
        with _short_errors():
            return super().make_context(*arguments, **keywords)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        prepare_streams()
        try:
            with _short_errors(), _raising_sigterm():
                _check_working_folder()
                return super().invoke(ctx)
        except HFRecipesError as error:
            if os.environ.get(DEBUG):
                sys.excepthook = _show_masked
                raise
            fail(error)
        except KeyboardInterrupt:
            say("hfrecipes: interrupted", err=True)
            sys.exit(130)
        except _Terminated:
            say("hfrecipes: ended by SIGTERM", err=True)
            raise
        # click has its own messages and exit codes for unknown commands and for --help.
        except (click.exceptions.Exit, click.ClickException, click.Abort):
            raise
        except Exception as error:
            if os.environ.get(DEBUG):
                sys.excepthook = _show_masked
                raise
            message = " ".join(str(error).split())[:500]
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                fail("no space is left on the device that is written to: free some, or write elsewhere")
            fail(f"unexpected {type(error).__name__}: {message} ({DEBUG}=1 shows the traceback; please report it)")


def _show_masked(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a traceback without its secrets."""
    say(mask_text("".join(traceback.format_exception(kind, error, trace))), err=True, end="")


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hfrecipes")
def main() -> None:
    """Fine-tune a pretrained language model on your own data.

    Settings are written as key=value: model=<hub id> dataset=<file> learning_rate=3e-5 columns.text=review
    """


def _settings(words: Sequence[str], what: str | None = None, *, trust: bool = False) -> dict[str, Any]:
    """Read settings from key=value words; for `--key value`, print what to write instead.

    Args:
        words: Words of the command.
        what: Recipe file or task that the settings are for; None for settings of another kind.
        trust: Whether code that only a recipe file names may be run.
    """
    # It imports yaml, which `list` and `--help` do not need.
    from .config.overrides import parse_overrides

    if any(word.startswith("-") for word in words):
        instead = _as_settings(list(words), _columns_of(what))
        shown = " ".join(map(_quoted, instead))
        fail(f"settings are written as key=value; write: {shown}{_refusal(what, instead, trust)}")
    return parse_overrides(words)


def _quoted(word: str) -> str:
    """A word as a shell reads it; quoted no more than it must be."""
    return word if "'" in word or re.fullmatch(r"[^\s{}()<>|&;*?$`\"\\]*", word) else shlex.quote(word)


def _refusal(what: str | None, words: list[str], trust: bool) -> str:
    """What else is wrong with the settings that a command line means, so that the next try is the last one."""
    from .config.overrides import parse_overrides

    if what is None:
        return ""
    from .training.plan import configure

    try:
        configure(what, parse_overrides(words), trust=trust)
    except HFRecipesError as error:
        return f"\n- then: {error}"
    return ""


def _columns_of(what: str | None) -> dict[str, Sequence[str]]:
    """Columns of a task that is named, each with other names for it; none where a recipe file is."""
    if what is None or not registry.is_task(what):
        return {}
    return {name: column.names for name, column in registry.find(what).columns.items()}


def _as_settings(words: list[str], columns: Mapping[str, Sequence[str]]) -> list[str]:
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
    from .config.hints import column_hint, hint_for
    from .config.yaml12 import parse_value

    hint = hint_for(key, parse_value(value)) or column_hint(key, parse_value(value), columns)
    # The column is not known by `columns.<name>`.
    if hint is None or hint.edit.startswith("columns.<"):
        return [f"{key}={value}"]
    return shlex.split(hint.edit)


@main.command("list")
def list_() -> None:
    """List the tasks and the shipped recipe files."""
    say("Tasks")
    tasks = registry.tasks()
    width = max(map(len, tasks))
    for name, summary in tasks.items():
        say(f"  {name:<{width}}  {summary}")
    say("\nRecipe files")
    for name, file in registry.recipe_files().items():
        say(f"  {name:<{width}}  {_first_comment(file)}")


def _first_comment(file: Path) -> str:
    with open(file, encoding="utf-8") as lines:
        return next(lines).lstrip("# ").rstrip()


@main.command()
@click.argument("what", metavar="TASK|FILE")
def show(what: str) -> None:
    """Show the columns and options of a task, or a recipe file."""
    file = registry.find_recipe_file(what)
    if file is not None:
        from .config.recipe_files import recipe_file_text

        say(recipe_file_text(file).rstrip())
        return
    _show_task(registry.find(what))


def _show_task(recipe: type[Recipe]) -> None:
    """Print the columns, options and defaults of a task; each part can be copied into a command or a file."""
    from .config.value_types import describe_type
    from .config.yaml12 import format_value

    first_line, *_ = (sys.modules[recipe.__module__].__doc__ or "").split("\n")
    say(f"{recipe.task}: {first_line}\n\nColumns")
    for name, column in recipe.columns.items():
        names = f"; also found as {', '.join(column.names)}" if column.names else ""
        say(f"  {name:<12} {_use_of(column)}{names}")
    say("\nOptions")
    for name, kind, default, explanation in registry.options(recipe):
        say(f"  {name}={format_value(default)}  ({describe_type(kind)})\n      {explanation}")
    say("\nTraining defaults")
    from .recipe import DEFAULTS

    defaults = [f"{key}={format_value(value)}" for key, value in {**DEFAULTS, **recipe.defaults}.items()]
    say("  " + " ".join(defaults))
    say("\nRows")
    # Two rows show the form; the tests of a task need more of them.
    for row in recipe.samples[:2]:
        say("  " + json_line(row))


def _use_of(column: Column) -> str:
    if column.passthrough:
        return "passed through"
    if column.reference:
        return "reference"
    if column.optional:
        return "optional"
    return "needed"


@main.command()
@click.argument("file")
@click.argument("dest", type=click.Path(path_type=Path))
def copy(file: str, dest: Path) -> None:
    """Copy a shipped recipe file, to edit it."""
    source = registry.find_recipe_file(file)
    if source is None:
        fail(f"there is no recipe file {file}; the shipped ones are {', '.join(registry.recipe_files())}")
    target = dest / source.name if os.path.isdir(dest) else dest
    # A file that was edited is worth more than a copy that can be made again.
    _check_new(target)
    write_text(target, source.read_text(encoding="utf-8"))
    say(f"{target}: run it with  hfrecipes run {target}")


def _check_new(file: Path) -> None:
    """Refuse the name of a file that exists, or cannot."""
    try:
        exists = file.exists()
    except OSError as error:
        fail(f"{file} cannot be written ({error.strerror}): choose another name")
    if exists:
        fail(f"{file} exists: choose another name")
    if not file.parent.is_dir():
        fail(f"there is no folder {file.parent}: create it first")


@main.command(context_settings=_WORDS)
@click.argument("what", metavar="FILE|TASK")
@click.argument("words", nargs=-1, metavar="key=value...")
@click.option("--strict", is_flag=True, help="Exit with code 1 for warnings, too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for programs.")
@click.option("--rehearse", is_flag=True, help="Also train two steps, evaluate, save and load, in a temporary folder.")
@_TRUST
def check(what: str, words: tuple[str, ...], trust: bool, strict: bool, as_json: bool, rehearse: bool) -> None:
    """Check the settings and every row, without training; given only a task file, check the task itself.

    Exits with code 1 if rows cannot be used, with code 2 if settings are wrong or files cannot be read.
    """
    settings = _settings(words, what, trust=trust)
    if registry.is_task_file(what) and not settings:
        _check_task(what)
        return
    from . import checkup

    with explained():
        report = checkup.examine(what, settings, trust=trust)
    if rehearse:
        checkup.rehearse(report, trust=trust)
    if as_json:
        say_json(checkup.as_json(report))
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        for line in checkup.lines(report, width):
            say(line)
    if report.stopped is not None:
        raise report.stopped
    sys.exit(checkup.exit_code(report, strict=strict))


def _check_task(file: str) -> None:
    """Print one line for each rule as soon as it is checked; exit with code 2 if a rule is broken."""
    from .contract.report import check_task

    checked = broken = 0
    for outcome in check_task(file):
        checked += 1
        if outcome.problems:
            broken += 1
            say(f"wrong  {outcome.rule}: {'; '.join(outcome.problems)}")
        else:
            say(f"ok     {outcome.rule}")
    if broken:
        fail(f"{file}: {broken} of {checked} rules are broken: make the edits above, and check it again")
    say(f"no problem found; to check your data too:  hfrecipes check {file} dataset=<hub id, file or folder>")


@main.command(context_settings=_WORDS)
@click.argument("what", metavar="FILE|TASK")
@click.argument("words", nargs=-1, metavar="key=value...")
@_TRUST
def run(what: str, words: tuple[str, ...], trust: bool) -> None:
    """Fine-tune, evaluate and save; run the same command again to resume."""
    settings = _settings(words, what, trust=trust)
    from . import results, runner
    from .evaluation.first_prediction import prediction_command

    with explained():
        result = runner.run_settings(what, settings, trust=trust)
    # torchrun starts the command once for each GPU; one of them prints.
    if not is_main():
        return
    print_table(score_table(result.scores, result.headline))
    _print_classes(result)
    for note in result.notes.values():
        say(note)
    if isinstance(result, results.Results):
        legend = f"mean ± standard deviation of {len(result.runs)} runs"
        models = f"models: {', '.join(map(str, result.runs))}"
    else:
        legend = "values with 95 % intervals"
        command = prediction_command(result.predictor.config, result.path, result.example)
        models = f"model: {result.path}\ntry it: {command}"
    say(f"\n{legend}; all metrics: {result.path / 'metrics.json'}\n{models}")


def _print_classes(result: Result | Results) -> None:
    """Print the scores by label of test, else of validation, or of all folds, and the labels that are confused."""
    reports = result.reports
    if reports:
        split = next(reversed(reports))
        print_report(split, reports[split])


@main.command(context_settings=_WORDS)
@click.argument("path", metavar="RUN")
@click.argument("words", nargs=-1, metavar="FILE|dataset=...|tests.<name>=... [by=column] [splits.test=...]")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="JSON file to write the scores to.")
@_TRUST
def evaluate(path: str, words: tuple[str, ...], output: Path | None, trust: bool) -> None:
    """Score a run, or a model on the Hub, on other rows, and compare it with the run's own test.

    With -o, the scores are written to a file, and each row with its prediction to a second file next to it.
    """
    settings = _settings([f"dataset={word}" if _is_bare(word) else word for word in words])
    # Everything else is decided by the run itself.
    unknown = set(settings) - {"dataset", "tests", "splits", "columns", "by"}
    if unknown or ("dataset" in settings) == ("tests" in settings):
        fail(
            "evaluate needs a file, dataset=<file, folder or Hub id> or tests.<name>=<the same>, and takes "
            f"by=<column>, splits.test= and columns.<name>=; found {', '.join(sorted(settings)) or 'none'}"
        )
    if output is not None and output.suffix != ".json":
        fail(f"cannot write {output.name}: expected a name that ends in .json")
    from .predictions.sets import evaluate_sets, files_of, write_evaluations

    for file in [] if output is None else files_of(output):
        _check_new(file)
    with explained(f"{LIBRARIES}, then the model"):
        headline, run_scores, evaluations = evaluate_sets(path, settings, trust=trust)
    show_evaluations(headline, run_scores, evaluations, settings.get("by"))
    if output is not None:
        write_evaluations(output, path, evaluations)
        say(f"scores: {output}, predictions: {files_of(output)[1]}", err=True)


def _is_bare(word: str) -> bool:
    """Whether a word is a value without its key."""
    return not word.startswith("-") and re.match(r"[\w.]+=", word) is None


@main.command(context_settings=_WORDS)
@click.argument("path", metavar="RUN")
@click.argument("source", metavar="INPUT")
@click.argument("words", nargs=-1, metavar="[keep=[id,...]] [columns.text=...]")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="File to write all rows to: .jsonl, .csv, .tsv or .xlsx."
)
@_TRUST
def predict(path: str, source: str, words: tuple[str, ...], output: Path | None, trust: bool) -> None:
    """Predict INPUT: a text, a file of rows, or `-` for lines of text or JSON on stdin.

    With -o, each row is written with its number, its columns (or those of keep=) and its prediction. To continue after
    an interruption, run the same command again.
    """
    if words and all("=" not in word for word in words):
        text = shlex.quote(" ".join((source, *words)))
        fail(f"put quotes around a text:  hfrecipes predict {shlex.quote(path)} {text}")
    settings = _settings(words)
    unknown = set(settings) - {"keep", "columns", "dataset"}
    if unknown:
        fail(f"predict takes keep=, columns.<name>=, dataset.encoding= and dataset.header=; found {', '.join(unknown)}")
    # All of this is checked first: loading a model and predicting may take long.
    if output is not None:
        _check_output(output)
    from .predictions.command import input_of, predict_to, print_predictions
    from .predictor import load

    rows = input_of(source, settings.get("dataset"), sys.stdin.buffer)
    with explained(f"{LIBRARIES}, then the model"):
        predictor = load(path, trust=trust)
    if output is None:
        print_predictions(predictor, rows, settings, say_json)
        return
    number = predict_to(output, predictor, rows, settings)
    say(f"{number} predictions: {output}", err=True)


def _check_output(output: Path) -> None:
    """Refuse a file of predictions that cannot be written."""
    from .predictions.output_files import SUFFIXES, check_packages

    _check_new(output)
    if output.suffix not in SUFFIXES:
        fail(f"cannot write {output.name}: expected a name that ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    check_packages(output)


@main.command(context_settings=_WORDS)
@click.argument("path", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("repo", metavar="me/model")
@click.argument("words", nargs=-1, metavar="key=value...")
@_TRUST
def push(path: Path, repo: str, words: tuple[str, ...], trust: bool) -> None:
    """Push a complete run to the Hub: private=true revision=v1 tag=v1 model=adapter card.license=mit"""
    settings = _settings(words)
    from .hub.push import push as push_to_hub

    say(f"pushed to {push_to_hub(path, {'repo_id': repo, **settings}, trust=trust)}")


@main.command()
@click.argument("path", metavar="RUN|ADAPTER")
@click.argument("dest", type=click.Path(path_type=Path))
@_TRUST
def merge(path: str, dest: Path, trust: bool) -> None:
    """Merge an adapter into its base model: DEST becomes an ordinary model directory."""
    from .predictor import merge as merge_adapter

    merge_adapter(path, dest, trust=trust)
    say(f"model: {dest}")


@main.command()
@click.argument("path", metavar="RUN")
def verify(path: str) -> None:
    """Compare every byte of a saved run with what was saved; exit with code 2 if a file differs."""
    from .saved.run import verify as verify_run

    number, differing = verify_run(path)
    if len(differing) > SHOWN:
        differing[SHOWN:] = [f"… and {len(differing) - SHOWN} more"]
    if differing:
        fail("\n".join(differing))
    say(f"{number} files are as they were saved")


@main.command()
@click.argument("path", metavar="RUN")
@click.option("--system", help="System message, for a model that was trained with such messages.")
@_TRUST
def chat(path: str, system: str | None, trust: bool) -> None:
    """Chat with a model, line by line; an empty line starts a new dialogue, Ctrl-D ends."""
    from .predictor import load

    with explained(f"{LIBRARIES}, then the model"):
        predictor = load(path, trust=trust)
    if "messages" not in predictor.recipe.columns:
        fail(f"{path} is a model for {predictor.recipe.task}, not for chat: use  hfrecipes predict {path} -")
    if system and getattr(predictor.recipe, "system", None) == "drop":
        fail(f"{path} was trained with options.system=drop, so it reads no system message: leave --system out")
    start = [{"role": "system", "content": system}] if system else []
    dialogue = list(start)
    while (line := _next_line()) is not None:
        if not line:
            dialogue = list(start)
            say("(new dialogue)")
            continue
        messages = [*dialogue, {"role": "user", "content": line}]
        try:
            reply = predictor.stream({"messages": messages}, lambda text: say(text, end=""))
        except KeyboardInterrupt:
            # Neither the question nor half a reply becomes part of the dialogue.
            say(" (stopped)")
            continue
        say("")
        dialogue = [*messages, {"role": "assistant", "content": reply}]


def _next_line() -> str | None:
    """The next line without surrounding spaces; None at the end of the input."""
    try:
        # In a script nobody sees the prompt, and it would be part of the output.
        return input("> " if sys.stdin.isatty() else "").strip()
    except (EOFError, KeyboardInterrupt):
        return None
