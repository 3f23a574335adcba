"""The command that shows why a row is predicted as it is."""

from __future__ import annotations

import sys
from typing import Any

import click

from ..log import LIBRARIES, explained, once
from ..output import say
from .answers import answer
from .group import fail
from .words import INPUT, RUN, TRUST, WORDS, check_quoted, settings_argument, settings_in


@click.command(context_settings=WORDS)
@RUN
@INPUT
@settings_argument("[limit=20] [columns.text=...]")
@TRUST
def explain(path: str, source: str, words: tuple[str, ...], trust: bool) -> None:
    """Show which words speak for the prediction of INPUT: a text, a row as JSON, a file of rows, or `-` for stdin.

    On a terminal, words for it are blue and words against it orange; elsewhere each word is a line with its value.
    """
    check_quoted("explain", path, source, words)
    settings = settings_in(words)
    unknown = set(settings) - {"limit", "columns", "dataset"}
    if unknown:
        fail(
            f"explain takes limit=, columns.<name>=, dataset.encoding= and dataset.header=; found {', '.join(unknown)}"
        )
    limit = settings.get("limit")
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        fail(f"limit: found {limit!r}, expected a number of rows, 1 or more")
    from ..explaining.command import check_task, print_explanation
    from ..predictions.command import input_of
    from ..predictor import load

    with once(), explained(f"{LIBRARIES}, then the model"):
        # Loading a model takes longer than to see that its task has no explanations.
        check_task(path, trust)
        rows = input_of(source, settings.get("dataset"), sys.stdin.buffer)
        predictor = load(path, trust=trust)
    given = predictor.read([rows] if isinstance(rows, str) else rows, settings.get("columns"))
    explainer = predictor.explainer()
    explanations = predictor.explained(given, explainer, limit)

    def show() -> None:
        for explanation in explanations:
            print_explanation(explanation)

    def value() -> list[Any]:
        return [None if explanation is None else explanation.as_json() for explanation in explanations]

    answer(show, value)
    say(explainer.method, err=True)
