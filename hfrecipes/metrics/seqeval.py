"""Scores of tagged entities, with the result keys of the public `evaluate` module of the same name."""

from collections import Counter
from itertools import chain
from typing import Any

import datasets
import evaluate
from seqeval.metrics import accuracy_score, classification_report

# An absolute import, since `evaluate.load` runs a copy of this file outside the package.
from hfrecipes.metrics._schemes import canonical_tags, fit_length, scheme_of

# Name of each score in the public module, and in seqeval's report.
_REPORTED = {"precision": "precision", "recall": "recall", "f1": "f1-score", "number": "support"}


class Seqeval(evaluate.Metric):
    """Precision, recall and F1 of whole entities, 0 to 1; `mode` and `scheme` as in seqeval.

    Without a `scheme`, tags in BILOU and BMES are read too.
    """

    def _info(self) -> evaluate.MetricInfo:
        tags = datasets.List(datasets.Value("string"))
        features = datasets.Features({"predictions": tags, "references": tags})
        return evaluate.MetricInfo(description=self.__doc__, citation="", features=features)

    def _compute(self, predictions: Any, references: Any, **options: Any) -> dict[str, Any]:
        # In its strict mode, seqeval knows the letters of a scheme that it is told.
        if "scheme" not in options:
            predictions, references = _canonical_sides(predictions, references)
        report = classification_report(references, predictions, output_dict=True, **{"zero_division": 0, **options})
        scores: dict[str, Any] = {}
        for entity_type, reported in report.items():
            # seqeval puts its averages next to the types of entity.
            if not entity_type.endswith(" avg"):
                scores[entity_type] = {name: reported[key] for name, key in _REPORTED.items()}
        overall = report["micro avg"]
        for name in ("precision", "recall", "f1"):
            scores[f"overall_{name}"] = overall[_REPORTED[name]]
        scores["overall_accuracy"] = accuracy_score(references, predictions)
        return scores


def _canonical_sides(predictions: list[list[str]], references: list[list[str]]) -> tuple[Any, Any]:
    """Predictions and references in the letters of BIOES, which is what the default mode of seqeval reads."""
    scheme = _scheme([*predictions, *references])
    if scheme == "none":
        # References may have tags of another form than the model learnt.
        scheme = _scheme(predictions)
    canonical_predictions, canonical_references = [], []
    for predicted, reference in zip(predictions, references, strict=True):
        canonical_predictions.append(canonical_tags(predicted, scheme))
        canonical_references.append(canonical_tags(fit_length(reference, predicted), scheme))
    return canonical_predictions, canonical_references


def _scheme(sentences: list[list[str]]) -> str:
    return scheme_of(Counter(chain.from_iterable(sentences)), sentences)
