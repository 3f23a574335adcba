"""Scores that predicted entities rest on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from ..data.shapes.tags import find_words
from ..explaining.contract import ScoreToExplain, Span
from ..explaining.words import entry_spans
from ..metrics._schemes import OUTSIDE, canonical_tags
from ..recipe import Row
from ._words import read_words, word_of_tokens

Cells = list[tuple[int, int]]  # token and label


def scores_of_entities(recipe: Any, row: Row, prediction: Row) -> list[ScoreToExplain]:
    """One score for each entity that is predicted, or for each tag where tags stand alone.

    An entity in two windows of a long sentence is explained in that of its first word.

    Args:
        recipe: The task, with its tokenizer, labels and scheme.
        row: With `tokens`, and with `text` where the words are from one.
        prediction: With `tags`.
    """
    tokens, tagged_words, (words,) = read_words(recipe, [row["tokens"]], recipe.stride)
    column, spans = _words_in_text(row)
    scores = []
    for entity_type, first, last in _entities(prediction["tags"], recipe.scheme):
        window = next(index for index, tagged in enumerate(tagged_words) if first in tagged)
        cells: Cells = []
        for token, word in enumerate(tagged_words[window]):
            if first <= word <= last:
                cells.append((token, recipe.labels.index(prediction["tags"][word])))
        places: list[Span | None] = []
        for word_or_none in word_of_tokens(tokens["offset_mapping"][window], words):
            places.append(None if word_or_none is None else Span(column, *spans[word_or_none]))
        features = {"input_ids": tokens["input_ids"][window]}
        span = Span(column, spans[first][0], spans[last][1])
        score, probability = partial(_margins, cells), partial(_probability, cells)
        scores.append(ScoreToExplain(entity_type, score, features, places, probability, span))
    return scores


def _words_in_text(row: Row) -> tuple[str, list[tuple[int, int]]]:
    """Column that the words are shown in, and the characters of each of them."""
    spans = find_words(row["text"], row["tokens"]) if row.get("text") is not None else []
    return ("text", spans) if spans else ("tokens", entry_spans(row["tokens"]))


def _entities(tags: Sequence[str], scheme: str | None) -> list[tuple[str, int, int]]:
    """Type, first and last word of each entity; each tag that says something where tags stand alone."""
    from ..metrics._entities import entities_in

    if scheme != "none":
        return entities_in(canonical_tags(tags, scheme))
    return [(tag, word, word) for word, tag in enumerate(tags) if tag != OUTSIDE]


def _margins(cells: Cells, outputs: Any) -> Any:
    """Sum over tokens of the logit of the label minus the mean of the others, (rows,)."""
    logits = outputs["logits"]
    others = max(logits.shape[-1] - 1, 1)
    total = 0
    for token, label in cells:
        chosen = logits[:, token, label]
        total = total + chosen - (logits[:, token].sum(-1) - chosen) / others
    return total


def _probability(cells: Cells, outputs: Any) -> Any:
    """Mean over tokens of the probability of the label, (rows,)."""
    shares = outputs["logits"].softmax(-1)
    return sum(shares[:, token, label] for token, label in cells) / len(cells)
