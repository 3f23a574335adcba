"""Errors in entities by their kind and type."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ...metrics._entities import entities_in
from ...metrics._schemes import canonical_tags, fit_length
from ..entity_errors import MEANINGS, Span, SpanError, span_errors
from ..page import Bars, Block, Section, Table
from ..run_data import PredictedRow, RunData

NUMBER = 200  # errors in the table


def section(run: RunData) -> Section | None:
    """How often each kind of error occurs, by type of entity, and the errors with their words."""
    recipe: Any = run.recipe
    if recipe.auto_model != "AutoModelForTokenClassification" or recipe.scheme == "none":
        return None
    blocks: list[Block] = []
    for split in reversed(run.rows):
        errors = errors_of(run, split)
        if errors:
            blocks += [*_counts(split, errors), _table(split, errors)]
    meanings = [f"{kind}: {meaning}" for kind, meaning in MEANINGS.items()]
    how = f"Each wrong entity, of the data or predicted, is part of one error: {'; '.join(meanings)}."
    return Section("Errors in entities", [how, *blocks]) if blocks else None


def errors_of(run: RunData, split: str) -> list[tuple[PredictedRow, SpanError]]:
    """All errors of a split, each with its row."""
    recipe: Any = run.recipe
    errors = []
    for row in run.known_rows(split):
        given = row.prediction["tags"]
        wanted = _spans(fit_length(row.reference, given), recipe.scheme)
        for error in span_errors(wanted, _spans(given, recipe.scheme)):
            errors.append((row, error))
    return errors


def _spans(tags: list[str], scheme: str | None) -> list[Span]:
    # Without one reference for each word, no word of the row can be compared; it is then one span without a type.
    return [span for span in entities_in(canonical_tags(tags, scheme)) if span[0]]


def _counts(split: str, errors: list[tuple[PredictedRow, SpanError]]) -> list[Block]:
    kinds, by_type = Counter[str](), Counter[tuple[str, str]]()
    for _, error in errors:
        span = error.reference or error.prediction
        kinds[error.kind] += 1
        if span is not None:
            by_type[span[0], error.kind] += 1
    rows: list[list[Any]] = []
    for name in sorted({name for name, _ in by_type}):
        rows.append([name, *(by_type[name, kind] for kind in MEANINGS)])
    rows.sort(key=lambda cells: -sum(cells[1:]))
    plot = Bars(f"Errors on {split} by kind", "errors", list(MEANINGS), [float(kinds[kind]) for kind in MEANINGS])
    return [plot, Table(["type of entity", *MEANINGS], rows, f"Errors on {split} by type of entity and kind")]


def _table(split: str, errors: list[tuple[PredictedRow, SpanError]]) -> Table:
    rows = []
    for row, error in errors[:NUMBER]:
        words = list(map(str, row.line.get("tokens") or row.prediction["tags"]))
        cells = [_shown(words, error.reference), _shown(words, error.prediction)]
        rows.append([row.number, error.kind, *cells, " ".join(words)])
    more = f" (the first {NUMBER} of {len(errors)})" if len(errors) > NUMBER else ""
    return Table(["row", "kind", "label", "prediction", "text"], rows, f"Errors on {split}{more}")


def _shown(words: list[str], span: Span | None) -> str:
    return "" if span is None else f"{' '.join(words[span[1] : span[2] + 1])} ({span[0]})"
