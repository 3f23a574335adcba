"""Texts with spans as annotation tools export them: Prodigy, spaCy, Label Studio, doccano, CLUENER."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ...recipe import Batch, Row
from .cells import parse_list

# Keys of the spans inside a dict, as spaCy writes {"entities": [[0, 5, "PER"]]}.
_SPANS = ("entities", "spans", "ents", "label", "labels")
_PRODIGY = ("spans", "tokens", "_input_hash", "_task_hash", "_session_id", "label", "options")  # beside its `answer`
_LABELS = ("labels", "label", "hypertextlabels", "paragraphlabels")  # of a region of Label Studio


def spans_of(cell: Any) -> list[Any] | None:
    """The spans of a row as a list, whatever holds them; None for a row without annotation.

    Example:
        >>> spans_of({"entities": [[0, 3, "PER"]]})
        [[0, 3, 'PER']]
        >>> spans_of({"name": {"Ana": [[0, 2]]}})
        [{'start': 0, 'end': 3, 'label': 'name'}]
    """
    value = _decoded(cell)
    if isinstance(value, Mapping):
        for name in _SPANS:
            if isinstance(value.get(name), list):
                return list(value[name])
        return list(_by_type(value))
    return None if value is None else list(map(_decoded, value))


def _decoded(cell: Any) -> Any:
    """The list or dict that a text writes; anything else as it is."""
    return parse_list(cell) if isinstance(cell, str) else cell


def _by_type(types: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Spans of CLUENER: type -> text -> first and last character, so that the end is one further."""
    for label, texts in types.items():
        # Columns of a table have all keys in each row, with None for those that the row lacks.
        for places in (texts or {}).values() if isinstance(texts, Mapping | None) else []:
            for start, last in places or []:
                yield {"start": start, "end": last + 1, "label": label}


# --- Prodigy ---------------------------------------------------------------------------------------------------------


def rejected_rows(columns: Mapping[str, Any]) -> list[int]:
    """Indices of rows of Prodigy that the annotator rejected or ignored.

    Args:
        columns: Cells by the names of their columns.
    """
    answers = columns.get("answer", ())
    is_prodigy = any(name in columns for name in _PRODIGY) and set(answers) <= {"accept", "reject", "ignore"}
    if not is_prodigy:
        return []
    return [index for index, answer in enumerate(answers) if answer != "accept"]


def has_choices_shape(names: Iterable[str]) -> bool:
    """Whether the columns are those of Prodigy's choices: what could be chosen for a text, and what was."""
    return {"text", "options", "accept"} <= set(names)


def from_choices(batch: Batch) -> Batch:
    """Texts with the options that were chosen for them, by id, or by text where ids are numbers."""
    rows = {name: cells for name, cells in batch.items() if name not in ("options", "accept", "config")}
    configs = batch.get("config") or [None] * len(batch["text"])
    labels: list[Any] = []
    for options, accepted, config in zip(batch["options"], batch["accept"], configs, strict=True):
        labels.append(_chosen(_json(options) or [], _json(accepted), _json(config) or {}))
    return {**rows, "label": labels}


def _chosen(options: list[Any], accepted: list[Any] | None, config: Mapping[str, Any]) -> Any:
    """Names of the options that were chosen; the only one where the tool allowed no more."""
    if accepted is None:
        return None
    names = {}
    for option in options:
        identity = str(option.get("id"))
        names[identity] = str(option.get("text") or identity) if identity.isdigit() else identity
    chosen = [names.get(str(identity), str(identity)) for identity in accepted]
    if config.get("choice_style") != "single":
        return chosen
    return chosen[0] if chosen else None


# --- spaCy -----------------------------------------------------------------------------------------------------------


def rows_of_pairs(entries: list[Any]) -> list[Row] | None:
    """Rows of a document of pairs, a text and its annotations by kind, as spaCy is trained on; None for any other.

    Example:
        >>> rows_of_pairs([["Ana sat.", {"entities": [[0, 3, "PER"]]}]])
        [{'text': 'Ana sat.', 'entities': [[0, 3, 'PER']]}]
    """
    rows: list[Row] = []
    for entry in entries:
        if not (isinstance(entry, list) and list(map(type, entry)) == [str, dict]):
            return None
        rows.append({"text": entry[0], **entry[1]})
    return rows


# --- Label Studio ----------------------------------------------------------------------------------------------------


def has_label_studio_shape(names: Mapping[str, Any]) -> bool:
    """Whether the columns are those of Label Studio's full export, in which `data` holds the text."""
    return "data" in names and "annotations" in names


def from_label_studio(batch: Batch) -> Batch:
    """Text, spans and chosen labels of each task, from the first annotation that was not cancelled."""
    rows: Batch = {"text": [], "entities": [], "label": []}
    for data, results in zip(batch["data"], batch["annotations"], strict=True):
        rows["text"].append(_text_of(_json(data)))
        values = _values(_json(results))
        rows["entities"].append(None if values is None else _regions(values))
        rows["label"].append(None if values is None else _choices(values))
    return rows


def _json(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return None


def _text_of(data: Any) -> str | None:
    """The text of a task: `text`, or its only text."""
    if not isinstance(data, Mapping):
        return None
    texts = [value for value in data.values() if isinstance(value, str)]
    text = data.get("text")
    return text if isinstance(text, str) else (texts[0] if len(texts) == 1 else None)


def _values(annotations: Any) -> list[dict[str, Any]] | None:
    """What the annotator marked; None where nobody annotated the task."""
    for annotation in annotations or []:
        if isinstance(annotation, Mapping) and not annotation.get("was_cancelled"):
            return [region.get("value") or {} for region in annotation.get("result") or []]
    return None


def _regions(values: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Spans with a label."""
    return [value for value in values if any(map(value.get, _LABELS))]


def _choices(values: list[dict[str, Any]]) -> list[str]:
    """Labels of the whole text."""
    chosen: list[str] = []
    for value in values:
        chosen += value.get("choices") or []
    return chosen
