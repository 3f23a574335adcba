"""Rows with placeholders in place of names and numbers, and how many there are."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ..errors import DataError, ModelError, counted
from ..recipe import Batch, Recipe, Row, text_columns
from ..redaction.kinds import KINDS, several
from ..redaction.redactor import Edit, Edits, Redactor, replaced
from ..redaction.settings import RedactSettings, pattern_versions
from .batches import rows_of
from .cache import cache_fingerprint
from .progress import hide_progress_bars
from .row_origin import names_an_id

if TYPE_CHECKING:
    from datasets import Dataset

REDACTED = "__redacted__"  # column with what was replaced in each row, until all splits are final
Counts = Mapping[str, Mapping[str, int]]


def redactor_of(recipe: Recipe) -> Redactor | None:
    """What replaces names and numbers in the rows of this task; None where nothing does.

    Raises:
        ModelError: The run that recognises names is not loaded.
    """
    settings = RedactSettings.of(recipe.redact)
    if settings is None:
        return None
    if settings.model is not None and recipe.find_names is None:
        raise ModelError(
            f"redact: the run {settings.model} finds names and is not loaded: start from hfrecipes.run, build or load"
        )
    return Redactor(settings, recipe.find_names)


def redact_rows(rows: Dataset, recipe: Recipe, *, counts: bool = False) -> Dataset:
    """The rows with placeholders in their texts, cached where the rows are; ids are left out.

    Args:
        rows: Under the column names of the task.
        recipe: The task; without `redact` the rows are returned as they are.
        counts: Whether a column tells what was replaced in each row.

    Raises:
        DataError: A number that is to be replaced is inside a list or an object of numbers.
    """
    redactor = redactor_of(recipe)
    if redactor is None:
        return rows
    rows = rows.remove_columns(_id_columns(rows, recipe))
    # Another release of the library of numbering plans recognises other numbers.
    about = ("redact", counts, getattr(recipe.find_names, "identity", None), pattern_versions())
    arguments = {"recipe": recipe, "redactor": redactor, "counts": counts}
    with (
        hide_progress_bars(10 * len(rows)),
        cache_fingerprint(rows, recipe, *about) as key,
        _as_data_error(rows, recipe),
    ):
        return rows.map(
            _redact_batch,
            batched=True,
            fn_kwargs=arguments,
            features=_features(rows, recipe, counts),
            new_fingerprint=key,
            desc="Redacting",
        )


@contextlib.contextmanager
def _as_data_error(rows: Dataset, recipe: Recipe) -> Iterator[None]:
    """Raise an error that names the columns where a placeholder has no place among numbers."""
    try:
        yield
    except pa.ArrowException as error:
        # Lists and objects, unlike texts and numbers, have no type of their own.
        names = [name for name in text_columns(recipe) if getattr(rows.features.get(name), "dtype", None) is None]
        nested = " or ".join(name for name in names if name in rows.column_names)
        raise DataError(
            f"redact: a number in a list or an object cannot be replaced by a text ({nested}): write these numbers as "
            "texts"
        ) from error


def redact_texts(texts: Mapping[str, list[str]], recipe: Recipe) -> Mapping[str, list[str]]:
    """Texts by split, such as the values of a column that rows are scored by, with placeholders."""
    redactor = redactor_of(recipe)
    if redactor is None:
        return texts
    changed = {}
    for split, cells in texts.items():
        redactor.read(cells)
        changed[split] = [replaced(cell, redactor.edits(cell)) for cell in cells]
    return changed


def _id_columns(rows: Dataset, recipe: Recipe) -> list[str]:
    """Columns of the task that only tell rows apart: an id may be a number or an address of somebody."""
    names = []
    for name, column in recipe.columns.items():
        if name in rows.column_names and column.passthrough and names_an_id(name):
            names.append(name)
    return names


def _features(rows: Dataset, recipe: Recipe, counts: bool) -> Any:
    """Types of the columns; a column of numbers that are read as texts is one of texts."""
    from datasets import Features, Value

    features = dict(rows.features)
    for name in text_columns(recipe):
        is_number = str(getattr(features.get(name), "dtype", "")).startswith(("int", "uint", "float"))
        if is_number and recipe.columns[name].kind == "string":
            features[name] = Value("string")
    if counts:
        features[REDACTED] = Value("string")
    return Features(features)


def _redact_batch(batch: Batch, recipe: Recipe, redactor: Redactor, counts: bool) -> Batch:
    """A batch of rows, redacted."""
    rows = list(rows_of(batch))
    redactor.read(_texts_of(rows, recipe))
    changed: Batch = {name: [] for name in batch}
    if counts:
        changed[REDACTED] = []
    for row in rows:
        number: Counter[str] = Counter()
        redacted = recipe.redacted(row, _counting(redactor, number))
        for name in batch:
            changed[name].append(redacted[name])
        if counts:
            changed[REDACTED].append(json.dumps(number))
    return changed


def _counting(redactor: Redactor, number: Counter[str]) -> Edits:
    """What is replaced in a text, each distinct text of a row counted once."""
    known: dict[str, list[Edit]] = {}

    def edits(text: str) -> list[Edit]:
        if text not in known:
            known[text] = redactor.edits(text)
            number.update(edit.kind for edit in known[text])
        return known[text]

    return edits


def _texts_of(rows: Iterable[Row], recipe: Recipe) -> list[str]:
    """All texts that are asked for when these rows are redacted."""
    if recipe.find_names is None:
        return []
    texts: list[str] = []

    def listed(text: str) -> list[Edit]:
        texts.append(text)
        return []

    for row in rows:
        recipe.redacted(row, listed)
    return texts


def restore(predictions: Sequence[Row | None], rows: Dataset, recipe: Recipe) -> list[Row | None]:
    """Predictions of redacted rows, with spans that are those of the rows as they were given.

    Args:
        predictions: One per row.
        rows: As they were given, under the column names of the task.
        recipe: The task.
    """
    redactor = redactor_of(recipe)
    if redactor is None or type(recipe).restored is Recipe.restored:
        return list(predictions)
    given = list(rows_of(rows[:]))
    redactor.read(_texts_of(given, recipe))
    restored: list[Row | None] = []
    for row, prediction in zip(given, predictions, strict=True):
        restored.append(None if prediction is None else recipe.restored(row, prediction, redactor.edits))
    return restored


# --- counts ------------------------------------------------------------------------------------------------------


def counts_in(rows: Dataset) -> dict[str, dict[str, int]]:
    """How many of each kind were replaced (`matches`), and in how many `rows`."""
    counts: dict[str, dict[str, int]] = {}
    for cell in rows.with_format(None)[REDACTED][:]:
        for kind, number in json.loads(cell).items():
            known = counts.setdefault(kind, {"matches": 0, "rows": 0})
            known["matches"] += number
            known["rows"] += 1
    return counts


def described(counts: Mapping[str, Counts], rows: Mapping[str, int]) -> list[str]:
    """A sentence for each split on what was replaced in it, and one on what patterns do not promise.

    Args:
        counts: What `counts_in` gives, by split.
        rows: Number of rows by split.
    """
    sentences = []
    for split, by_kind in counts.items():
        parts = []
        for kind, number in by_kind.items():
            noun = KINDS[kind].noun if kind in KINDS else f"[{kind.upper()}]"
            parts.append(f"{several(noun, number['matches'])} in {counted(number['rows'], 'row')}")
        sentences.append(f"redacted in {split}, of {counted(rows[split], 'row')}: {', '.join(parts) or 'nothing'}")
    if sentences:
        sentences.append(
            "redact: patterns find usual forms, and runs most names, but not all of them: read some rows of "
            "predictions.jsonl; hfrecipes redacts texts to predict in the same way, and plain transformers does not"
        )
    return sentences
