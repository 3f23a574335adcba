"""Texts with a number each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np

from .. import losses
from ..data.shapes.labels import as_number, is_missing
from ..distilling.losses import soft_number_loss
from ..errors import ConfigError
from ..recipe import HIGHER, LOWER, Finding, Measure, Metric, Row, detail
from . import _explained
from ._named_labels import LabelOptions


class NumberLabels:
    """Each text has a number.

    Args:
        recipe: The task, with its options.
    """

    purpose: ClassVar[str] = "Gives each text, or pair of texts, a number."
    metrics: ClassVar[dict[str, Metric]] = {
        # Correlations do not see an offset or a scale; the errors do.
        "pearsonr": HIGHER,
        "spearmanr": HIGHER,
        "mae": LOWER,
        "r2": HIGHER,
        "mse": detail(LOWER),
    }

    soft_loss = staticmethod(soft_number_loss)

    def __init__(self, recipe: LabelOptions) -> None:
        self.recipe = recipe

    def infer_labels(self, values: list[Any]) -> str:
        """Describe the numbers, and refuse options for labels."""
        self.recipe.labels = []  # a dataset may name classes, and be used for regression
        options = [
            *losses.OPTIONS,
            "threshold",
            "positive_label",
            "coverage",
            "abstain",
            "out_of_scope",
            "out_of_scope_by",
            "temperature_scaling",
            "label_names",
        ]
        losses.refuse_options(self.recipe, "the labels are numbers", options)
        # What is not a number is named when rows are checked.
        numbers = [number for number in map(as_number, values) if number is not None]
        if not numbers:
            return ""
        return f"regression, labels from {min(numbers):g} to {max(numbers):g}"

    def use_label_counts(self, counts: Mapping[str, int], rows: int) -> list[str]:
        """Nothing depends on how often a number occurs."""
        return []

    def reference(self, value: Any) -> float | None:
        """The number, None for what is none."""
        return as_number(value)

    def check(self, values: list[Any]) -> Iterator[Finding]:
        """Labels that are no numbers."""
        malformed: dict[str, list[int]] = defaultdict(list)
        for index, value in enumerate(values):
            if isinstance(value, list):
                malformed["label is a list: expected a single number, several at once are not learnt"].append(index)
            elif not is_missing(value) and as_number(value) is None:
                shown = str(value)[:40]  # a text in the wrong column may be long
                malformed[f"label {shown!r} is not a number"].append(index)
        for sentence, indices in malformed.items():
            yield Finding("label", sentence, indices)

    def target(self, reference: float) -> float:
        """The number itself."""
        return float(reference)

    def loss(self, label_smoothing: float) -> Callable[..., Any]:
        """Squared error.

        Raises:
            ConfigError: Label smoothing is asked for.
        """
        if label_smoothing:
            raise ConfigError("label_smoothing_factor: leave it out, the labels are numbers")
        return _squared_error

    def shares_of(self, logits: np.ndarray) -> np.ndarray:
        """The only output of the model is the number, (rows, 1)."""
        return logits

    def predictions_of(self, shares: np.ndarray) -> list[Row]:
        """The numbers."""
        predictions: list[Row] = []
        for number in shares[:, 0]:
            predictions.append({"label": float(number)})  # json cannot write the numbers of numpy
        return predictions

    def explained(self, prediction: Row) -> list[_explained.Target]:
        """The number."""
        return [("number", partial(_explained.logit, 0), None)]

    def calibrate(self, predictions: list[Row], references: list[Any]) -> tuple[dict[str, float], list[str]]:
        """Nothing is tuned on validation."""
        return {}, []

    def calibrated(self, predictions: list[Row], numbers: Mapping[str, float]) -> list[Row]:
        """The predictions as they are."""
        return predictions

    def measure(self, predictions: list[Row], references: list[Any]) -> Measure:
        """Correlations, R2, and errors in the unit of the labels."""
        from ..metrics import _weighted

        predicted = np.asarray([prediction["label"] for prediction in predictions])
        return partial(_weighted.regression, predicted, np.asarray(references))

    def baseline(self, references: list[Any]) -> Row:
        """The mean."""
        return {"label": float(np.mean(references))}


def _squared_error(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
    squared = (outputs["logits"].float()[:, 0] - labels.float()) ** 2
    return losses.mean_over_batch(squared.sum(), squared.numel(), num_items_in_batch)
