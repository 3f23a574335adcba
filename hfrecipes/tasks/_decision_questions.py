"""Questions with their options, as transformers' decision pipeline takes them, and the answers in a cell.

A question is a dict of `type`, `instructions` and `criteria`: a choice among named options, a score on levels from the
lowest to the highest, or `noul`, which is either true or false.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from ..data.shapes.choices import LETTERS, whole_number_of
from ..data.shapes.labels import as_number, is_missing, label_name, ordered
from ..errors import ConfigError, DataError
from ..recipe import Row

QuestionType = Literal["choice", "score", "noul"]
TYPES: tuple[QuestionType, ...] = ("choice", "score", "noul")
Question = dict[str, Any]
Criteria = dict[str, str | None] | list[str]
Reference = str | dict[str, float] | None
MOST_OPTIONS = 26  # labels A to Z
_TRUE, _FALSE = ("true", "yes", "1", "1.0"), ("false", "no", "0", "0.0")
# Keys of an answer in the form in which decision models give it.
_ANSWER_KEYS = ("probabilities", "noul", "choice", "score")


# --- questions -------------------------------------------------------------------------------------------------------


def check_question(recipe: Any) -> None:
    """Refuse options that describe no question.

    Raises:
        ConfigError: The criteria do not fit the type, or there are fewer than two.
    """
    criteria, kind = recipe.criteria, recipe.question_type
    if criteria is None:
        return
    if isinstance(criteria, list) and kind not in (None, "score"):
        raise ConfigError(f"criteria: a list has the levels of a score, and question_type is {kind}: write a block")
    if isinstance(criteria, dict) and kind == "score":
        raise ConfigError("criteria: found a block, expected a list of levels from the lowest to the highest")
    if kind == "noul" and not set(criteria) <= {"true", "false"}:
        raise ConfigError(f"criteria: found {', '.join(map(str, criteria))}, expected descriptions of true and false")
    if kind != "noul" and len(criteria) < 2:
        raise ConfigError(f"criteria: found {len(criteria)}, expected two options or more")


def options_of(question: Question) -> list[str]:
    """Names of the options, in order; those of levels are their numbers from 0.

    Example:
        >>> options_of({"type": "score", "criteria": ["low", "high"]}), options_of({"type": "noul"})
        (['0', '1'], ['true', 'false'])
    """
    if question["type"] == "noul":
        return ["true", "false"]
    criteria = question["criteria"] or []
    return list(map(str, range(len(criteria)))) if question["type"] == "score" else list(criteria)


def question_of(row: Row, default: Question) -> Question:
    """The question of a row; what the row does not say is as in the default."""
    options, descriptions = row.get("options"), row.get("descriptions")
    given = row.get("question_type")
    kind = given or (default["type"] if default["type"] != "noul" or not options else "choice")
    texts = [text or None for text in descriptions or [None] * len(options or ())]
    criteria: Any = default["criteria"] if kind == default["type"] else None
    if options and kind == "score":
        criteria = [f"{level}: {text}" if text else level for level, text in zip(options, texts, strict=False)]
    elif options:
        criteria = dict(zip(options, texts, strict=False))
    return {"type": kind, "instructions": row.get("question") or default["instructions"], "criteria": criteria}


def default_question(recipe: Any, rows: Iterable[Row], names: list[str]) -> tuple[Question, list[str]]:
    """The question of rows without one of their own, and a sentence about it where there are such rows.

    Args:
        recipe: The task, with its options.
        rows: All training rows.
        names: Names of classes, where the dataset has some.

    Raises:
        DataError: The answers are too many to be options.
    """
    kind, criteria = recipe.question_type, recipe.criteria
    if kind is None and criteria is not None:
        kind = "score" if isinstance(criteria, list) else "choice"
    without = [row for row in rows if not row.get("options") and row.get("question_type") in (None, "", kind)]
    answers = {label_name(row.get("answer")) for row in without if not is_missing(row.get("answer"))}
    if kind is None:
        is_noul = bool(answers) and {answer.lower() for answer in answers} <= {*_TRUE[:2], *_FALSE[:2]}
        kind = "noul" if is_noul else "choice"
    if criteria is None and kind == "choice":
        options = names or ordered(answers)
        if len(options) > MOST_OPTIONS:
            raise DataError(
                f"found {len(options)} different answers, and a question has {MOST_OPTIONS} options at most: give rows "
                "a column of options, or name them in options.criteria"
            )
        criteria = dict.fromkeys(options)
    question = {"type": kind, "instructions": recipe.instructions, "criteria": criteria}
    if not without:
        return question, []
    return question, [_about(question, any(row.get("question") for row in without))]


def _about(question: Question, has_instructions: bool) -> str:
    """A sentence on the question that rows without options get."""
    shown = ", ".join(options_of(question)[:8]) + (", …" if len(options_of(question)) > 8 else "")
    hint = "" if question["instructions"] or has_instructions else "; options.instructions puts it into words"
    return f"question: {question['type']} among {shown}{hint}"


def in_order(question: Question, order: Sequence[int]) -> Question:
    """A choice with its options in another order.

    Args:
        question: The question.
        order: Indices of the options.
    """
    criteria = list(question["criteria"].items())
    return {**question, "criteria": dict(criteria[index] for index in order)}


def problem_of(row: Row, question: Question, most: Mapping[str, int]) -> str:
    """What is wrong with the question of a row; empty if nothing is.

    Args:
        row: The row.
        question: Its question.
        most: Number of labels that the model has for each type.
    """
    kind = question["type"]
    if kind not in TYPES:
        return f"question_type is {kind!r}, expected choice, score or noul"
    options = options_of(question)
    if len(options) < 2:
        return f"there are {len(options)} options, expected two or more"
    if len(options) > most[kind]:
        return f"there are {len(options)} options, and the model has labels for {most[kind]} in a {kind} question"
    given = row.get("options") or []
    if len(set(given)) < len(given):
        return "two options are equal"
    if not all(str(name).strip() for name in question["criteria"] or ["none"]):
        return "an option is empty"
    return ""


# --- answers ---------------------------------------------------------------------------------------------------------


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
        is_true, is_false = text.lower() in _TRUE, text.lower() in _FALSE
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
