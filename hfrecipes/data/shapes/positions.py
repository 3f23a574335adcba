"""Answers that are given by positions: tokens of Natural Questions and NewsQA, characters of NewsQA's combined file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ...recipe import Batch, Row
from ..batches import rows_of
from .cells import Change

_TAG = re.compile(r"</?[A-Za-z][A-Za-z0-9]*(\s[^>]*)?>")
_RANGE = re.compile(r"(\d+):(\d+)")
_COLUMNS = ("id", "question", "context", "answers")


def column_normalizer(columns: Mapping[str, Any]) -> Change | None:
    """What makes questions, contexts and answers of such rows; None for any other.

    Args:
        columns: Columns of the rows, with their types of `datasets`.
    """
    names = set(columns)
    if {"document_text", "question_text", "annotations"} <= names:
        return _from_simplified
    if {"document", "question", "annotations"} <= names and isinstance(columns["document"], dict):
        return _from_natural_questions
    if {"text", "questions"} <= names and _has_keys(columns["questions"], {"q"}):
        return _from_newsqa
    if {"story_text", "question", "answer_token_ranges"} <= names:
        return _from_token_ranges
    return None


def _has_keys(kind: Any, keys: set[str]) -> bool:
    item = getattr(kind, "feature", None)
    return isinstance(item, dict) and keys <= set(item)


def _columns(rows: Iterable[tuple[Any, Any, Any, Row | None]]) -> Batch:
    columns: Batch = {name: [] for name in _COLUMNS}
    for row in rows:
        for name, cell in zip(_COLUMNS, row, strict=True):
            columns[name].append(cell)
    return columns


# --- Natural Questions -------------------------------------------------------------------------------------------


def _from_simplified(batch: Batch) -> Batch:
    """Documents as tokens between blanks, with the tags of their pages."""
    rows = []
    for row in rows_of(batch):
        tokens = row["document_text"].split(" ")
        is_tag = [_TAG.fullmatch(token) is not None for token in tokens]
        spans, is_known = _short_answers(row["annotations"] or [])
        context, answers = _context_and_answers(tokens, is_tag, spans)
        rows.append((str(row.get("example_id", "")), row["question_text"], context, answers if is_known else None))
    return _columns(rows)


def _from_natural_questions(batch: Batch) -> Batch:
    """Documents with a list of tokens that says which of them are tags, and lists of annotations by key."""
    rows = []
    for row in rows_of(batch):
        tokens = row["document"]["tokens"]
        if isinstance(tokens, list):
            words = [token["token"] for token in tokens]
            tokens = {"token": words, "is_html": [token["is_html"] for token in tokens]}
        asked = row["question"]
        spans, is_known = _short_answers(_as_list(row["annotations"]))
        context, answers = _context_and_answers(tokens["token"], tokens["is_html"], spans)
        question = asked.get("text") if isinstance(asked, Mapping) else asked
        rows.append((str(row.get("id", "")), question, context, answers if is_known else None))
    return _columns(rows)


def _as_list(entries: Any) -> list[Row]:
    """Annotations, or their answers, as a list of dicts, where they are a dict of lists."""
    return list(rows_of(entries)) if isinstance(entries, Mapping) else entries


def _short_answers(annotations: Iterable[Mapping[str, Any]]) -> tuple[list[tuple[int, int]], bool]:
    """First and last token, exclusive, of each short answer; and whether that is all: yes and no are no spans."""
    spans: list[tuple[int, int]] = []
    says_yes_or_no = False
    for annotation in annotations:
        says_yes_or_no |= str(annotation.get("yes_no_answer", "NONE")).upper() in ("YES", "NO", "0", "1")
        answers = annotation.get("short_answers") or []
        for answer in _as_list(answers):
            spans.append((answer["start_token"], answer["end_token"]))
    return spans, bool(spans) or not says_yes_or_no


def _context_and_answers(tokens: list[str], is_tag: list[bool], spans: Iterable[tuple[int, int]]) -> tuple[str, Row]:
    """The tokens that are no tags, as one text, and the answers in it."""
    starts, texts, length = [], [], 0
    for token, tag in zip(tokens, is_tag, strict=True):
        starts.append(length)
        if not tag:
            texts.append(token)
            length += len(token) + 1
    context = " ".join(texts)
    answers: Row = {"text": [], "answer_start": []}
    for first, end in spans:
        last_end = starts[end] if end < len(starts) else length
        answers["text"].append(context[starts[first] : last_end].strip())
        answers["answer_start"].append(starts[first])
    return context, answers


# --- NewsQA ------------------------------------------------------------------------------------------------------


def _from_newsqa(batch: Batch) -> Batch:
    """Stories with their questions, whose answers are agreed on as first and last character."""
    rows = []
    for row in rows_of(batch):
        for number, question in enumerate(row["questions"] or []):
            identity = f"{row.get('storyId', '')}-{number}"
            rows.append((identity, question["q"], row["text"], _agreed(row["text"], question.get("consensus"))))
    return _columns(rows)


def _agreed(text: str, consensus: Mapping[str, Any] | None) -> Row | None:
    """The answer that annotators agreed on; none where they say so, None for a question that was found bad."""
    if not consensus or consensus.get("badQuestion"):
        return None
    start, end = consensus.get("s"), consensus.get("e")
    if start is None or end is None:
        return {"text": [], "answer_start": []}
    return {"text": [text[start:end].strip()], "answer_start": [start]}


def _from_token_ranges(batch: Batch) -> Batch:
    """Stories as tokens between blanks, with ranges of them such as 4:7,9:10; `None` for no answer."""
    rows = []
    for row in rows_of(batch):
        story = row["story_text"] or ""
        spans = [match.span() for match in re.finditer(r"\S+", story)]
        answers: Row = {"text": [], "answer_start": []}
        for first, end in _RANGE.findall(row["answer_token_ranges"] or ""):
            if int(first) < int(end) <= len(spans):
                start = spans[int(first)][0]
                answers["text"].append(story[start : spans[int(end) - 1][1]])
                answers["answer_start"].append(start)
        rows.append((row.get("story_id"), row["question"], story, answers))
    return _columns(rows)
