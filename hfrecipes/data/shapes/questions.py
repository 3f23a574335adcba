"""Rows of several questions about one text, as exams, DREAM and C3 publish them: each question becomes a row."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from ...errors import DataError
from ...recipe import Batch, Row
from ..batches import rows_of
from .cells import Change

# Columns with a cell for each question, and what such a column of single cells is called.
_SINGULAR = {"questions": "question", "answers": "answer", "labels": "label", "answerkeys": "answerKey"}
# DREAM and C3 write each row as a list without names: turns, questions, id.
_WITHOUT_NAMES = {"0": "context", "2": "id"}


def rows_without_names(entries: Any) -> list[Row] | None:
    """Rows of a document whose entries are lists of a text, its questions and an id; None for any other document.

    Args:
        entries: A JSON document.

    Example:
        >>> rows_without_names([[["Tea?", "Yes."], [{"question": "Who?"}], "7"]])
        [{'0': ['Tea?', 'Yes.'], '1': [{'question': 'Who?'}], '2': '7'}]
    """
    if not isinstance(entries, list) or not entries:
        return None
    rows = []
    for entry in entries:
        if not isinstance(entry, list) or len(entry) != len(entries[0]) or not any(map(_are_questions, entry)):
            return None
        rows.append({str(position): cell for position, cell in enumerate(entry)})
    return rows


def _are_questions(cell: Any) -> bool:
    """Whether a cell is a list of questions, each a dict."""
    return isinstance(cell, list) and bool(cell) and all(isinstance(item, dict) and "question" in item for item in cell)


def column_normalizer(columns: Mapping[str, Any]) -> tuple[Change | None, Mapping[str, Any]]:
    """A function that makes one row per question (None if rows have one each), and the columns and types after it.

    Args:
        columns: Columns of the rows, with their types of `datasets`.
    """
    for name, kind in columns.items():
        item = getattr(kind, "feature", None)
        if isinstance(item, dict) and "question" in item:
            names = _WITHOUT_NAMES if set(columns) <= {"0", "1", "2"} else {}
            after = {names.get(other, other): columns[other] for other in columns if other != name}
            return partial(from_dicts, questions=name, names=names), {**after, **item}
    questions = next((name for name in columns if name.strip().lower() == "questions"), None)
    if questions is None or not hasattr(columns[questions], "feature"):
        return None, columns
    # Every list of such a row has an entry for each question, but for the text that they are about.
    lists = {}
    for name, kind in columns.items():
        if name == questions or _holds_entries(name, kind):
            lists[name] = _SINGULAR.get(name.strip().lower(), name)
    after = {name: kind for name, kind in columns.items() if name not in lists}
    return partial(from_lists, lists=lists), {**after, **{new: columns[name].feature for name, new in lists.items()}}


def _holds_entries(name: str, kind: Any) -> bool:
    """Whether a column has an entry for each question: lists of labels, or of lists of choices."""
    item = getattr(kind, "feature", None)
    return item is not None and (hasattr(item, "feature") or name.strip().lower() in _SINGULAR)


def from_dicts(batch: Batch, questions: str, names: Mapping[str, str]) -> Batch:
    """A row for each question, with what stands beside all of them.

    Args:
        batch: Rows.
        questions: Column of lists of questions, each a dict.
        names: New names of other columns.
    """
    rows: list[Row] = []
    for row in rows_of(batch):
        others = {names.get(name, name): cell for name, cell in row.items() if name != questions}
        rows.extend({**others, **question} for question in row[questions] or [])
    return _columns(rows)


def from_lists(batch: Batch, lists: Mapping[str, str]) -> Batch:
    """A row for each question, with the entry of the same index of every list.

    Args:
        batch: Rows.
        lists: Column with an entry for each question -> its name as a column of single cells.
    """
    rows: list[Row] = []
    for row in rows_of(batch):
        sizes = {name: len(row[name] or []) for name in lists}
        if len(set(sizes.values())) != 1:
            counts = ", ".join(f"{size} {name}" for name, size in sizes.items())
            raise DataError(f"a row has {counts}: expected as many of each, one for each question: fix that row")
        others = {name: cell for name, cell in row.items() if name not in lists}
        for index in range(max(sizes.values())):
            rows.append({**others, **{new: row[name][index] for name, new in lists.items()}})
    return _columns(rows)


def _columns(rows: list[Row]) -> Batch:
    columns: Batch = {name: [] for row in rows for name in row}
    for row in rows:
        for name, cells in columns.items():
            cells.append(row.get(name))
    return columns
