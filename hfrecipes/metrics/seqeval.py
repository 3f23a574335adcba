"""Scores of tagged entities, with the result keys of the public `evaluate` module of the same name."""

from typing import Any

import datasets
import evaluate
from seqeval.metrics import accuracy_score, classification_report

# Name of each score in the public module, and in seqeval's report.
_REPORTED = {"precision": "precision", "recall": "recall", "f1": "f1-score", "number": "support"}


class Seqeval(evaluate.Metric):
    """Precision, recall and F1 of whole entities, 0 to 1; `mode` and `scheme` as in seqeval."""

    def _info(self) -> evaluate.MetricInfo:
        tags = datasets.List(datasets.Value("string"))
        features = datasets.Features({"predictions": tags, "references": tags})
        return evaluate.MetricInfo(description=self.__doc__, citation="", features=features)

    def _compute(self, predictions: Any, references: Any, **options: Any) -> dict[str, Any]:
        report = classification_report(references, predictions, output_dict=True, **{"zero_division": 0, **options})
        scores: dict[str, Any] = {}
        for entity_type, reported in report.items():
            # seqeval puts its averages beside the types of entity.
            if not entity_type.endswith(" avg"):
                scores[entity_type] = {name: reported[key] for name, key in _REPORTED.items()}
        overall = report["micro avg"]
        for name in ("precision", "recall", "f1"):
            scores[f"overall_{name}"] = overall[_REPORTED[name]]
        scores["overall_accuracy"] = accuracy_score(references, predictions)
        return scores
