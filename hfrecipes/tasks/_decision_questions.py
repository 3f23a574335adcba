"""Questions with their options, as transformers' decision pipeline takes them.

A question is a dict of `type`, `instructions` and `criteria`: a choice among named options, a score on levels from the
lowest to the highest, or `noul`, which is either true or false.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Literal

from ..data.shapes.labels import is_missing, label_name, ordered
from ..errors import ConfigError, DataError
from ..recipe import Row

QuestionType = Literal["choice", "score", "noul"]
TYPES: tuple[QuestionType, ...] = ("choice", "score", "noul")
Question = dict[str, Any]
Criteria = dict[str, str | None] | list[str]
MOST_OPTIONS = 26  # labels A to Z
TRUE, FALSE = ("true", "yes", "1", "1.0"), ("false", "no", "0", "0.0")


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
    # Where there are too few descriptions, `problem_of` says so.
    texts = [text or None for text in [*(descriptions or ()), *[None] * len(options or ())]]
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
    answers = set(chain.from_iterable(_names_in(row.get("answer")) for row in without))
    if kind is None:
        is_noul = bool(answers) and {answer.lower() for answer in answers} <= {*TRUE[:2], *FALSE[:2]}
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


def as_text(answer: Any) -> str:
    """The text of an answer, in JSON if it is none."""
    return answer.strip() if isinstance(answer, str) else json.dumps(answer)


def parsed_cell(text: str) -> Any:
    """The list or block in a text; None for any other text."""
    if text[:1] not in "[{":
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None


def _names_in(answer: Any) -> list[str]:
    """Names of options in an answer: itself, or those of votes or shares."""
    if is_missing(answer):
        return []
    parsed = parsed_cell(as_text(answer))
    if isinstance(parsed, dict) and all(not isinstance(share, str) for share in parsed.values()):
        return [name for name, share in parsed.items() if share is not None]
    if isinstance(parsed, list):
        return [vote for vote in parsed if isinstance(vote, str)]
    return [label_name(answer)]


def _about(question: Question, has_instructions: bool) -> str:
    """A sentence on the question that rows without options get."""
    shown = ", ".join(options_of(question)[:8]) + (", …" if len(options_of(question)) > 8 else "")
    hint = "" if question["instructions"] or has_instructions else "; options.instructions puts it into words"
    return f"question: {question['type']} among {shown}{hint}"


def saved(question: Question) -> Question:
    """The question with its options as pairs of name and description, since names in config.json are sorted."""
    criteria = question["criteria"]
    return {**question, "criteria": list(criteria.items()) if isinstance(criteria, dict) else criteria}


def from_saved(question: Question) -> Question:
    """The question that `saved` changed; any other one as it is."""
    criteria = question["criteria"]
    has_pairs = isinstance(criteria, list) and any(isinstance(entry, list | tuple) for entry in criteria)
    return {**question, "criteria": dict(criteria) if has_pairs else criteria}


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
    given, described = row.get("options") or [], row.get("descriptions") or []
    criteria = question["criteria"] or []
    if kind == "noul" and not set(criteria) <= {"true", "false"}:
        return f"a noul question has the options {', '.join(map(str, criteria))}, expected true and false"
    if len(set(given)) < len(given) or len(set(map(str, criteria))) < len(criteria):
        return "two options are equal"
    if given and described and len(described) != len(given):
        return f"there are {len(described)} descriptions for {len(given)} options"
    options = options_of(question)
    if len(options) < 2:
        return f"there are {len(options)} options, expected two or more"
    if len(options) > most[kind]:
        return f"there are {len(options)} options, and the model has labels for {most[kind]} in a {kind} question"
    if not all(str(name or "").strip() for name in criteria):
        return "an option is empty"
    return ""
