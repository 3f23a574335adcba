"""What a model scores after its layers were changed to 8 bits, on rows that its run has predicted before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..data.checks import written_reference
from ..errors import counted
from ..evaluation import scoring
from ..evaluation.comparison import OwnTest, own_test
from ..recipe import Recipe, Row, input_columns, table_metrics

ROWS = 200
ROWS_OF_TEXTS = 20  # where the model writes a text for each


def about_score(
    recipe: Recipe, folder: Path | None, seed: int, predict: Callable[[list[Row]], list[Row | None]]
) -> str:
    """A sentence with the score that is made of new predictions, and that of the run, on some rows of its test.

    Args:
        recipe: The task.
        folder: Folder of the run.
        seed: Seed of the resamples of which the interval is made.
        predict: Predicts rows under the column names of the task.
    """
    test = own_test(folder)
    lines = [] if test is None else _some_with_reference(recipe, test)
    if test is None or not lines:
        return "what it scores is not known here: hfrecipes evaluate with --int8 shows it on rows with references"
    names = [name for name in input_columns(recipe) if name in lines[0]]
    rows = []
    for line in lines:
        rows.append({name: line.get(name) for name in names})
    predictions = predict(rows)
    before, now, references = [], [], []
    for line, prediction in zip(lines, predictions, strict=True):
        if prediction is not None:
            before.append(line["prediction"])
            now.append(prediction)
            references.append(written_reference(recipe, line))
    name = table_metrics(recipe)[0]
    # Of texts, to make a measure takes longer than to call it.
    measures = [recipe.measure(made, references) for made in (before, now)]
    once = np.ones((1, len(now)), dtype=np.float32)
    values = [float(measure(once)[name][0]) for measure in measures]
    sentence = (
        f"{name} on {counted(len(now), 'row')} of {test.split}: {values[0]:.3f} before, {values[1]:.3f} in 8 bits"
    )
    if len(now) < 2:
        return sentence
    change = scoring.paired_differences(measures[1], measures[0], np.arange(len(now)), seed)[name]
    return f"{sentence}, a change between {change.low:+.3f} and {change.high:+.3f}"


def _some_with_reference(recipe: Recipe, test: OwnTest) -> list[Row]:
    """Rows from everywhere in the test."""
    known = [line for line in test.lines if written_reference(recipe, line) is not None]
    most = ROWS if recipe.writer is None else ROWS_OF_TEXTS
    return known[:: max(1, -(-len(known) // most))]
