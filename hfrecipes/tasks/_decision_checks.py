"""What is wrong with the questions that options describe, and with those of rows and their answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..recipe import Finding, Row
from ._decision_answers import likeliest
from ._decision_questions import TYPES, HeldOut, Question
from ._decision_rows import without_states

if TYPE_CHECKING:
    from datasets import Dataset


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


def findings(recipe: Any, rows: Dataset, most: Mapping[str, int]) -> Iterator[Finding]:
    """Questions that cannot be asked or are held out of training, and answers that are no option.

    Args:
        recipe: The task.
        rows: Raw rows.
        most: Number of labels that the model has for each type.
    """
    wrong: dict[tuple[Any, str], list[int]] = {}
    held, held_out = [], HeldOut.of(recipe.learned)
    for index, row in enumerate(without_states(rows)):
        question = recipe.question(row)
        if held_out is not None and held_out.has(row, question):
            held.append(index)
        level, problem = "error", problem_of(row, question, most)
        if not problem:
            right = likeliest(recipe.reference(row))
            is_option = right is None or right in question.options
            level, problem = "unknown", "" if is_option else f"answer {str(right)[:40]!r} is none of the options"
        if problem:
            wrong.setdefault((level, problem), []).append(index)
    if held:
        yield Finding("ignored", "the question is held out by unseen_questions", held)
    for (level, problem), indices in wrong.items():
        yield Finding(level, problem, indices)


def problem_of(row: Row, question: Question, most: Mapping[str, int]) -> str:
    """What is wrong with the question of a row; empty if nothing is.

    Args:
        row: The row.
        question: Its question.
        most: Number of labels that the model has for each type.
    """
    kind = question.type
    if kind not in TYPES:
        return f"question_type is {kind!r}, expected choice, score or noul"
    given, described = row.get("options") or [], row.get("descriptions") or []
    criteria = question.criteria or []
    if kind == "noul" and not set(criteria) <= {"true", "false"}:
        return f"a noul question has the options {', '.join(map(str, criteria))}, expected true and false"
    if len(set(given)) < len(given) or len(set(map(str, criteria))) < len(criteria):
        return "two options are equal"
    if given and described and len(described) != len(given):
        return f"there are {len(described)} descriptions for {len(given)} options"
    options = question.options
    if len(options) < 2:
        return f"there are {len(options)} options, expected two or more"
    if len(options) > most[kind]:
        return (
            f"there are {len(options)} options, expected {most[kind]} at most in a {kind} question, as many as the "
            "model has labels for"
        )
    if not all(str(name or "").strip() for name in criteria):
        return "an option is empty"
    return ""
