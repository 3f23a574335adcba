"""F1, with the result keys of the public `evaluate` module of the same name."""

from typing import Any

import datasets
import evaluate
from sklearn.metrics import f1_score


class F1(evaluate.Metric):
    """Harmonic mean of precision and recall, 0 to 1; `average` as in scikit-learn."""

    def _info(self) -> evaluate.MetricInfo:
        one = datasets.Value("int32")
        kind = datasets.List(one) if self.config_name == "multilabel" else one
        features = datasets.Features({"predictions": kind, "references": kind})
        return evaluate.MetricInfo(description=self.__doc__, citation="", features=features)

    def _compute(self, predictions: Any, references: Any, **options: Any) -> dict[str, Any]:
        score = f1_score(references, predictions, **{"zero_division": 0, **options})
        return {"f1": score if getattr(score, "size", 1) > 1 else float(score)}
