"""Matthews correlation coefficient, with the result keys of the public `evaluate` module of the same name."""

from typing import Any

import evaluate
from sklearn.metrics import matthews_corrcoef

# An absolute import, since `evaluate.load` runs a copy of this file outside the package.
from hfrecipes.metrics._features import class_ids


class MatthewsCorrelation(evaluate.Metric):
    """Correlation of predicted and true classes, -1 to 1; 0 for chance and for one class only."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(description=self.__doc__, citation="", features=class_ids())

    def _compute(self, predictions: Any, references: Any, **options: Any) -> dict[str, Any]:
        return {"matthews_correlation": float(matthews_corrcoef(references, predictions, **options))}
