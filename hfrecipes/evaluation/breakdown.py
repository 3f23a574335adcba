"""Scores by label, and what is confused with what: report.json, and the tables that people read."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..errors import counted
from ..metrics._entities import entities_in
from ..metrics._schemes import OUTSIDE, canonical_tags, fit_length
from ..recipe import Recipe, Row, table_metrics
from .evaluate import Predicted

LARGEST_MATRIX = 50  # labels up to which the whole confusion matrix is written
MOST_CONFUSIONS = 1000  # pairs that are written
LISTED = 12  # labels, and parts of the rows, that tables show
SHOWN = 5  # confusions that a sentence names
COLUMNS = ["precision", "recall", "f1", "support"]
Pairs = Counter[tuple[str, str]]  # reference and prediction -> how often


@dataclass(frozen=True)
class ClassScore:
    """How well one label is predicted, as in the classification report of scikit-learn."""

    precision: float
    recall: float
    f1: float
    support: int
    """Number of references with the label."""


@dataclass(frozen=True)
class Breakdown:
    """Scores of a split by label, and by parts of its rows."""

    by: str
    """What the classes are: `label`, `type of entity`, `tag`, `position`; empty where the task has none."""
    classes: Mapping[str, ClassScore] = field(default_factory=dict)
    confusions: Sequence[tuple[str, str, int]] = ()
    """Label, what was predicted in its place, and how often; the most frequent ones first."""
    matrix: Sequence[Sequence[int]] = ()
    """Rows are references, columns are predictions, both in the order of the classes; empty for many labels."""
    slices: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    """Column -> part of the rows -> number of `rows`, and their scores."""

    def as_dict(self) -> dict[str, Any]:
        """As report.json has it; what is empty is left out."""
        return {name: value for name, value in asdict(self).items() if value}

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Breakdown:
        """From report.json."""
        classes = {name: ClassScore(**scores) for name, scores in content.get("classes", {}).items()}
        confusions = [(str(label), str(given), int(times)) for label, given, times in content.get("confusions", ())]
        matrix, slices = content.get("matrix", ()), content.get("slices", {})
        return cls(content.get("by", ""), classes, confusions, matrix, slices)


def reports_of(recipe: Recipe, predicted: Mapping[str, Predicted]) -> dict[str, Breakdown]:
    """Scores by label of validation and test, for tasks that have labels or parts of rows."""
    reports = {}
    for split, entry in predicted.items():
        report = breakdown(recipe, entry) if split != "train" else None
        if report is not None:
            reports[split] = report
    return reports


def breakdown(recipe: Recipe, predicted: Predicted) -> Breakdown | None:
    """Scores of a split by label and by parts of its rows; None where the task has neither."""
    known = [index for index, reference in enumerate(predicted.references) if recipe.is_right_or_wrong(reference)]
    references = [predicted.references[index] for index in known]
    predictions = [predicted.predictions[index] for index in known]
    if not references:
        return None
    by, classes, pairs = _by_class(recipe, predictions, references)
    slices = _by_slice(recipe, predicted, known, predictions, references)
    if not (classes or slices):
        return None
    wrong = [(label, given, times) for (label, given), times in pairs.items() if label != given]
    wrong.sort(key=lambda confusion: (-confusion[2], confusion[:2]))
    matrix = _matrix(list(classes), pairs) if pairs and len(classes) <= LARGEST_MATRIX else ()
    return Breakdown(by, classes, wrong[:MOST_CONFUSIONS], matrix, slices)


# --- by label ----------------------------------------------------------------------------------------------------


def _by_class(
    recipe: Recipe, predictions: list[Row], references: list[Any]
) -> tuple[str, dict[str, ClassScore], Pairs]:
    """What the classes are, their scores, and how often each label is predicted in place of another."""
    key = recipe.prediction
    if key is None or not all(key in prediction for prediction in predictions):
        return "", {}, Counter()
    given = [prediction[key] for prediction in predictions]
    if recipe.auto_model == "AutoModelForTokenClassification":
        return _by_tag(recipe, given, references)
    if recipe.labels and all(isinstance(reference, list) for reference in references):
        return "label", _of_label_sets(recipe.labels, given, references), Counter()
    if recipe.labels and all(isinstance(reference, str) for reference in references):
        pairs = Counter(zip(references, given, strict=True))
        return "label", _of_pairs(recipe.labels, pairs), pairs
    if all(isinstance(index, int) for index in given):
        # Choices are counted from 0, as in predictions; a reference that is none of them stays as it is.
        pairs = Counter(zip(map(str, references), map(str, given), strict=True))
        numbers = {name for pair in pairs for name in pair if name.isdecimal()}
        return "position", _of_pairs(sorted(numbers, key=int), pairs), pairs
    return "", {}, Counter()


def _of_pairs(labels: Sequence[str], pairs: Pairs) -> dict[str, ClassScore]:
    """Scores of the labels, then of those that only the references have."""
    right, actual, given = Counter[str](), Counter[str](), Counter[str]()
    for (label, prediction), times in pairs.items():
        actual[label] += times
        given[prediction] += times
        if label == prediction:
            right[label] += times
    return _scores([*labels, *sorted(actual.keys() - set(labels))], right, given, actual)


def _of_label_sets(labels: Sequence[str], given: list[Any], references: list[Any]) -> dict[str, ClassScore]:
    right, actual, predicted = Counter[str](), Counter[str](), Counter[str]()
    for names, wanted in zip(given, references, strict=True):
        actual.update(set(wanted))
        predicted.update(set(names))
        right.update(set(wanted) & set(names))
    return _scores([*labels, *sorted(actual.keys() - set(labels))], right, predicted, actual)


def _by_tag(recipe: Any, given: list[Any], references: list[Any]) -> tuple[str, dict[str, ClassScore], Pairs]:
    """Scores of whole entities by type, or of tags where they stand alone."""
    if recipe.scheme == "none":
        pairs = Pairs()
        for tags, wanted in zip(given, references, strict=True):
            pairs.update(zip(fit_length(wanted, tags), tags, strict=True))
        return "tag", _of_pairs(recipe.labels, pairs), pairs
    right, actual, predicted, pairs = Counter[str](), Counter[str](), Counter[str](), Pairs()
    for tags, wanted in zip(given, references, strict=True):
        predictions_by_span = _types_by_span(canonical_tags(tags, recipe.scheme))
        expected = _types_by_span(canonical_tags(fit_length(wanted, tags), recipe.scheme))
        actual.update(expected.values())
        predicted.update(predictions_by_span.values())
        for span in expected.keys() | predictions_by_span.keys():
            # An entity that is missed, or predicted where there is none, is confused with `O`.
            pair = expected.get(span, OUTSIDE), predictions_by_span.get(span, OUTSIDE)
            pairs[pair] += 1
            if pair[0] == pair[1]:
                right[pair[0]] += 1
    types = recipe.entity_types
    # Without one reference for each word, no word of the row can be compared.
    actual.pop("", None)
    return "type of entity", _scores([*types, *sorted(actual.keys() - set(types))], right, predicted, actual), pairs


def _types_by_span(tags: Sequence[str]) -> dict[tuple[int, int], str]:
    return {(first, last): entity_type for entity_type, first, last in entities_in(tags)}


def _scores(
    names: Iterable[str], right: Mapping[str, int], given: Mapping[str, int], actual: Mapping[str, int]
) -> dict[str, ClassScore]:
    """Precision, recall and F1, 0 where there is nothing to divide by."""
    scores = {}
    for name in names:
        hits, predictions, references = right.get(name, 0), given.get(name, 0), actual.get(name, 0)
        precision, recall = hits / max(1, predictions), hits / max(1, references)
        scores[name] = ClassScore(precision, recall, 2 * hits / max(1, predictions + references), references)
    return scores


def _matrix(names: list[str], pairs: Pairs) -> list[list[int]]:
    """How often each label is predicted for each; without what is not a class, such as `O`."""
    columns = {name: column for column, name in enumerate(names)}
    table = np.zeros((len(names), len(names)), dtype=int)
    for (label, given), times in pairs.items():
        if label in columns and given in columns:
            table[columns[label], columns[given]] = times
    rows: list[list[int]] = table.tolist()
    return rows


# --- by parts of the rows ----------------------------------------------------------------------------------------


def _by_slice(
    recipe: Recipe, predicted: Predicted, known: list[int], predictions: list[Row], references: list[Any]
) -> dict[str, dict[str, dict[str, float]]]:
    """Scores of the parts of the rows that columns of the task tell apart, such as questions by question word."""
    slices: dict[str, dict[str, dict[str, float]]] = {}
    measure = None
    for column, facts in recipe.columns.items():
        if facts.slice_of is None or column not in predicted.rows.column_names:
            continue
        parts = [facts.slice_of(cell) for cell in predicted.rows.select(known)[column]]
        names = sorted({part for part in parts if part is not None})
        if len(names) < 2:
            continue
        measure = measure or recipe.measure(predictions, references)
        of_parts = np.array(names)[:, None] == np.array(parts, dtype=object)
        values = measure(of_parts.astype(np.float32))
        slices[column] = {}
        for index, name in enumerate(names):
            scores = {"rows": float(of_parts[index].sum())}
            for metric in table_metrics(recipe):
                if metric in values and math.isfinite(values[metric][index]):
                    scores[metric] = float(values[metric][index])
            slices[column][name] = scores
    return slices


# --- as people read it -------------------------------------------------------------------------------------------


def listed_classes(report: Breakdown) -> dict[str, ClassScore]:
    """All classes, or those with the lowest F1 where there are many."""
    if len(report.classes) <= LISTED:
        return dict(report.classes)
    # The score of a label without any row means nothing.
    seen = [name for name, scores in report.classes.items() if scores.support]
    worst = sorted(seen, key=lambda name: (report.classes[name].f1, -report.classes[name].support))
    return {name: report.classes[name] for name in worst[:LISTED]}


def sentences(split: str, report: Breakdown, file: str = "report.json") -> list[str]:
    """What the table of classes leaves out: other labels, the most frequent confusions, scores by parts of the rows."""
    lines = []
    number = len(report.classes)
    if number > LISTED:
        lines.append(f"the table shows the {LISTED} of {number} with the lowest F1; {file} has all of them")
    if report.confusions:
        shown = [f"{label} → {given} {times}" for label, given, times in report.confusions[:SHOWN]]
        more = f", and {counted(len(report.confusions) - SHOWN, 'more pair')}" if len(report.confusions) > SHOWN else ""
        lines.append(f"confused on {split} ({report.by} → prediction, times): {', '.join(shown)}{more}")
    for column, parts in report.slices.items():
        lines.append(f"{split} by {column}: {_parts(parts)}")
    return lines


def _parts(parts: Mapping[str, Mapping[str, float]]) -> str:
    largest = sorted(parts, key=lambda name: -parts[name]["rows"])
    shown = []
    for name in largest[:LISTED]:
        scores = [f"{metric} {value:.3f}" for metric, value in parts[name].items() if metric != "rows"]
        shown.append(f"{name} {' '.join(scores[:2])} ({counted(int(parts[name]['rows']), 'row')})")
    more = f", and {len(parts) - LISTED} more" if len(parts) > LISTED else ""
    return ", ".join(shown) + more
