"""Texts with any number of labels each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import compress
from typing import Any, ClassVar

import numpy as np

from .. import calibration, losses
from ..data.shapes.label_cells import not_a_name
from ..data.shapes.labels import are_indicators, is_missing, label_name
from ..distilling.losses import soft_cell_loss
from ..errors import ConfigError, counted
from ..recipe import HIGHER, LOWER, Finding, Measure, Metric, Row, detail
from . import _explained
from ._named_labels import NamedLabels

THRESHOLD = 0.5


class SeveralLabels(NamedLabels):
    """Each text has any number of the labels."""

    purpose: ClassVar[str] = "Gives each text, or pair of texts, as many of {labels} labels as fit."
    described = "any number of labels per text"
    soft_loss = staticmethod(soft_cell_loss)
    metrics: ClassVar[dict[str, Metric]] = {
        # It changes from the first step on, and does not depend on thresholds that are tuned on the same rows.
        "lrap": HIGHER,
        "f1_micro": HIGHER,
        "f1_macro": HIGHER,
        "precision_micro": detail(HIGHER),
        "precision_macro": detail(HIGHER),
        "recall_micro": detail(HIGHER),
        "recall_macro": detail(HIGHER),
        "subset_accuracy": detail(HIGHER),
        "f1": detail(HIGHER),
        "ece": detail(LOWER),
        "brier": detail(LOWER),
    }

    def infer_labels(self, values: list[Any]) -> str:
        """Collect the labels, and refuse options for one label."""
        sentence = super().infer_labels(values)
        if sentence and all(isinstance(value, list) and len(value) == 1 for value in values):
            sentence += "; each text has exactly one"
        names = ["logit_adjustment", "positive_label", "coverage", "abstain", "out_of_scope", "out_of_scope_by"]
        losses.refuse_options(self.recipe, "it is for texts that have one label", names)
        if isinstance(self.recipe.threshold, str | dict):
            raise ConfigError(
                f"threshold: found {self.recipe.threshold}, which is for two labels of which a text has one: give one "
                "probability, or leave it out to tune one for each label"
            )
        return sentence

    def reference(self, value: Any) -> list[str] | None:
        """Names of the labels, each once: those of the model in its order, as predictions have them, then others."""
        if is_missing(value):
            return []  # among rows with lists, nothing is none of the labels
        if _is_unknown(value):
            return None
        if not isinstance(value, list):
            return [f"no list: {value}"]  # which is not a label, and so counts as wrong
        names = {}
        for cell in value:
            names[self.known(label_name(cell))] = True
        # Unknown labels stay, so that they count as wrong wherever the row is scored.
        in_model = [name for name in self.labels if name in names]
        return list(dict.fromkeys([*in_model, *names]))

    def names(self, value: Any) -> list[str]:
        """The labels, with duplicates; none where there is no list."""
        names: list[str] = []
        for cell in value if isinstance(value, list) and not not_a_name(value) else []:
            if not is_missing(cell):
                names.append(self.known(label_name(cell)))
        return names

    def malformed(self, value: Any) -> str:
        """A single value is not a list of labels, and an empty cell is not a label."""
        if not isinstance(value, list):
            return "label is a list in some rows and one value in others, or no list of labels"
        if any(map(is_missing, value)) and not _is_unknown(value):
            return "a list of labels has an empty cell"
        return ""

    def check_values(self, values: list[Any]) -> Iterator[Finding]:
        missing = [index for index, value in enumerate(values) if is_missing(value)]
        if are_indicators(values):
            sentence = "label is a vector of 0 and 1 without names (options.label_names=[…] gives them in their order)"
            yield Finding("error", sentence, range(len(values)))
        elif len(missing) == len(values):
            yield Finding("error", "label is missing", missing)
        else:
            yield from super().check_values(values)
            if missing:
                yield Finding("note", "a missing label is read as none of the labels", missing)

    def target(self, reference: list[str]) -> list[float]:
        """1 for each label that the text has, 0 for the others."""
        return [float(name in reference) for name in self.labels]

    def loss(self, label_smoothing: float) -> Callable[..., Any]:
        """Binary cross entropy of each label by itself."""
        # The number of rows, since balanced weights also depend on how many rows do not have a label.
        item_loss = losses.binary_loss(self.recipe, self.recipe.trained_rows, label_smoothing)
        return partial(_loss_of_cells, item_loss=item_loss)

    def shares_of(self, logits: np.ndarray) -> np.ndarray:
        """Probability of each label by itself."""
        return logistic(logits)

    def predictions_of(self, shares: np.ndarray) -> list[Row]:
        """The labels above the threshold, and `scores`, the probability of each label by itself."""
        return self._predictions(shares, {})

    def _predictions(self, shares: np.ndarray, thresholds: Mapping[str, float]) -> list[Row]:
        usual = THRESHOLD if self.recipe.threshold is None else self.recipe.threshold
        limits = [thresholds.get(f"threshold[{name}]", usual) for name in self.labels]
        predictions: list[Row] = []
        # Compared in numpy, since there may be thousands of labels.
        for probabilities, is_above in zip(shares.tolist(), shares > np.array(limits), strict=True):
            scores = dict(zip(self.labels, probabilities, strict=True))
            predictions.append({"label": list(compress(self.labels, is_above)), "scores": scores})
        return predictions

    def explained(self, prediction: Row) -> list[_explained.Target]:
        """Each label that is predicted with its logit, or the most probable one where none is."""
        labels = prediction["label"] or [max(prediction["scores"], key=prediction["scores"].__getitem__)]
        targets: list[_explained.Target] = []
        for label in labels:
            index = self.labels.index(label)
            targets.append((label, partial(_explained.logit, index), partial(_explained.chance, index)))
        return targets

    def calibrate(self, predictions: list[Row], references: list[Any]) -> tuple[dict[str, float], list[str]]:
        """The temperature where the options ask for it; the threshold of each label unless they give one."""
        numbers: dict[str, float] = {}
        sentences = []
        shares = self.shares(predictions, self.labels)
        actual = self._table(references, self.labels)
        if self.recipe.temperature_scaling:
            numbers, sentence = calibration.fit(calibration.loss_of(shares, actual, several=True), len(actual))
            sentences.append(sentence)
            # Thresholds are compared with the probabilities after the temperature.
            shares = calibration.apply_temperature(shares, numbers.get("temperature", 1.0), several=True)
        if self.recipe.threshold is None:
            thresholds = calibration.thresholds(shares, actual)
            for name, threshold in zip(self.labels, thresholds, strict=True):
                numbers[f"threshold[{name}]"] = float(threshold)
            sentences.append(
                f"thresholds: {thresholds.min():.2f} to {thresholds.max():.2f}, with the best mean of micro and macro "
                f"F1 on {counted(len(actual), 'validation row')}; options.threshold=0.5 keeps 0.5 for all labels"
            )
        return numbers, sentences

    def calibrated(self, predictions: list[Row], numbers: Mapping[str, float]) -> list[Row]:
        """Probabilities that the temperature gives, and the labels that are above their thresholds."""
        if not numbers:
            return predictions
        shares = self.shares(predictions, self.labels)
        if "temperature" in numbers:
            shares = calibration.apply_temperature(shares, numbers["temperature"], several=True)
        return self._predictions(shares, numbers)

    def _table(self, label_sets: list[list[str]], labels: list[str]) -> np.ndarray:
        """1 where a row has a label, else 0, (rows, labels); without what is not among the labels."""
        columns = dict(zip(labels, range(len(labels)), strict=True))
        table = np.zeros((len(label_sets), len(labels)), dtype=np.int64)
        for row, names in enumerate(label_sets):
            for name in names:
                if name in columns:
                    table[row, columns[name]] = 1
        return table

    def measure(self, predictions: list[Row], references: list[Any]) -> Measure:
        """F1, precision, recall, subset accuracy, LRAP, and how far the probabilities can be trusted."""
        from ..metrics import _weighted

        labels, number = self.scored_labels(references), len(self.labels)
        predicted = self._table([prediction["label"] for prediction in predictions], labels)
        actual = self._table(references, labels)
        shares = self.shares(predictions, labels)
        # Labels that only the references have count as errors, and not in the number that the mean is taken over.
        squared = ((shares - actual) ** 2).sum(1) / number
        left_out = self.recipe.not_averaged
        counted = partial(_weighted.multi_label, predicted, actual, shares, labels=labels, left_out=left_out)
        trusted = partial(_weighted.calibration, shares[:, :number], actual[:, :number], squared)
        return lambda weights: {**counted(weights), **trusted(weights)}

    def baseline(self, references: list[Any]) -> Row:
        """The most frequent label, alone."""
        label, scores = self._frequencies(references)
        return {"label": [label], "scores": scores}


def _is_unknown(value: Any) -> bool:
    """Whether a list says that labels are not known, and not that there are none."""
    return isinstance(value, list) and bool(value) and all(map(is_missing, value))


def logistic(logits: np.ndarray) -> np.ndarray:
    """Probability of each cell; written with tanh, the logistic function does not overflow."""
    return np.asarray((1 + np.tanh(logits / 2)) / 2)


def _loss_of_cells(outputs: Any, labels: Any, num_items_in_batch: Any = None, *, item_loss: losses.ItemLoss) -> Any:
    each = item_loss(outputs["logits"].float(), labels)  # (rows, labels)
    return losses.mean_over_batch(each.sum(), each.numel(), num_items_in_batch)
