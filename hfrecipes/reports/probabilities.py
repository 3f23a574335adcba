"""The probabilities that a run wrote with its predictions, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .run_data import PredictedRow, RunData


@dataclass(frozen=True)
class Probabilities:
    """Probabilities of labels, or of the choices of a question, of rows with a reference."""

    rows: Sequence[PredictedRow]
    names: Sequence[str]
    """Labels; positions of choices."""
    shares: np.ndarray
    """(rows, names); 0 for choices that a row does not have."""
    is_reference: np.ndarray
    """Whether a name is right, (rows, names)."""
    has_several: bool
    """Whether a row may have several labels, each with a probability by itself."""
    has_labels: bool
    """Whether names are labels, which mean the same in all rows."""
    positive: int = 1
    """Index of the name that is looked for, where there are two."""

    def confidence(self) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities, and whether what they are of is right: of the likeliest name, or of all names."""
        if self.has_several:
            return self.shares.ravel(), self.is_reference.ravel()
        best = self.shares.argmax(axis=1)
        rows = np.arange(len(self.shares))
        return self.shares[rows, best], self.is_reference[rows, best]


def probabilities_of(run: RunData, split: str) -> Probabilities | None:
    """Those of the rows of a split; None where the predictions have none."""
    rows = run.known_rows(split)
    if not rows or not all(isinstance(row.prediction.get("scores"), dict | list) for row in rows):
        return None
    first, reference = rows[0].prediction["scores"], rows[0].reference
    if isinstance(first, dict) and isinstance(reference, str | list):
        # Options differ from row to row, or several share a reference: there are no labels of all rows.
        if any(list(row.prediction["scores"]) != list(first) or isinstance(row.reference, dict) for row in rows):
            return None
        return _of_labels(list(first), rows, isinstance(reference, list), run.recipe.learned.get("positive"))
    # Tags have a probability for each word of a row, and no index among them that is right.
    return _of_choices(rows) if isinstance(reference, int) else None


def _of_labels(names: list[str], rows: Sequence[PredictedRow], has_several: bool, positive: object) -> Probabilities:
    columns = {name: column for column, name in enumerate(names)}
    shares = np.array([list(row.prediction["scores"].values()) for row in rows], dtype=float)
    is_reference = np.zeros(shares.shape, dtype=bool)
    for index, row in enumerate(rows):
        for name in row.reference if has_several else [row.reference]:
            if name in columns:  # labels that train does not have are never predicted
                is_reference[index, columns[name]] = True
    index = names.index(positive) if positive in names else 1
    return Probabilities(rows, names, shares, is_reference, has_several, has_labels=True, positive=index)


def _of_choices(rows: Sequence[PredictedRow]) -> Probabilities:
    width = max(len(row.prediction["scores"]) for row in rows)
    shares = np.zeros((len(rows), width))
    is_reference = np.zeros(shares.shape, dtype=bool)
    for index, row in enumerate(rows):
        scores = row.prediction["scores"]
        shares[index, : len(scores)] = scores
        if isinstance(row.reference, int) and 0 <= row.reference < width:
            is_reference[index, row.reference] = True
    return Probabilities(rows, list(map(str, range(width))), shares, is_reference, has_several=False, has_labels=False)
