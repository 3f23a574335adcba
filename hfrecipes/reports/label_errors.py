"""Rows whose label is likely wrong, by confident learning (Northcutt, Jiang and Chuang 2021).

A row counts for another label where its probability of that label is at least as high as the mean probability of the
label over the rows that have it. From these counts follows how many rows of each label really belong to each other one;
that many rows, those with the largest margin, are the likely errors. Probabilities must come from a model that was not
trained on the row: one that was has memorised the label.
"""

from __future__ import annotations

import numpy as np

_SLACK = 1e-6  # a mean of equal probabilities may differ from them in the last digit


def quality(labels: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Probability of the label that each row has, (rows,): the lower, the likelier it is wrong.

    Args:
        labels: Label ids, (rows,).
        shares: Out-of-sample probabilities, (rows, labels).
    """
    return np.asarray(shares[np.arange(len(labels)), labels])


def likely_errors(labels: np.ndarray, shares: np.ndarray, *, is_strict: bool = False) -> np.ndarray:
    """Whether the label of each row is likely wrong, (rows,).

    Args:
        labels: Label ids, (rows,).
        shares: Out-of-sample probabilities, (rows, labels).
        is_strict: Whether a row must also be among the least probable ones of its label.
    """
    counts = _rows_to_name(confident_joint(labels, shares))
    is_error = _by_noise_rate(labels, shares, counts)
    if is_strict:
        is_error &= _by_label(labels, shares, counts)
    # What the model itself predicts as it is labelled is no error, whatever the counts say.
    return np.asarray(is_error & (shares.argmax(axis=1) != labels))


def confident_joint(labels: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """How many rows with a label (a row of the table) really have each label (a column), as whole numbers."""
    number = shares.shape[1]
    is_present = np.bincount(labels, minlength=number) > 0
    thresholds = np.full(number, np.inf)
    for label in np.flatnonzero(is_present):
        thresholds[label] = shares[labels == label, label].mean()
    is_confident = shares >= thresholds - _SLACK
    # Where several labels are confident, the most probable of all labels counts, as in cleanlab.
    guesses = np.where(is_confident.sum(axis=1) > 1, shares.argmax(axis=1), is_confident.argmax(axis=1))
    counted = is_confident.any(axis=1)
    by_guess = np.zeros((number, number))
    np.add.at(by_guess, (guesses[counted], labels[counted]), 1)
    np.fill_diagonal(by_guess, np.maximum(np.diagonal(by_guess), 1))
    return _scaled_to(by_guess.T, np.bincount(labels, minlength=number))


def _scaled_to(joint: np.ndarray, rows_of_label: np.ndarray) -> np.ndarray:
    """The counts in proportion, so that those of each label sum to the number of its rows."""
    scaled = (joint.T / joint.sum(axis=1) * rows_of_label).T
    return _rounded(scaled / scaled.sum() * rows_of_label.sum())


def _rounded(table: np.ndarray) -> np.ndarray:
    """Whole numbers with the same sums of rows: those that rounding moved the most make up the difference."""
    whole = np.round(table)
    missing = np.round(table.sum(axis=1)) - whole.sum(axis=1)
    for row in np.flatnonzero(missing):
        number, by_rest = int(abs(missing[row])), np.argsort(table[row] - whole[row])
        moved = by_rest[::-1][:number] if missing[row] > 0 else by_rest[:number]
        whole[row, moved] += np.sign(missing[row])
    return whole.astype(int)


def _rows_to_name(joint: np.ndarray) -> np.ndarray:
    """How many rows of each label (a row of the table) to name for each label (a column); one row stays at least."""
    counts = joint.astype(float)
    diagonal = np.diagonal(counts)
    kept = np.maximum(diagonal, 1)
    others = np.maximum((counts > 0).sum(axis=1) - 1, 1)
    counts = np.maximum(counts - ((kept - diagonal) / others)[:, None], 0)
    np.fill_diagonal(counts, kept)
    return np.asarray(_rounded(counts.T).T)


def _by_noise_rate(labels: np.ndarray, shares: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """For each pair of labels, the rows of the first with the largest margin towards the second."""
    is_error = np.zeros(len(labels), dtype=bool)
    for label, other in zip(*np.nonzero(counts), strict=True):
        rows = np.flatnonzero(labels == label)
        if label == other or len(rows) <= 1:
            continue
        margins = shares[rows, other] - shares[rows, label]
        least = np.sort(margins)[-min(counts[label, other], len(rows))]
        is_error[rows[margins >= least]] = True
    return is_error


def _by_label(labels: np.ndarray, shares: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """For each label, as many of its least probable rows as belong to other labels."""
    is_error = np.zeros(len(labels), dtype=bool)
    for label in range(len(counts)):
        rows = np.flatnonzero(labels == label)
        number = len(rows) - counts[label, label]
        if len(rows) <= 1 or number <= 0:
            continue
        of_label = shares[rows, label]
        is_error[rows[of_label <= np.sort(of_label)[number - 1]]] = True
    return is_error
