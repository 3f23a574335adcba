"""Matthews correlation coefficient, with the result keys of the public `evaluate` module of the same name."""

import datasets
import evaluate
from sklearn.metrics import matthews_corrcoef


class MatthewsCorrelation(evaluate.Metric):
    """Correlation of predicted and true classes, -1 to 1; 0 for chance and for one class only."""

    def _info(self):
        kind = datasets.Value("int32")
        features = datasets.Features({"predictions": kind, "references": kind})
        return evaluate.MetricInfo(description=self.__doc__, citation="", features=features)

    def _compute(self, predictions, references, sample_weight=None):
        score = matthews_corrcoef(references, predictions, sample_weight=sample_weight)
        return {"matthews_correlation": float(score)}
