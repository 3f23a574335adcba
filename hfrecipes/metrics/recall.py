"""Recall, with the result keys of the public `evaluate` module of the same name."""

from typing import Any

import evaluate
from sklearn.metrics import recall_score

# An absolute import, since `evaluate.load` runs a copy of this file outside the package.
from hfrecipes.metrics._features import class_ids, plain


class Recall(evaluate.Metric):
    """Share of the true labels that were predicted, 0 to 1; `average` as in scikit-learn."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(description=self.__doc__, citation="", features=class_ids(self.config_name))

    def _compute(self, predictions: Any, references: Any, **options: Any) -> dict[str, Any]:
        score = recall_score(references, predictions, **{"zero_division": 0, **options})
        return {"recall": plain(score)}
