"""Calibration of probabilities on the validation rows: one temperature for all, and a threshold for each label."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .errors import counted
from .recipe import LOWER, Metric, detail

MIN_ROWS = 100  # validation rows, or words of them, needed to fit a temperature
MAX_TEMPERATURE = 10  # a result at this bound, or at its inverse, is the end of the search range and no minimum
MIN_LABEL_ROWS = 10  # validation rows needed to tune a label's threshold; rarer labels share one
MAX_PASSES = 20  # over the labels
_TINY = 1e-12  # keeps logarithms finite

# How far probabilities can be trusted, of the tasks that measure it only where a temperature is asked for.
METRICS: dict[str, Metric] = {"log_loss": LOWER, "ece": detail(LOWER)}
Loss = Callable[[float], float]  # mean log loss at a temperature


# --- temperature -----------------------------------------------------------------------------------------------------


def fit(loss: Loss, number: int, unit: str = "validation row") -> tuple[dict[str, float], str]:
    """The temperature as a number to save, nothing where it stays at 1, and a sentence on it.

    Args:
        loss: Mean log loss at a temperature.
        number: How many rows or words it is a mean over.
        unit: What these are.
    """
    among = counted(number, unit)
    if number < MIN_ROWS:
        return (
            {},
            f"temperature: left at 1, too few {unit.split()[-1]}s to find it: {among}, expected {MIN_ROWS} or more",
        )
    divisor = best_temperature(loss)
    if divisor is None:
        return {}, (
            f"temperature: left at 1, not determined by {among}: nearly all of them are predicted right, "
            "or nearly all wrong"
        )
    return {"temperature": divisor}, f"temperature: {divisor:.3g}, with the lowest log loss on {among}"


def loss_of(shares: np.ndarray, reference: np.ndarray, *, several: bool = False) -> Loss:
    """The mean log loss of the references at each temperature.

    Args:
        shares: Probabilities, (rows, labels); NaN for what a row does not have, such as a fourth choice.
        reference: Label ids (rows,), or the share of each label in the reference of a row, (rows, labels).
        several: Whether a row may have several labels, each with a probability independent of the others.
    """
    loss = _multi_label_log_loss if several else _single_label_log_loss
    logits = _logits(np.clip(shares, _TINY, 1 - _TINY), several=several)
    return lambda temperature: loss(logits / temperature, reference)


def best_temperature(loss: Loss) -> float | None:
    """The temperature with the lowest log loss (Guo et al. 2017), by which logits are divided; None without a minimum.

    Args:
        loss: Mean log loss at a temperature.
    """
    from scipy.optimize import minimize_scalar

    # The logarithm is searched, since a temperature of 2 is as far from 1 as one of 1/2.
    minimum = minimize_scalar(lambda log: loss(float(np.exp(log))), bounds=(-3, 3), method="bounded")
    # If all rows are predicted right, the loss keeps falling as the temperature goes to 0; if wrong, to infinity.
    if abs(minimum.x) >= np.log(MAX_TEMPERATURE):
        return None
    return float(np.exp(minimum.x))


def apply_temperature(shares: np.ndarray, temperature: float, *, several: bool = False) -> np.ndarray:
    """The probabilities after their logits were divided by the temperature, (rows, labels).

    Args:
        shares: Probabilities, (rows, labels); NaN for what a row does not have, which gets 0.
        temperature: As `best_temperature` finds it.
        several: Whether a row may have several labels, each with a probability independent of the others.
    """
    from scipy.special import expit

    logits = _logits(shares, several=several) / temperature
    return np.asarray(expit(logits) if several else softmax(logits))


def _logits(shares: np.ndarray, *, several: bool) -> np.ndarray:
    """Logits that give these probabilities; for a softmax, up to a constant that has no effect."""
    with np.errstate(divide="ignore"):  # probabilities of 0 and 1 stay what they are
        logits = np.log(shares) - np.log1p(-shares) if several else np.log(shares)
    return np.where(np.isnan(logits), -np.inf, logits)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities that sum to 1 in each row."""
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def side_by_side(rows: Sequence[Sequence[float] | np.ndarray]) -> np.ndarray:
    """Rows of different lengths as one table, NaN after the end of shorter ones."""
    table = np.full((len(rows), max(map(len, rows), default=0)), np.nan)
    for index, row in enumerate(rows):
        table[index, : len(row)] = row
    return table


def _single_label_log_loss(logits: np.ndarray, reference: np.ndarray) -> float:
    from scipy.special import logsumexp

    if reference.ndim == 1:
        of_reference = logits[np.arange(len(reference)), reference]
    else:
        # Labels that a row does not have would be 0 times infinity.
        of_reference = (reference * np.where(reference > 0, logits, 0.0)).sum(axis=1)
    return float(np.mean(logsumexp(logits, axis=1) - of_reference))


def _multi_label_log_loss(logits: np.ndarray, reference: np.ndarray) -> float:
    # log(1 + e^x) - yx is the cross entropy of a sigmoid, without overflow.
    return float(np.mean(np.logaddexp(0, logits) - reference * logits))


# --- thresholds ------------------------------------------------------------------------------------------------------


def thresholds(shares: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """For each label the probability above which it is predicted, (labels,): the best mean of micro and macro F1.

    Macro F1 alone would predict rare labels that the model hardly knows for nearly every row, and ruin micro F1. All
    labels start from the threshold with the best micro F1, which labels of fewer than `MIN_LABEL_ROWS` rows keep; then
    one label after the other moves to its best threshold, until none moves.

    Args:
        shares: Probabilities, (rows, labels).
        reference: 0 or 1, (rows, labels).
    """
    labels = shares.shape[1]
    cuts = [_Cuts(shares[:, label], reference[:, label]) for label in range(labels)]
    all_cells = _Cuts(shares.ravel(), reference.ravel())
    best = np.full(labels, all_cells.threshold(int(np.argmax(all_cells.f1(0, 0)))))
    # Counts for micro F1 of each label: true positives, and predicted plus reference positives.
    hits = ((shares > best) & (reference > 0)).sum(axis=0)
    both = (shares > best).sum(axis=0) + reference.sum(axis=0)
    for _ in range(MAX_PASSES):
        before = best.copy()
        for label in np.flatnonzero(reference.sum(axis=0) >= MIN_LABEL_ROWS):
            label_cuts = cuts[label]
            micro = label_cuts.f1(hits.sum() - hits[label], both.sum() - both[label])
            # In macro F1, only the F1 of this label changes with its threshold.
            cut = int(np.argmax(micro + label_cuts.f1(0, 0) / labels))
            best[label] = label_cuts.threshold(cut)
            hits[label], both[label] = label_cuts.hits[cut], label_cuts.both[cut]
        if np.array_equal(before, best):
            break
    return best


class _Cuts:
    """All ways to predict a label for the rows with the highest probabilities, from no row to all rows.

    Args:
        shares: Probabilities of the label, (rows,).
        reference: 0 or 1, (rows,).
    """

    def __init__(self, shares: np.ndarray, reference: np.ndarray) -> None:
        order = np.argsort(-shares, kind="stable")
        self.ranked = np.concatenate([[1.0], shares[order], [0.0]])
        self.hits = np.concatenate([[0], np.cumsum(reference[order])])
        self.both = np.arange(len(shares) + 1) + reference.sum()
        # No threshold separates two rows of the same probability.
        self.is_possible = self.ranked[:-1] > self.ranked[1:]

    def f1(self, hits: int, both: int) -> np.ndarray:
        """F1 at each threshold, together with the right cells (`hits`) and all cells (`both`) of the other labels."""
        f1 = 2 * (self.hits + hits) / np.maximum(self.both + both, 1)
        return np.where(self.is_possible, f1, -np.inf)

    def threshold(self, cut: int) -> float:
        """The mean of the last probability above the threshold and the first below it."""
        return float((self.ranked[cut] + self.ranked[cut + 1]) / 2)
