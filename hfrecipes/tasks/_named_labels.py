"""Shared by texts with one label and texts with several labels."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Protocol

import numpy as np

from .. import losses
from ..config.yaml12 import typed_text
from ..data.shapes.label_cells import is_placeholder, may_mean_none, names_for, not_a_name
from ..data.shapes.labels import DECOMPOSED, as_number, is_decomposed, is_missing, label_name, ordered
from ..errors import counted
from ..recipe import Finding, Row

SHOWN = 6  # number of labels that a sentence names


class LabelOptions(Protocol):
    """What a kind of labels reads from the task and sets on it."""

    labels: list[str]
    """Labels that the model learns."""
    labels_in_train: set[str]
    """Labels that occur in the training rows."""
    not_averaged: list[str]
    """Labels that macro scores leave out."""
    label_names: Any
    """The option of that name."""
    trained_rows: int
    """Number of rows with a label that are trained on."""
    threshold: Any
    """The option of that name."""
    positive_label: Any
    """The option of that name."""
    coverage: Any
    """The option of that name."""
    abstain: Any
    """The option of that name."""
    out_of_scope: Any
    """The option of that name."""
    learned: dict[str, Any]
    """What the task learns from its training rows."""
    temperature_scaling: bool
    """The option of that name."""

    @property
    def needs_distances(self) -> bool:
        """As in the contract of a task."""

    def is_right_or_wrong(self, reference: Any) -> bool:
        """As in the contract of a task."""


class NamedLabels:
    """What one label and several labels have in common.

    Args:
        recipe: The task, with its labels and options.
    """

    described: ClassVar[str]
    """How many labels a text has, for a sentence."""

    def __init__(self, recipe: LabelOptions) -> None:
        self.recipe = recipe
        self.labels = recipe.labels

    # --- labels ----------------------------------------------------------------------------------------------------

    def infer_labels(self, values: list[Any]) -> str:
        """Collect the labels of the training rows, and describe them."""
        names = set()
        for value in values:
            for cell in value if isinstance(value, list) else [value]:
                if not (is_missing(cell) or not_a_name(value)):
                    names.add(label_name(cell))
        self.recipe.labels_in_train = names
        # A dataset that names its classes may have more of them than the training rows.
        known = names_for(names, self.recipe.label_names) or self.recipe.labels
        self.labels = self.recipe.labels = self.in_scope(known or ordered(names))
        if not self.labels:
            return ""
        shown = ", ".join(self.labels[:SHOWN]) + (", …" if len(self.labels) > SHOWN else "")
        return f"{self.described}, {counted(len(self.labels), 'label')}: {shown}"

    def in_scope(self, names: list[str]) -> list[str]:
        """The labels that the model learns."""
        return names

    def use_label_counts(self, counts: Mapping[str, int], rows: int) -> list[str]:
        """Check the class weights, and describe them."""
        self.recipe.trained_rows = rows
        return losses.check_class_weights(self.recipe, counts)

    def known(self, name: str) -> str:
        """The label that a name means: 1.0 is label 1 where there is one."""
        number = None if name in self.labels else as_number(name)
        if number is None or not number.is_integer():
            return name
        whole = str(int(number))
        return whole if whole in self.labels else name

    @property
    def labels_in_train(self) -> set[str]:
        """Labels that occur in the training rows; of a model that was loaded, all that it has."""
        return self.recipe.labels_in_train or set(self.labels)

    # --- checks ----------------------------------------------------------------------------------------------------

    def check(self, values: list[Any]) -> Iterator[Finding]:
        """Labels of a wrong form, labels that do not occur in train, and duplicates within a row."""
        if not all(map(not_a_name, values)):
            yield from self.check_values(values)
        malformed: dict[str, list[int]] = defaultdict(list)
        unknown: dict[str, list[int]] = defaultdict(list)
        duplicates, decomposed, out_of_scope = [], [], []
        labels_in_train, outside = self.labels_in_train, self.recipe.learned.get("out_of_scope")
        for index, value in enumerate(values):
            sentence = None if is_missing(value) else not_a_name(value) or self.malformed(value)
            if sentence:
                malformed[sentence].append(index)
            names = self.names(value)
            # Of a duplicate label that is unknown, the row is named once.
            for name in dict.fromkeys(names):
                if name == outside:
                    out_of_scope.append(index)
                elif name not in labels_in_train:
                    unknown[f"label {name!r} does not occur in train"].append(index)
            if len(set(names)) < len(names):
                duplicates.append(index)
            if is_decomposed(value):
                decomposed.append(index)
        for sentence, indices in malformed.items():
            yield Finding("label", sentence, indices)
        for sentence, indices in unknown.items():
            yield Finding("unknown", sentence, indices)
        if out_of_scope:
            yield Finding("note", f"label {outside!r} is out of scope and counts as no error", out_of_scope)
        if duplicates:
            yield Finding("note", "a label occurs twice and counts once", duplicates)
        if decomposed:
            yield Finding("note", DECOMPOSED, decomposed)
        yield from self._placeholders(values)

    def _placeholders(self, values: list[Any]) -> Iterator[Finding]:
        """Labels of train that may mean that there is none; warnings name those that hardly mean anything else."""
        for label in sorted(self.labels_in_train):
            if is_placeholder(label) or not may_mean_none(label):
                continue
            rows = [index for index, value in enumerate(values) if label in self.names(value)]
            if rows:
                edit = f"options.ignore_labels={typed_text(label)} takes it for none"
                sentence = f"label {label!r} is learnt as others are ({edit})"
                yield Finding("note", sentence, rows)

    def check_values(self, values: list[Any]) -> Iterator[Finding]:
        """Labels between which nothing can be learnt, or that all differ from those of train."""
        if len(self.labels_in_train) < 2:
            yield Finding("error", f"only one label, {', '.join(self.labels_in_train) or 'none'}: expected two or more")
            return
        names: set[str] = set()
        for value in values:
            names.update(self.names(value))
        # The same classes may be written in two ways, as 0 and 1 for bad and good.
        if len(names) > 1 and not names & self.labels_in_train:
            shown, expected = ", ".join(sorted(names)[:SHOWN]), ", ".join(self.labels[:SHOWN])
            yield Finding("error", f"none of the labels {shown} occurs in train, which has {expected}")

    def names(self, value: Any) -> list[str]:
        """Labels that a cell names; none where it is missing, or of a wrong form."""
        raise NotImplementedError

    def malformed(self, value: Any) -> str:
        """A sentence on a cell of a wrong form; empty where it is right."""
        raise NotImplementedError

    # --- predictions -----------------------------------------------------------------------------------------------

    def shares(self, predictions: list[Row], labels: list[str]) -> np.ndarray:
        """Probabilities (rows, labels), 0 for labels that the model does not have.

        By name, since predictions read from a file may have the labels in the order of another model.
        """
        table = []
        for prediction in predictions:
            table.append([prediction["scores"].get(name, 0.0) for name in labels])
        return np.array(table)

    def scored_labels(self, references: list[Any]) -> list[str]:
        """Labels of the model, then those that only the references have."""
        return list(dict.fromkeys([*self.labels, *flattened(references)]))

    def _frequencies(self, references: list[Any]) -> tuple[str, dict[str, float]]:
        """The most frequent label, and the share of the rows that each label has."""
        counts = Counter(flattened(references))
        scores = {name: counts[name] / max(1, len(references)) for name in self.labels}
        return max(scores, key=scores.__getitem__), scores


def ignored_labels(cells: list[Any], values: list[Any]) -> Iterator[Finding]:
    """Rows of which the label is there and means, by the options, that there is none.

    Args:
        cells: Labels as they are in the data.
        values: Labels as they are read.
    """
    ignored: dict[str, list[int]] = defaultdict(list)
    for index, (cell, value) in enumerate(zip(cells, values, strict=True)):
        if value is None and not is_missing(cell):
            ignored[f"label {label_name(cell)!r} is among options.ignore_labels"].append(index)
    for sentence, indices in ignored.items():
        yield Finding("ignored", sentence, indices)


def flattened(references: Iterable[Any]) -> Iterator[str]:
    """Names of all labels of all rows."""
    for reference in references:
        yield from reference if isinstance(reference, list) else [reference]
