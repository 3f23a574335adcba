"""The scores of a model on changed texts, beside those on the same texts as they were."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.checks import written_reference
from ..errors import ConfigError, NotFoundError, counted
from ..evaluation import scoring
from ..evaluation.comparison import own_test, units_of
from ..evaluation.scoring import Score, Scores
from ..evaluation.tables import change, html_table
from ..log import log
from ..recipe import Recipe, Row, input_columns, metric_named, reference_columns, table_metrics
from .perturbations import SUITE, Perturbation

Predict = Callable[[list[Row]], Sequence[Row | None]]
SHOWN = 2  # examples of each kind of change
_BETWEEN = "\x1f"  # the words of a list, which no change touches


@dataclass(frozen=True)
class Example:
    """A row that was right, and is wrong once it is changed."""

    before: str
    after: str
    predicted: Any
    predicted_after: Any


@dataclass(frozen=True)
class Perturbed:
    """What one kind of change does."""

    name: str
    changed: int
    """Number of rows in which there was something to change."""
    other_predictions: int | None
    """Number of rows that are predicted differently; None where predictions are texts or numbers of many digits."""
    scores: dict[str, float]
    """Metric -> value over all rows, those that did not change among them."""
    changes: Scores
    """Metric -> value minus that of the rows as they were, with the 95 % interval of the paired difference."""
    examples: Sequence[Example]


@dataclass(frozen=True)
class Robustness:
    """What the changes of a suite do to the scores of a model.

    Attributes:
        rows: Number of rows.
        metrics: Headline metrics, the first one first.
        before: Metric -> value on the rows as they were.
        perturbed: What each kind of change does, without those that change no row.
    """

    rows: int
    metrics: Sequence[str]
    before: Mapping[str, float]
    perturbed: Sequence[Perturbed]
    greater_is_better: bool = True
    """Direction of the first metric."""

    def as_json(self) -> dict[str, Any]:
        """Everything as JSON can hold it."""
        kinds = {}
        for entry in self.perturbed:
            changes = scoring.to_json({"changes": entry.changes})["changes"]
            kinds[entry.name] = {
                "changed": entry.changed,
                "other_predictions": entry.other_predictions,
                "scores": entry.scores,
                "changes": changes,
                "examples": [vars(example) for example in entry.examples],
            }
        return {"rows": self.rows, "before": dict(self.before), "perturbations": kinds}

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """Heads and rows of a table: a row for each kind of change."""
        metric = self.metrics[0]
        rows = [["as they are", "", scoring.number(self.before[metric]), "", ""]]
        for entry in self.perturbed:
            other = "" if entry.other_predictions is None else str(entry.other_predictions)
            value, drop = scoring.number(entry.scores[metric]), change(entry.changes.get(metric))
            rows.append([entry.name, str(entry.changed), value, drop, other])
        return ["", "rows changed", metric, "change", "predicted differently"], rows

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return html_table(*self.cells())


def robustness(recipe: Recipe, lines: Sequence[Row], predict: Predict, seed: int) -> Robustness:
    """What each kind of change of the suite does to the scores of rows.

    Args:
        recipe: The task, with its labels.
        lines: Rows with their predictions and references, as a run writes them.
        predict: What predicts rows under the column names of the task; None for a blank one.
        seed: Of the resamples.

    Raises:
        ConfigError: The task has no texts that can be changed while their references stay right.
    """
    scored, references = [], []
    for line in lines:
        reference = written_reference(recipe, line)
        if reference is not None:
            scored.append(line)
            references.append(reference)
    lines, used = scored, _filled(changed_columns(recipe), scored)
    log(f"{counted(len(lines), 'row')}: {' and '.join(used)} changed in {len(SUITE)} ways, the references as they are")
    before = _Predicted(recipe, lines, references, [line["prediction"] for line in lines])
    perturbed = []
    for perturbation in SUITE:
        entry = _perturbed(before, used, perturbation, predict, seed)
        if entry is not None:
            perturbed.append(entry)
    metrics = table_metrics(recipe)
    direction = metric_named(recipe, metrics[0])
    is_greater = direction is None or direction.greater_is_better
    return Robustness(len(lines), metrics, before.scores, perturbed, greater_is_better=is_greater)


def changed_columns(recipe: Recipe) -> list[str]:
    """Columns of texts, or of lists of words, that a reference does not point into.

    Raises:
        ConfigError: The task has none, as where a text is its own reference.
    """
    columns = []
    for name in input_columns(recipe):
        column = recipe.columns[name]
        # Answers are spans of a text that questions share.
        if column.kind in ("string", ["string"]) and not column.grouped:
            columns.append(name)
    if not columns or not reference_columns(recipe):
        raise ConfigError(
            f"robustness: the texts of {recipe.task} are also what its predictions are scored against, and cannot be "
            "changed: give a run of a task with labels, such as text-classification"
        )
    return columns


def _filled(columns: Sequence[str], lines: Sequence[Row]) -> list[str]:
    """The columns that some row has, such as the second text of a pair."""
    filled = {name for line in lines for name in columns if line.get(name)}
    return [name for name in columns if name in filled]


def own_lines(folder: Path | None) -> Sequence[Row]:
    """The test rows of a run, else those of validation, with their predictions.

    Raises:
        NotFoundError: There are none beside the model.
    """
    run_test = own_test(folder)
    if run_test is None or not run_test.lines:
        raise NotFoundError("this model has no predictions of its own test beside it: give a file of rows with labels")
    if run_test.split != "test":
        log(f"no scores of test: the rows of {run_test.split}, which also chose the checkpoint")
    return run_test.lines


class _Predicted:
    """Predictions for rows, ready to be resampled."""

    def __init__(
        self, recipe: Recipe, lines: Sequence[Row], references: Sequence[Any], predictions: Sequence[Row]
    ) -> None:
        self.recipe, self.lines, self.references, self.predictions = recipe, lines, list(references), list(predictions)
        self.measure = recipe.measure(self.predictions, self.references)
        self.scores = scoring.score(recipe, self.predictions, self.references)


def _perturbed(
    before: _Predicted, columns: Sequence[str], perturbation: Perturbation, predict: Predict, seed: int
) -> Perturbed | None:
    """The scores after one kind of change; None where it changes nothing."""
    rows = {}
    for index, line in enumerate(before.lines):
        row = changed_row(line, columns, perturbation, index)
        if row is not None:
            rows[index] = row
    if not rows:
        return None
    predictions = list(before.predictions)
    for index, prediction in zip(rows, predict(list(rows.values())), strict=True):
        predictions[index] = predictions[index] if prediction is None else prediction
    after = _Predicted(before.recipe, before.lines, before.references, predictions)
    changes = scoring.paired_differences(after.measure, before.measure, units_of(before.recipe, before.lines), seed)
    examples = list(_examples(before, after, rows, columns))[:SHOWN]
    return Perturbed(perturbation.name, len(rows), _others(before, after), after.scores, changes, examples)


def changed_row(line: Row, columns: Sequence[str], perturbation: Perturbation, index: int) -> Row | None:
    """The row with changed texts; None where there is nothing to change.

    Args:
        line: The row.
        columns: Columns of texts or of lists of words.
        perturbation: How they are changed.
        index: Seed of the change.
    """
    random = np.random.default_rng(index)
    changed = dict(line)
    for column in columns:
        cell = line.get(column)
        if isinstance(cell, str):
            changed[column] = perturbation.change(cell, random) if cell.strip() else cell
            if not changed[column].strip():
                changed[column] = cell
        elif cell and isinstance(cell, list) and all(isinstance(word, str) for word in cell):
            words = perturbation.change(_BETWEEN.join(cell), random).split(_BETWEEN)
            # A word without anything left of it would no longer be there for its label.
            changed[column] = [new if new.strip() else word for new, word in zip(words, cell, strict=True)]
    return None if changed == dict(line) else changed


def _others(before: _Predicted, after: _Predicted) -> int | None:
    """Number of rows that are predicted differently."""
    key = before.recipe.prediction
    if key is None or not isinstance(before.predictions[0].get(key), str | int | list):
        return None
    pairs = zip(before.predictions, after.predictions, strict=True)
    return sum(bool(first.get(key) != second.get(key)) for first, second in pairs)


def _examples(
    before: _Predicted, after: _Predicted, rows: Mapping[int, Row], columns: Sequence[str]
) -> Iterator[Example]:
    """Rows that were right, and are wrong now."""
    key = before.recipe.prediction
    if key is None:
        return
    for index, row in rows.items():
        label, new = before.predictions[index].get(key), after.predictions[index].get(key)
        if label == before.references[index] and new != label:
            texts = [_joined(source, columns) for source in (before.lines[index], row)]
            yield Example(texts[0], texts[1], label, new)


def _joined(row: Row, columns: Sequence[str]) -> str:
    """The texts of a row on one line."""
    texts = []
    for column in columns:
        cell = row.get(column)
        if cell:
            texts.append(" ".join(cell) if isinstance(cell, list) else str(cell))
    return " | ".join(texts)


def sentences(result: Robustness) -> list[str]:
    """What stands out: the change that costs most, and whether more than chance."""
    metric = result.metrics[0]
    changes = {entry.name: entry.changes[metric] for entry in result.perturbed if metric in entry.changes}
    if not changes:
        return []
    worst = (min if result.greater_is_better else max)(changes, key=lambda name: changes[name].value)
    loss = -changes[worst].value if result.greater_is_better else changes[worst].value
    if loss <= 0:
        return [f"none of these changes makes {metric} worse"]
    return [f"largest change: {worst}, {metric} {change(changes[worst])}{_chance(changes[worst])}"]


def _chance(drop: Score) -> str:
    ends = drop.ci95
    if ends is None or not all(map(math.isfinite, ends)) or ends[0] > 0 or ends[1] < 0:
        return ""
    return ", which may be chance"
