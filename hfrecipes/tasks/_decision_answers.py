"""Answers in a cell: an option of a question, or the share of each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..data.shapes.choices import LETTERS, whole_number_of
from ..data.shapes.labels import as_number, is_missing
from ._decision_questions import FALSE, TRUE, Question, options_of

Reference = str | dict[str, float] | None
# Keys of an answer in the form in which decision models give it.
_ANSWER_KEYS = ("probabilities", "noul", "choice", "score")


def reference_of(answer: Any, question: Question) -> Reference:
    """The option that an answer means, or the share of each option; a text that is no option as it is, None for none.

    Example:
        >>> tone = {"type": "choice", "criteria": {"calm": None, "angry": None}}
        >>> reference_of("Angry", tone), reference_of(0, tone), reference_of('{"calm": 3, "angry": 1}', tone)
        ('angry', 'calm', {'calm': 0.75, 'angry': 0.25})
        >>> reference_of(0.5, {"type": "score", "criteria": ["low", "middle", "high"]})
        {'0': 0.5, '1': 0.5}
    """
    if is_missing(answer):
        return None
    text = answer.strip() if isinstance(answer, str) else json.dumps(answer)
    if text in ("-1", "-1.0") and text not in options_of(question):  # as benchmarks hide the labels of their test rows
        return None
    parsed = _parsed(text)
    if isinstance(parsed, dict | list):
        shares = _shares(parsed, question)
        return text if shares is None else _without_zeros(shares)
    return _option(text, question) or _shared(text, question) or text


def shares_of(reference: Reference, options: Sequence[str]) -> list[float]:
    """The share of each option in a reference; zeros where it is none of them."""
    if isinstance(reference, dict):
        return [reference.get(name, 0.0) for name in options]
    return [float(name == reference) for name in options]


def likeliest(reference: Reference) -> str | None:
    """The option with the largest share, the first one of several."""
    return max(reference, key=reference.__getitem__) if isinstance(reference, dict) else reference


def _parsed(text: str) -> Any:
    """The list or block in a text; None for any other text."""
    if text[:1] not in "[{":
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None


def _option(text: str, question: Question) -> str | None:
    """The option of that name, description of a level, number or letter."""
    kind, options = question["type"], options_of(question)
    if text in options:
        return text
    alike = [name for name in options if name.casefold() == text.casefold()]
    if len(alike) == 1:
        return alike[0]
    if kind == "noul":
        is_true, is_false = text.lower() in TRUE, text.lower() in FALSE
        return "true" if is_true else "false" if is_false else None
    if kind == "score" and text in question["criteria"]:
        return str(question["criteria"].index(text))
    index = whole_number_of(text)
    if index is None and kind == "choice" and len(text) == 1:
        index = LETTERS.find(text)
    return options[index] if index is not None and 0 <= index < len(options) else None


def _shared(text: str, question: Question) -> dict[str, float] | None:
    """A number between two levels, or a probability of true, as shares of both options next to it."""
    number = as_number(text)
    if number is None or question["type"] == "choice":
        return None
    if question["type"] == "noul":
        return {"true": number, "false": 1 - number} if 0 < number < 1 else None
    low = int(number // 1)
    if not 0 <= low < len(question["criteria"]) - 1:
        return None
    return {str(low): low + 1 - number, str(low + 1): number - low}


def _shares(parsed: Any, question: Question) -> dict[str, float] | None:
    """Shares from votes, probabilities or an answer of a decision model; None where they fit no options."""
    options = options_of(question)
    if isinstance(parsed, dict) and not set(parsed) & set(options):
        key = next((key for key in _ANSWER_KEYS if key in parsed), None)
        reference = None if key is None else reference_of(_as_cell(parsed[key]), question)
        return _as_shares(reference, options)
    if isinstance(parsed, list) and all(isinstance(vote, str) for vote in parsed):
        voted = [_option(vote, question) for vote in parsed]
        parsed = {str(name): voted.count(name) for name in voted}
    elif isinstance(parsed, list):
        parsed = dict(zip(options, parsed, strict=True)) if len(parsed) == len(options) else {}
    weights = {name: as_number(weight) for name, weight in parsed.items()}
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
