"""Label ranking average precision, as an `evaluate` module that needs no network."""

from typing import Any

import evaluate
from sklearn.metrics import label_ranking_average_precision_score

# An absolute import, since `evaluate.load` runs a copy of this file outside the package.
from hfrecipes.metrics._features import rankings


class Lrap(evaluate.Metric):
    """Mean, over the true labels of a row, of the share of true labels among those ranked at or above it."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(description=self.__doc__, citation="", features=rankings())

    def _compute(self, predictions: Any, references: Any, **options: Any) -> dict[str, Any]:
        return {"lrap": float(label_ranking_average_precision_score(references, predictions, **options))}
