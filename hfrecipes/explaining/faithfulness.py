"""Whether the words that speak most for a prediction are those that the model needs (ERASER, DeYoung et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .contract import ScoreToExplain
from .explanation import Attribution, Word, word_indices
from .gradients import Attributor

SHARES = (0.1, 0.2, 0.5)  # of the words that are hidden, or kept
DRAWS = 5  # random words of each row that the words are compared with
_RESAMPLES = 2000


@dataclass(frozen=True)
class Mean:
    """A mean over rows, with its 95 % interval from resampled rows."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: np.ndarray, seed: int = 0) -> Mean:
        """The mean of one number for each row."""
        drawn = np.random.default_rng(seed).integers(len(values), size=(_RESAMPLES, len(values)))
        low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
        return cls(float(values.mean()), float(low), float(high))

    def __str__(self) -> str:
        return f"{self.value:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


@dataclass(frozen=True)
class Faithfulness:
    """How much the probability of the prediction falls without some words, and with them alone."""

    share: float
    """Share of the words, from 0 to 1."""
    comprehensiveness: Mean
    """How far the probability falls when the words that speak most for it are hidden; the more, the better."""
    random_comprehensiveness: Mean
    """The same for as many random words."""
    comprehensiveness_gain: Mean
    """The difference of the two, row by row; above 0 where the attributions are better than chance."""
    sufficiency: Mean
    """How far it falls when only these words are left; the less, the better."""
    random_sufficiency: Mean
    """The same for as many random words."""
    sufficiency_gain: Mean
    """By how much random words are worse, row by row; above 0 where the attributions are better than chance."""


def row_drops(
    attributor: Attributor,
    explained: ScoreToExplain,
    words: Sequence[Word],
    target: Attribution,
    generator: np.random.Generator,
) -> np.ndarray | None:
    """How far the probability falls, (shares, 2 of words or random ones, 2 of hiding or keeping them).

    Args:
        attributor: Computes probabilities of texts with words hidden.
        explained: The score that the attributions are of.
        words: Words of the row.
        target: Their attributions.
        generator: Draws the random words.

    Returns:
        None where the score has no probability, or the row has a single word.
    """
    indices = word_indices(explained, words)
    read = np.array(sorted({index for index in indices if index is not None}))
    if explained.probability is None or len(read) < 2:
        return None
    best_first = read[np.argsort(-np.array(target.values)[read], kind="stable")]
    orders = [best_first] + [generator.permutation(read) for _ in range(DRAWS)]
    # -1 for special tokens, which are never hidden.
    word_of_token = np.array([-1 if index is None else index for index in indices])
    hidden = []
    for share in SHARES:
        number = max(1, round(share * len(read)))
        for order in orders:
            hidden.append(np.isin(word_of_token, order[:number]))
            hidden.append(np.isin(word_of_token, order[number:]))
    whole, *others = attributor.probabilities(explained, np.array(hidden)).tolist()
    drops = (whole - np.array(others)).reshape(len(SHARES), 1 + DRAWS, 2)
    return np.stack([drops[:, 0], drops[:, 1:].mean(axis=1)], axis=1)


def summarized(drops: Sequence[np.ndarray]) -> list[Faithfulness]:
    """Means over rows of what `row_drops` gave, for each share."""
    if not drops:
        return []
    table = np.stack(drops)  # (rows, shares, words or random ones, hidden or kept)
    summaries = []
    for index, share in enumerate(SHARES):
        chosen, random = table[:, index, 0], table[:, index, 1]
        summaries.append(
            Faithfulness(
                share,
                comprehensiveness=Mean.of(chosen[:, 0]),
                random_comprehensiveness=Mean.of(random[:, 0]),
                comprehensiveness_gain=Mean.of(chosen[:, 0] - random[:, 0]),
                sufficiency=Mean.of(chosen[:, 1]),
                random_sufficiency=Mean.of(random[:, 1]),
                sufficiency_gain=Mean.of(random[:, 1] - chosen[:, 1]),
            )
        )
    return summaries
