"""Probabilities of all tags for each word: their temperature, and how far they can be trusted."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np

from .. import calibration
from ..metrics._schemes import fit_length
from ..recipe import Measure, Row
from ._words import with_word_scores


def prediction(shares: np.ndarray, labels: list[str], *, every: bool) -> Row:
    """`tags` of the words of a row and their `scores`.

    Args:
        shares: Probabilities of the tags of each word, (words, tags).
        labels: Tags of the model.
        every: Whether the `probabilities` of all tags are there too.
    """
    tags = [labels[label] for label in shares.argmax(1)]
    predicted: Row = {"tags": tags, "scores": shares.max(1, initial=0.0).tolist()}
    return {**predicted, "probabilities": _by_tag(shares, labels)} if every else predicted


def _by_tag(shares: np.ndarray, labels: list[str]) -> list[dict[str, float]]:
    """The probability of each tag, by its name, of each word."""
    return [dict(zip(labels, word, strict=True)) for word in shares.tolist()]


def _table(predictions: Iterable[Row], labels: list[str]) -> np.ndarray:
    """Probabilities of the tags of all words, (words, tags)."""
    table = []
    for prediction in predictions:
        # `_by_tag` has them in the order of the labels.
        table += [list(word.values()) for word in prediction["probabilities"]]
    return np.array(table).reshape(-1, len(labels))


def fit(predictions: list[Row], references: list[Any], labels: list[str]) -> tuple[dict[str, float], str]:
    """The temperature with the lowest log loss of the tags of words, and a sentence on it."""
    ids = {name: number for number, name in enumerate(labels)}
    tags = chain.from_iterable(_fitting(predictions, references))
    actual = np.array([ids.get(tag, -1) for tag in tags], dtype=int)
    known = actual >= 0  # to a tag that the model does not have it can give no probability
    shares = _table(predictions, labels)[known]
    return calibration.fit(calibration.loss_of(shares, actual[known]), int(known.sum()), "validation word")


def scaled(predictions: list[Row], labels: list[str], temperature: float, scheme: str | None) -> list[Row]:
    """The predictions with the probabilities that the temperature gives; entities get their scores from them.

    Args:
        predictions: With `probabilities`.
        labels: Tags of the model.
        temperature: By which logits are divided.
        scheme: Of the tags.
    """
    shares = calibration.apply_temperature(_table(predictions, labels), temperature)
    changed, start = [], 0
    for row in predictions:
        words = shares[start : start + len(row["tags"])]
        start += len(words)
        with_probabilities = {**row, "probabilities": _by_tag(words, labels)}
        changed.append(with_word_scores(with_probabilities, words.max(1, initial=0.0).tolist(), scheme))
    return changed


def measures(predictions: list[Row], references: list[Any]) -> list[Measure]:
    """Log loss and calibration error, over words; none of them where a row has no probabilities.

    Predictions that are read from a file may come from a run that had no temperature.
    """
    from ..metrics import _weighted

    if not all("probabilities" in row for row in predictions):
        return []
    row_of, sure, right, chance = [], [], [], []
    for index, (row, tags) in enumerate(zip(predictions, _fitting(predictions, references), strict=True)):
        words = zip(row["tags"], row["scores"], row["probabilities"], tags, strict=True)
        for predicted, score, probabilities, tag in words:
            row_of.append(index)
            sure.append(score)
            right.append(predicted == tag)
            chance.append(probabilities.get(tag, np.nan))
    rows, each = len(predictions), np.array(row_of, dtype=int)
    return [
        _weighted.log_loss(np.array(chance, dtype=float), each, rows),
        _weighted.calibration_error(np.array(sure, dtype=float), np.array(right, dtype=float), each, rows),
    ]


def _fitting(predictions: list[Row], references: list[Any]) -> Iterable[list[str]]:
    """The reference tags of each row, one for each word; empty ones where they are unknown."""
    for row, reference in zip(predictions, references, strict=True):
        yield fit_length(reference or [], row["tags"])
