"""How well a number tells members, the rows of train, from other rows; each figure with its 95 % interval.

Thresholds are never chosen on the rows that they are reported on: each half of the rows is judged by a threshold of the
other half. Rows are resampled within members and within the others; the thresholds stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ..evaluation.scoring import DRAWS, Score, Scores
from ..metrics import draw_weights
from ..metrics._uncertainty import interval
from ..metrics._weighted import ranking

FALSE_ALARMS = 0.01  # share of other rows that may be taken for members
ENOUGH = 500  # rows of each kind from which a threshold for so few false alarms means something
AUC, ADVANTAGE, TPR, FPR = "auc", "advantage", "tpr", "fpr"
GUESSING = {AUC: 0.5, ADVANTAGE: 0.0, TPR: FALSE_ALARMS}  # what an attacker reaches who knows nothing
_AT_ONCE = 200  # resamples whose tables are in memory


@dataclass(frozen=True)
class Audited:
    """The rows that attacks are tried on.

    Attributes:
        is_member: Whether the model was trained on a row, (rows,).
        units: Number of what rows share, as questions about one text do, (rows,); such rows are resampled together.
        seed: Of halves and resamples.
    """

    is_member: np.ndarray
    units: np.ndarray
    seed: int


def attack(rows: Audited, signal: np.ndarray) -> Scores:
    """Figures of an attack that takes rows with a large signal for members.

    Args:
        rows: The rows.
        signal: A number for each row, (rows,).

    Returns:
        `auc`, the area under the ROC curve; `advantage`, the true positive rate minus the false positive rate (Yeom et
        al. 2018); and with enough rows `tpr`, the true positive rate with a threshold for 1 % false positives, and
        `fpr`, the false positive rate that this threshold really has (Carlini et al. 2022).

    Example:
        >>> rows = Audited(np.arange(200) < 100, np.arange(200), seed=0)
        >>> figures = attack(rows, np.arange(200.0)[::-1])
        >>> figures["auc"].value, figures["advantage"].value > 0.9, figures["advantage"].low > 0.9
        (1.0, True, True)
    """
    called = decisions(rows, signal, best_threshold)
    auc = ranking(signal, rows.is_member)
    members, others = rows.is_member.astype(np.float64), (~rows.is_member).astype(np.float64)

    def rate(weights: np.ndarray, decided: np.ndarray, among: np.ndarray) -> np.ndarray:
        return np.asarray(weights @ (decided * among) / (weights @ among))

    figures: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        AUC: lambda weights: auc(weights)["roc_auc"],
        ADVANTAGE: lambda weights: rate(weights, called, members) - rate(weights, called, others),
    }
    if min(members.sum(), others.sum()) >= ENOUGH:
        rarely = decisions(rows, signal, strict_threshold)
        figures[TPR] = lambda weights: rate(weights, rarely, members)
        figures[FPR] = lambda weights: rate(weights, rarely, others)
    return {name: _score(rows, name, figure) for name, figure in figures.items()}


def area(rows: Audited, signal: np.ndarray) -> Score:
    """The area under the ROC curve alone, as `attack` has it."""
    auc = ranking(signal, rows.is_member)
    return _score(rows, AUC, lambda weights: auc(weights)["roc_auc"])


def _score(rows: Audited, name: str, figure: Callable[[np.ndarray], np.ndarray]) -> Score:
    value = float(figure(np.ones((1, len(rows.units))))[0])
    draws = np.concatenate([figure(weights) for weights in resamples(rows)])
    bounds = (-1.0, 1.0) if name == ADVANTAGE else (0.0, 1.0)
    # The units of one kind: where all rows are told apart, it is their number that limits what is known.
    kinds = {TPR: [rows.is_member], FPR: [~rows.is_member]}.get(name, [rows.is_member, ~rows.is_member])
    units = min((_numbered(rows.units[kind]) for kind in kinds), key=lambda numbers: int(numbers.max()))
    low, high = interval(value, draws, units, bounds)
    return Score(value, low, high, baseline=GUESSING.get(name))


def resamples(rows: Audited) -> Iterator[np.ndarray]:
    """How often each row counts in each resample, (resamples, rows), some resamples at a time; always as many units of
    members, and of other rows."""
    generator = np.random.default_rng(rows.seed)
    for start in range(0, DRAWS, _AT_ONCE):
        weights = np.zeros((min(_AT_ONCE, DRAWS - start), len(rows.units)))
        for kind in (rows.is_member, ~rows.is_member):
            units = _numbered(rows.units[kind])
            weights[:, kind] = draw_weights(int(units.max()) + 1, len(weights), generator)[:, units]
        yield weights


def _numbered(units: np.ndarray) -> np.ndarray:
    """The same units with numbers from 0 on."""
    return np.unique(units, return_inverse=True)[1]


# --- thresholds --------------------------------------------------------------------------------------------------

Choose = Callable[[np.ndarray, np.ndarray], float]


def decisions(rows: Audited, signal: np.ndarray, choose: Choose) -> np.ndarray:
    """Whether each row is taken for a member, by a threshold that was chosen on the other half of the rows.

    Args:
        rows: The rows.
        signal: A number for each row, (rows,).
        choose: Threshold from the signal and the membership of the rows of a half.
    """
    is_first = first_half(rows)
    called = np.zeros(len(signal), dtype=bool)
    for half in (is_first, ~is_first):
        called[half] = signal[half] >= choose(signal[~half], rows.is_member[~half])
    return called


def first_half(rows: Audited) -> np.ndarray:
    """Whether a row is in the first of two halves, drawn with the seed: half of the members and half of the others.

    Rows of a unit are in the same half.
    """
    generator = np.random.default_rng(rows.seed)
    is_first = np.zeros(len(rows.units), dtype=bool)
    for kind in (rows.is_member, ~rows.is_member):
        units = np.unique(rows.units[kind])
        drawn = generator.permutation(units)[: len(units) // 2]
        is_first |= kind & np.isin(rows.units, drawn)
    return is_first


def best_threshold(signal: np.ndarray, is_member: np.ndarray) -> float:
    """The threshold with the greatest advantage; infinite where none has one."""
    levels, gains = _levels(signal, is_member / is_member.sum() - ~is_member / (~is_member).sum())
    best = int(np.argmax(gains))
    return float(levels[best]) if gains[best] > 0 else np.inf


def strict_threshold(signal: np.ndarray, is_member: np.ndarray) -> float:
    """The lowest threshold with 1 % false alarms at most; infinite where there is none."""
    levels, alarms = _levels(signal, ~is_member / (~is_member).sum())
    allowed = np.flatnonzero(alarms <= FALSE_ALARMS + 1e-12)
    return float(levels[allowed[-1]]) if len(allowed) else np.inf


def _levels(signal: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds between different signals, the greatest first, and the sum of the shares of all rows above each."""
    order = np.argsort(-signal, kind="stable")
    ordered, sums = signal[order], np.cumsum(share[order])
    # Rows with equal signals are on the same side of any threshold.
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    below = np.append(ordered[last[1:]], ordered[-1])
    return (ordered[last] + below) / 2, sums[last]
