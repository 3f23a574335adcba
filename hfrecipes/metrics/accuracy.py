"""Accuracy, with the result keys of the public `evaluate` module of the same name."""

from typing import Any

import datasets
import evaluate
from sklearn.metrics import accuracy_score


class Accuracy(evaluate.Metric):
    """Share of right predictions, 0 to 1; with config `multilabel`, of rows whose whole set of labels is right."""

    def _info(self) -> evaluate.MetricInfo:
        one = datasets.Value("int32")
        kind = datasets.List(one) if self.config_name == "multilabel" else one
        features = datasets.Features({"predictions": kind, "references": kind})
        return evaluate.MetricInfo(description=self.__doc__, citation="", features=features)

    def _compute(self, predictions: Any, references: Any, **options: Any) -> dict[str, Any]:
        return {"accuracy": float(accuracy_score(references, predictions, **options))}
