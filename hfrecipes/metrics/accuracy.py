"""Accuracy, with the result keys of the public `evaluate` module of the same name."""

import datasets
import evaluate
from sklearn.metrics import accuracy_score


class Accuracy(evaluate.Metric):
    """Share of right predictions, 0 to 1; with config `multilabel`, of rows whose whole set of labels is right."""

    def _info(self):
        kind = datasets.List(datasets.Value("int32")) if self.config_name == "multilabel" else datasets.Value("int32")
        features = datasets.Features({"predictions": kind, "references": kind})
        return evaluate.MetricInfo(description=self.__doc__, citation="", features=features)

    def _compute(self, predictions, references, normalize=True, sample_weight=None):
        score = accuracy_score(references, predictions, normalize=normalize, sample_weight=sample_weight)
        return {"accuracy": float(score)}
