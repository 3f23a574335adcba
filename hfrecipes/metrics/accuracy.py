"""Accuracy, with the result keys of the public `evaluate` module of the same name."""

from typing import Any

import evaluate
from sklearn.metrics import accuracy_score

# An absolute import, since `evaluate.load` runs a copy of this file outside the package.
from hfrecipes.metrics._features import class_ids


class Accuracy(evaluate.Metric):
    """Share of right predictions, 0 to 1; with config `multilabel`, of rows whose whole set of labels is right."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(description=self.__doc__, citation="", features=class_ids(self.config_name))

    def _compute(self, predictions: Any, references: Any, **options: Any) -> dict[str, Any]:
        return {"accuracy": float(accuracy_score(references, predictions, **options))}
