"""How far the probabilities can be trusted: the share of right predictions by how sure the model was."""

from __future__ import annotations

import numpy as np

from ..page import Block, Lines, Section, Series, Table, score_cell
from ..probabilities import Probabilities, probabilities_of
from ..run_data import RunData

BINS = 10


def section(run: RunData) -> Section | None:
    """A diagram and a table for each split whose predictions have probabilities."""
    blocks: list[Block] = []
    for split in reversed(run.rows):
        known = probabilities_of(run, split)
        if known is not None:
            blocks += [diagram(split, known), _table(split, known)]
    if not blocks:
        return None
    plots = [block for block in blocks if isinstance(block, Lines)]
    how = (
        "Predictions in bins by their probability, and the share of each bin that is right. Below the diagonal the "
        "model is surer than it should be."
    )
    if getattr(run.recipe, "temperature_scaling", None) is False:
        how += " temperature_scaling=true corrects that on validation."
    return Section("Reliability", [how, *plots, *(block for block in blocks if not isinstance(block, Lines))])


def bins_of(known: Probabilities) -> list[tuple[int, float, float]]:
    """Number of predictions, mean probability and share of right ones, of each bin that has any."""
    shares, is_right = known.confidence()
    numbers = np.minimum((shares * BINS).astype(int), BINS - 1)
    bins = []
    for number in range(BINS):
        inside = numbers == number
        if inside.any():
            bins.append((int(inside.sum()), float(shares[inside].mean()), float(is_right[inside].mean())))
    return bins


def diagram(split: str, known: Probabilities) -> Lines:
    """Mean probability against the share of right predictions."""
    bins = bins_of(known)
    series = Series(split, [share for _, share, _ in bins], [right for *_, right in bins])
    return Lines(
        f"Reliability on {split}", "probability", "share that is right", [series], is_share=True, has_diagonal=True
    )


def _table(split: str, known: Probabilities) -> Table:
    rows = [[count, score_cell(share), score_cell(right)] for count, share, right in bins_of(known)]
    return Table(["predictions", "mean probability", "share that is right"], rows, f"Bins of {split}")
