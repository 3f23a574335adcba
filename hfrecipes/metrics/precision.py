"""Precision, with the result keys of the public `evaluate` module of the same name."""

from typing import Any

import evaluate
from sklearn.metrics import precision_score

# An absolute import, since `evaluate.load` runs a copy of this file outside the package.
from hfrecipes.metrics._features import class_ids, plain


class Precision(evaluate.Metric):
    """Share of the predicted labels that are right, 0 to 1; `average` as in scikit-learn."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(description=self.__doc__, citation="", features=class_ids(self.config_name))

    def _compute(self, predictions: Any, references: Any, **options: Any) -> dict[str, Any]:
        score = precision_score(references, predictions, **{"zero_division": 0, **options})
        return {"precision": plain(score)}
