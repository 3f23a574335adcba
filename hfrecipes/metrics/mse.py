"""Mean squared error, with the result keys of the public `evaluate` module of the same name."""

import datasets
import evaluate
from sklearn.metrics import mean_squared_error, root_mean_squared_error


class Mse(evaluate.Metric):
    """Mean of squared differences, in squared units of the label; lower is better."""

    def _info(self):
        kind = datasets.Value("float64")
        features = datasets.Features({"predictions": kind, "references": kind})
        return evaluate.MetricInfo(description=self.__doc__, citation="", features=features)

    def _compute(self, predictions, references, sample_weight=None, multioutput="uniform_average", squared=True):
        error = mean_squared_error if squared else root_mean_squared_error
        return {"mse": float(error(references, predictions, sample_weight=sample_weight, multioutput=multioutput))}
