"""The words that speak most for each label over many rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .explanation import Explanation

LEAST = 3  # occurrences of a word that its mean is taken over
SHOWN = 12  # words of each label


@dataclass(frozen=True)
class LabelWord:
    """A word with what it adds to a label on average."""

    word: str
    """In lower case."""
    mean: float
    """Mean attribution over its occurrences in rows for which the label is predicted."""
    count: int
    """Number of these occurrences."""


def words_by_label(explanations: Iterable[Explanation]) -> dict[str, list[LabelWord]]:
    """The words that speak most for each label that is predicted, the strongest first.

    For a number, which has words for it and against it, the strongest are those with the largest mean on either side.
    """
    sums: dict[str, dict[str, list[float]]] = {}
    for explanation in explanations:
        for target in explanation.targets:
            words = sums.setdefault(target.target, {})
            for word, value in zip(explanation.words, target.values, strict=True):
                # Signs are no words, and a value of 0 may only mean that the word is beyond the window.
                if any(map(str.isalnum, word.text)) and value:
                    words.setdefault(word.text.lower(), []).append(value)
    return {label: _strongest(words) for label, words in sorted(sums.items())}


def _strongest(words: dict[str, list[float]]) -> list[LabelWord]:
    means = []
    for word, values in words.items():
        if len(values) >= LEAST:
            means.append(LabelWord(word, sum(values) / len(values), len(values)))
    means.sort(key=lambda entry: (-entry.mean, entry.word))
    return means[:SHOWN]
