"""The metrics of many resamples at once: each function takes how often each resample draws each row.

With weights of one, every value equals that of scikit-learn or scipy; the tests show it.
"""

from __future__ import annotations

import numpy as np

Values = dict[str, np.ndarray]
BINS = 15  # of the expected calibration error


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """Quotient, 0 where the bottom is 0."""
    return np.asarray(np.divide(top, bottom, out=np.zeros_like(top, dtype=np.float64), where=bottom > 0))


def single_label(predicted: np.ndarray, reference: np.ndarray, weights: np.ndarray, labels: int) -> Values:
    """Accuracy, macro and weighted F1, precision and recall, and MCC.

    Args:
        predicted: Label ids, (rows,).
        gold: Label ids, (rows,).
        weights: (resamples, rows).
        labels: Number of labels.
    """
    cells, first_rows = _cell_weights(reference * labels + predicted, weights)
    of_gold, of_predicted = np.eye(labels)[reference[first_rows]], np.eye(labels)[predicted[first_rows]]
    actual, said, hit = cells @ of_gold, cells @ of_predicted, cells @ (of_gold * of_predicted)
    rows, hits = actual.sum(1), hit.sum(1)
    each = {"f1": _ratio(2 * hit, actual + said), "precision": _ratio(hit, said), "recall": _ratio(hit, actual)}
    present = (actual + said) > 0
    values = {"accuracy": hits / rows}
    values |= {f"{name}_macro": _ratio((value * present).sum(1), present.sum(1)) for name, value in each.items()}
    values |= {f"{name}_weighted": (value * actual).sum(1) / rows for name, value in each.items()}
    covariance = hits * rows - (actual * said).sum(1)
    spread = np.sqrt((rows**2 - (said**2).sum(1)) * (rows**2 - (actual**2).sum(1)))
    return values | {"matthews_correlation": _ratio(covariance, spread)}


def _cell_weights(cells: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight of each cell of the confusion matrix that occurs, and a row that lies in it.

    Summing by cell first keeps memory free of rows times labels.
    """
    order = np.argsort(cells, kind="stable")
    starts = np.flatnonzero(np.diff(cells[order], prepend=-1))
    return np.add.reduceat(weights[:, order], starts, axis=1).astype(np.float64), order[starts]


def multi_label(
    predicted: np.ndarray, reference: np.ndarray, scores: np.ndarray, weights: np.ndarray, labels: list[str]
) -> Values:
    """Micro and macro F1, precision and recall, subset accuracy, LRAP, and F1 of each label.

    Args:
        predicted: 0 or 1, (rows, labels).
        gold: 0 or 1, (rows, labels).
        scores: By which labels are ranked, (rows, labels).
        weights: (resamples, rows).
        labels: Names.
    """
    weights = weights.astype(np.float64)
    actual, said, hit = weights @ reference, weights @ predicted, weights @ (reference * predicted)
    values = {}
    for name, top, bottom in [("f1", 2 * hit, actual + said), ("precision", hit, said), ("recall", hit, actual)]:
        values[f"{name}_micro"] = _ratio(top.sum(1), bottom.sum(1))
        values[f"{name}_macro"] = _ratio(top, bottom).mean(1)
    rows = weights.sum(1)
    values["subset_accuracy"] = weights @ (predicted == reference).all(1) / rows
    values["lrap"] = weights @ row_lrap(reference, scores) / rows
    each = _ratio(2 * hit, actual + said)
    return values | {f"f1[{name}]": each[:, place] for place, name in enumerate(labels)}


def by_type(
    hit: np.ndarray, said: np.ndarray, actual: np.ndarray, weights: np.ndarray, types: list[str], *, micro: bool
) -> Values:
    """Precision, recall and F1 over all types, the mean of their F1s, and each type's own.

    Args:
        hit: Entities found right, (rows, types).
        said: Entities predicted, (rows, types).
        actual: Entities there, (rows, types).
        weights: (resamples, rows).
        types: Names, empty where only the overall scores are wanted.
        micro: Whether overall precision and recall mean anything.
    """
    weights = weights.astype(np.float64)
    hit, said, actual = weights @ hit, weights @ said, weights @ actual
    values: Values = {}
    if micro:
        values |= {"precision": _ratio(hit.sum(1), said.sum(1)), "recall": _ratio(hit.sum(1), actual.sum(1))}
        values["f1"] = _ratio(2 * hit.sum(1), said.sum(1) + actual.sum(1))
    if not types:
        return values
    each = {"f1": _ratio(2 * hit, actual + said), "precision": _ratio(hit, said), "recall": _ratio(hit, actual)}
    present = (actual + said) > 0
    values["f1_macro"] = _ratio((each["f1"] * present).sum(1), present.sum(1))
    for name, value in each.items():
        values |= {f"{name}[{kind}]": value[:, place] for place, kind in enumerate(types)}
    return values


def row_lrap(reference: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Label ranking average precision of each row; 1 for a row without labels, as scikit-learn has it."""
    from scipy.stats import rankdata

    among_all = rankdata(-scores, method="max", axis=1)
    among_true = rankdata(np.where(reference > 0, -scores, np.inf), method="max", axis=1)
    true = reference.sum(1)
    precision = np.where(reference > 0, among_true / among_all, 0).sum(1)
    return np.where(true > 0, precision / np.maximum(true, 1), 1.0)


def calibration(sure: np.ndarray, right: np.ndarray, squared: np.ndarray, weights: np.ndarray) -> Values:
    """Expected calibration error (Guo et al. 2017, 15 bins of equal width) and Brier score.

    Args:
        sure: Probabilities that something is so, (rows, cells).
        right: 1 where it was so, (rows, cells).
        squared: Brier score of each row, (rows,).
        weights: (resamples, rows).
    """
    weights = weights.astype(np.float64)
    bins = np.clip(np.ceil(sure * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = np.zeros((len(sure), BINS))
    np.add.at(gaps, (np.arange(len(sure))[:, None], bins), sure - right)
    rows = weights.sum(1)
    return {"ece": np.abs(weights @ gaps).sum(1) / (rows * sure.shape[1]), "brier": weights @ squared / rows}


def regression(predicted: np.ndarray, reference: np.ndarray, weights: np.ndarray) -> Values:
    """Pearson and Spearman correlation, R2, mean squared and mean absolute error.

    R2 is 1 less the squared error over that of the mean of these rows; NaN where all are the same number.

    Args:
        predicted: Numbers, (rows,).
        gold: Numbers, (rows,).
        weights: (resamples, rows).
    """
    weights = weights.astype(np.float64)
    rows = weights.sum(1)
    squared = weights @ (predicted - reference) ** 2 / rows
    centred = reference - reference.mean()  # so that few digits are lost in the difference of two squares
    spread = weights @ centred**2 / rows - (weights @ centred / rows) ** 2
    return {
        "pearsonr": _correlation(predicted[None], reference[None], weights),
        "spearmanr": _correlation(_ranks(predicted, weights), _ranks(reference, weights), weights),
        "r2": 1 - squared / np.where(spread > 1e-12 * (centred**2).mean(), spread, np.nan),
        "mse": squared,
        "mae": weights @ np.abs(predicted - reference) / rows,
    }


def _correlation(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    total = weights.sum(1, keepdims=True)
    # What is left of equal numbers once their mean is taken off is rounding, and no spread.
    least = (1e-12 * np.abs(x).max()) ** 2, (1e-12 * np.abs(y).max()) ** 2
    x = x - (weights * x).sum(1, keepdims=True) / total
    y = y - (weights * y).sum(1, keepdims=True) / total
    spreads = (weights * x * x).sum(1), (weights * y * y).sum(1)
    known = (spreads[0] > least[0] * total[:, 0]) & (spreads[1] > least[1] * total[:, 0])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((weights * x * y).sum(1) / np.where(known, np.sqrt(spreads[0] * spreads[1]), np.nan))


def _ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Rank of each value within each resample, ties sharing their mean rank, (resamples, rows)."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    below = np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights[:, order], axis=1)], axis=1)
    start = np.searchsorted(ordered, ordered, side="left")
    end = np.searchsorted(ordered, ordered, side="right")
    ranks = np.empty_like(weights)
    ranks[:, order] = (below[:, start] + below[:, end] + 1) / 2
    return ranks
