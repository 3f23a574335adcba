"""Shapes of what a model is asked: instructions with the text that they are about, questions with their answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ...errors import DataError
from ...recipe import Batch
from .answers import TEXT_COLUMNS, as_lists, pairs
from .cells import join_request


def column_normalizer(columns: Mapping[str, Any]) -> Callable[[Batch], Batch] | None:
    """What makes `input` and `output` of instructions or questions; None where the rows have neither.

    Args:
        columns: Columns of the rows, with their types of `datasets`.
    """
    if "instruction" in columns:
        # Alpaca calls the text that an instruction is about `input`, Dolly calls it `context`.
        about = next((name for name in ("input", "context") if name in columns), None)
        return partial(from_instructions, about=about)
    if "question" in columns and "input" not in columns:
        answers = next((name for name in ("answers", *TEXT_COLUMNS) if name in columns), None)
        return partial(from_questions, answers=answers)
    return None


def from_instructions(batch: Batch, about: str | None) -> Batch:
    """`instruction` and, where there is one, the text that it is about, joined to one input."""
    columns = dict(batch)
    instructions = columns.pop("instruction")
    texts = columns.pop(about) if about else [None] * len(instructions)
    columns["input"] = [join_request(instruction, text) for instruction, text in zip(instructions, texts, strict=True)]
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
    if question is None or not str(question).strip():
        return None
    # The form in which T5 was trained on SQuAD.
    return f"question: {question} context: {context}" if context else str(question)


def _answers(cell: Any) -> list[str] | None:
    """Texts of the answers of a row, in any published shape; None where the answers are not known."""
    try:
        answers = as_lists(cell)
    except DataError:
        # A text that looks like a list or dict, and is none, is an answer too: a line of code, for one.
        if isinstance(cell, str):
            return [cell]
        raise
    return None if answers is None else [text for text, _ in pairs(answers) if text]
