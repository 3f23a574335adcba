"""A saved model on other rows, compared with its own test: changes of scores, and scores by the values of a column."""

from __future__ import annotations

import html
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..characters import visible_line
from ..config.run_config import named_sets
from ..data.checks import input_key, input_keys, written_reference
from ..data.splits import task_groups
from ..errors import counted
from ..log import log
from ..metrics._uncertainty import group_indices
from ..recipe import Recipe, Row, best_metric, input_columns, metric_named
from ..run_folder import contents
from . import scoring
from .averages import about_parts, over_labels_of
from .breakdown import Breakdown
from .evaluate import Predicted
from .scoring import Scores
from .tables import class_cells, html_table, score_cells, split_of_changes

MOST = 12  # values of a column that have a line of their own


@dataclass(frozen=True)
class Evaluation:
    """Scores of one split, or of the rows that share a value.

    Attributes:
        split: Name of the split, or `the data` where it has one part.
        rows: Number of rows with a reference.
        scores: Metric -> score, with its interval and its baseline.
        notes: Sentences on the rows: labels that the model does not know, rows that it was trained on.
        changes: Metric -> score minus that of the run's own test, with the interval of the difference.
        compared_with: Split of the run that `changes` are from, `test` or `validation`; empty where there is none.
        paired: Whether the rows are those of that split, so that the differences are paired.
        slices: Value of the column `by` -> scores of its rows.
        predictions: Each row with its number, its label and its prediction.
        report: Scores of each label, and what is confused; None where the task has no labels.
    """

    split: str
    rows: int
    scores: Scores
    notes: list[str]
    changes: Scores = field(default_factory=dict)
    compared_with: str = ""
    paired: bool = False
    slices: Mapping[str, Evaluation] = field(default_factory=dict)
    predictions: Sequence[Row] = field(default=(), repr=False)
    report: Breakdown | None = field(default=None, repr=False)

    @property
    def metrics(self) -> dict[str, float]:
        """Plain values by metric."""
        return {name: entry.value for name, entry in self.scores.items()}

    @property
    def about_changes(self) -> str:
        """A sentence on what is compared, and how its interval is computed."""
        return about_changes(self.compared_with, paired=self.paired)

    def as_json(self) -> dict[str, Any]:
        """Everything but the predictions, as a file has it."""
        scored = scoring.to_json({"scores": self.scores, "changes": self.changes})
        written: dict[str, Any] = {"rows": self.rows, **scored, "notes": self.notes}
        if self.compared_with:
            written |= {"compared_with": self.compared_with, "paired": self.paired}
        if self.report is not None:
            written["report"] = self.report.as_dict()
        if self.slices:
            written["slices"] = {value: part_as_json(part) for value, part in self.slices.items()}
        return written

    def _repr_html_(self) -> str:
        """What a notebook shows: all scores with interval, baseline and change, those by label, and the notes."""
        scores = score_cells({self.split: self.scores}, list(self.scores), self.changes, self.compared_with)
        parts = [f"<p>{counted(self.rows, 'row')} of {html.escape(visible_line(self.split))}</p>", html_table(*scores)]
        if self.report is not None and self.report.classes:
            parts.append(html_table(*class_cells(self.split, self.report)))
        for sentence in [*self.notes, *([self.about_changes] if self.changes else [])]:
            parts.append(f"<p>{html.escape(visible_line(sentence))}</p>")
        return "".join(parts)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name} {value:.3f}" for name, value in list(self.metrics.items())[:3])
        return f"Evaluation({counted(self.rows, 'row')} of {self.split}: {shown})"


def part_as_json(evaluation: Evaluation) -> dict[str, Any]:
    """The rows of a part and their scores, as a file has them."""
    return {"rows": evaluation.rows, **scoring.to_json({"scores": evaluation.scores})}


def about_changes(split: str, *, paired: bool | None = None) -> str:
    """A sentence on what scores are compared with, and how the intervals of the changes are computed.

    Args:
        split: The run's own split.
        paired: Whether the rows are those of that split; None for several sets, some of which may be.
    """
    how = ""
    if paired is not None:
        kind = "paired differences, as the rows are the same" if paired else "a difference of independent samples"
        how = f", with the 95 % interval of {kind}"
    # The rows that chose the checkpoint are scored too well.
    chosen = ", which also chose the checkpoint" if split == "validation" else ""
    return f"change: the score minus that of the run's own {split}{chosen}{how}"


# --- the run's own test ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OwnTest:
    """Scores and predictions of a run for the split that it was tested on."""

    split: str
    scores: Scores
    lines: Sequence[Row]
    """Rows with their predictions; none where only the model was pushed."""


def own_test(folder: Path | None) -> OwnTest | None:
    """The test split of the run, else its validation split; None where the run has no scores."""
    if folder is None:
        return None
    try:
        scores = scoring.from_json(contents.read_scores(folder))
    except contents.DamagedError as error:
        log(f"not compared with the run's own test: {error}")
        return None
    split = split_of_changes(scores)
    return OwnTest(split, scores[split], _lines(folder, split)) if split else None


def _lines(folder: Path, split: str) -> list[Row]:
    if not (folder / contents.PREDICTIONS).exists():
        return []
    try:
        return [line for line in contents.read_predictions(folder) if line.get("split") == split]
    except (OSError, ValueError, AttributeError) as error:
        log(f"{folder / contents.PREDICTIONS} is damaged ({error}), and is not used")
        return []


def changes(
    recipe: Recipe, predicted: Predicted, scored: Scores, run_test: OwnTest, seed: int
) -> tuple[Scores, bool, list[str]]:
    """Scores minus those of the run's own test.

    Returns:
        The differences, whether they are paired, and a sentence on rows that both have.
    """
    keys = input_keys(predicted.rows, recipe)
    names = [name for name in input_columns(recipe) if name in predicted.rows.column_names]
    own_keys = []
    for line in run_test.lines:
        own_keys.append(input_key(tuple(map(line.get, names))))
    if keys == own_keys:
        return _paired(recipe, predicted, run_test, seed), True, []
    differences = {}
    for name, entry in scored.items():
        if name in run_test.scores:
            differences[name] = scoring.difference(entry, run_test.scores[name])
    shared = len(set(keys) & set(own_keys))
    if not shared:
        return differences, False, []
    verb = "is" if shared == 1 else "are"
    sentence = (
        f"{counted(shared, 'input')} {verb} in the run's own {run_test.split} too, so the intervals of the changes are "
        "wider than necessary"
    )
    return differences, False, [sentence]


def with_changes(
    recipe: Recipe, predicted: Mapping[str, Predicted], scores: Mapping[str, Scores], run_test: OwnTest, seed: int
) -> tuple[dict[str, Scores], list[str]]:
    """The scores of a run, those of the sets under `tests` with their changes from the run's own test.

    Args:
        recipe: The task.
        predicted: Rows with their predictions, by split.
        scores: Scores by split.
        run_test: The split that they are compared with.
        seed: Seed of the resamples.

    Returns:
        The scores, and sentences on sets that share rows with that split.
    """
    compared, sentences = dict(scores), []
    for split, of_set in named_sets(scores).items():
        differences, paired, notes = changes(recipe, predicted[split], of_set, run_test, seed)
        compared[split] = {name: replace(entry, change=differences.get(name)) for name, entry in of_set.items()}
        if paired:
            notes = [f"its rows are those of {run_test.split}, so its changes are paired differences"]
        sentences += [f"{split}: {note}" for note in notes]
    return compared, sentences


def _paired(recipe: Recipe, predicted: Predicted, run_test: OwnTest, seed: int) -> Scores:
    """Differences of the predictions for the same rows, as far as both have references."""
    references = [written_reference(recipe, line) for line in run_test.lines]
    both = []
    for index, (reference, other) in enumerate(zip(predicted.references, references, strict=True)):
        if reference is not None and other is not None:
            both.append(index)
    if not both:
        return {}
    groups = both if predicted.groups is None else [predicted.groups[index] for index in both]
    measure = recipe.measure(
        [predicted.predictions[index] for index in both], [predicted.references[index] for index in both]
    )
    other = recipe.measure(
        [run_test.lines[index]["prediction"] for index in both], [references[index] for index in both]
    )
    return scoring.paired_differences(measure, other, np.array(group_indices(groups)), seed)


def units_of(recipe: Recipe, lines: Sequence[Row]) -> np.ndarray:
    """Index of the unit of each row that was written with its prediction: rows that share a text are one."""
    from datasets import Dataset

    shared = {}
    for name, column in recipe.columns.items():
        if column.grouped:
            shared[name] = [str(line.get(name) or "") for line in lines]
    groups = task_groups(Dataset.from_dict(shared), recipe) if shared else None
    return np.array(group_indices(range(len(lines)) if groups is None else groups))


# --- slices ------------------------------------------------------------------------------------------------------


def sliced(
    recipe: Recipe, cells: Sequence[str], predicted: Predicted, score: Callable[[Predicted], Scores]
) -> tuple[dict[str, Evaluation], list[str]]:
    """Scores of the rows of each value, the most frequent first; those of rare values are scored together.

    Args:
        recipe: The task.
        cells: Value of each row.
        predicted: The rows with their predictions.
        score: Scores of some of them.

    Returns:
        The scores by value, and sentences on them.
    """
    counts = Counter(cells)
    kept = dict(counts.most_common(MOST if len(counts) > MOST + 1 else None))
    rest = f"({len(counts) - len(kept)} other values)"
    indices: dict[str, list[int]] = {value: [] for value in kept}
    for index, cell in enumerate(cells):
        indices.setdefault(cell if cell in kept else rest, []).append(index)
    slices, references = {}, []
    for value, rows in indices.items():
        part = predicted.select(rows)
        references.append(part.references)
        known = sum(reference is not None for reference in part.references)
        with over_labels_of(recipe, part.references):
            slices[value] = Evaluation(value, known, score(part), [])
    return slices, about_parts(recipe, predicted.references, references)


def worst_part(recipe: Recipe, by: str, split: str, parts: Mapping[str, Evaluation], scored: Scores) -> list[str]:
    """A sentence on the value whose rows are predicted worst, by the metric that picks the checkpoint.

    Args:
        recipe: The task.
        by: The column.
        split: Whose rows they are.
        parts: Scores of the rows of each value.
        scored: Scores of all rows.
    """
    name = best_metric(recipe)
    values, metric = {}, metric_named(recipe, name)
    for value, part in parts.items():
        if name in part.scores and math.isfinite(part.scores[name].value):
            values[value] = part.scores[name].value
    if len(set(values.values())) < 2 or metric is None or name not in scored:
        return []
    worst = parts[min(values, key=lambda value: metric.sign * values[value])]
    return [
        f"{split} by {by}: {name} is worst for {worst.split}, {worst.scores[name]} on {counted(worst.rows, 'row')}, "
        f"against {scored[name]} on all; the worst of {len(values)} parts is partly so by chance"
    ]
