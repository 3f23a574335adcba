"""Spearman correlation, with the result keys of the public `evaluate` module of the same name."""

import warnings
from typing import Any

import evaluate
from scipy.stats import ConstantInputWarning, spearmanr

# An absolute import, since `evaluate.load` runs a copy of this file outside the package.
from hfrecipes.metrics._features import numbers


class Spearmanr(evaluate.Metric):
    """Rank correlation, -1 to 1; not a number where one side is constant."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(description=self.__doc__, citation="", features=numbers())

    def _compute(self, predictions: Any, references: Any, **options: Any) -> dict[str, Any]:
        # A constant side gives NaN, which says as much as the warning.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConstantInputWarning)
            result = spearmanr(references, predictions)
        score = {"spearmanr": float(result[0])}
        if options.get("return_pvalue"):
            score["p-value"] = float(result[1])
        return score
