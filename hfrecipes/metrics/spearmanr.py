"""Spearman correlation, with the result keys of the public `evaluate` module of the same name."""

import datasets
import evaluate
from scipy.stats import spearmanr


class Spearmanr(evaluate.Metric):
    """Rank correlation, -1 to 1; not a number where one side is constant."""

    def _info(self):
        kind = datasets.Value("float64")
        features = datasets.Features({"predictions": kind, "references": kind})
        return evaluate.MetricInfo(description=self.__doc__, citation="", features=features)

    def _compute(self, predictions, references, return_pvalue=False):
        result = spearmanr(references, predictions)
        score = {"spearmanr": float(result[0])}
        return {**score, "p-value": float(result[1])} if return_pvalue else score
