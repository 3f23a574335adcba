"""Mean absolute error, with the result keys of the public `evaluate` module of the same name."""

from typing import Any

import evaluate
from sklearn.metrics import mean_absolute_error

# An absolute import, since `evaluate.load` runs a copy of this file outside the package.
from hfrecipes.metrics._features import numbers


class Mae(evaluate.Metric):
    """Mean of absolute differences, in the label's units; lower is better."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(description=self.__doc__, citation="", features=numbers())

    def _compute(self, predictions: Any, references: Any, **options: Any) -> dict[str, Any]:
        return {"mae": float(mean_absolute_error(references, predictions, **options))}
