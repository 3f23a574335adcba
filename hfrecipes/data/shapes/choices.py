"""Choices of a question and the label that picks one, in the shapes in which data gives them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from ...errors import DataError
from ...recipe import Batch, Row
from .cells import spelled, whole

LETTERS = "ABCDEFGHIJ"
Form = Literal["from_0", "from_1", "letter", "text"]
# In the order in which a doubt is decided.
FORMS: dict[Form, str] = {
    "from_0": "the number of the choice, counted from 0",
    "from_1": "the number of the choice, counted from 1",
    "letter": "the letter of the choice",
    "text": "the text of the choice",
}
_NUMBERED = re.compile(r"(ending|choice|option|answer|sol|opt|alternative|candidate|reply)[ _]?(\d+|[a-j])")
_NAMES, _TEXTS = ("label", "key", "option", "id"), ("text", "value", "content")


# --- labels ----------------------------------------------------------------------------------------------------------


def is_missing(label: Any) -> bool:
    """Whether there is no label."""
    return label is None or str(label).strip() in ("", "-1", "-1.0", "nan")


def place_of(label: Any, choices: list[str], form: str) -> int | None:
    """The choice that a label of this form means, from 0; None where it means none, or more than one."""
    text, number = str(label).strip(), number_of(label)
    if form == "text":
        texts = [str(choice or "").strip() for choice in choices]
        alike = [place for place, choice in enumerate(texts) if choice == text]
        alike = alike or [place for place, choice in enumerate(texts) if choice.casefold() == text.casefold()]
        return alike[0] if len(alike) == 1 else None
    if form == "letter":
        letter = text.strip("(). ").upper()
        number = LETTERS.find(letter) if len(letter) == 1 else None
    elif number is not None:
        number -= form == "from_1"
    return number if number is not None and 0 <= number < len(choices) else None


def number_of(value: Any) -> int | None:
    """Whole number that a cell holds, as 2, 2.0 or "2"; None for anything else."""
    try:
        return whole(value)
    except (TypeError, ValueError):
        return None


# --- published shapes ------------------------------------------------------------------------------------------------


def reshaper(
    columns: Mapping[str, Any], choices: Sequence[str], labels: Sequence[str]
) -> Callable[[Batch], Batch] | None:
    """What makes a list of texts of the choices; None where they are one already, or none are found.

    Args:
        columns: Columns with their types of `datasets`.
        choices: Names that a column of choices may have.
        labels: Names that the column of labels may have.
    """
    own = {name.strip().lower(): name for name in columns}
    question = columns.get(own.get("question", ""))
    if isinstance(question, dict) and {"stem", "choices"} <= set(question):
        return from_stem
    named, label = (
        next((own[name.lower()] for name in names if name.lower() in own), None) for names in (choices, labels)
    )
    if named is not None:
        is_plain = getattr(getattr(columns[named], "feature", None), "dtype", None) in ("string", "large_string")
        return None if is_plain else partial(from_choices, choices=named, label=label)
    stems: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for name in own:
        if match := _NUMBERED.fullmatch(name):
            stems[match[1]].append((int(match[2]) if match[2].isdigit() else ord(match[2]), own[name]))
    stem = max(stems, key=lambda one: len(stems[one]), default="")
    numbered = [name for _, name in sorted(stems[stem])]
    if len(numbered) < 2:
        numbered = [own[letter] for letter in LETTERS.lower() if letter in own]
    return partial(from_columns, choices=numbered) if len(numbered) > 1 else None


def from_choices(batch: Batch, choices: str, label: str | None) -> Batch:
    """Choices as dicts, as lists of dicts or as numbers; the label of the row becomes a letter where they have names.

    Such as `{"text": […], "label": ["A", …]}`, `[{"label": "A", "text": …}, …]` or `{"A": …, "B": …}`.
    """
    pairs = [_named_choices(cell) for cell in batch[choices]]
    made = {name: values for name, values in batch.items() if name != choices}
    made["choices"] = [None if one is None else [text for _, text in one] for one in pairs]
    if label:
        made[label] = [_letter(own, value) for own, value in zip(pairs, batch[label], strict=True)]
    return made


def _named_choices(cell: Any) -> list[tuple[str, Any]] | None:
    """Name and text of each choice; no names for a plain list."""
    if isinstance(cell, str) and (spelled_out := spelled(cell)) is None:
        raise DataError(f"choices holds {cell[:60]!r}, expected a list of choices")
    cell = spelled_out if isinstance(cell, str) else cell
    if cell is None:
        return None
    if isinstance(cell, dict) and isinstance(cell.get("text"), list):
        texts = cell["text"]
        named = list(zip(map(str, cell.get("label") or [""] * len(texts)), texts, strict=False))
    elif isinstance(cell, dict):
        named = list(cell.items())
    else:
        dicts = [one if isinstance(one, dict) else {"text": one} for one in cell]
        named = [(str(_first(one, _NAMES) or ""), _first(one, _TEXTS)) for one in dicts]
    return _without_end([(name, None if text is None else str(text)) for name, text in named])


def _letter(own: list[tuple[str, Any]] | None, label: Any) -> Any:
    """The letter of the choice that the label names; the label itself where choices have no names, or others."""
    names, texts = zip(*own, strict=True) if own else ((), ())
    if not any(names) or is_missing(label) or str(label) in texts:
        return label
    return LETTERS[names.index(str(label))] if str(label) in names else f"{label} (not in {', '.join(names)})"


def from_columns(batch: Batch, choices: list[str]) -> Batch:
    """A column a choice; rows of fewer choices leave the last ones empty."""
    cells = zip(*(batch[name] for name in choices), strict=True)
    lists = [
        [text for _, text in _without_end([("", None if cell is None else str(cell)) for cell in row])] for row in cells
    ]
    return {**{name: values for name, values in batch.items() if name not in choices}, "choices": lists}


def _without_end(named: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Without the empty ones behind the last choice; one between others stays, and is found at fault."""
    while named and not (named[-1][1] or "").strip():
        named.pop()
    return named


def _first(cell: Row, names: Sequence[str]) -> Any:
    return next((cell[name] for name in names if cell.get(name) is not None), None)


def from_stem(batch: Batch) -> Batch:
    """Question and choices in one cell, as the files of ARC and CommonsenseQA have them."""
    name = next(name for name in batch if name.strip().lower() == "question")
    made = {**batch, name: [cell["stem"] for cell in batch[name]]}
    made["choices"] = [cell["choices"] for cell in batch[name]]
    label = next((one for one in ("answerKey", "answer_key", "answer", "label") if one in batch), None)
    return from_choices(made, "choices", label)
