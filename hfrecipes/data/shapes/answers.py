"""Answers to questions: the shapes in which data gives them, and where they stand in their text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ...errors import DataError
from ...metrics._squad import CJK
from ...recipe import Batch, Row
from .cells import spelled, whole

NEAR = 20  # characters within which an answer is taken for the one that answer_start means
TEXTS, STARTS = ("answer", "answer_text", "答案"), ("answer_start", "start", "start_position", "span_start")
_CONTEXTS, _QUESTIONS = ("context", "context_text", "passage", "paragraph"), ("question", "query_text", "query")
_IDS = ("id", "query_id", "qid", "question_id")
_LETTER = rf"[^\W{CJK}]"
UNKNOWN = -1  # place of an answer that the loss leaves out


# --- where an answer stands ------------------------------------------------------------------------------------------


def pairs(cell: Row) -> list[tuple[str, int]]:
    """Text and start of each answer of a row; -1 for an unknown start."""
    starts = [-1 if start is None else start for start in cell.get("answer_start") or []]
    texts = cell.get("text") or []
    return list(zip(texts, [*starts, *[-1] * (len(texts) - len(starts))], strict=False))


def first_span(context: str, cell: Row) -> tuple[int, int] | None:
    """Characters of the first answer that stands in the context."""
    return next((span for text, start in pairs(cell) if (span := locate(context, text or "", start))), None)


def locate(context: str, text: str, start: int) -> tuple[int, int] | None:
    """Where the answer stands: at its start, near it, or in the one place that has it; blanks may differ in number.

    Elsewhere than at its start it must be whole words, unless it stands near.
    """
    if start >= 0 and text.strip() and context.startswith(text, start):
        return start + len(text) - len(text.lstrip()), start + len(text.rstrip())
    words = text.split()
    if not words:
        return None
    anywhere = r"\s+".join(map(re.escape, words))
    left, right = (rf"(?{side}{_LETTER})" for side in ("<!", "!"))
    as_words = left * bool(re.match(_LETTER, words[0])) + anywhere + right * bool(re.match(_LETTER, words[-1][-1]))
    found = [match.span() for match in re.finditer(as_words, context)]
    inside = [match.span() for match in re.finditer(anywhere, context)] if start >= 0 else []
    near = [span for span in found or inside if start >= 0 and abs(span[0] - start) <= NEAR]
    if near:
        return min(near, key=lambda span: abs(span[0] - start))
    return found[0] if len(found) == 1 else None


def target(
    span: tuple[int, int] | None, starts: np.ndarray, ends: np.ndarray, *, opens: bool, closes: bool
) -> tuple[int, int] | None:
    """First and last of the window's tokens that the answer covers.

    Args:
        span: Characters of the answer.
        starts: Where each token of the window begins in the context.
        ends: Where it ends.
        opens: Whether the window is the first of its context; what stands before its first token has no token at all.
        closes: Whether it is the last.

    Returns:
        None where the answer is not wholly in the window; `UNKNOWN` twice where it has no token.
    """
    if span is None or not len(starts):
        return None
    if (span[0] < starts[0] and not opens) or (span[1] > ends[-1] and not closes):
        return None
    first = int(np.searchsorted(ends, span[0], side="right"))
    last = int(np.searchsorted(starts, span[1], side="left")) - 1
    return (first, last) if first <= last else (UNKNOWN, UNKNOWN)


# --- published shapes ------------------------------------------------------------------------------------------------


def are_lists(kind: Any) -> bool:
    """Whether a column of this type of `datasets` holds `{"text": [text, …], "answer_start": [number, …]}`."""
    if not isinstance(kind, dict) or set(kind) != {"text", "answer_start"}:
        return False
    text, start = (getattr(getattr(kind[name], "feature", None), "dtype", "") for name in ("text", "answer_start"))
    return text in ("string", "large_string", "null") and start.startswith(("int", "uint", "null"))


def from_articles(batch: Batch, paragraphs: str) -> Batch:
    """Rows of articles, each with its paragraphs, as SQuAD is published."""
    return _rows(paragraph for several in batch[paragraphs] for paragraph in _dicts(several, paragraphs))


def from_paragraphs(batch: Batch, qas: str) -> Batch:
    """Rows of paragraphs, each with its questions."""
    names = [*(name for name in batch if name != qas), "qas"]
    columns = [*(values for name, values in batch.items() if name != qas), batch[qas]]
    return _rows(dict(zip(names, cells, strict=True)) for cells in zip(*columns, strict=True))


def _rows(paragraphs: Iterable[Row]) -> Batch:
    made: Batch = {"id": [], "question": [], "context": [], "answers": []}
    for paragraph in paragraphs:
        context = _required(paragraph, _CONTEXTS)
        for asked in _dicts(_required(paragraph, ("qas",)), "qas"):
            made["id"].append(str(_cell(asked, _IDS) or ""))
            made["question"].append(_required(asked, _QUESTIONS))
            made["context"].append(context)
            given = _cell(asked, ("answers", *TEXTS))
            made["answers"].append(as_lists([] if asked.get("is_impossible") else given, _cell(asked, STARTS)))
    return made


def _dicts(cell: Any, name: str) -> list[Row]:
    if not isinstance(cell, list) or not all(isinstance(one, dict) for one in cell):
        raise DataError(f"{name} holds {str(cell)[:60]!r}, expected a list of objects as SQuAD has them")
    return cell


def from_flat(batch: Batch, answers: str, start: str | None, impossible: str | None) -> Batch:
    """Rows whose answers are given otherwise than as a dict of lists."""
    size = len(batch[answers])
    starts, without = (batch[name] if name else [None] * size for name in (start, impossible))
    made = [
        as_lists([] if _is_true(none) else cell, at)
        for cell, at, none in zip(batch[answers], starts, without, strict=True)
    ]
    used = {answers, start, impossible}
    return {**{name: values for name, values in batch.items() if name not in used}, "answers": made}


def as_lists(cell: Any, start: Any = None) -> Row | None:
    """Answers in any published shape as a dict of lists; None where they are not known.

    Args:
        cell: Dict of lists or of one answer, list of dicts or texts, such a thing written as text, or a plain text.
        start: Where a plain text stands.

    Raises:
        DataError: It is of none of these shapes.
    """
    if cell is None or (isinstance(cell, float) and np.isnan(cell)):
        return None
    found = list(_answers(_unquoted(cell) if isinstance(cell, str) else cell, start))
    return {"text": [_text(text) for text, _ in found], "answer_start": [_start(at) for _, at in found]}


def _unquoted(text: str) -> Any:
    try:
        value = spelled(text)
    except DataError:
        if text.lstrip().startswith("["):  # as a text may
            return text
        raise
    is_answers = isinstance(value, dict) or (value and all(isinstance(one, dict) for one in value))
    return value if is_answers or value == [] else text


def _answers(cell: Any, start: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(cell, dict):
        texts, starts = _required(cell, ("text",), none=True), _cell(cell, STARTS)
        if not isinstance(texts, list):
            texts, starts = [texts] if str(texts or "").strip() else [], [starts]
        starts = list(starts or [])
        yield from zip(texts, [*starts, *[None] * (len(texts) - len(starts))], strict=False)
    elif isinstance(cell, Sequence) and not isinstance(cell, str):
        for one in cell:
            yield from _answers(one, None) if isinstance(one, dict) else [(one, None)]
    elif str(cell).strip():
        yield cell, start


def _cell(row: Row, names: Iterable[str]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _required(row: Row, names: Sequence[str], *, none: bool = False) -> Any:
    value = _cell(row, names)
    if value is None and not (none and names[0] in row):
        raise DataError(f"found the keys {', '.join(row)}, expected {names[0]} among them")
    return value


def _text(text: Any) -> str | None:
    if text is not None and (isinstance(text, list | dict | bool)):
        raise DataError(f"an answer is {str(text)[:60]!r}, expected a text")
    return None if text is None else str(text)


def _start(start: Any) -> int:
    """A place in the text; -1 where it is not known."""
    try:
        number = whole(start)
    except (TypeError, ValueError):
        raise DataError(f"answer_start is {str(start)[:40]!r}, expected a number of characters") from None
    return -1 if number is None else max(-1, number)


def _is_true(cell: Any) -> bool:
    return cell is not None and str(cell).strip().lower() in ("true", "1", "1.0", "yes", "y")
