"""Label ranking average precision, as an `evaluate` module that needs no network."""

import datasets
import evaluate
from sklearn.metrics import label_ranking_average_precision_score


class Lrap(evaluate.Metric):
    """Mean, over the true labels of a row, of the share of true labels among those ranked at or above it; 0 to 1."""

    def _info(self):
        features = datasets.Features(
            {
                "predictions": datasets.List(datasets.Value("float32")),
                "references": datasets.List(datasets.Value("int32")),
            }
        )
        return evaluate.MetricInfo(description=self.__doc__, citation="", features=features)

    def _compute(self, predictions, references, sample_weight=None):
        score = label_ranking_average_precision_score(references, predictions, sample_weight=sample_weight)
        return {"lrap": float(score)}
