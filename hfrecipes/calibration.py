"""What validation decides about probabilities: one temperature for all, and a threshold for each label."""

from __future__ import annotations

import numpy as np

FEWEST = 100  # validation rows that a temperature is found from
FARTHEST = 10  # a temperature beyond it, or below 1 by as much, is where the search ends and no minimum
LEAST = 10  # validation rows with a label, below which it gets the threshold that suits all labels together
PASSES = 20  # over the labels at most
_TINY = 1e-12


def temperature(shares: np.ndarray, reference: np.ndarray) -> float | None:
    """What logits are to be divided by for the least log loss (Guo et al. 2017); None where there is no such number.

    Rows that are all predicted right, or wrong, would have it at 0, or without end.

    Args:
        shares: Probabilities, (rows, labels).
        gold: Label ids (rows,) of one label a row, or 0 and 1 (rows, labels) of several.
    """
    from scipy.optimize import minimize_scalar

    loss = _log_loss_of_one if reference.ndim == 1 else _log_loss_of_several
    logits = _logits(shares, several=reference.ndim > 1)
    found = minimize_scalar(lambda log: loss(logits / np.exp(log), reference), bounds=(-3, 3), method="bounded")
    return float(np.exp(found.x)) if abs(found.x) < np.log(FARTHEST) else None


def sharpened(shares: np.ndarray, temperature: float, *, several: bool) -> np.ndarray:
    """The probabilities after their logits were divided by the temperature, (rows, labels)."""
    from scipy.special import expit, softmax

    logits = _logits(shares, several=several) / temperature
    return np.asarray(expit(logits) if several else softmax(logits, axis=1))


def _logits(shares: np.ndarray, *, several: bool) -> np.ndarray:
    kept = np.clip(shares, _TINY, 1 - _TINY)
    return np.asarray(np.log(kept) - np.log1p(-kept) if several else np.log(kept))


def _log_loss_of_one(logits: np.ndarray, reference: np.ndarray) -> float:
    from scipy.special import logsumexp

    return float(np.mean(logsumexp(logits, axis=1) - logits[np.arange(len(reference)), reference]))


def _log_loss_of_several(logits: np.ndarray, reference: np.ndarray) -> float:
    return float(np.mean(np.logaddexp(0, logits) - reference * logits))


def thresholds(shares: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """For each label the probability above which it is given, (labels,): the best mean of micro and macro F1.

    Macro F1 alone would give rare labels that the model hardly knows to nearly every row, and ruin all else. Labels of
    fewer than `LEAST` rows keep the threshold with the best micro F1, from which all start; then one after the other
    moves to its best, until none does.

    Args:
        shares: Probabilities, (rows, labels).
        gold: 0 or 1, (rows, labels).
    """
    labels = shares.shape[1]
    cuts = [_Cuts(shares[:, label], reference[:, label]) for label in range(labels)]
    common = _Cuts(shares.ravel(), reference.ravel())
    found = np.full(labels, common.threshold(int(np.argmax(common.f1(0, 0)))))
    hits = ((shares > found) & (reference > 0)).sum(axis=0)
    both = (shares > found).sum(axis=0) + reference.sum(axis=0)
    for _ in range(PASSES):
        before = found.copy()
        for label in np.flatnonzero(reference.sum(axis=0) >= LEAST):
            one = cuts[label]
            value = one.f1(hits.sum() - hits[label], both.sum() - both[label]) + one.f1(0, 0) / labels
            place = int(np.argmax(value))
            found[label] = one.threshold(place)
            hits[label], both[label] = one.hits[place], one.both[place]
        if np.array_equal(before, found):
            break
    return found


class _Cuts:
    """What giving a label to the rows above each of its scores comes to, from no row to all."""

    def __init__(self, shares: np.ndarray, reference: np.ndarray) -> None:
        order = np.argsort(-shares, kind="stable")
        self.ranked = np.concatenate([[1.0], shares[order], [0.0]])
        self.hits = np.concatenate([[0], np.cumsum(reference[order])])
        self.both = np.arange(len(shares) + 1) + reference.sum()
        self.parted = self.ranked[:-1] > self.ranked[1:]  # a threshold parts no two rows of the same score

    def f1(self, hits: int, both: int) -> np.ndarray:
        """F1 of each cut, together with the hits of other labels, and all rows that they have or are given to."""
        f1 = 2 * (self.hits + hits) / np.maximum(self.both + both, 1)
        return np.where(self.parted, f1, -np.inf)

    def threshold(self, place: int) -> float:
        """Midway between the last score that is above, and the next one."""
        return float((self.ranked[place] + self.ranked[place + 1]) / 2)
