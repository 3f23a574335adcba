"""What validation decides about probabilities: one temperature for all, and a threshold for each label."""

from __future__ import annotations

import numpy as np

LEAST = 10  # validation rows with a label, below which it gets the threshold that suits all labels together
_TINY = 1e-12


def temperature(shares: np.ndarray, gold: np.ndarray) -> float:
    """What logits are to be divided by for the least log loss (Guo et al. 2017).

    Args:
        shares: Probabilities, (rows, labels).
        gold: Label ids (rows,) of one label a row, or 0 and 1 (rows, labels) of several.
    """
    from scipy.optimize import minimize_scalar

    loss = _log_loss_of_one if gold.ndim == 1 else _log_loss_of_several
    logits = _logits(shares, several=gold.ndim > 1)
    found = minimize_scalar(lambda log: loss(logits / np.exp(log), gold), bounds=(-3, 3), method="bounded")
    return float(np.exp(found.x))


def sharpened(shares: np.ndarray, temperature: float, *, several: bool) -> np.ndarray:
    """The probabilities after their logits were divided by the temperature, (rows, labels)."""
    from scipy.special import expit, softmax

    logits = _logits(shares, several=several) / temperature
    return np.asarray(expit(logits) if several else softmax(logits, axis=1))


def _logits(shares: np.ndarray, *, several: bool) -> np.ndarray:
    kept = np.clip(shares, _TINY, 1 - _TINY)
    return np.asarray(np.log(kept) - np.log1p(-kept) if several else np.log(kept))


def _log_loss_of_one(logits: np.ndarray, gold: np.ndarray) -> float:
    from scipy.special import logsumexp

    return float(np.mean(logsumexp(logits, axis=1) - logits[np.arange(len(gold)), gold]))


def _log_loss_of_several(logits: np.ndarray, gold: np.ndarray) -> float:
    return float(np.mean(np.logaddexp(0, logits) - gold * logits))


def thresholds(shares: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """For each label the probability above which giving it has the best F1; (labels,).

    Labels of fewer than `LEAST` rows get the threshold with the best F1 over all labels and rows.

    Args:
        shares: Probabilities, (rows, labels).
        gold: 0 or 1, (rows, labels).
    """
    common = _best(shares.ravel(), gold.ravel())
    rows = gold.sum(axis=0)
    return np.array(
        [
            _best(shares[:, label], gold[:, label]) if rows[label] >= LEAST else common
            for label in range(shares.shape[1])
        ]
    )


def _best(shares: np.ndarray, gold: np.ndarray) -> float:
    """Threshold with the best F1: midway between the last score that is to be above, and the next one."""
    order = np.argsort(-shares, kind="stable")
    ranked, hits = shares[order], np.cumsum(gold[order])
    f1 = 2 * hits / (np.arange(1, len(ranked) + 1) + max(1, gold.sum()))
    parted = np.append(ranked[:-1] > ranked[1:], True)  # a threshold parts no two rows of the same score
    last = int(np.argmax(np.where(parted, f1, -1)))
    below = ranked[last + 1] if last + 1 < len(ranked) else 0.0
    return float((ranked[last] + below) / 2)
