"""Probabilities of all tags of a word, from the windows of a sentence, and for the windows of another model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..calibration import softmax
from ..distilling.batches import NOTHING

if TYPE_CHECKING:
    from datasets import Dataset


def shares_of_words(logits: Any, encoded: Dataset) -> list[np.ndarray]:
    """Probabilities of the tags of each word of each row, (words, tags).

    Args:
        logits: Of each window, (tokens, tags).
        encoded: Windows, with `row` and `words` as `tokenize_words` gives them.
    """
    by_row: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
    for row, words, scores in zip(encoded["row"], encoded["words"], logits, strict=True):
        indices = np.asarray(words)
        tokens = np.flatnonzero(indices >= 0)
        shares = softmax(np.asarray(scores, dtype=np.float64)[tokens])
        by_row.setdefault(row, []).append((indices[tokens], shares))
    rows = []
    for row in sorted(by_row):
        parts = by_row[row]
        order = np.argsort(np.concatenate([indices for indices, _ in parts]))
        rows.append(np.concatenate([shares for _, shares in parts])[order])
    return rows


def targets_of_windows(soft_labels: list[np.ndarray], encoded: Dataset) -> list[np.ndarray]:
    """Probabilities for each token that a word is tagged by, (tokens, tags); `NOTHING` for all other tokens.

    Args:
        soft_labels: Those of the words of each row, which a model with another tokenizer may have given.
        encoded: Windows, as for `shares_of_words`.
    """
    targets = []
    for row, words in zip(encoded["row"], encoded["words"], strict=True):
        indices = np.asarray(words)
        target = np.full((len(indices), soft_labels[row].shape[-1]), NOTHING, dtype=np.float32)
        target[indices >= 0] = soft_labels[row][indices[indices >= 0]]
        targets.append(target)
    return targets
