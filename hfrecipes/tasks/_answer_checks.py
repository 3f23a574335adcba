"""What is wrong or odd about the answers of a question: no text, or not in the context where they should be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from ..data.shapes import answers as answer_shapes
from ..metrics._squad import NO_TEXT
from ..recipe import Finding

Level = Literal["unknown", "untrainable", "note"]
LEVELS: tuple[Level, ...] = ("unknown", "untrainable", "note")


def describe_unanswered(unanswered: int, questions: int) -> str:
    """A sentence on how many questions of train have no answer, which decides whether any may have none."""
    share = f"{unanswered / questions:.1%} of the questions have none" if unanswered else "every question has one"
    return f"answers: {share}; options.version_2_with_negative decides whether questions may have none"


def check_answers(
    contexts: Iterable[str | None], cells: Iterable[Any], references: Sequence[list[Any] | None]
) -> Iterator[Finding]:
    """What is wrong with answers, each sentence once with all of its rows.

    Args:
        contexts: Text of each row that its answers are in.
        cells: Answers as the rows have them.
        references: Texts of the answers, as the task reads them.
    """
    indices_of: dict[tuple[Level, str], list[int]] = defaultdict(list)
    for index, (context, cell, reference) in enumerate(zip(contexts, cells, references, strict=True)):
        for problem in _problems(context or "", cell, reference):
            indices_of[problem].append(index)
    for level in LEVELS:
        for (of_level, sentence), indices in indices_of.items():
            if of_level == level:
                yield Finding(level, sentence, indices)


def _problems(context: str, cell: Any, reference: list[Any] | None) -> Iterator[tuple[Level, str]]:
    """Level and sentence of each problem of a row."""
    # A question without answer, or one whose answers are not known.
    if not reference:
        return
    pairs = answer_shapes.pairs(cell)
    if reference == NO_TEXT:
        if pairs:
            yield "unknown", "an answer has no text"
        else:
            yield "unknown", "the question has no answer: options.version_2_with_negative=true allows that"
        return
    span = answer_shapes.first_span(context, cell)
    if all(answer_shapes.means_no_answer(text, in_context=span is not None) for text in reference):
        yield _marker_problem(reference[0], is_span=span is not None)
        return
    if len(reference) < len(pairs):
        yield "untrainable", "one of several answers has no text"
    elif span is None:
        # Whitespace in texts often differs, so it is no reason to say that the answer is not there.
        words = " ".join(context.split())
        if any(" ".join(text.split()) in words for text in reference):
            yield "untrainable", "the answer is in the context, but answer_start does not say where"
        else:
            yield "untrainable", "the answer is not in the context"
    if span is not None:
        starts = []
        for text, start in pairs:
            # Whitespace at the start of an answer is not part of its span.
            starts.append(start + len(text or "") - len((text or "").lstrip()))
        if max(starts) < 0:
            yield "note", "answer_start is not given, and was set to the only occurrence of the answer"
        elif span[0] not in starts:
            yield "note", "answer_start was wrong, and was set to where the answer is in the context"


def _marker_problem(text: str, *, is_span: bool) -> tuple[Level, str]:
    """Level and sentence of an answer that may mean that there is none.

    Args:
        text: The answer.
        is_span: Whether an answer of the row is in its context.
    """
    edit = "if it means that there is no answer, give an empty list or text"
    if is_span:
        return "note", f"the answer {text!r} is learnt as a part of the context; {edit}"
    return "unknown", f"the answer {text!r} is written nowhere in the context; {edit}"
