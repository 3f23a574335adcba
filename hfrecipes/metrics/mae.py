"""Mean absolute error, with the result keys of the public `evaluate` module of the same name."""

import datasets
import evaluate
from sklearn.metrics import mean_absolute_error


class Mae(evaluate.Metric):
    """Mean of absolute differences, in units of the label; lower is better."""

    def _info(self):
        kind = datasets.Value("float64")
        features = datasets.Features({"predictions": kind, "references": kind})
        return evaluate.MetricInfo(description=self.__doc__, citation="", features=features)

    def _compute(self, predictions, references, sample_weight=None, multioutput="uniform_average"):
        score = mean_absolute_error(references, predictions, sample_weight=sample_weight, multioutput=multioutput)
        return {"mae": float(score)}
