"""Shapes of documents and their summaries: texts, or lists of sentences and of several summaries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from ...recipe import Batch
from .cells import first_column


def column_normalizer(
    columns: Mapping[str, Any], documents: Iterable[str], summaries: Iterable[str]
) -> Callable[[Batch], Batch] | None:
    """What joins lists of sentences to documents and takes the first of several summaries; None for plain texts.

    Args:
        columns: Columns of the rows, with their types of `datasets`.
        documents: Names of the column of documents.
        summaries: Names of the column of summaries.
    """
    document = _list_column(columns, documents)
    summary = _list_column(columns, summaries)
    if document is None and summary is None:
        return None
    return partial(from_lists, document=document, summary=summary)


def _list_column(columns: Mapping[str, Any], names: Iterable[str]) -> str | None:
    """The column of the data with one of these names, if its cells are lists."""
    name = first_column({column.strip().lower(): column for column in columns}, names)
    # In `datasets`, the type of a list has a `feature`: that of its items.
    return name if name is not None and hasattr(columns[name], "feature") else None


def from_lists(batch: Batch, document: str | None, summary: str | None) -> Batch:
    """Documents and summaries from columns of lists; of several summaries the first is learnt, all are references.

    Args:
        batch: Rows.
        document: Column of lists of sentences; None where documents are texts.
        summary: Column of lists of summaries; None where there is one summary each.
    """
    columns = {name: cells for name, cells in batch.items() if name not in (document, summary)}
    if document is not None:
        columns["document"] = [_joined(cell) for cell in batch[document]]
    if summary is not None:
        columns["summary"] = [cell[0] if cell else None for cell in batch[summary]]
        columns["references"] = batch[summary]
    return columns


def _joined(sentences: list[Any] | None) -> str | None:
    if sentences is None:  # an empty cell, which the checks of the rows report
        return None
    return " ".join(str(sentence) for sentence in sentences if sentence is not None)
