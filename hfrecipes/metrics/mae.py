"""Mean absolute error, with the result keys of the public `evaluate` module of the same name."""

from typing import Any

import datasets
import evaluate
from sklearn.metrics import mean_absolute_error


class Mae(evaluate.Metric):
    """Mean of absolute differences, in the label's units; lower is better."""

    def _info(self) -> evaluate.MetricInfo:
        kind = datasets.Value("float64")
        features = datasets.Features({"predictions": kind, "references": kind})
        return evaluate.MetricInfo(description=self.__doc__, citation="", features=features)

    def _compute(self, predictions: Any, references: Any, **options: Any) -> dict[str, Any]:
        return {"mae": float(mean_absolute_error(references, predictions, **options))}
