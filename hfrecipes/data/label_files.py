"""Names of labels that are ids, in a file beside the rows: a list, one name per line, or names by id."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, NotFoundError
from ..recipe import Recipe, reference_columns
from .shapes.label_cells import WRITTEN, names_of, unpacked
from .shapes.labels import REGRESSION, is_missing, label_name

if TYPE_CHECKING:
    from datasets import Dataset

_NAMES = (
    "id2label",
    "label2id",
    "label_names",
    "label_map",
    "label_mapping",
    "class_names",
    "classes",
    "class",
    "labels",
    "mapping",
)
_FILES = {f"{name}{suffix}" for name in _NAMES for suffix in (".json", ".txt")}
_ID_AND_NAME = re.compile(r"(\d+)[\t ,:]+(.+)")
_SHOWN = 6  # names in a sentence


def without_label_files(files: list[str]) -> list[str]:
    """The files without those that name labels, if others are left."""
    rows = [file for file in files if Path(file).name.lower() not in _FILES]
    return rows or files


def name_ids(recipe: Recipe, dataset: Any, train: Dataset) -> list[str]:
    """Set the option `label_names` from a file: the one that it names, or one beside the rows that fits their ids.

    Returns:
        A sentence on a file that was found.

    Raises:
        NotFoundError: There is no such file.
        ConfigError: It has no names of labels.
    """
    given = getattr(recipe, "label_names", "")
    if isinstance(given, str) and given:
        recipe.label_names = _names_in(given)  # type: ignore[attr-defined]
    if given is not None or getattr(recipe, "problem_type", None) == REGRESSION:
        return []
    ids = _labels_of(recipe, train)
    if not ids or not all(map(str.isdigit, ids)):
        return []
    for file in _files_beside(dataset):
        try:
            names = _names_in(file)
        except ConfigError:
            continue
        if ids <= set(names):
            recipe.label_names = names  # type: ignore[attr-defined]
            shown = ", ".join(list(names.values())[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
            return [f"label names: {shown}, from {os.path.relpath(file)}; options.label_names=[] leaves the ids"]
    return []


def _names_in(file: str) -> dict[str, str]:
    """Id -> name, as a file has them."""
    try:
        text = Path(file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise NotFoundError(
            f"label_names: cannot read {file}: {reason}; give a list of names, or a file that has them"
        ) from error
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = _from_lines(text.splitlines())
    if isinstance(content, list) and any(isinstance(entry, dict) for entry in content):
        content = _from_objects(content)
    if isinstance(content, Mapping):
        # The config of a model has names too, and so has a ClassLabel.
        content = content.get("id2label") or content.get("names") or content
    names = names_of(content) if isinstance(content, Mapping | list) else {}
    if not names or not all(map(str.isdigit, names)):
        raise ConfigError(f"label_names: found no names in {file}, expected a list of names, or names by id from 0")
    return names


def _from_objects(entries: list[Any]) -> dict[str, str]:
    """Names by id where each entry has an id and one text, as CLUE writes `{"label": "100", "label_desc": "news"}`.

    Example:
        >>> _from_objects([{"id": 0, "name": "calm"}, {"id": 1, "name": "angry"}]), _from_objects([{"label": "calm"}])
        ({'0': 'calm', '1': 'angry'}, {})
    """
    names = {}
    for entry in entries:
        texts = list(map(str, entry.values())) if isinstance(entry, dict) else []
        ids = [text for text in texts if text.isdigit()]
        if len(texts) != 2 or len(ids) != 1:
            return {}
        texts.remove(ids[0])
        names[ids[0]] = texts[0]
    return names if len(names) == len(entries) else {}


def _from_lines(lines: Iterable[str]) -> dict[str, str] | list[Any]:
    """Names by id where each line has both, else the lines, or the objects that they are."""
    filled = [line.strip() for line in lines if line.strip()]
    if filled and all(line.startswith("{") and line.endswith("}") for line in filled):
        with contextlib.suppress(ValueError, RecursionError):
            return [json.loads(line) for line in filled]
    matches = [_ID_AND_NAME.fullmatch(line) for line in filled]
    pairs = {match[1]: match[2] for match in matches if match}
    return pairs if len(pairs) == len(filled) else filled


def _labels_of(recipe: Recipe, train: Dataset) -> set[str]:
    """All labels of the training rows, as they are in the data."""
    labels = set()
    for column in reference_columns(recipe):
        for cell in train[column][:] if column in train.column_names else []:
            value = unpacked(cell, WRITTEN)
            for label in value if isinstance(value, list) else [value]:
                if not is_missing(label):
                    labels.add(label_name(int(label) if isinstance(label, bool) else label))
    return labels


def _files_beside(dataset: Any) -> list[str]:
    """Files that may name labels, in the folders of the rows."""
    sources = dataset.values() if isinstance(dataset, Mapping) else [dataset]
    folders: dict[str, None] = {}
    for source in sources:
        if isinstance(source, str) and os.path.exists(source):
            folders[source if os.path.isdir(source) else os.path.dirname(os.path.abspath(source))] = None
    files = []
    for folder in folders:
        names = {name.lower(): name for name in os.listdir(folder)}
        files += [os.path.join(folder, names[name]) for name in _ordered_files() if name in names]
    return files


def _ordered_files() -> list[str]:
    return sorted(_FILES, key=lambda file: (_NAMES.index(Path(file).stem), file))
