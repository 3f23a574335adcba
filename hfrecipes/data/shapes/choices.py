"""Choices of a question and the label that picks one, in the shapes in which data gives them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from ...characters import composed
from ...errors import DataError
from ...recipe import Batch
from . import distractors
from . import questions as question_shapes
from . import texts as text_shapes
from .cells import Change, first_column, first_value, in_order, parse_list, whole_number

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_COLUMNS = LETTERS[:20].lower()  # X and Y are columns of numbers
Form = Literal["from_0", "from_1", "letter", "text"]
# If labels fit several forms equally well, the first of them is taken.
FORMS: dict[Form, str] = {
    "from_0": "the number of the choice, counted from 0",
    "from_1": "the number of the choice, counted from 1",
    "letter": "the letter of the choice",
    "text": "the text of the choice",
}
# Columns with one choice each: ending0, choice_1, optionA, sol2, …
_NUMBERED = re.compile(r"(ending|choice|option|answer|sol|opt|op|alternative|candidate|reply)[ _]?(\d+|[a-j])")
# Keys of a choice's name and text where each choice is a dict.
_NAMES, _TEXTS = ("label", "key", "option", "id"), ("text", "value", "content")


# --- labels ----------------------------------------------------------------------------------------------------------


def is_missing(label: Any) -> bool:
    """Whether there is no label."""
    # Published test splits have -1 in place of labels; a DataFrame with an empty cell has -1.0 and NaN.
    return label is None or str(label).strip() in ("", "-1", "-1.0", "nan")


def index_of(label: Any, choices: list[str], form: str) -> int | None:
    """Index of the choice that a label of this form means; None if it means none, or more than one.

    Example:
        >>> index_of("B", ["yes", "no"], "letter"), index_of("2", ["yes", "no"], "from_1"), index_of(2, ["a"], "from_0")
        (1, 1, None)
    """
    if form == "text":
        return _index_of_text(composed(str(label).strip()), choices)
    index = whole_number_of(label)
    if form == "letter":
        letter = str(label).strip().strip("(). ").upper()
        # An empty text would be found at index 0.
        index = LETTERS.find(letter) if len(letter) == 1 else None
    elif form == "from_1" and index is not None:
        index -= 1
    return index if index is not None and 0 <= index < len(choices) else None


def right_choice(label: Any, choices: list[str], form: Form) -> int | str | None:
    """Index of the right choice; the label itself where it matches no choice, None where there is none.

    Args:
        label: As it is in the data.
        choices: Texts of the row.
        form: Of the labels of the other rows.
    """
    if is_missing(label):
        return None
    forms: list[Form] = [form]
    # A letter or a text among numbers can only be that; a number is always read in the form of the other labels.
    if whole_number_of(label) is None:
        forms += ["letter", "text"]
    for possible in forms:
        index = index_of(label, choices, possible)
        if index is not None:
            # Of equal choices, the first one stands for all: no model can tell them apart.
            return _stripped(choices).index(_stripped(choices)[index])
    return str(label)


def _stripped(choices: Sequence[str | None]) -> list[str]:
    return [composed(str(choice or "").strip()) for choice in choices]


def has_equal_choices(choices: Sequence[str | None]) -> bool:
    """Whether two of the choices are the same text."""
    return len(set(_stripped(choices))) < len(choices)


def _index_of_text(text: str, choices: list[str]) -> int | None:
    """Index of the first choice with this text; if none has it, of the only one with it in upper or lower case."""
    texts = _stripped(choices)
    if text in texts:
        return texts.index(text)
    lowered = list(map(str.casefold, texts))
    return lowered.index(text.casefold()) if lowered.count(text.casefold()) == 1 else None


def whole_number_of(value: Any) -> int | None:
    """Whole number in a cell, as 2, 2.0 or "2"; None for anything else."""
    try:
        return whole_number(value)
    except (TypeError, ValueError):
        return None


# --- published shapes ------------------------------------------------------------------------------------------------


def column_normalizer(
    columns: Mapping[str, Any], contexts: Sequence[str], choices: Sequence[str], labels: Sequence[str]
) -> Change | None:
    """Function that makes a row of each question, a text of its context, and a list of texts of its choices.

    Args:
        columns: Columns with their types of `datasets`.
        contexts: Names that a column of contexts may have.
        choices: Names that a column of choices may have.
        labels: Names that the column of labels may have.

    Returns:
        None where rows have this form already, or none is found.
    """
    by_question, columns = question_shapes.column_normalizer(columns)
    lines = text_shapes.lists_joiner(columns, contexts)
    return in_order(in_order(by_question, lines), _choices_normalizer(columns, choices, labels))


def _choices_normalizer(columns: Mapping[str, Any], choices: Sequence[str], labels: Sequence[str]) -> Change | None:
    """What makes a list of texts of the choices; None if they are such a list already, or none are found."""
    of_answers = distractors.column_normalizer(columns)
    if of_answers is not None:
        return of_answers
    by_name = {name.strip().lower(): name for name in columns}
    question = columns.get(by_name.get("question", ""))
    if isinstance(question, dict) and {"stem", "choices"} <= set(question):
        return from_stem
    choice_column, label_column = first_column(by_name, choices), first_column(by_name, labels)
    if choice_column is not None:
        item_type = getattr(getattr(columns[choice_column], "feature", None), "dtype", None)
        if item_type in ("string", "large_string"):
            return None
        return partial(from_choices, choices=choice_column, label=label_column)
    numbered = _numbered_columns(by_name)
    return partial(from_columns, choices=numbered) if len(numbered) > 1 else None


def _numbered_columns(by_name: Mapping[str, str]) -> list[str]:
    """Columns with one choice each, in the order of their numbers or letters."""
    stems: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for name, column in by_name.items():
        if match := _NUMBERED.fullmatch(name):
            stem, number = match.groups()
            stems[stem].append((int(number) if number.isdigit() else ord(number), column))
    # Data may have a single `answer1` in addition to its choices: the name with the most columns wins.
    most = max(stems.values(), key=len, default=[])
    numbered = [column for _, column in sorted(most)]
    if len(numbered) < 2:
        numbered = [by_name[letter] for letter in _COLUMNS if letter in by_name]
    return numbered


def from_choices(batch: Batch, choices: str, label: str | None) -> Batch:
    """Choices as dicts, as lists of dicts or as numbers; the label of the row becomes a letter if choices have names.

    Such as `{"text": […], "label": ["A", …]}`, `[{"label": "A", "text": …}, …]` or `{"A": …, "B": …}`.

    Args:
        batch: Rows.
        choices: Column of the choices.
        label: Column of the labels.
    """
    rows = dict(batch)
    cells, rows["choices"] = rows.pop(choices), []
    labels = list(rows[label]) if label else []
    for row, cell in enumerate(cells):
        names, texts = _names_and_texts(cell)
        rows["choices"].append(texts)
        if label:
            labels[row] = _letter(names, texts, labels[row])
    if label:
        rows[label] = labels
    return rows


def _names_and_texts(cell: Any) -> tuple[list[str], list[str | None] | None]:
    """Name and text of each choice; empty names for a plain list, and no texts for an empty cell."""
    if isinstance(cell, str):
        cell = _spelled_choices(cell)
    if cell is None:
        return [], None
    if isinstance(cell, dict) and isinstance(cell.get("text"), list):
        choices = list(zip(map(str, cell.get("label") or [""] * len(cell["text"])), cell["text"], strict=False))
    elif isinstance(cell, dict):
        choices = list(cell.items())
    elif isinstance(cell, list):
        choices = list(map(_name_and_text, cell))
    else:
        raise DataError(f"choices holds a {type(cell).__name__}, expected a list of choices")
    names, texts = [], []
    for name, text in choices:
        names.append(name)
        texts.append(_as_text(text))
    texts = _without_empty_end(texts)
    return names[: len(texts)], texts


def _name_and_text(choice: Any) -> tuple[str, Any]:
    if not isinstance(choice, dict):
        return "", choice
    return str(first_value(choice, _NAMES) or ""), first_value(choice, _TEXTS)


def _spelled_choices(text: str) -> Any:
    choices = parse_list(text)
    if choices is None:
        raise DataError(f"choices holds {text[:60]!r}, expected a list of choices")
    return choices


def _letter(names: list[str], texts: list[str | None] | None, label: Any) -> Any:
    """The letter of the choice that the label names; the label itself if choices have no names, or it is a text."""
    if not any(names) or is_missing(label) or str(label) in (texts or ()):
        return label
    if str(label) in names:
        return LETTERS[names.index(str(label))]
    # No form of label fits this text, so the row is reported, together with the names that were expected.
    return f"{label} (not in {', '.join(names)})"


def from_columns(batch: Batch, choices: list[str]) -> Batch:
    """A column per choice; rows of fewer choices leave the last columns empty.

    Args:
        batch: Rows.
        choices: Columns of the choices, in order.
    """
    rows = dict(batch)
    columns = [rows.pop(name) for name in choices]
    rows["choices"] = []
    for cells in zip(*columns, strict=True):
        rows["choices"].append(_without_empty_end(list(map(_as_text, cells))))
    return rows


def _as_text(cell: Any) -> str | None:
    return text_shapes.joined(cell)


def _without_empty_end(texts: list[str | None]) -> list[str | None]:
    """Without the empty choices after the last one."""
    # An empty choice between others stays, and is reported: without it, labels would mean other choices.
    end = len(texts)
    while end and not (texts[end - 1] or "").strip():
        end -= 1
    return texts[:end]


def from_stem(batch: Batch) -> Batch:
    """Question and choices in one cell, as in the files of ARC and CommonsenseQA."""
    by_name = {name.strip().lower(): name for name in batch}
    question = by_name["question"]
    rows: Batch = {**batch, question: [], "choices": []}
    for cell in batch[question]:
        rows[question].append(cell["stem"])
        rows["choices"].append(cell["choices"])
    for label in ("answerKey", "answer_key", "answer", "label"):
        if label in batch:
            return from_choices(rows, "choices", label)
    return from_choices(rows, "choices", None)


def infer_form(labelled: Iterable[tuple[Any, list[str] | None]]) -> tuple[Form, str]:
    """The form that fits most labels, and what makes that doubtful, to be added to the sentence about it.

    Args:
        labelled: Label and choices of each row.
    """
    counts: Counter[Form] = Counter()
    first_is_right = False
    for label, texts in labelled:
        if is_missing(label):
            continue
        choices = texts or []
        for form in FORMS:
            counts[form] += index_of(label, choices, form) is not None
        first_is_right |= index_of(label, choices, "from_0") == 0
    # Of several forms that fit equally well, the first one is taken.
    best = max(FORMS, key=counts.__getitem__)
    # Labels that count from 1 look like this too, if the last choice is never the right one.
    if best == "from_0" and not first_is_right:
        return best, "; none of them is the first choice"
    return best, ""
