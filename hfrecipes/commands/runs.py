"""The commands that make a run or use one: run, evaluate, predict, push, merge, verify, chat."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import SHOWN
from ..log import LIBRARIES, explained, is_main
from ..output import (
    print_report,
    print_sets,
    print_table,
    say,
    say_json,
    score_table,
    show_evaluations,
    text_table,
)
from .answers import answer
from .compare import show as show_comparison
from .completion import complete_run
from .group import fail
from .words import (
    INPUT,
    INT8,
    RECIPE,
    RUN,
    TRUST,
    WORDS,
    check_new,
    check_quoted,
    check_suffix,
    settings_argument,
    settings_in,
)

if TYPE_CHECKING:
    from ..comparing.selection import Selection
    from ..curve.learning_curve import LearningCurve
    from ..results import Result, Results
    from ..search.outcome import Search


@click.command(context_settings=WORDS)
@RECIPE
@settings_argument("key=value...")
@TRUST
def run(what: str, words: tuple[str, ...], trust: bool) -> None:
    """Fine-tune, evaluate and save; run the same command again to resume."""
    _run(what, settings_in(words, what, trust=trust), trust=trust)


@click.command(context_settings=WORDS)
@RECIPE
@settings_argument("search.<setting>=<values>... key=value...")
@TRUST
def search(what: str, words: tuple[str, ...], trust: bool) -> None:
    """Try settings, choose by validation, and look at test once.

    search.learning_rate="loguniform(1e-5, 5e-4)" search.model="[a, b]" search.trials=20; run it again to go on.
    """
    settings = settings_in(words, what, trust=trust)
    from ..training.configuration import merged

    if not merged(what, settings).get("search"):
        fail("found nothing to try: add settings such as  search.learning_rate='loguniform(1e-5, 5e-4)'")
    _run(what, settings, trust=trust)


def _run(what: str, settings: dict[str, Any], *, trust: bool) -> None:
    """Run, and print what came of it."""
    from .. import results, runner
    from ..comparing.selection import Selection
    from ..curve.learning_curve import LearningCurve
    from ..run_folder.contents import METRICS, read_json
    from ..search.outcome import Search

    with explained():
        result = runner.run_settings(what, settings, trust=trust)
    # torchrun starts the command once for each GPU; one of them prints.
    if not is_main():
        return
    if isinstance(result, Selection):
        answer(lambda: _show_selection(result), lambda: _of_best(result, comparison=result.comparison.as_json()))
    elif isinstance(result, Search):
        answer(lambda: _show_search(result), lambda: _of_best(result, search=result.as_json()))
    elif isinstance(result, LearningCurve):
        answer(lambda: _show_curve(result), lambda: _of_runs(result.path, result.runs, curve=result.as_json()))
    else:
        runs = result.runs if isinstance(result, results.Results) else [result.path]
        answer(
            lambda: _show_result(result), lambda: _of_runs(result.path, runs, metrics=read_json(result.path / METRICS))
        )


def _of_best(result: Selection | Search, **content: Any) -> dict[str, Any]:
    """Several runs as JSON values: the folder of all, that of the chosen one, its scores, and how it was chosen."""
    from ..run_folder.contents import METRICS, read_json

    best = result.best.path
    return {**_of_runs(result.path, [best]), "metrics": read_json(best / METRICS), **content}


def _of_runs(path: Path, runs: Sequence[Path], **content: Any) -> dict[str, Any]:
    return {"path": str(path), "models": [str(run) for run in runs], **content}


def _show_selection(result: Selection) -> None:
    """Print how several models compare, and which one was chosen."""
    from ..flow.candidates import COMPARISON

    show_comparison(result.comparison)
    print_sets(result.best.scores, result.best.headline, result.best.slices)
    say(f"\nall numbers: {result.path / COMPARISON}\n{_model_of(result.best)}")


def _show_result(result: Result | Results) -> None:
    """Print scores, by label too, and where everything is."""
    from .. import results

    print_table(score_table(result.scores, result.headline))
    print_sets(result.scores, result.headline, result.slices)
    _print_classes(result)
    _print_distillation(result.path)
    for note in result.notes.values():
        say(note)
    if isinstance(result, results.Results):
        legend = f"mean ± standard deviation of {len(result.runs)} runs"
        models = f"models: {', '.join(map(str, result.runs))}"
    else:
        legend = "values with 95 % intervals"
        models = _model_of(result)
    say(f"\n{legend}; all metrics: {result.path / 'metrics.json'}\n{models}")


def _print_distillation(path: Path) -> None:
    """Print quality against cost of a run that learnt from another one."""
    from ..run_folder.contents import RunInfo

    info = RunInfo.read(path)
    if info is not None and info.distillation:
        heads, *rows = info.distillation["table"]
        say("")
        print_table(text_table(heads, rows))
        for sentence in info.distillation["sentences"]:
            say(sentence)


def _show_search(search: Search) -> None:
    """Print the best trials, and the default settings against the chosen ones."""
    from ..search.outcome import FILE, trial_cells

    print_table(text_table(*trial_cells(search)))
    say("")
    if search.comparison is not None:
        show_comparison(search.comparison)
    else:
        print_table(score_table(search.scores, search.best.headline))
    say("")
    for sentence in search.sentences:
        say(sentence)
    say(f"\nall trials: {search.path / FILE}\n{_model_of(search.best)}")


def _show_curve(curve: LearningCurve) -> None:
    from ..curve.learning_curve import curve_cells
    from ..run_folder.contents import CURVE

    print_table(text_table(*curve_cells(curve)))
    for sentence in curve.sentences:
        say(sentence)
    legend = (
        "mean ± standard deviation over seeds" if len(curve.runs) > len(curve.parts) else "values with 95 % intervals"
    )
    say(f"\n{legend}; all numbers: {curve.path / CURVE}\nmodels: {', '.join(map(str, curve.runs))}")


def _model_of(result: Result) -> str:
    """Where the model is, and a command that predicts with it."""
    from ..evaluation.first_prediction import prediction_command

    command = prediction_command(result.predictor.config, result.path, result.example)
    return f"model: {result.path}\ntry it: {command}"


def _print_classes(result: Result | Results) -> None:
    """Print the scores by label of test, else of validation, or of all folds, and the labels that are confused."""
    from ..config.run_config import own_splits

    reports = own_splits(result.reports)
    if reports:
        split = next(reversed(reports))
        print_report(split, reports[split])


@click.command(context_settings=WORDS)
@RUN
@settings_argument("FILE|dataset=...|tests.<name>=... [by=column] [splits.test=...]")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="JSON file to write the scores to.")
@INT8
@TRUST
def evaluate(path: str, words: tuple[str, ...], output: Path | None, int8: bool, trust: bool) -> None:
    """Score a run, or a model on the Hub, on other rows, and compare it with the run's own test.

    With -o, the scores are written to a file, and each row with its prediction to a second file next to it.
    """
    settings = settings_in([f"dataset={word}" if _is_bare(word) else word for word in words])
    # Everything else is decided by the run itself.
    unknown = set(settings) - {"dataset", "tests", "splits", "columns", "by"}
    if unknown or ("dataset" in settings) == ("tests" in settings):
        fail(
            "evaluate needs a file, dataset=<file, folder or Hub id> or tests.<name>=<the same>, and takes "
            f"by=<column>, splits.test= and columns.<name>=; found {', '.join(sorted(settings)) or 'none'}"
        )
    if output is not None:
        check_suffix(output, [".json"])
    from ..predictions.sets import evaluate_sets, evaluations_as_json, files_of, write_evaluations

    for file in [] if output is None else files_of(output):
        check_new(file)
    with explained(f"{LIBRARIES}, then the model"):
        headline, run_scores, evaluations = evaluate_sets(path, settings, trust=trust, int8=int8)
    answer(
        lambda: show_evaluations(headline, run_scores, evaluations, settings.get("by")),
        lambda: evaluations_as_json(path, evaluations),
    )
    if output is not None:
        write_evaluations(output, path, evaluations)
        say(f"scores: {output}, predictions: {files_of(output)[1]}", err=True)


def _is_bare(word: str) -> bool:
    """Whether a word is a value without its key."""
    return not word.startswith("-") and re.match(r"[\w.]+=", word) is None


@click.command(context_settings=WORDS)
@RUN
@INPUT
@settings_argument("[keep=[id,...]] [columns.text=...]")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="File to write all rows to: .jsonl, .csv, .tsv or .xlsx."
)
@INT8
@TRUST
def predict(path: str, source: str, words: tuple[str, ...], output: Path | None, int8: bool, trust: bool) -> None:
    """Predict INPUT: a text, a file of rows, or `-` for lines of text or JSON on stdin.

    With -o, each row is written with its number, its columns (or those of keep=) and its prediction. To continue after
    an interruption, run the same command again.
    """
    check_quoted("predict", path, source, words)
    settings = settings_in(words)
    unknown = set(settings) - {"keep", "columns", "dataset"}
    if unknown:
        fail(f"predict takes keep=, columns.<name>=, dataset.encoding= and dataset.header=; found {', '.join(unknown)}")
    # All of this is checked first: loading a model and predicting may take long.
    if output is not None:
        _check_output(output)
    from ..predictions.command import input_of, listed_predictions, predict_to, print_predictions
    from ..predictor import load

    rows = input_of(source, settings.get("dataset"), sys.stdin.buffer)
    with explained(f"{LIBRARIES}, then the model"):
        predictor = load(path, trust=trust, int8=int8)
    if output is None:
        answer(
            lambda: print_predictions(predictor, rows, settings, say_json),
            lambda: listed_predictions(predictor, rows, settings),
        )
        return
    number = predict_to(output, predictor, rows, settings)
    say(f"{number} predictions: {output}", err=True)
    answer(lambda: None, lambda: {"path": str(output), "predictions": number})


def _check_output(output: Path) -> None:
    """Refuse a file of predictions that cannot be written."""
    from ..predictions.output_files import SUFFIXES, check_packages

    check_new(output)
    check_suffix(output, SUFFIXES)
    check_packages(output)


@click.command(context_settings=WORDS)
@click.argument("path", metavar="RUN", type=click.Path(path_type=Path), shell_complete=complete_run)
@click.argument("repo", metavar="me/model")
@click.argument("words", nargs=-1, metavar="key=value...")
@TRUST
def push(path: Path, repo: str, words: tuple[str, ...], trust: bool) -> None:
    """Push a complete run to the Hub: private=true revision=v1 tag=v1 model=adapter card.license=mit"""
    settings = settings_in(words)
    from ..hub.push import push as push_to_hub

    address = push_to_hub(path, {"repo_id": repo, **settings}, trust=trust)
    answer(lambda: say(f"pushed to {address}"), lambda: {"address": str(address)})


@click.command()
@click.argument("path", metavar="RUN|ADAPTER", shell_complete=complete_run)
@click.argument("dest", type=click.Path(path_type=Path))
@TRUST
def merge(path: str, dest: Path, trust: bool) -> None:
    """Merge an adapter into its base model: DEST becomes an ordinary model directory."""
    from ..predictor import merge as merge_adapter

    merge_adapter(path, dest, trust=trust)
    answer(lambda: say(f"model: {dest}"), lambda: {"path": str(dest)})


@click.command()
@RUN
def verify(path: str) -> None:
    """Compare every byte of a saved run with what was saved; exit with code 2 if a file differs."""
    from ..saved.run import verify as verify_run

    number, differing = verify_run(path)
    sentence = f"{number} files are as they were saved"
    answer(
        lambda: None if differing else say(sentence),
        lambda: {"ok": not differing, "files": number, "differing": differing},
    )
    if len(differing) > SHOWN:
        differing[SHOWN:] = [f"… and {len(differing) - SHOWN} more"]
    if differing:
        fail("\n".join(differing))


@click.command()
@RUN
@click.option("--system", help="System message, for a model that was trained with such messages.")
@TRUST
def chat(path: str, system: str | None, trust: bool) -> None:
    """Chat with a model, line by line; an empty line starts a new dialogue, Ctrl-D ends."""
    from ..predictor import load

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
