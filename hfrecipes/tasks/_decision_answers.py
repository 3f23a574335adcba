"""Answers in a cell: an option of a question, or the share of each."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from ..data.shapes.choices import FORMS, Form, index_of, whole_number_of
from ..data.shapes.labels import as_number, is_missing
from ..errors import DataError
from ._decision_questions import FALSE, TRUE, Question, as_text, parsed_cell

Reference = str | dict[str, float] | None
# The first of several forms that fit equally well is taken.
_FORMS: tuple[Form, ...] = ("text", "from_0", "from_1", "letter")
# Keys of an answer in the form in which decision models give it.
_ANSWER_KEYS = ("probabilities", "noul", "choice", "score")


def reference_of(answer: Any, question: Question, form: Form = "text") -> Reference:
    """The option that an answer means, or the share of each option; a text that is no option as it is, None for none.

    Args:
        answer: As it is in the data.
        question: What it answers.
        form: What numbers and letters among the answers are, as `infer_form` finds it.

    Example:
        >>> tone = Question("choice", criteria={"calm": None, "angry": None})
        >>> reference_of("Angry", tone), reference_of(0, tone), reference_of('{"calm": 3, "angry": 1}', tone)
        ('angry', 'calm', {'calm': 0.75, 'angry': 0.25})
        >>> reference_of(0.5, Question("score", criteria=["low", "middle", "high"]))
        {'0': 0.5, '1': 0.5}
    """
    if is_missing(answer):
        return None
    text = as_text(answer)
    if text in ("-1", "-1.0") and text not in question.options:  # as benchmarks hide the labels of their test rows
        return None
    parsed = parsed_cell(text)
    if isinstance(parsed, dict | list):
        shares = _shares(parsed, question, form)
        return text if shares is None else _without_zeros(shares)
    return _option(text, question, form) or _shared(text, question, form) or text


def shares_of(reference: Reference, options: Sequence[str]) -> list[float]:
    """The share of each option in a reference; zeros where it is none of them."""
    if isinstance(reference, dict):
        return [reference.get(name, 0.0) for name in options]
    return [float(name == reference) for name in options]


def likeliest(reference: Reference) -> str | None:
    """The option with the largest share, the first one of several."""
    return max(reference, key=reference.__getitem__) if isinstance(reference, dict) else reference


def infer_form(asked: Iterable[tuple[Any, Question, bool]]) -> Form:
    """The form of the answers that are numbers or letters; names of options where several forms mean the same.

    Args:
        asked: Answer and question of each row, and whether the options are those of this row.

    Raises:
        DataError: Two forms fit all these answers, and mean different options.
    """
    counts: Counter[Form] = Counter()
    unlike: set[Form] = set()
    example = ""
    for answer, question, has_options in asked:
        text = as_text(answer)
        if question.type == "noul" or (whole_number_of(text) is None and len(text) != 1):
            continue
        names = question.names
        indices = {form: _index(text, names, form) for form in _FORMS}
        for form, index in indices.items():
            counts[form] += index is not None
            if has_options and None not in (index, indices["text"]) and index != indices["text"]:
                unlike.add(form)
                example = example or text
    best = max(_FORMS, key=counts.__getitem__)
    for form in unlike if best == "text" else ():
        if counts[form] == counts[best]:
            raise DataError(
                f"answers such as {example!r} are names of options, and may also be {FORMS[form]}: write letters, or "
                "give the options other names"
            )
    return best


def _index(text: str, names: list[str], form: Form) -> int | None:
    number = whole_number_of(text)
    is_number = number is not None and text not in names
    return index_of(str(number) if is_number else text, names, form)


def _option(text: str, question: Question, form: Form) -> str | None:
    """The option of that name, description of a level, number or letter."""
    options, names = question.options, question.names
    if question.type == "noul":
        is_true, is_false = text.lower() in TRUE, text.lower() in FALSE
        return "true" if is_true else "false" if is_false else None
    forms: list[Form] = [form]
    # A letter or a text among numbers can only be that; a number is no index where options have numbers as names.
    if whole_number_of(text) is None:
        forms += ["text", "letter"]
    elif form in ("text", "letter") and all(whole_number_of(name) is None for name in names):
        forms.append("from_0")
    for possible in forms:
        index = _index(text, names, possible)
        if index is not None:
            return options[index]
    return None


def _shared(text: str, question: Question, form: Form) -> dict[str, float] | None:
    """A number between two levels, or a probability of true, as shares of both options next to it."""
    number = as_number(text)
    if number is None or question.type == "choice":
        return None
    if question.type == "noul":
        return {"true": number, "false": 1 - number} if 0 < number < 1 else None
    names = question.names
    numbers = [as_number(name) for name in names] if form == "text" else []
    levels = [level for level in numbers if level is not None]
    if not levels or len(levels) < len(names):
        first = 1 if form == "from_1" else 0
        levels = [float(level) for level in range(first, first + len(names))]
    for low, (below, above) in enumerate(pairwise(levels)):
        if below < number < above:
            share = (number - below) / (above - below)
            return {str(low): 1 - share, str(low + 1): share}
    return None


def _shares(parsed: Any, question: Question, form: Form) -> dict[str, float] | None:
    """Shares from votes, probabilities or an answer of a decision model; None where they fit no options."""
    options = question.options
    if isinstance(parsed, dict) and not set(parsed) & set(options):
        key = next((key for key in _ANSWER_KEYS if key in parsed), None)
        reference = None if key is None else reference_of(_as_cell(parsed[key]), question, form)
        return _as_shares(reference, options)
    if isinstance(parsed, list) and all(isinstance(vote, str) for vote in parsed):
        voted = [_option(vote, question, form) for vote in parsed]
        parsed = {str(name): voted.count(name) for name in voted}
    elif isinstance(parsed, list):
        parsed = dict(zip(options, parsed, strict=True)) if len(parsed) == len(options) else {}
    weights = {name: as_number(weight) for name, weight in parsed.items() if weight is not None}
    known = [weight for weight in weights.values() if weight is not None and weight >= 0]
    if set(weights) - set(options) or len(known) < len(weights) or not sum(known):
        return None
    return {name: (weights.get(name) or 0.0) / sum(known) for name in options}


def _as_cell(value: Any) -> Any:
    return value if isinstance(value, str) else json.dumps(value)


def _as_shares(reference: Reference, options: Sequence[str]) -> dict[str, float] | None:
    shares = dict(zip(options, shares_of(reference, options), strict=True))
    return shares if sum(shares.values()) else None


def _without_zeros(shares: dict[str, float]) -> Reference:
    """The shares of the options that have one; the option alone where it has all of it."""
    kept = {name: share for name, share in shares.items() if share > 0}
    return next(iter(kept)) if len(kept) == 1 else kept
