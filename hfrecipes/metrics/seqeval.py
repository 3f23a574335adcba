"""Scores of tagged entities, with the result keys of the public `evaluate` module of the same name."""

from typing import Any

import datasets
import evaluate
from seqeval.metrics import accuracy_score, classification_report


class Seqeval(evaluate.Metric):
    """Precision, recall and F1 of whole entities, 0 to 1; `mode` and `scheme` as in seqeval."""

    def _info(self) -> evaluate.MetricInfo:
        tags = datasets.List(datasets.Value("string"))
        features = datasets.Features({"predictions": tags, "references": tags})
        return evaluate.MetricInfo(description=self.__doc__, citation="", features=features)

    def _compute(self, predictions: Any, references: Any, **options: Any) -> dict[str, Any]:
        report = classification_report(references, predictions, output_dict=True, **{"zero_division": 0, **options})
        overall = report["micro avg"]
        names = {"precision": "precision", "recall": "recall", "f1": "f1-score", "number": "support"}
        types = {kind: one for kind, one in report.items() if not kind.endswith(" avg")}
        return {
            **{kind: {name: one[own] for name, own in names.items()} for kind, one in types.items()},
            **{f"overall_{name}": overall[own] for name, own in names.items() if name != "number"},
            "overall_accuracy": accuracy_score(references, predictions),
        }
