"""The metrics of many resamples at once: each function takes how often each resample draws each row.

With weights of 1, every value equals that of scikit-learn or scipy; tests/metrics/test_metrics.py compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np

Values = dict[str, np.ndarray]  # metric -> its value in each resample, (resamples,)
BINS = 15  # of the expected calibration error, as in Guo et al. 2017


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """Quotient, 0 where the bottom is 0."""
    # The `zero_division=0` of scikit-learn, without its warnings.
    return np.asarray(np.divide(top, bottom, out=np.zeros_like(top, dtype=np.float64), where=bottom > 0))


def single_label(
    predicted: np.ndarray, reference: np.ndarray, weights: np.ndarray, labels: int, averaged: np.ndarray | None = None
) -> Values:
    """Accuracy, macro and weighted F1, precision and recall, and MCC.

    Args:
        predicted: Label ids, (rows,).
        reference: Label ids, (rows,).
        weights: How often each resample draws each row, (resamples, rows).
        labels: Number of labels.
        averaged: Whether macro scores are means over each label, (labels,); None for all labels.
    """
    cells, first_rows = _cell_weights(reference * labels + predicted, weights)
    is_reference, is_predicted = np.eye(labels)[reference[first_rows]], np.eye(labels)[predicted[first_rows]]
    # Number of rows by reference, by prediction, and of right rows, of each label: (resamples, labels).
    actual, given, hit = cells @ is_reference, cells @ is_predicted, cells @ (is_reference * is_predicted)
    rows, hits = actual.sum(1), hit.sum(1)
    by_label = f1_precision_recall(hit, given, actual)
    # As in scikit-learn, labels that occur on neither side do not count in the mean.
    present = (actual + given) > 0
    if averaged is not None:
        present &= averaged
    values = {"accuracy": hits / rows}
    for name, value in by_label.items():
        values[f"{name}_macro"] = _ratio((value * present).sum(1), present.sum(1))
    for name, value in by_label.items():
        values[f"{name}_weighted"] = (value * actual).sum(1) / rows
    covariance = hits * rows - (actual * given).sum(1)
    spread = np.sqrt((rows**2 - (given**2).sum(1)) * (rows**2 - (actual**2).sum(1)))
    return values | {"matthews_correlation": _ratio(covariance, spread)}


def f1_precision_recall(hit: np.ndarray, given: np.ndarray, actual: np.ndarray) -> Values:
    """The three scores from the numbers of right, predicted and reference labels, in their shape."""
    return {
        "f1": _ratio(2 * hit, actual + given),
        "precision": _ratio(hit, given),
        "recall": _ratio(hit, actual),
    }


def _cell_weights(cells: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight of each cell of the confusion matrix that occurs, (resamples, cells), and its first row, (cells,)."""
    # One-hot labels of cells, not of rows, need no memory for rows times labels.
    order = np.argsort(cells, kind="stable")
    starts = np.flatnonzero(np.diff(cells[order], prepend=-1))
    return np.add.reduceat(weights[:, order], starts, axis=1).astype(np.float64), order[starts]


def multi_label(
    predicted: np.ndarray,
    reference: np.ndarray,
    scores: np.ndarray,
    weights: np.ndarray,
    labels: list[str],
    left_out: Collection[str] = (),
) -> Values:
    """Micro and macro F1, precision and recall, subset accuracy, LRAP, and F1 of each label.

    Args:
        predicted: 0 or 1, (rows, labels).
        reference: 0 or 1, (rows, labels).
        scores: Scores by which labels are ranked, (rows, labels).
        weights: How often each resample draws each row, (resamples, rows).
        labels: Names of the labels.
        left_out: Labels that macro scores leave out.
    """
    weights = weights.astype(np.float64)
    actual, given, hit = weights @ reference, weights @ predicted, weights @ (reference * predicted)
    by_label = f1_precision_recall(hit, given, actual)
    overall = f1_precision_recall(hit.sum(1), given.sum(1), actual.sum(1))
    values = {}
    averaged = are_averaged(labels, left_out)
    for name, value in by_label.items():
        values[f"{name}_micro"] = overall[name]
        values[f"{name}_macro"] = value[:, averaged].mean(1)
    rows = weights.sum(1)
    values["subset_accuracy"] = weights @ (predicted == reference).all(1) / rows
    values["lrap"] = weights @ row_lrap(reference, scores) / rows
    for column, name in enumerate(labels):
        values[f"f1[{name}]"] = by_label["f1"][:, column]
    return values


def are_averaged(labels: Sequence[str], left_out: Collection[str]) -> np.ndarray:
    """Whether macro scores are means over each label, (labels,)."""
    return np.array([name not in left_out for name in labels])


def by_type(
    hit: np.ndarray,
    given: np.ndarray,
    actual: np.ndarray,
    weights: np.ndarray,
    types: list[str],
    *,
    micro: bool,
    left_out: Collection[str] = (),
) -> Values:
    """Precision, recall and F1 over all types, the mean F1 of the types, and the scores of each type.

    Args:
        hit: Number of predicted entities that are right, (rows, types).
        given: Number of predicted entities, (rows, types).
        actual: Number of reference entities, (rows, types).
        weights: How often each resample draws each row, (resamples, rows).
        types: Names of the types; empty to compute the overall scores alone.
        micro: Whether to compute the scores over all types.
        left_out: Types that the mean leaves out.
    """
    weights = weights.astype(np.float64)
    hit, given, actual = weights @ hit, weights @ given, weights @ actual
    values: Values = {}
    if micro:
        overall = f1_precision_recall(hit.sum(1), given.sum(1), actual.sum(1))
        values |= {name: overall[name] for name in ("precision", "recall", "f1")}
    if not types:
        return values
    each = f1_precision_recall(hit, given, actual)
    present = ((actual + given) > 0) & are_averaged(types, left_out)
    values["f1_macro"] = _ratio((each["f1"] * present).sum(1), present.sum(1))
    for name, value in each.items():
        for column, entity_type in enumerate(types):
            values[f"{name}[{entity_type}]"] = value[:, column]
    return values


def row_lrap(reference: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Label ranking average precision of each row; 1 for a row without labels, as in scikit-learn."""
    from scipy.stats import rankdata

    among_all = rankdata(-scores, method="max", axis=1)
    # Labels that are not true get a rank after all true ones, which `np.where` ignores below.
    among_true = rankdata(np.where(reference > 0, -scores, np.inf), method="max", axis=1)
    true = reference.sum(1)
    precision = np.where(reference > 0, among_true / among_all, 0).sum(1)
    return np.where(true > 0, precision / np.maximum(true, 1), 1.0)


def calibration(sure: np.ndarray, right: np.ndarray, squared: np.ndarray, weights: np.ndarray) -> Values:
    """Expected calibration error (Guo et al. 2017, 15 bins of equal width) and Brier score.

    Args:
        sure: Predicted probabilities, (rows, cells).
        right: 1 where the prediction came true, else 0, (rows, cells).
        squared: Brier score of each row, (rows,).
        weights: How often each resample draws each row, (resamples, rows).
    """
    weights = weights.astype(np.float64)
    gaps = np.zeros((len(sure), BINS))
    # Unlike `gaps[…] += …`, this adds up the cells of a row that fall into the same bin.
    np.add.at(gaps, (np.arange(len(sure))[:, None], _bins(sure)), sure - right)
    rows = weights.sum(1)
    return {"ece": np.abs(weights @ gaps).sum(1) / (rows * sure.shape[1]), "brier": weights @ squared / rows}


def _bins(sure: np.ndarray) -> np.ndarray:
    """Index of the bin of each probability."""
    # Open on the left and closed on the right, as in Guo et al.; a probability of 0 joins the first.
    return np.asarray(np.clip(np.ceil(sure * BINS).astype(int) - 1, 0, BINS - 1))


def log_loss(chance: np.ndarray, row_of: np.ndarray | None = None, rows: int | None = None) -> Callable[..., Values]:
    """Mean negative logarithm of the probability that each reference got; NaN where none is known.

    Args:
        chance: Probability of each reference, (items,); NaN where there is none, which is left out.
        row_of: Index of the row of each item, (items,), as a row may have several or none; None for one per row.
        rows: Number of rows, where the items tell their rows.

    Returns:
        Function of weights (resamples, rows), how often each resample draws each row, to values (resamples,).
    """
    row_of = np.arange(len(chance)) if row_of is None else row_of
    known = np.isfinite(chance)
    number = rows or len(chance)
    surprise = -np.log(np.maximum(chance[known], 1e-15))  # a single row cannot make it infinite
    total, items = _summed(row_of[known], surprise, number), _summed(row_of[known], np.ones(len(surprise)), number)
    return lambda weights: {"log_loss": _mean(weights, total, items)}


def calibration_error(
    sure: np.ndarray, right: np.ndarray, row_of: np.ndarray | None = None, rows: int | None = None
) -> Callable[..., Values]:
    """Expected calibration error as in `calibration`, over items of which a row may have several or none.

    Args:
        sure: Probability of what is predicted for each item, (items,); NaN where there is none, which is left out.
        right: Whether that is right, (items,).
        row_of: As for `log_loss`.
        rows: As for `log_loss`.

    Returns:
        As for `log_loss`.
    """
    row_of = np.arange(len(sure)) if row_of is None else row_of
    known = np.isfinite(sure)
    number = rows or len(sure)
    sure, right, row_of = sure[known], right[known], row_of[known]
    gaps = np.zeros((number, BINS))
    np.add.at(gaps, (row_of, _bins(sure)), sure - right)
    items = _summed(row_of, np.ones(len(sure)), number)

    def measured(weights: np.ndarray) -> Values:
        weights = weights.astype(np.float64)
        total = weights @ items
        return {"ece": np.abs(weights @ gaps).sum(1) / np.where(total > 0, total, np.nan)}

    return measured


def _summed(row_of: np.ndarray, values: np.ndarray, rows: int) -> np.ndarray:
    """Sum of the values of each row, (rows,)."""
    return np.bincount(row_of, values, minlength=rows)


def _mean(weights: np.ndarray, total: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Mean of each resample, (resamples,), from the sum and the number of the items of each row; NaN without any."""
    weights = weights.astype(np.float64)
    number = weights @ items
    return np.asarray(weights @ total / np.where(number > 0, number, np.nan))


def ranking(shares: np.ndarray, is_positive: np.ndarray) -> Callable[[np.ndarray], Values]:
    """Area under the ROC curve and average precision of one label, as in scikit-learn; NaN where all rows are alike.

    Args:
        shares: Probability of the label, (rows,).
        is_positive: Whether a row has it, (rows,).

    Returns:
        Function of weights (resamples, rows), how often each resample draws each row, to values (resamples,).
    """
    order = np.argsort(-shares, kind="stable")
    ordered, positive = -shares[order], is_positive[order].astype(np.float64)
    # Rows of the same probability come in no order: each counts with all of them.
    start = np.searchsorted(ordered, ordered, side="left")
    end = np.searchsorted(ordered, ordered, side="right")

    def measured(weights: np.ndarray) -> Values:
        # Some resamples after the other: there are several tables as large as the weights.
        parts = [of_part(part) for part in np.array_split(weights, max(1, weights.size // 500_000))]
        values = {}
        for name in parts[0]:
            values[name] = np.concatenate([part[name] for part in parts])
        return values

    def of_part(weights: np.ndarray) -> Values:
        weights = weights[:, order].astype(np.float64)
        hits = weights * positive
        below = np.zeros((2, len(weights), len(order) + 1))
        np.cumsum(weights, axis=1, out=below[0, :, 1:])
        np.cumsum(hits, axis=1, out=below[1, :, 1:])
        rows, positives = below[:, :, -1]
        reached, reached_hits = below[0].take(end, axis=1), below[1].take(end, axis=1)
        negatives = reached - reached_hits
        before = below[0].take(start, axis=1) - below[1].take(start, axis=1)
        pairs = positives * (rows - positives)
        # Of each positive row, the negative ones after it, and half of those beside it.
        right = pairs - _sum_of_products(hits, (negatives + before) / 2)
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(reached > 0, reached_hits / reached, 0.0)
            return {
                "roc_auc": right / np.where(pairs > 0, pairs, np.nan),
                "average_precision": _sum_of_products(hits, precision) / np.where(positives > 0, positives, np.nan),
            }

    return measured


def regression(predicted: np.ndarray, reference: np.ndarray, weights: np.ndarray) -> Values:
    """Pearson and Spearman correlation, R2, mean squared and mean absolute error.

    R2 is 1 minus the ratio of the squared error to that of the mean of these rows; NaN if all have the same number.

    Args:
        predicted: Numbers, (rows,).
        reference: Numbers, (rows,).
        weights: How often each resample draws each row, (resamples, rows).
    """
    weights = weights.astype(np.float64)
    rows = weights.sum(1)
    squared = weights @ (predicted - reference) ** 2 / rows
    # Centred numbers lose fewer digits in the difference of two squares.
    centred = reference - reference.mean()
    spread = weights @ centred**2 / rows - (weights @ centred / rows) ** 2
    return {
        "pearsonr": _correlation(predicted[None], reference[None], weights),
        "spearmanr": _correlation(_ranks(predicted, weights), _ranks(reference, weights), weights),
        "r2": 1 - squared / np.where(spread > 1e-12 * (centred**2).mean(), spread, np.nan),
        "mse": squared,
        "mae": weights @ np.abs(predicted - reference) / rows,
    }


def _correlation(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted Pearson correlation of each resample; NaN if one side is constant in it."""
    total = weights.sum(1, keepdims=True)
    # Equal numbers minus their mean are not exactly 0: what is below this is rounding, and no spread.
    least = (1e-12 * np.abs(x).max()) ** 2, (1e-12 * np.abs(y).max()) ** 2
    x = x - (weights * x).sum(1, keepdims=True) / total
    y = y - (weights * y).sum(1, keepdims=True) / total
    weighted = weights * x
    spreads = _sum_of_products(weighted, x), _sum_of_products(weights * y, y)
    known = (spreads[0] > least[0] * total[:, 0]) & (spreads[1] > least[1] * total[:, 0])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(_sum_of_products(weighted, y) / np.where(known, np.sqrt(spreads[0] * spreads[1]), np.nan))


def _sum_of_products(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Sum over the rows, without a table of the products."""
    return np.asarray(np.einsum("ij,ij->i", x, y))


def _ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Rank of each value within each resample, (resamples, rows); ties share their mean rank."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    # Number of rows of the resample that come before each value: a row drawn twice takes two ranks.
    below = np.zeros((len(weights), len(values) + 1))
    np.cumsum(weights.take(order, axis=1), axis=1, out=below[:, 1:])
    start = np.searchsorted(ordered, values, side="left")
    end = np.searchsorted(ordered, values, side="right")
    ranks = below.take(start, axis=1)
    ranks += below.take(end, axis=1)
    return (ranks + 1) / 2
