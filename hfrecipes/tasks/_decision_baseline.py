"""The most frequent answers, which the scores of a model are compared with and by which answers are weighted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from ..recipe import Row
from ._decision_answers import Reference, likeliest
from ._decision_predictions import prediction_of
from ._decision_questions import Question, options_key


def count_answers(asked: Iterable[tuple[Question, Reference]]) -> dict[str, Any]:
    """How often each option is the answer, for equal questions, for those with the same options, and by position.

    Args:
        asked: Question and reference of each row.
    """
    by_options: dict[str, Counter[str]] = defaultdict(Counter)
    positions: Counter[int] = Counter()
    times = Counter[str]()
    for question, reference in asked:
        kind, names, right = question.type, question.options, likeliest(reference)
        # Of a question without instructions, both are the same.
        keys = {options_key(kind, names), options_key(kind, names, question.instructions)}
        times.update(keys)
        if right not in names:
            continue
        positions[names.index(str(right))] += 1
        for key in keys:
            by_options[key][str(right)] += 1
    kept = {key: dict(counts) for key, counts in by_options.items() if times[key] > 1}
    return {"answers": kept, "position": max(sorted(positions), key=positions.__getitem__, default=0)}


def most_frequent(question: Question, baseline: Mapping[str, Any]) -> Row:
    """The most frequent option with the frequency of each; for options that train does not have, that position.

    One is added to each count, so that an answer that train lacks is not impossible (rule of Laplace).
    """
    kind, options = question.type, question.options
    counts = counts_of(question, baseline["answers"])
    if counts:
        total = sum(counts.values()) + len(options)
        return prediction_of(kind, {name: (counts.get(name, 0) + 1) / total for name in options})
    even = prediction_of(kind, dict.fromkeys(options, 1 / len(options)))
    return {**even, "answer": options[min(baseline["position"], len(options) - 1)]}


def counts_of(question: Question, answers: Mapping[str, Any]) -> dict[str, int]:
    """How often each option is the answer to this question, or else to others with the same options; or empty."""
    kind, options = question.type, question.options
    equal = answers.get(options_key(kind, options, question.instructions))
    return dict(equal or answers.get(options_key(kind, options)) or {})
