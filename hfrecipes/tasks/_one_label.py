"""Texts with one label each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np

from .. import calibration, losses
from ..data.shapes.labels import is_missing, label_name
from ..distilling.losses import soft_label_loss
from ..recipe import HIGHER, IGNORED, LOWER, Measure, Metric, Row, detail, together
from . import _abstention, _explained, _label_sets, _out_of_scope, _two_labels
from ._named_labels import NamedLabels

METRICS: dict[str, Metric] = {
    "accuracy": HIGHER,
    "f1_macro": HIGHER,  # small classes count as much as large ones
    "precision_macro": detail(HIGHER),
    "recall_macro": detail(HIGHER),
    "f1_weighted": detail(HIGHER),
    "precision_weighted": detail(HIGHER),
    "recall_weighted": detail(HIGHER),
    "matthews_correlation": detail(HIGHER),
    "ece": detail(LOWER),
    "brier": detail(LOWER),
}


class OneLabel(NamedLabels):
    """Each text has one of the labels."""

    purpose: ClassVar[str] = "Gives each text, or pair of texts, one of {labels} labels."
    described = "one label per text"
    soft_loss = staticmethod(soft_label_loss)

    @property
    def metrics(self) -> dict[str, Metric]:
        """Those of any labels; between two of them how well the positive one is ranked; of sets, and of answers.

        The log loss is there for two labels, and where a temperature minimizes it. What a threshold is tuned for
        comes first.
        """
        of_two: dict[str, Metric] = {}
        first: dict[str, Metric] = {}
        if self.positive is not None:
            of_two = {**_two_labels.METRICS, **_two_labels.decision_metrics(self.recipe.threshold)}
            first = _two_labels.deciding_metric(self.recipe.threshold)
        if self.recipe.temperature_scaling:
            of_two = {**of_two, "log_loss": LOWER}
        of_sets = {} if self.recipe.coverage is None else _label_sets.METRICS
        of_answers = {} if self.recipe.abstain is None else _abstention.METRICS
        outside = {} if self.recipe.out_of_scope is None else _out_of_scope.METRICS
        if outside and of_answers:
            outside = outside | _out_of_scope.WITH_ABSTENTION
        if outside and self.recipe.needs_distances:
            outside = outside | _out_of_scope.WITH_DISTANCES
        return {**first, **METRICS, **of_two, **of_sets, **of_answers, **outside, **first}

    @property
    def positive(self) -> str | None:
        """The label that is looked for, where there are two."""
        if len(self.labels) != 2:
            return None
        # By name: a checkpoint may bring the labels into another order.
        return str(self.recipe.learned.get("positive", self.labels[1]))

    def in_scope(self, names: list[str]) -> list[str]:
        """The labels without the one that means that none fits, which a dataset may name among its classes."""
        if self.recipe.out_of_scope is None:
            return names
        outside = _out_of_scope.label_of(self.recipe.out_of_scope, self.recipe.labels_in_train)
        self.recipe.learned["out_of_scope"] = outside
        return [name for name in names if name != outside]

    def infer_labels(self, values: list[Any]) -> str:
        """Collect the labels, and refuse options for two of them where there are more."""
        sentence = super().infer_labels(values)
        if len(self.labels) != 2:
            why = "it is for two labels, or for texts that may have several"
            losses.refuse_options(self.recipe, why, ["threshold", "positive_label"])
            return sentence
        given = self.recipe.positive_label
        name = None if given is None else self.known(label_name(given))
        self.recipe.learned["positive"] = _two_labels.positive_label(self.labels, name)
        # The average precision is over it, and so is a threshold.
        return f"{sentence}; positive label: {self.positive} (options.positive_label changes that)"

    def reference(self, value: Any) -> str | None:
        """Name of the label; None for -1 too, which many datasets write for a hidden label."""
        value = _only(value)
        if is_missing(value):
            return None
        name = self.known(label_name(value))
        # Where train has it, -1 is a label like others, as in sentiment from -1 to 1.
        is_hidden = name == "-1" and name not in [*self.labels, self.recipe.learned.get("out_of_scope")]
        return None if is_hidden else name

    def names(self, value: Any) -> list[str]:
        """The label, unless it is missing or a list."""
        if isinstance(_only(value), list | dict):
            return []
        name = self.reference(value)
        if name is None:
            return []
        return [name]

    def malformed(self, value: Any) -> str:
        """A list is not a label."""
        if isinstance(_only(value), list):
            return "label is a list in some rows and one value in others"
        return ""

    def target(self, reference: str) -> int:
        """Label id, or the id that the loss ignores for a label that does not occur in train."""
        return self.labels.index(reference) if reference in self.labels else IGNORED

    def loss(self, label_smoothing: float) -> Callable[..., Any]:
        """Cross entropy."""
        return partial(losses.token_loss, item_loss=losses.item_loss(self.recipe, label_smoothing))

    def shares_of(self, logits: np.ndarray) -> np.ndarray:
        """Probabilities of the labels, which sum to 1 in each row."""
        return calibration.softmax(logits)

    def predictions_of(self, shares: np.ndarray) -> list[Row]:
        """The most probable label, its `score`, and the `scores` of all labels."""
        return self._predictions(shares, {})

    def _predictions(self, shares: np.ndarray, numbers: Mapping[str, float]) -> list[Row]:
        """The most probable label of each row, or the positive one where it is above its threshold."""
        chosen = shares.argmax(1)
        given = self.recipe.threshold if isinstance(self.recipe.threshold, float) else None
        threshold = numbers.get("threshold", given)
        if threshold is not None and self.positive is not None:
            positive = self.labels.index(self.positive)
            chosen = np.where(shares[:, positive] > threshold, positive, 1 - positive)
        predictions: list[Row] = []
        for probabilities, best in zip(shares.tolist(), chosen.tolist(), strict=True):
            scores = dict(zip(self.labels, probabilities, strict=True))
            predictions.append({"label": self.labels[best], "score": probabilities[best], "scores": scores})
        return predictions

    def explained(self, prediction: Row) -> list[_explained.Target]:
        """The label, with its margin over the others."""
        index = self.labels.index(prediction["label"])
        return [(prediction["label"], partial(_explained.margin, index), partial(_explained.share, index))]

    def calibrate(self, predictions: list[Row], references: list[Any]) -> tuple[dict[str, float], list[str]]:
        """The temperature, and what is compared with the probabilities after it, where the options ask for them."""
        numbers: dict[str, float] = {}
        sentences = []
        ids = np.array([self.target(reference) for reference in references])
        shares = self.shares(predictions, self.labels)
        known = ids != IGNORED  # for labels that the model does not have, it can give no probability
        if self.recipe.temperature_scaling:
            numbers, sentence = calibration.fit(calibration.loss_of(shares[known], ids[known]), int(known.sum()))
            sentences.append(sentence)
            shares = calibration.apply_temperature(shares, numbers.get("temperature", 1.0))
        in_scope = np.array([self.recipe.is_right_or_wrong(reference) for reference in references])
        parts = [
            self._tuned_threshold(shares[known], ids[known]),
            self._tuned_sets(shares[in_scope], ids[in_scope]),
            self._tuned_abstention(shares, ids, _out_of_scope.distances_of(predictions)),
        ]
        for tuned, about in parts:
            numbers, sentences = {**numbers, **tuned}, [*sentences, *about]
        return numbers, sentences

    def _tuned_threshold(self, shares: np.ndarray, ids: np.ndarray) -> tuple[dict[str, float], list[str]]:
        """The threshold of the positive label."""
        numbers: dict[str, float] = {}
        sentences = []
        wanted = self.recipe.threshold
        if self.positive is not None and isinstance(wanted, float):
            numbers["threshold"] = wanted
        elif self.positive is not None and wanted is not None:
            positive = self.labels.index(self.positive)
            numbers["threshold"], about = _two_labels.best_threshold(shares[:, positive], ids == positive, wanted)
            sentences.append(f"threshold of {self.positive}: {about}")
        return numbers, sentences

    def _tuned_sets(self, shares: np.ndarray, ids: np.ndarray) -> tuple[dict[str, float], list[str]]:
        """The probability that a label needs to be in a set; no set holds a label that the model lacks."""
        if self.recipe.coverage is None:
            return {}, []
        return _label_sets.tune(shares, ids, self.labels, self.recipe.coverage)

    def _tuned_abstention(
        self, shares: np.ndarray, ids: np.ndarray, distances: np.ndarray | None
    ) -> tuple[dict[str, float], list[str]]:
        """The limit beyond which there is no answer; an answer for a label that the model lacks is wrong."""
        if self.recipe.abstain is None:
            return {}, []
        is_right = shares.argmax(1) == ids
        if distances is None:
            numbers, sentence = _abstention.tune(shares.max(1), is_right, self.recipe.abstain)
        else:
            numbers, sentence = _abstention.tune_distance(distances, is_right, self.recipe.abstain)
        return numbers, [sentence]

    def calibrated(self, predictions: list[Row], numbers: Mapping[str, float]) -> list[Row]:
        """The probabilities that the temperature gives, and what follows from them and the numbers."""
        if not numbers:
            return predictions
        shares = self.shares(predictions, self.labels)
        if "temperature" in numbers:
            shares = calibration.apply_temperature(shares, numbers["temperature"])
        calibrated = _label_sets.with_sets(self._predictions(shares, numbers), shares, self.labels, numbers)
        distances = _out_of_scope.distances_of(predictions)
        if distances is not None:
            calibrated = _out_of_scope.with_distances(calibrated, distances.tolist())
        return _abstention.with_abstention(calibrated, numbers)

    def measure(self, predictions: list[Row], references: list[Any]) -> Measure:
        """Scores of the rows that a label fits, of the answers, and of how well doubt finds the rows that none fits."""
        outside = self.recipe.learned.get("out_of_scope")
        is_outside = np.array([outside is not None and reference == outside for reference in references])
        parts = [self._measure_in_scope(predictions, references, is_outside)]
        if self.recipe.abstain is not None:
            # An answer to a row that no label fits is wrong.
            pairs = zip(predictions, references, strict=True)
            is_right = np.array([prediction["label"] == reference for prediction, reference in pairs])
            parts.append(_abstention.measure(predictions, is_right))
        if is_outside.any():
            confidence = self.shares(predictions, self.labels).max(1)
            asked = {"abstains": self.recipe.abstain is not None, "by_distance": self.recipe.needs_distances}
            parts.append(_out_of_scope.measure(confidence, predictions, is_outside, **asked))
        return together(parts)

    def _measure_in_scope(self, predictions: list[Row], references: list[Any], is_outside: np.ndarray) -> Measure:
        """Scores of the rows that a label fits; NaN where there are none."""
        if not is_outside.any():
            return self._measure_labels(predictions, references)
        rows = np.flatnonzero(~is_outside)
        if not len(rows):
            return lambda weights: {name: np.full(len(weights), np.nan) for name in METRICS}
        some, of_some = [predictions[row] for row in rows], [references[row] for row in rows]
        return _out_of_scope.of_rows(self._measure_labels(some, of_some), rows)

    def _measure_labels(self, predictions: list[Row], references: list[Any]) -> Measure:
        """Accuracy, F1, precision, recall, MCC, and how far the probabilities can be trusted."""
        from ..metrics import _weighted

        labels, number = self.scored_labels(references), len(self.labels)
        ids = dict(zip(labels, range(len(labels)), strict=True))
        predicted = np.asarray([ids[prediction["label"]] for prediction in predictions])
        actual = np.asarray([ids[reference] for reference in references])
        shares = self.shares(predictions, labels)
        # As in scikit-learn, the Brier score is summed over the labels, and halved where there are two.
        squared = ((shares - np.eye(len(labels))[actual]) ** 2).sum(1)
        if number == 2:
            squared = squared / 2
        is_right = shares.argmax(1) == actual
        averaged = _weighted.are_averaged(labels, self.recipe.not_averaged)
        counted = partial(_weighted.single_label, predicted, actual, labels=len(labels), averaged=averaged)
        # The calibration error is of the label that is predicted.
        trusted = partial(_weighted.calibration, shares.max(1, keepdims=True), is_right[:, None], squared)
        parts: list[Measure] = [counted, trusted]
        if self.positive is not None:
            positive = self.labels.index(self.positive)
            parts.append(_two_labels.measure(shares, positive, actual))
            if self.recipe.threshold is not None:
                threshold = self.recipe.threshold
                parts.append(_two_labels.measure_decisions(predicted == positive, actual == positive, threshold))
        elif self.recipe.temperature_scaling:
            # To a label that the model does not have it can give no probability.
            chance = np.where(actual < number, shares[np.arange(len(actual)), actual], np.nan)
            parts.append(_weighted.log_loss(chance))
        if self.recipe.coverage is not None:
            parts.append(_label_sets.measure(predictions, references))
        return together(parts)

    def baseline(self, references: list[Any]) -> Row:
        """The most frequent label."""
        label, scores = self._frequencies(references)
        return {"label": label, "scores": scores}


def _only(value: Any) -> Any:
    """The label in a list of one; anything else as it is."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value
