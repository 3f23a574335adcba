"""Which questions are held out of training, and how much each row counts in the loss."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable
from typing import Any

from ..errors import ConfigError, nearest
from ..losses import ClassWeights
from ..recipe import Row
from ._decision_answers import Reference, likeliest
from ._decision_questions import Question, options_of
from ._decision_scores import counts_of

Unseen = float | list[str]
Weights = dict[str, float]


def check_weights(class_weights: ClassWeights | None, question_weights: Weights | None, unseen: Unseen | None) -> None:
    """Refuse weights that are not above 0, and a share of questions that is none.

    Raises:
        ConfigError: There is one.
    """
    for option, given in (("class_weights", class_weights), ("question_weights", question_weights)):
        weights = given if isinstance(given, dict) else {}
        wrong = [f"{name} {weight}" for name, weight in weights.items() if not 0 < weight < math.inf]
        if wrong:
            raise ConfigError(f"{option}: found {', '.join(wrong)}, expected numbers above 0")
    if isinstance(unseen, float | int) and not 0 < unseen < 1:
        raise ConfigError(f"unseen_questions: {unseen}, expected a share between 0 and 1, or names of questions")


def names_of(row: Row, question: Question) -> list[str]:
    """What a question may be called: its name in a request, its text, its type."""
    names = [row.get("name"), question["instructions"], question["type"]]
    return [str(name) for name in names if name]


def refuse_unknown(option: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse names that train does not have.

    Raises:
        ConfigError: There is one.
    """
    names = sorted(set(known))
    for name in given:
        if name not in names:
            shown = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
            raise ConfigError(f"{option}: no {name}{nearest(name, names)}; train has {shown}")


def unseen_of(unseen: Unseen, questions: Iterable[str]) -> list[str]:
    """The questions that are held out: those that are named, or a share that depends on their texts alone.

    Args:
        unseen: Names, or the share.
        questions: First name of the question of each row.

    Raises:
        ConfigError: All would be held out, or none, or one is unknown.
    """
    known = sorted(set(questions))
    if isinstance(unseen, list):
        refuse_unknown("unseen_questions", unseen, known)
        held = sorted(unseen)
    else:
        drawn = sorted(known, key=lambda name: zlib.crc32(name.encode()))
        held = sorted(drawn[: round(unseen * len(known))])
    if not 0 < len(held) < len(known):
        raise ConfigError(f"unseen_questions: {unseen} holds out {len(held)} of {len(known)} questions in train")
    return held


def weight_of(recipe: Any, row: Row, question: Question, reference: Reference) -> float:
    """How much a row counts in the loss.

    Balanced weights are rows / (options * rows with that answer), among the rows of the same question, or else
    with the same options.
    """
    weight = 1.0
    for name in names_of(row, question):
        if name in (recipe.question_weights or {}):
            weight = float(recipe.question_weights[name])
            break
    right = str(likeliest(reference))
    if isinstance(recipe.class_weights, dict):
        return weight * float(recipe.class_weights.get(right, 1.0))
    counts = counts_of(question, recipe.learned.get("answer_counts", {}))
    number = len(options_of(question))
    return weight * sum(counts.values()) / (number * counts[right]) if right in counts else weight
