"""Cells as they are published, made plain before a task looks at them: printed values, texts by language."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import DataError
from ..log import log
from ..recipe import Batch, Recipe, input_columns
from . import kinds
from .progress import hide_progress_bars
from .shapes.python_cells import are_printed, printed_value

if TYPE_CHECKING:
    from datasets import Dataset

_SAMPLE = 100  # rows that tell how the cells of a column are written
_SHOWN = 60  # characters of a cell in a sentence
_FEWEST = 4  # words that show that all have a language before them
_PREFIXED = re.compile(r"[a-z]{2,8}(-[a-z]{1,10})*:\S+")
_TEXTS = ("string", "large_string")


def plain_cells(rows: Dataset, named: Mapping[str, Any]) -> Dataset:
    """The rows with printed values as what they hold, texts by language as objects, and parts that the user named.

    Args:
        rows: As they were read.
        named: Task column -> column of the dataset, or several, or a part of one as `premise.en`.
    """
    sample = rows[:_SAMPLE]
    # Printed values are texts, prefixes in lists of them: neither changes what tells the other.
    rows = _with_languages(_without_prefixes(_without_printed(rows, sample), sample))
    for name in named.values():
        for part in name if isinstance(name, list) else [name]:
            if isinstance(part, str) and part not in rows.column_names:
                rows = _with_part(rows, part)
    return rows


def stays(cell: Any) -> bool:
    """Whether a text, or a list of texts, is none of what is made plain here, whatever stands in other rows."""
    if isinstance(cell, str):
        return printed_value(cell) is None
    if not isinstance(cell, list) or not cell or not all(isinstance(word, str) for word in cell):
        return False
    return _prefix_of(cell) is None


# --- printed values ----------------------------------------------------------------------------------------------


def _without_printed(rows: Dataset, sample: Batch) -> Dataset:
    """The rows with texts and numbers in place of what Python printed of them."""
    names = []
    for name, feature in rows.features.items():
        is_text = getattr(feature, "dtype", None) in _TEXTS and not kinds.is_json(feature)
        if is_text and are_printed(sample[name]):
            names.append(name)
            example = next(cell for cell in sample[name] if cell and printed_value(cell) is not None)
            shown = f"{example[:_SHOWN]} is {str(printed_value(example))[:_SHOWN]!r}"
            log(f"column {name!r} holds values as Python prints them, and is read as what they stand for: {shown}")
    if not names:
        return rows
    with hide_progress_bars(len(rows)):
        return rows.map(_read_printed, batched=True, fn_kwargs={"names": names}, features=rows.features)


def _read_printed(batch: Batch, names: Sequence[str]) -> Batch:
    columns: Batch = {}
    for name in names:
        columns[name] = []
        for cell in batch[name]:
            value = None if cell is None else printed_value(cell)
            columns[name].append(cell if value is None else value)
    return columns


# --- languages before words --------------------------------------------------------------------------------------


def _without_prefixes(rows: Dataset, sample: Batch) -> Dataset:
    """The rows without the language before each word, as WikiANN has it: `en:Ana`."""
    prefixes: dict[str, str] = {}
    for name, feature in rows.features.items():
        item = getattr(feature, "feature", None)
        if getattr(item, "dtype", None) in _TEXTS and not kinds.is_json(item):
            words = list(itertools.chain.from_iterable(cell or () for cell in sample[name]))
            prefix = None if len(words) < _FEWEST or None in words else _prefix_of(words)
            if prefix is not None:
                prefixes[name] = prefix
    if not prefixes:
        return rows
    for name, prefix in prefixes.items():
        log(f"column {name!r}: the language before each word, such as {prefix!r}, is left out")
    with hide_progress_bars(len(rows)):
        return rows.map(_strip_prefixes, batched=True, fn_kwargs={"names": list(prefixes)}, features=rows.features)


def _prefix_of(words: Sequence[str]) -> str | None:
    """The language before the first of the words; None if one of the words has none, or nothing but it."""
    if not all(map(_PREFIXED.fullmatch, words)):
        return None
    return words[0][: words[0].index(":") + 1]


def _strip_prefixes(batch: Batch, names: Sequence[str]) -> Batch:
    columns: Batch = {name: [] for name in names}
    for name in names:
        for words in batch[name]:
            # A sentence is in one language, and has it before each of its words.
            prefix = _prefix_of(words) if words and None not in words else None
            shared = prefix is not None and all(word.startswith(prefix) for word in words)
            columns[name].append([word.removeprefix(prefix) for word in words] if shared else words)
    return columns


# --- texts by language, and parts of objects ---------------------------------------------------------------------


def _with_languages(rows: Dataset) -> Dataset:
    """The rows with an object (language -> text) in place of a list of languages and a list of texts."""
    from datasets import Value

    for name, feature in rows.features.items():
        is_object = isinstance(feature, dict) and set(feature) == {"language", "translation"}
        if not is_object or not all(hasattr(inner, "feature") for inner in feature.values()):
            continue
        languages: set[str] = set()
        for cell in rows[name]:
            languages.update((cell or {}).get("language") or ())
        features = rows.features.copy()
        features[name] = dict.fromkeys(sorted(languages), Value("large_string"))
        log(f"column {name!r} holds texts by language: {', '.join(sorted(languages))}")
        arguments = {"name": name, "languages": sorted(languages)}
        with hide_progress_bars(len(rows)):
            rows = rows.map(_by_language, batched=True, fn_kwargs=arguments, features=features)
    return rows


def _by_language(batch: Batch, name: str, languages: Sequence[str]) -> Batch:
    objects = []
    for cell in batch[name]:
        pairs = zip((cell or {}).get("language") or (), (cell or {}).get("translation") or (), strict=False)
        # TED talks have some languages twice, of which the first stays.
        texts = dict(reversed(list(pairs)))
        objects.append({language: texts.get(language) for language in languages})
    return {name: objects}


def _with_part(rows: Dataset, part: str) -> Dataset:
    """The rows with a column of a part of their objects, as `premise.en`; as they are where there is no such part."""
    for name, feature in rows.features.items():
        keys = part.removeprefix(f"{name}.").split(".")
        if not part.startswith(f"{name}.") or not (isinstance(feature, dict) or kinds.is_json(feature)):
            continue
        cells = [_inside(kinds.decoded(cell, feature), keys) for cell in rows[name]]
        kind = kinds.kind_of(cells)
        if any(cell is not None for cell in cells):
            stored = kinds.array_of(cells, kind).to_pylist()
            return rows.add_column(part, stored, feature=kinds.features_of({part: kind})[part])
    return rows


def _inside(cell: Any, keys: Iterable[str]) -> Any:
    for key in keys:
        cell = cell.get(key) if isinstance(cell, dict) else None
    return cell


def check_parts(rows: Dataset, columns: Mapping[str, str], recipe: type[Recipe]) -> None:
    """Refuse objects where texts to read are expected.

    Args:
        rows: Under the names of the dataset.
        columns: Task column -> column of the dataset.
        recipe: The task.

    Raises:
        DataError: With the part to name.
    """
    objects = {}
    for column in input_columns(recipe):
        feature = rows.features.get(columns.get(column, ""))
        if recipe.columns[column].kind == "string" and isinstance(feature, dict) and feature:
            objects[columns[column]] = column
    if not objects:
        return
    shared = set.intersection(*(set(rows.features[name]) for name in objects))
    sentences, edits = [], []
    for name, column in objects.items():
        keys = list(rows.features[name])
        # The same part of each, such as a language, where they have one.
        part = min(shared, default=keys[0])
        sentences.append(f"column {name!r} holds objects with {', '.join(keys)[:200]}")
        edits.append(f"columns.{column}={name}.{part}")
    raise DataError(f"{'; '.join(sentences)}: expected a text, name the part that has it, such as {' '.join(edits)}")
