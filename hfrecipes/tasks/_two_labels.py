"""Two labels, one of which is looked for: which one, from which probability on, and how well they are ranked."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ..errors import ConfigError, counted, nearest
from ..metrics._uncertainty import share_interval
from ..recipe import HIGHER, LOWER, Measure, Metric

# A probability, what the threshold is to be the best for, or such a thing with its number.
Threshold = float | Literal["f1", "balanced_accuracy"] | dict[str, float]
METRICS: dict[str, Metric] = {"roc_auc": HIGHER, "average_precision": HIGHER, "log_loss": LOWER}
DECISIONS: dict[str, Metric] = {"precision_positive": HIGHER, "recall_positive": HIGHER, "f1_positive": HIGHER}
COST: dict[str, Metric] = {"cost": LOWER}
F_BETA: dict[str, Metric] = {"f_beta_positive": HIGHER}
_KEYS = ({"f_beta"}, {"recall"}, {"precision"}, {"missed", "false_alarm"})
_BEYOND = 1e-9  # so that all rows, and none, can be chosen whatever their probabilities
_FORMS = "f1, balanced_accuracy, {f_beta: 2}, {recall: 0.9}, {precision: 0.9} or {missed: 10, false_alarm: 1}"


def check_threshold(threshold: Any) -> None:
    """Refuse a threshold that is no probability and names nothing to be the best for.

    Raises:
        ConfigError: It is one.
    """
    if isinstance(threshold, dict):
        numbers = list(threshold.values())
        if set(threshold) not in _KEYS or not all(number > 0 for number in numbers):
            raise ConfigError(f"threshold: found {threshold}, expected a probability between 0 and 1, {_FORMS}")
        if set(threshold) & {"recall", "precision"} and numbers[0] > 1:
            raise ConfigError(f"threshold: found {threshold}, expected a share between 0 and 1")
    elif isinstance(threshold, float | int) and not 0 < threshold < 1:
        raise ConfigError(f"threshold: {threshold}, expected a probability between 0 and 1, {_FORMS}")


def positive_label(labels: list[str], given: str | None) -> str:
    """The label that is looked for: the one that the user names, else the second one.

    Raises:
        ConfigError: There is no such label.
    """
    if given is None:
        return labels[1]
    if given not in labels:
        raise ConfigError(f"positive_label: no label {given!r}{nearest(given, labels)}; there are {', '.join(labels)}")
    return given


# --- the threshold ---------------------------------------------------------------------------------------------------


def best_threshold(shares: np.ndarray, is_positive: np.ndarray, wanted: Threshold) -> tuple[float, str]:
    """The probability above which the positive label is predicted, and a sentence on what it brings.

    Args:
        shares: Probability of the positive label, (rows,).
        is_positive: Whether a row has it, (rows,).
        wanted: What the threshold is to be the best for.
    """
    rows = counted(len(shares), "validation row")
    if is_positive.all() or not is_positive.any():
        return 0.5, f"left at 0.5, as {rows} have one label alone"
    cuts = Cuts(shares, is_positive)
    name, gain = _gain(cuts, wanted)
    # Of several best ones the one nearest to a half, as what is known of few rows says little.
    distance = np.abs(cuts.thresholds - 0.5)
    best = int(np.lexsort((distance, -gain))[0])
    value = cuts.thresholds[best]
    precision = _with_interval(cuts.precision[best], int(cuts.given[best]))
    recall = _with_interval(cuts.recall[best], int(is_positive.sum()))
    about = f"{value:.3g} with {name} on {rows}: precision {precision}, recall {recall}"
    if isinstance(wanted, dict) and set(wanted) & {"recall", "precision"}:
        about += "; chosen on these rows, so it may be lower on new ones"
    return float(value), about


def _with_interval(share: float, rows: int) -> str:
    """A share of some rows with its 95 % interval, as of rows that nothing was chosen on."""
    if not rows:
        return "unknown, as none is predicted"
    low, high = share_interval(share, rows)
    return f"{share:.3f} ({low:.3f}–{high:.3f})"


class Cuts:
    """Each way to predict the positive label for the rows with the highest probabilities, from no row to all rows."""

    def __init__(self, shares: np.ndarray, is_positive: np.ndarray) -> None:
        order = np.argsort(-shares, kind="stable")
        ranked = np.concatenate([[1 + _BEYOND], shares[order], [-_BEYOND]])
        # No threshold separates two rows of the same probability.
        possible = ranked[:-1] > ranked[1:]
        hits = np.concatenate([[0], np.cumsum(is_positive[order])])[possible]
        self.given = given = np.arange(len(shares) + 1)[possible]
        self.thresholds = ((ranked[:-1] + ranked[1:]) / 2)[possible]
        positive, negative = int(is_positive.sum()), int((~is_positive).sum())
        self.missed, self.false_alarms = positive - hits, given - hits
        self.precision = np.where(given > 0, hits / np.maximum(given, 1), 1.0)
        self.recall = hits / max(1, positive)
        self.specificity = 1 - self.false_alarms / max(1, negative)


def _gain(cuts: Cuts, wanted: Threshold) -> tuple[str, np.ndarray]:
    """What is best in words, and a number for each cut that is highest there."""
    precision, recall = cuts.precision, cuts.recall
    if wanted == "balanced_accuracy":
        return "the best balanced accuracy", (recall + cuts.specificity) / 2
    if isinstance(wanted, dict) and "missed" in wanted:
        cost = wanted["missed"] * cuts.missed + wanted["false_alarm"] * cuts.false_alarms
        lowest = f"the lowest cost ({wanted['missed']:g} for a missed one, {wanted['false_alarm']:g} for a false alarm)"
        return lowest, -cost
    if isinstance(wanted, dict) and "recall" in wanted:
        enough = recall >= wanted["recall"]
        return f"the best precision at a recall of {wanted['recall']:g}", np.where(enough, precision, recall - 1)
    if isinstance(wanted, dict) and "precision" in wanted:
        reached = np.where(recall > 0, precision, 0.0)  # where nothing is predicted, nothing is reached
        enough = reached >= wanted["precision"]
        if not enough.any():
            return f"the best precision, as {wanted['precision']:g} is never reached,", reached
        return f"the best recall at a precision of {wanted['precision']:g}", np.where(enough, recall, -1.0)
    beta = wanted["f_beta"] if isinstance(wanted, dict) else 1.0
    score = (1 + beta**2) * precision * recall / np.maximum(beta**2 * precision + recall, 1e-12)
    return "the best F1" if beta == 1 else f"the best F{beta:g}", score


# --- scores ----------------------------------------------------------------------------------------------------------


def decision_metrics(threshold: Threshold | None) -> dict[str, Metric]:
    """Metrics of what is predicted with a threshold; the cost, and F-beta, where it was tuned for that."""
    if threshold is None:
        return {}
    return DECISIONS | (COST if _costs(threshold) else {}) | (F_BETA if _beta(threshold) else {})


def deciding_metric(threshold: Threshold | None) -> dict[str, Metric]:
    """The metric that a threshold is tuned for, which then picks the checkpoint; none for a given probability.

    Where it keeps a recall or a precision, precision and recall at that one point vary much from epoch to epoch, and
    the mean over all recalls decides.
    """
    if _costs(threshold):
        return COST
    if _beta(threshold):
        return F_BETA
    if isinstance(threshold, dict):
        return {"average_precision": HIGHER}
    return {"f1": {"f1_positive": HIGHER}, "balanced_accuracy": {"recall_macro": HIGHER}}.get(str(threshold), {})


def _beta(threshold: Threshold | None) -> float | None:
    return threshold.get("f_beta") if isinstance(threshold, dict) else None


def _costs(threshold: Threshold | None) -> dict[str, float]:
    return threshold if isinstance(threshold, dict) and "missed" in threshold else {}


def measure_decisions(is_given: np.ndarray, is_positive: np.ndarray, threshold: Threshold | None) -> Measure:
    """Precision, recall, F1 and F-beta of the positive label, and the mean cost of a row, as a function of weights.

    Args:
        is_given: Whether the positive label is predicted, (rows,).
        is_positive: Whether a row has it, (rows,).
        threshold: As the option says, with the costs of both errors, or beta, where it has them.
    """
    from ..metrics import _weighted

    counted_rows = np.stack([is_given & is_positive, is_given, is_positive], axis=1).astype(np.float64)
    costs, beta = _costs(threshold), _beta(threshold)

    def measured(weights: np.ndarray) -> dict[str, np.ndarray]:
        hit, given, actual = (weights @ counted_rows).T
        shares = _weighted.f1_precision_recall(hit, given, actual)
        values = {f"{name}_positive": share for name, share in shares.items()}
        if costs:
            total = costs["missed"] * (actual - hit) + costs["false_alarm"] * (given - hit)
            values["cost"] = total / weights.sum(1)
        if beta is not None:
            hits = (1 + beta**2) * hit
            values["f_beta_positive"] = hits / np.maximum(beta**2 * actual + given, 1e-12)
        return values

    return measured


def measure(shares: np.ndarray, positive: int, actual: np.ndarray) -> Measure:
    """The metrics of `METRICS` as a function of weights.

    Args:
        shares: Probabilities, (rows, labels), the two labels of the model first.
        positive: Index of the positive label.
        actual: Index of the label of each row, (rows,); rows of labels that the model does not have are left out.
    """
    from ..metrics import _weighted

    # To a label that the model does not have it can give no probability.
    rows = np.flatnonzero(actual < 2)
    actual, shares = actual[rows], shares[rows]
    log_loss = _weighted.log_loss(shares[np.arange(len(rows)), actual])
    rank = _weighted.ranking(shares[:, positive], actual == positive)
    return lambda weights: {**rank(weights[:, rows]), **log_loss(weights[:, rows])}
