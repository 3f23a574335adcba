"""Questions with their options, as transformers' decision pipeline takes them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Literal

import numpy as np

from ..data.shapes.labels import is_missing, label_name, ordered
from ..errors import DataError
from ..recipe import Row

QuestionType = Literal["choice", "score", "noul"]
TYPES: tuple[QuestionType, ...] = ("choice", "score", "noul")
Criteria = dict[str, str | None] | list[str]
MOST_OPTIONS = 26  # labels A to Z
TRUE, FALSE = ("true", "yes", "1", "1.0"), ("false", "no", "0", "0.0")


@dataclass(frozen=True)
class Question:
    """A choice among named options, a score on levels, or `noul`, which is either true or false.

    Example:
        >>> Question("score", "How urgent is it?", ["can wait", "today"]).options, Question("noul").options
        (['0', '1'], ['true', 'false'])
    """

    type: str
    instructions: str | None = None
    criteria: Criteria | None = None
    """Options with a description or None; levels from the lowest to the highest; of `noul` what both mean, or None."""
    level_names: list[str] | None = field(default=None, repr=False, compare=False)
    """What answers call the levels where `criteria` describes them too; no part of a request."""

    @classmethod
    def of(cls, row: Row, default: Question) -> Question:
        """The question of a row; what the row does not say is as in the default."""
        options, given = row.get("options"), row.get("question_type")
        kind = given or (default.type if default.type != "noul" or not options else "choice")
        # Where there are too few descriptions, `problem_of` says so.
        texts = [text or None for text in [*(row.get("descriptions") or ()), *[None] * len(options or ())]]
        criteria = default.criteria if kind == default.type else None
        level_names = list(options) if options and kind == "score" and any(texts) else None
        if options and kind == "score":
            criteria = [f"{level}: {text}" if text else level for level, text in zip(options, texts, strict=False)]
        elif options:
            criteria = dict(zip(options, texts, strict=False))
        return cls(kind, row.get("question") or default.instructions, criteria, level_names)

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Question:
        """From what `as_json` gave."""
        criteria = saved["criteria"]
        has_pairs = isinstance(criteria, list) and any(isinstance(entry, list) for entry in criteria)
        return cls(saved["type"], saved["instructions"], dict(criteria) if has_pairs else criteria)

    def as_json(self) -> dict[str, Any]:
        """The question with its options as pairs of name and description, since names in config.json are sorted."""
        pairs = list(map(list, self.criteria.items())) if isinstance(self.criteria, dict) else self.criteria
        return {**self.as_request(), "criteria": pairs}

    def as_request(self) -> dict[str, Any]:
        """As the pipeline takes it."""
        return {"type": self.type, "instructions": self.instructions, "criteria": self.criteria}

    @property
    def options(self) -> list[str]:
        """Names of the options, in order; those of levels are their numbers from 0."""
        if self.type == "noul":
            return ["true", "false"]
        criteria = self.criteria or []
        return list(map(str, range(len(criteria)))) if self.type == "score" else list(criteria)

    @property
    def names(self) -> list[str]:
        """What an answer may call the options; that of levels is their text without a description."""
        return self.level_names or list(map(str, self.criteria or ())) if self.type == "score" else self.options

    def called(self, row: Row) -> list[str]:
        """What the question of a row may be called: its name in a request, its text, its type."""
        return [str(name) for name in (row.get("name"), self.instructions, self.type) if name]

    def identified(self, row: Row) -> list[str]:
        """What tells the question of a row from others: its name and its text; its type where it has neither."""
        return self.called(row)[:-1] or [self.type]

    def in_order(self, order: Sequence[int]) -> Question:
        """A choice with its options in another order, given by their indices; other questions have but one order."""
        if self.type != "choice" or not isinstance(self.criteria, dict):
            return self
        criteria = list(self.criteria.items())
        return replace(self, criteria=dict(criteria[index] for index in order))

    def in_both_orders(self) -> list[Question]:
        """A choice as it is and with its options reversed; other questions as they are."""
        return [self] if self.type != "choice" else [self, self.in_order(range(len(self.options))[::-1])]

    def shuffled(self, state: str) -> Question:
        """A choice in an order that depends on the row alone, the same in each run and on each machine."""
        generator = np.random.default_rng(zlib.crc32(f"{state}\n{self}".encode()))
        return self.in_order(generator.permutation(len(self.options)).tolist())


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
    question = Question(kind, recipe.instructions, criteria)
    if not without:
        return question, []
    return question, [_about(question, any(row.get("question") for row in without))]


def as_text(answer: Any) -> str:
    """The text of an answer, in JSON if it is none."""
    return answer.strip() if isinstance(answer, str) else json.dumps(answer)


def as_written(key: Any) -> str:
    """A key of a block as it is written in YAML, where it may stand for a number or a boolean."""
    return str(key).lower() if isinstance(key, bool) else str(key)


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
    shown = ", ".join(question.options[:8]) + (", …" if len(question.options) > 8 else "")
    hint = "" if question.instructions or has_instructions else "; options.instructions puts it into words"
    return f"question: {question.type} among {shown}{hint}"


@dataclass(frozen=True)
class HeldOut:
    """Names and texts of the questions that are held out of training, and of those that it has."""

    unseen: frozenset[str]
    seen: frozenset[str]

    @classmethod
    def of(cls, learned: Mapping[str, Any]) -> HeldOut | None:
        """As the training rows gave them; None where no question is held out."""
        if "unseen" not in learned:
            return None
        return cls(frozenset(learned["unseen"]), frozenset(learned["seen"]))

    def has(self, row: Row, question: Question) -> bool:
        """Whether the question of a row is held out by any of its names."""
        return not self.unseen.isdisjoint(question.identified(row))

    def is_unseen(self, row: Row, question: Question) -> bool:
        """Whether training had no row with the question: it was held out, or is in test alone."""
        return self.has(row, question) or self.seen.isdisjoint(question.identified(row))


def options_key(kind: str, options: Iterable[str], instructions: str | None = None) -> str:
    """A text that questions with the same options share, and with the same instructions where these are given."""
    return json.dumps([kind, instructions or "", *sorted(options)], ensure_ascii=False)
