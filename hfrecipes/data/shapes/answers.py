"""Answers to questions: the shapes in which data gives them, and where they are in their text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ...errors import DataError
from ...metrics._squad import CJK
from ...recipe import Batch, Row
from ..batches import rows_of
from . import positions
from .cells import first_column, parse_list, whole_number
from .texts import holds_more_than_text

NEAR = 20  # characters by which answer_start may be wrong and still tells which of several occurrences is meant
TEXT_COLUMNS, START_COLUMNS = (
    ("answer", "answer_text", "答案"),
    ("answer_start", "start", "start_position", "span_start", "answer_span", "answer_offset", "char_spans"),
)
_CONTEXTS, _QUESTIONS = ("context", "context_text", "passage", "paragraph"), ("question", "query_text", "query")
_IDS = ("id", "query_id", "qid", "question_id")
# Start and end as a text: 25:31, (25, 31), [25, 31].
_RANGE = re.compile(r"[\[(]?\s*(\d+)\s*[:,;-]\s*\d+\s*[\])]?")
_LETTER = rf"[^\W{CJK}]"
# Texts by which datasets say that a question has no answer, in small letters without anything else. The words are
# answers where the context has them.
_MARKERS = {"cannotanswer", "answernotfound", "noanswer", "noanswerfound", "noanswerpresent", "unanswerable"}
_MARKERS |= {"notanswerable", "无答案", "没有答案", "無答案", "答えなし"}
_WORDS = {"notfound", "none", "null", "na", "nan", "unknown"}
UNKNOWN_TOKEN = -1  # token index of an answer that the loss ignores


# --- where an answer is ----------------------------------------------------------------------------------------------


def pairs(cell: Row) -> list[tuple[str, int]]:
    """Text and start of each answer of a row; -1 for an unknown start."""
    texts, starts = cell.get("text") or [], cell.get("answer_start") or []
    text_starts = []
    for index, text in enumerate(texts):
        start = starts[index] if index < len(starts) else None
        text_starts.append((text, -1 if start is None else start))
    return text_starts


def first_span(context: str, cell: Row) -> tuple[int, int] | None:
    """Characters of the first answer that is found in the context."""
    return next(spans_of(context, cell), None)


def spans_of(context: str, cell: Row) -> Iterator[tuple[int, int]]:
    """Characters of each answer that is found in the context."""
    for text, start in pairs(cell):
        span = find_answer(context, text or "", start)
        if span is not None:
            yield span


def means_no_answer(text: str, *, in_context: bool) -> bool:
    """Whether a text is one of those by which datasets say that a question has no answer.

    Args:
        text: The answer.
        in_context: Whether the context has it.

    Example:
        >>> [means_no_answer(text, in_context=True) for text in ("CANNOTANSWER", "No answer.", "None", "no")]
        [True, True, False, False]
    """
    letters = "".join(filter(str.isalpha, text.casefold()))
    return letters in _MARKERS or (letters in _WORDS and not in_context)


def find_answer(context: str, text: str, start: int) -> tuple[int, int] | None:
    """Characters of an answer in its context: at `start`, near it, or at its only occurrence.

    Elsewhere than at `start` its blanks may differ in number, and it must be whole words unless it is near.

    Args:
        context: The text that has the answer.
        text: The answer.
        start: Where it starts by the data; below 0 if unknown.
    """
    if start >= 0 and text.strip() and context.startswith(text, start):
        return start + len(text) - len(text.lstrip()), start + len(text.rstrip())
    words = text.split()
    if not words:
        return None
    anywhere = r"\s+".join(map(re.escape, words))
    spans = _spans(_as_whole_words(anywhere, words), context)
    if start >= 0:
        # Parts of words are a last resort: "art" within "party" is hardly ever meant.
        candidates = spans or _spans(anywhere, context)
        near = [span for span in candidates if abs(span[0] - start) <= NEAR]
        if near:
            return min(near, key=lambda span: abs(span[0] - start))
    return spans[0] if len(spans) == 1 else None


def _as_whole_words(pattern: str, words: list[str]) -> str:
    """The pattern with no letter or digit before its first word nor after its last one."""
    # Only where it starts or ends with a letter: CJK has no blanks between words, and "€5" may follow a letter.
    if re.match(_LETTER, words[0]):
        pattern = rf"(?<!{_LETTER}){pattern}"
    if re.match(_LETTER, words[-1][-1]):
        pattern = rf"{pattern}(?!{_LETTER})"
    return pattern


def _spans(pattern: str, text: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(pattern, text)]


def token_span(
    span: tuple[int, int] | None, starts: np.ndarray, ends: np.ndarray, *, opens: bool, closes: bool
) -> tuple[int, int] | None:
    """First and last of the window's tokens that the answer covers.

    Args:
        span: Characters of the answer.
        starts: First character of each token of the window, in the context.
        ends: End of each token, exclusive.
        opens: Whether the window is the first one of its context.
        closes: Whether the window is the last one of its context.

    Returns:
        None if the answer is not completely in the window; `UNKNOWN_TOKEN` twice if it has no token.
    """
    if span is None or not len(starts):
        return None
    # Characters before the first token of the whole context, or after its last one, belong to no token of any window.
    if (span[0] < starts[0] and not opens) or (span[1] > ends[-1] and not closes):
        return None
    first = int(np.searchsorted(ends, span[0], side="right"))
    last = int(np.searchsorted(starts, span[1], side="left")) - 1
    if first > last:
        return UNKNOWN_TOKEN, UNKNOWN_TOKEN
    return first, last


# --- published shapes ------------------------------------------------------------------------------------------------


def are_lists(kind: Any) -> bool:
    """Whether a column of this type of `datasets` holds `{"text": [text, …], "answer_start": [number, …]}`."""
    if not isinstance(kind, dict) or set(kind) != {"text", "answer_start"}:
        return False
    text, start = _item_type(kind["text"]), _item_type(kind["answer_start"])
    # The type is `null` if all lists are empty.
    return text in ("string", "large_string", "null") and start.startswith(("int", "uint", "null"))


def _item_type(kind: Any) -> str:
    """Name of the type of a list's items; empty if it is not a list."""
    return getattr(getattr(kind, "feature", None), "dtype", "")


def from_articles(batch: Batch, paragraphs: str) -> Batch:
    """Rows of articles, each with its paragraphs, as SQuAD is published.

    Args:
        batch: Rows of articles.
        paragraphs: Column of the paragraphs.
    """
    rows: list[Row] = []
    for article_paragraphs in batch[paragraphs]:
        rows.extend(_dicts(article_paragraphs, paragraphs))
    return _question_rows(rows)


def from_paragraphs(batch: Batch, qas: str) -> Batch:
    """Rows of paragraphs, each with its questions.

    Args:
        batch: Rows of paragraphs.
        qas: Column of the questions.
    """
    columns = {name: values for name, values in batch.items() if name != qas}
    columns["qas"] = batch[qas]
    return _question_rows(rows_of(columns))


def _question_rows(paragraphs: Iterable[Row]) -> Batch:
    """A row per question, with its context and its answers."""
    rows: Batch = {"id": [], "question": [], "context": [], "answers": []}
    for paragraph in paragraphs:
        context = _required(paragraph, _CONTEXTS)
        for question in _dicts(_required(paragraph, ("qas",)), "qas"):
            rows["id"].append(str(_first_cell(question, _IDS) or ""))
            rows["question"].append(_required(question, _QUESTIONS))
            rows["context"].append(context)
            answers = _first_cell(question, ("detected_answers", "answers", *TEXT_COLUMNS))
            # SQuAD 2.0 may give plausible answers together with `is_impossible`.
            if question.get("is_impossible"):
                answers = []
            rows["answers"].append(as_lists(answers, _first_cell(question, START_COLUMNS)))
    return rows


def _dicts(cell: Any, name: str) -> list[Row]:
    if not isinstance(cell, list) or not all(isinstance(item, dict) for item in cell):
        raise DataError(f"{name} holds {str(cell)[:60]!r}, expected a list of objects as in the files of SQuAD")
    return cell


def from_flat(batch: Batch, answers: str, start: str | None, impossible: str | None) -> Batch:
    """Rows whose answers are in another shape than a dict of lists.

    Args:
        batch: Rows.
        answers: Column of the answers.
        start: Column that tells where an answer starts.
        impossible: Column that tells whether a question has no answer.
    """
    unknown = [None] * len(batch[answers])
    starts = batch[start] if start else unknown
    without_answer = batch[impossible] if impossible else unknown
    lists = []
    for cell, cell_start, is_impossible in zip(batch[answers], starts, without_answer, strict=True):
        lists.append(as_lists([] if _is_true(is_impossible) else cell, cell_start))
    rest = {name: values for name, values in batch.items() if name not in (answers, start, impossible)}
    return {**rest, "answers": lists}


def as_lists(cell: Any, start: Any = None) -> Row | None:
    """Answers in any published shape as a dict of lists; None if they are unknown.

    Args:
        cell: Dict of lists or of a single answer, list of dicts or texts, any of these written as text; a plain text.
        start: Where a plain text starts.

    Raises:
        DataError: The cell has none of these shapes.

    Example:
        >>> as_lists("at 17:40", 22)
        {'text': ['at 17:40'], 'answer_start': [22]}
    """
    # An empty cell of a DataFrame is NaN.
    if cell is None or (isinstance(cell, float) and np.isnan(cell)):
        return None
    answers: Row = {"text": [], "answer_start": []}
    for text, text_start in _texts_and_starts(_unquoted(cell) if isinstance(cell, str) else cell, start):
        answers["text"].append(_text(text))
        answers["answer_start"].append(_start(text_start))
    return answers


def _unquoted(text: str) -> Any:
    """The answers that a text contains as a list or dict; the text itself if it is a plain answer."""
    try:
        value = parse_list(text)
    except DataError:
        # A plain answer may well start with a bracket, and hardly with a brace.
        if text.lstrip().startswith("["):
            return text
        raise
    are_answers = isinstance(value, list) and all(isinstance(item, dict) or _is_pair(item) for item in value)
    # A list of anything else, such as "[1, 2]", is more likely an answer than a list of answers.
    return value if isinstance(value, dict) or are_answers else text


def _is_pair(cell: Any) -> bool:
    """Whether a cell is the text of an answer and its start, as `["at 17:40", 22]`."""
    if not isinstance(cell, list | tuple) or len(cell) != 2 or not isinstance(cell[0], str):
        return False
    return isinstance(cell[1], int) and not isinstance(cell[1], bool)


def _texts_and_starts(cell: Any, start: Any) -> Iterator[tuple[Any, Any]]:
    """Text and start of each answer, as they are in the data."""
    if isinstance(cell, dict) and {"value", "aliases"} <= set(cell):  # TriviaQA: the answer, and other names of it
        for text in dict.fromkeys([cell["value"], *(cell["aliases"] or ())]):
            yield text, None
    elif isinstance(cell, dict):
        texts, starts = _required(cell, ("text",), none=True), _first_cell(cell, START_COLUMNS)
        if not isinstance(texts, list):
            texts, starts = [texts] if str(texts or "").strip() else [], [starts]
        yield from zip(texts, _starts(starts, len(texts)), strict=False)
    elif _is_pair(cell):
        yield cell[0], cell[1]
    elif isinstance(cell, Sequence) and not isinstance(cell, str):
        for item, item_start in zip(cell, _starts(start, len(cell)), strict=False):
            if isinstance(item, dict):
                yield from _texts_and_starts(item, None)
            elif _is_pair(item):
                yield item[0], item[1]
            else:
                yield item, item_start
    elif str(cell).strip():
        yield cell, _starts(start, 1)[0]


def _starts(cell: Any, answers: int) -> list[Any]:
    """Start of each answer; None for those that are left out, which are all of them or the last ones."""
    starts = parse_list(cell) if isinstance(cell, str) else cell
    if not isinstance(starts, list):
        starts = [] if cell is None else [cell]
    return [*starts, *[None] * (answers - len(starts))]


def _first_cell(row: Row, names: Iterable[str]) -> Any:
    """The first cell under one of the names that is not empty; None if there is none."""
    for name in names:
        if row.get(name) is not None:
            return row[name]
    return None


def _required(row: Row, names: Sequence[str], *, none: bool = False) -> Any:
    """The first cell under one of the names; `none` allows the first of them to be empty."""
    value = _first_cell(row, names)
    if value is None and not (none and names[0] in row):
        raise DataError(
            f"found the keys {', '.join(row)}, expected {names[0]} among them: write the file as SQuAD is written, or "
            "one row for each question"
        )
    return value


def _text(text: Any) -> str | None:
    if text is None:
        return None
    if isinstance(text, list | dict | bool):
        raise DataError(f"an answer is {str(text)[:60]!r}, expected a text, copied from the context")
    return str(text)


def _start(start: Any) -> int:
    """Index of the first character, of a range its start; -1 if it is unknown."""
    while isinstance(start, list | tuple | dict) and start:
        start = start.get("start") if isinstance(start, dict) else start[0]
    if isinstance(start, str) and (match := _RANGE.fullmatch(start.strip())):
        start = match[1]
    try:
        number = whole_number(start)
    except (TypeError, ValueError):
        raise DataError(
            f"answer_start is {str(start)[:40]!r}, expected a number, that of the characters before the answer"
        ) from None
    return -1 if number is None else max(-1, number)


def _is_true(cell: Any) -> bool:
    return cell is not None and str(cell).strip().lower() in ("true", "1", "1.0", "yes", "y")


def refuse_several_questions(columns: Mapping[str, Any]) -> None:
    """Refuse rows of several questions and their answers, as CoQA has them.

    Raises:
        DataError: With the form that is read.
    """
    names = {name.strip().lower(): name for name in columns}
    asked = names.get("questions", "")
    if asked and "question" not in names and holds_more_than_text(columns[asked], objects=False):
        raise DataError(
            f"{asked} holds several questions in each row, expected a row for each question: write them as "
            '{"question": …, "context": …, "answers": …}'
        )


def column_normalizer(columns: Mapping[str, Any]) -> Callable[[Batch], Batch] | None:
    """What brings published rows into `question`, `context` and `answers`; None where they have that form.

    Args:
        columns: Columns of the rows, with their types of `datasets`.
    """
    by_position = positions.column_normalizer(columns)
    if by_position is not None:
        return by_position
    names = {name.strip().lower(): name for name in columns}
    if "paragraphs" in names:
        return partial(from_articles, paragraphs=names["paragraphs"])
    if "qas" in names:
        return partial(from_paragraphs, qas=names["qas"])
    refuse_several_questions(columns)
    answers = first_column(names, ("detected_answers", "answers", *TEXT_COLUMNS))
    impossible = names.get("is_impossible")
    if answers is None or (are_lists(columns[answers]) and impossible is None):
        return None
    start = first_column(names, START_COLUMNS)
    return partial(from_flat, answers=answers, start=start, impossible=impossible)
