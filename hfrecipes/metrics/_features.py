"""Inputs and outputs of the metrics: shared by the modules here, each of which `evaluate.load` can read alone."""

from __future__ import annotations

from typing import Any

import datasets


def class_ids(config_name: str | None = None) -> datasets.Features:
    """A label id per row; with the config `multilabel`, a list of 0 and 1 per row."""
    cell: Any = datasets.Value("int32")
    if config_name == "multilabel":
        cell = datasets.List(cell)
    return datasets.Features({"predictions": cell, "references": cell})


def numbers() -> datasets.Features:
    """A number per row."""
    number = datasets.Value("float64")
    return datasets.Features({"predictions": number, "references": number})


def rankings() -> datasets.Features:
    """Scores of all labels, and the true labels as 0 and 1."""
    scores, truth = datasets.List(datasets.Value("float32")), datasets.List(datasets.Value("int32"))
    return datasets.Features({"predictions": scores, "references": truth})


def plain(score: Any) -> Any:
    """A float of a single score; an array as it is."""
    # With `average=None`, scikit-learn gives a score for each label.
    if getattr(score, "size", 1) > 1:
        return score
    return float(score)
