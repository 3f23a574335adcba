"""Shapes of what a model is asked: instructions with the text that they are about, questions with their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ...errors import DataError
from ...recipe import Batch
from . import answers as answer_shapes
from . import texts as text_shapes
from .cells import Change, first_column, in_order, join_request


def column_normalizer(columns: Mapping[str, Any], source: Sequence[str], target: Sequence[str]) -> Change | None:
    """What makes `input` and `output` of instructions, questions, turns or objects; None where both are texts already.

    Args:
        columns: Columns of the rows, with their types of `datasets`.
        source: Names of the column of texts to read, that of the task first.
        target: Names of the column of texts to write, that of the task first.
    """
    by_name = {name.strip().lower(): name for name in columns}
    if {"paragraphs", "qas"} & set(by_name):
        questions = answer_shapes.column_normalizer(columns)
        return in_order(questions, partial(from_questions, answers="answers"))
    if first_column(by_name, target) is None:
        answer_shapes.refuse_several_questions(columns)
    # Texts are made first, since the parts of a request may be lists or objects too.
    texts = text_shapes.column_normalizer(columns, source, target, writes_json=True)
    return in_order(texts, _request_normalizer(by_name, source))


def _request_normalizer(by_name: Mapping[str, str], source: Sequence[str]) -> Change | None:
    """What makes the input of an instruction, a question or turns; None where the rows have none of them.

    Args:
        by_name: Columns by their names in lower case.
        source: Names of a column of texts to read.
    """
    columns = by_name.values()
    if "instruction" in columns:
        # Alpaca calls the text that an instruction is about `input`, Dolly calls it `context`.
        about = next((name for name in ("input", "context") if name in columns), None)
        return partial(from_instructions, about=about)
    if "question" in columns and "input" not in columns:
        answers = next((name for name in ("answers", *answer_shapes.TEXT_COLUMNS) if name in columns), None)
        return partial(from_questions, answers=answers)
    turns = first_column(by_name, (*text_shapes.TURNS, "context"))
    if turns is not None and first_column(by_name, source) is None:
        return partial(from_turns, turns=turns)
    return None


def from_turns(batch: Batch, turns: str) -> Batch:
    """The turns of a dialogue, a line each, are the input of the reply.

    Args:
        batch: Rows.
        turns: Column of the turns: lists, or texts.
    """
    columns = {name: cells for name, cells in batch.items() if name != turns}
    columns["input"] = [text_shapes.joined(cell, "\n") for cell in batch[turns]]
    return columns


def from_instructions(batch: Batch, about: str | None) -> Batch:
    """`instruction` and, where there is one, the text that it is about, joined to one input."""
    columns = dict(batch)
    instructions = columns.pop("instruction")
    texts = columns.pop(about) if about else [None] * len(instructions)
    columns["input"] = []
    for instruction, text in zip(instructions, texts, strict=True):
        columns["input"].append(join_request(text_shapes.joined(instruction), text_shapes.joined(text)))
    return columns


def from_questions(batch: Batch, answers: str | None) -> Batch:
    """Question and, where there is one, context become the input; the first answer is learnt, all are references."""
    columns = dict(batch)
    questions = columns.pop("question")
    contexts = columns.pop("context", None) or [None] * len(questions)
    columns["input"] = [_question(question, context) for question, context in zip(questions, contexts, strict=True)]
    if answers is None:
        return columns
    columns["output"], columns["references"] = [], []
    for cell in columns.pop(answers):
        texts = _answers(cell)
        # A question without an answer stays, so that the checks of the rows can name it.
        columns["output"].append(texts[0] if texts else None)
        columns["references"].append(texts)
    return columns


def _question(question: Any, context: Any) -> str | None:
    asked, about = text_shapes.joined(question), text_shapes.joined(context)
    if not (asked or "").strip():
        return None
    # The form in which T5 was trained on SQuAD.
    return f"question: {asked} context: {about}" if about else asked


def _answers(cell: Any) -> list[str] | None:
    """Texts of the answers of a row, in any published shape; None where the answers are not known."""
    try:
        answers = answer_shapes.as_lists(cell)
    except DataError:
        # A text that looks like a list or dict, and is none, is an answer too: a line of code, for one.
        text = text_shapes.as_text(cell)
        return None if text is None else [text]
    return None if answers is None else [text for text, _ in answer_shapes.pairs(answers) if text]
