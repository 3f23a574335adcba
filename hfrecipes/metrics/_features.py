"""What metrics take: shared by the modules here, each of which `evaluate.load` can read alone."""

from __future__ import annotations

import datasets


def class_ids(config_name: str | None = None) -> datasets.Features:
    """A label id a row; with `multilabel`, a list of 0 and 1."""
    one = datasets.Value("int32")
    kind = datasets.List(one) if config_name == "multilabel" else one
    return datasets.Features({"predictions": kind, "references": kind})


def numbers() -> datasets.Features:
    """A number a row."""
    kind = datasets.Value("float64")
    return datasets.Features({"predictions": kind, "references": kind})


def rankings() -> datasets.Features:
    """Scores of all labels, and which of them are true as 0 and 1."""
    scores, truth = datasets.List(datasets.Value("float32")), datasets.List(datasets.Value("int32"))
    return datasets.Features({"predictions": scores, "references": truth})
