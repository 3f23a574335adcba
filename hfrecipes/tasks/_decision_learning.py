"""What is learnt from the training rows: the question of rows without one, those held out, and weights of rows."""

from __future__ import annotations

import json
import zlib
from itertools import chain
from typing import TYPE_CHECKING, Any

from ..data.shapes.choices import FORMS
from ..errors import ConfigError, counted
from ..losses import check_weights, refuse_unknown
from ..recipe import Row
from ._decision_answers import Reference, infer_form, likeliest
from ._decision_baseline import counts_of
from ._decision_questions import TYPES, Question, default_question
from ._decision_rows import without_states
from ._decision_samples import EXAMPLE

if TYPE_CHECKING:
    from datasets import Dataset

Unseen = float | list[str]
Weights = dict[str, float]


def check_options(recipe: Any) -> None:
    """Refuse weights that are not above 0, labels of no type of question, and a share of questions that is none.

    Raises:
        ConfigError: There is one.
    """
    check_weights("class_weights", recipe.class_weights)
    check_weights("question_weights", recipe.question_weights)
    labels = recipe.label_tokens or {}
    refuse_unknown("label_tokens", labels, TYPES, "type")
    for kind, tokens in labels.items():
        if len(tokens) < 2:
            raise ConfigError(f"label_tokens.{kind}: found {len(tokens)}, expected two labels or more")
    unseen = recipe.unseen_questions
    if isinstance(unseen, float | int) and not 0 < unseen < 1:
        raise ConfigError(f"unseen_questions: {unseen}, expected a share between 0 and 1, or names of questions")


def learn(recipe: Any, train: Dataset, names: list[str]) -> list[str]:
    """Infer what the options leave open, and check them against train; a sentence for each decision.

    Args:
        recipe: The task, whose `learned` gets it.
        train: Training rows.
        names: Names of classes, where the dataset has some.

    Raises:
        ConfigError: An option names what train does not have.
        DataError: The answers are too many to be options, or may mean different ones.
    """
    rows = list(without_states(train))
    default, sentences = default_question(recipe, rows, names)
    recipe.learned["question"] = default.as_json()
    questions = [recipe.question(row) for row in rows]
    recipe.learned["types"] = sorted({question.type for question in questions})
    pairs = zip(rows, questions, strict=True)
    form = infer_form((row.get("answer"), question, bool(row.get("options"))) for row, question in pairs)
    if form != "text":
        recipe.learned["answer_form"] = form
        sentences.append(f"answers: a number or letter is {FORMS[form]}")
    # For the card: no row is shown, and the order of its options is kept.
    is_set = recipe.criteria is not None or (recipe.instructions is not None and default.criteria is not None)
    recipe.learned["example"] = json.dumps((default if is_set else EXAMPLE).as_request(), ensure_ascii=False)
    called = [question.called(row) for row, question in zip(rows, questions, strict=True)]
    _learn_weights(recipe, train, questions, called)
    identified = [question.identified(row) for row, question in zip(rows, questions, strict=True)]
    return sentences + _learn_unseen(recipe, identified)


def _learn_weights(recipe: Any, train: Dataset, questions: list[Question], called: list[list[str]]) -> None:
    """Check the names that have weights, and count the answers that are balanced."""
    names = sorted(set(chain.from_iterable(called)))
    refuse_unknown("question_weights", recipe.question_weights or {}, names, "question")
    if isinstance(recipe.class_weights, dict):
        options = sorted(set(chain.from_iterable(question.options for question in questions)))
        refuse_unknown("class_weights", recipe.class_weights, options, "option")
    elif recipe.class_weights:
        recipe.learned["answer_counts"] = recipe.baseline(train)["answers"]


def _learn_unseen(recipe: Any, identified: list[list[str]]) -> list[str]:
    """Choose the questions to hold out, given the name and the text of that of each row.

    Raises:
        ConfigError: All would be held out, or none, or one is unknown.
    """
    unseen = recipe.unseen_questions
    if unseen is None:
        return []
    chosen = _chosen(unseen, identified)
    # A question that is held out by its name is so by its text too, which other rows may have without the name.
    names = set(chain.from_iterable(row for row in identified if not chosen.isdisjoint(row)))
    held = [not names.isdisjoint(row) for row in identified]
    kept = [row for row, is_held in zip(identified, held, strict=True) if not is_held]
    recipe.learned["unseen"] = sorted(names)
    recipe.learned["seen"] = sorted(set(chain.from_iterable(kept)))
    first = {row[0] for row in identified}
    shown = sorted({row[0] for row, is_held in zip(identified, held, strict=True) if is_held})
    if not shown or all(held):
        raise ConfigError(
            f"unseen_questions: {unseen} holds out {len(shown)} of {counted(len(first), 'question')} in train, "
            "expected one or more, and others to learn from: choose another share, or names of questions"
        )
    return [f"held out of train and validation: {len(shown)} of {len(first)} questions ({', '.join(shown)})"]


def _chosen(unseen: Unseen, identified: list[list[str]]) -> set[str]:
    """The questions that are named, or a share that depends on their first names alone."""
    if isinstance(unseen, list):
        known = sorted(set(chain.from_iterable(identified)))
        refuse_unknown("unseen_questions", unseen, known, "question")
        return set(unseen)
    first = sorted({row[0] for row in identified}, key=lambda name: zlib.crc32(name.encode()))
    return set(first[: round(unseen * len(first))])


def weight_of(recipe: Any, row: Row, question: Question, reference: Reference) -> float:
    """How much a row counts in the loss.

    Balanced weights are rows / (options * rows with that answer), among the rows of the same question, or else
    with the same options.
    """
    weights = recipe.question_weights or {}
    weight = next((float(weights[name]) for name in question.called(row) if name in weights), 1.0)
    right = likeliest(reference)
    if right is None:
        return weight
    if isinstance(recipe.class_weights, dict):
        return weight * float(recipe.class_weights.get(right, 1.0))
    counts = counts_of(question, recipe.learned.get("answer_counts", {}))
    return weight * sum(counts.values()) / (len(question.options) * counts[right]) if right in counts else weight
