"""Scores that predictions rest on, as functions of the outputs of a model, and the characters of its tokens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..explaining.contract import Score, ScoreToExplain, Span
from ..models.tokenizing import tokens_in_text
from ..recipe import Recipe, Row

Target = tuple[str, Score, Score | None]
"""What is predicted, its score, and its probability where it has one."""


def tokens_of(recipe: Recipe, row: Row, columns: list[str]) -> tuple[Row, list[Span | None]]:
    """Features of the text or pair in these columns, and the characters of each token.

    Args:
        recipe: The task, with its tokenizer.
        row: The row.
        columns: Column of the text, and that of the second one, which a row may not have.
    """
    first, second = columns
    pair = (row[second] or "") if second in row else None
    features, places = tokens_in_text(recipe, row[first], pair)
    tokens: list[Span | None] = []
    for index, start, end in places:
        tokens.append(None if index is None else Span(columns[index], start, end))
    return features, tokens


def scores_of(recipe: Recipe, row: Row, columns: list[str], targets: Iterable[Target]) -> list[ScoreToExplain]:
    """The scores of targets that rest on the whole text or pair; arguments as for `tokens_of`."""
    features, tokens = tokens_of(recipe, row, columns)
    scores = []
    for target, score, probability in targets:
        scores.append(ScoreToExplain(target, score, features, tokens, probability))
    return scores


def logit(index: int, outputs: Any) -> Any:
    """The logit of a label, or the number of a regression, (rows,)."""
    return outputs["logits"][:, index]


def margin(index: int, outputs: Any) -> Any:
    """The logit of a label minus the mean of the others: what is added to all of them changes no probability."""
    logits = outputs["logits"]
    others = logits.shape[1] - 1
    chosen = logits[:, index]
    return chosen - (logits.sum(1) - chosen) / max(others, 1)


def share(index: int, outputs: Any) -> Any:
    """The probability of one of the labels, which sum to 1, (rows,)."""
    return outputs["logits"].softmax(-1)[:, index]


def chance(index: int, outputs: Any) -> Any:
    """The probability of a label by itself, (rows,)."""
    return outputs["logits"].sigmoid()[:, index]
