"""Precision, recall and F1 by the probability from which a label is predicted."""

from __future__ import annotations

import numpy as np

from ...evaluation.scoring import number
from ..page import Block, Lines, Section, Series, Table, score_cell
from ..probabilities import Probabilities, probabilities_of
from ..run_data import RunData

GRID = np.linspace(0, 1, 101)


def section(run: RunData) -> Section | None:
    """Curves for two labels, one of which is looked for, and for several labels together."""
    blocks: list[Block] = []
    for split in reversed(run.rows):
        known = probabilities_of(run, split)
        if known is None or not known.has_labels or not (known.has_several or len(known.names) == 2):
            continue
        blocks.append(curve(split, known))
        blocks.append(best_sentence(split, known))
    if not blocks:
        return None
    plots = [block for block in blocks if isinstance(block, Lines)]
    rows = []
    for name, value in run.recipe.calibration.items():
        if name.startswith("threshold["):
            rows.append([name[len("threshold[") : -1], score_cell(value)])
        elif name == "threshold":
            rows.append([run.recipe.learned["positive"], score_cell(value)])
    if rows:
        blocks.append(Table(["label", "threshold"], rows, "Thresholds that were tuned on validation"))
    return Section("Thresholds", [*plots, *(block for block in blocks if not isinstance(block, Lines))])


def scores_by_threshold(known: Probabilities) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 at each threshold of `GRID`: of the positive label, or of all cells together."""
    shares, wanted = _looked_for(known)
    hits = _number_above(shares[wanted])
    number_given = _number_above(shares)
    # Without any prediction none is wrong, as in curves of scikit-learn.
    precision = np.where(number_given > 0, hits / np.maximum(number_given, 1), 1.0)
    recall = hits / max(1, int(wanted.sum()))
    f1 = 2 * hits / np.maximum(number_given + wanted.sum(), 1)
    return precision, recall, f1


def _number_above(shares: np.ndarray) -> np.ndarray:
    """How many probabilities are at least each threshold."""
    return len(shares) - np.searchsorted(np.sort(shares), GRID, side="left")


def _looked_for(known: Probabilities) -> tuple[np.ndarray, np.ndarray]:
    if known.has_several:
        return known.shares.ravel(), known.is_reference.ravel()
    return known.shares[:, known.positive], known.is_reference[:, known.positive]


def _what(known: Probabilities) -> str:
    return "all labels together" if known.has_several else f"label {known.names[known.positive]}"


def curve(split: str, known: Probabilities) -> Lines:
    """The three scores over the threshold."""
    names = ("precision", "recall", "F1")
    series = []
    for name, values in zip(names, scores_by_threshold(known), strict=True):
        series.append(Series(name, GRID.tolist(), values.tolist()))
    return Lines(f"{_what(known)} by threshold on {split}", "threshold", "score", series, is_share=True)


def best_sentence(split: str, known: Probabilities) -> str:
    """Where F1 is best."""
    f1 = scores_by_threshold(known)[2]
    best = int(f1.argmax())
    half = number(float(f1[50]))
    return (
        f"{split}, {_what(known)}: F1 is {number(float(f1[best]))} at a threshold of {GRID[best]:.2f}, {half} at 0.50."
    )
