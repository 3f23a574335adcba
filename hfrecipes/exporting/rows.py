"""Rows on which an exported model is compared with its run: those that the run itself was tested on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..comparing.cost import inputs_of
from ..data.checks import written_reference
from ..errors import ModelError
from ..evaluation import scoring
from ..evaluation.comparison import own_test, units_of
from ..evaluation.scoring import Scores
from ..log import log
from ..predictor import Predictor
from ..recipe import Recipe, Row, input_columns
from ..saved.rows import InputRows

MOST = 2000  # rows that are predicted and scored, as a large test would take minutes
COMPARED = 200  # of these, rows whose predictions must be the same; where texts are generated, there are no others
_CHARACTERS = 8  # of a token at most, in a text that is to fill the model
TOLERANCE = 1e-4  # between numbers of two predictions; a share of those above 1


@dataclass(frozen=True)
class RunRows:
    """Rows with the predictions and references that the run wrote."""

    split: str
    """`test` or `validation`; empty for the samples of the task, which the run has not predicted."""
    lines: Sequence[Row]

    def read(self, predictor: Predictor, number: int | None = None) -> InputRows:
        """The columns that predictions are made from, of the first rows or of all."""
        return inputs_of(predictor, self.lines[:number])

    def predicted(self, predictor: Predictor) -> list[Row | None]:
        """One prediction for each row, None for a blank one."""
        return predictor.predicted(self.read(predictor), scored=True)


def rows_of(recipe: Recipe, folder: Path) -> RunRows:
    """The test rows of a run, else those of validation, from everywhere in them; else the samples of the task."""
    test = own_test(folder)
    if test is None or not test.lines:
        log("no predictions of the run beside its model: the samples of the task are compared, and nothing is scored")
        return RunRows("", recipe.samples)
    if test.split != "test":
        log(f"no test: the rows of {test.split} are scored, which also chose the checkpoint")
    step = -(-len(test.lines) // (MOST if recipe.writer is None else COMPARED))
    return RunRows(test.split, test.lines[::step])


# --- the same predictions ----------------------------------------------------------------------------------------


def _with_longest(rows: RunRows, predictor: Predictor) -> RunRows:
    """Some of the rows, and one that is as long as the model takes it: some models treat long texts differently."""
    lines = list(rows.lines[:COMPARED])
    sizes = {}
    for name in input_columns(predictor.recipe):
        value = lines[0].get(name)
        # The text, or its words; of two texts the longer one, as a question cannot be truncated.
        if isinstance(value, str) or name == "tokens":
            sizes[name] = len(" ".join(value or []) if isinstance(value, list) else value or "")
    longest = max(sizes, key=lambda name: sizes[name], default=None)
    if longest is None or not sizes[longest]:
        return replace(rows, lines=lines)
    times = -(-_CHARACTERS * predictor.recipe.max_length // sizes[longest])
    value = lines[0][longest]
    repeated = " ".join([value] * times) if isinstance(value, str) else list(value) * times
    return replace(rows, lines=[*lines, {**lines[0], longest: repeated}])


def check_equal(model: Predictor, exported: Predictor, rows: RunRows) -> int:
    """Compare predictions for some of the rows, and for one of them alone.

    Returns:
        Number of the rows.

    Raises:
        ModelError: A prediction differs by more than rounding.
    """
    given = _with_longest(rows, model).read(model)
    pairs = [
        *zip(model.predicted(given, scored=True), exported.predicted(given, scored=True), strict=True),
        # Scored, so that a model which draws its tokens draws the same ones.
        *zip(model.predicted(given, 0, 1, scored=True), exported.predicted(given, 0, 1, scored=True), strict=True),
    ]
    for number, (expected, prediction) in enumerate(pairs):
        difference = difference_of(expected, prediction)
        if difference:
            raise ModelError(
                f"{type(model.model).__name__} cannot be exported: for row {number % len(given.rows)} of the "
                f"{rows.split or 'samples'} (the last one is as long as the model takes), the exported model predicts "
                f"something else ({difference}): use the run itself, or a model of another type"
            )
    return len(rows.lines[:COMPARED])


def difference_of(expected: Any, value: Any, name: str = "") -> str:
    """Where two predictions differ, by more than rounding where they are numbers; empty where they do not.

    Example:
        >>> difference_of({"label": "good", "score": 0.5}, {"label": "good", "score": 0.50001})
        ''
        >>> difference_of({"scores": [0.25, 0.75]}, {"scores": [0.75, 0.25]})
        'scores is 0.75 and not 0.25'
    """
    if isinstance(expected, Mapping) and isinstance(value, Mapping) and expected.keys() == value.keys():
        differences = [difference_of(expected[key], value[key], str(key)) for key in expected]
        return next(filter(None, differences), "")
    if isinstance(expected, list) and isinstance(value, list) and len(expected) == len(value):
        differences = [difference_of(*pair, name) for pair in zip(expected, value, strict=True)]
        return next(filter(None, differences), "")
    if isinstance(expected, float) and isinstance(value, float):
        is_same = abs(expected - value) <= TOLERANCE * max(1.0, abs(expected))
    else:
        is_same = expected == value
    return "" if is_same else f"{name} is {value!r:.60} and not {expected!r:.60}"


# --- scores ------------------------------------------------------------------------------------------------------


def scored(recipe: Recipe, rows: RunRows, predictions: Sequence[Row | None], seed: int) -> tuple[Scores, Scores]:
    """Scores of predictions, and the scores minus those of the predictions that the run made for the same rows.

    Args:
        recipe: The task.
        rows: The rows.
        predictions: One for each row, None for a blank one.
        seed: Seed of the resamples.

    Returns:
        Scores with their intervals, and differences with those of the paired difference; empty without references.
    """
    lines, references, now = [], [], []
    for line, prediction in zip(rows.lines, predictions, strict=True):
        reference = written_reference(recipe, line)
        if reference is not None and prediction is not None:
            lines.append(line)
            references.append(reference)
            now.append(prediction)
    if not lines:
        return {}, {}
    units = units_of(recipe, lines)
    scores = scoring.scores(recipe, now, references, seed=seed, groups=units.tolist())
    before = recipe.measure([line["prediction"] for line in lines], references)
    return scores, scoring.paired_differences(recipe.measure(now, references), before, units, seed)
