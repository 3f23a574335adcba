"""Rows of decision sets, requests and other sets as one row for each question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

from ..data.batches import rows_of
from ..data.kinds import Columns
from ..data.shapes import choices as choice_shapes
from ..data.shapes.cells import Change, as_text, first_column, parse_list
from ..errors import DataError
from ..recipe import Batch, Row

if TYPE_CHECKING:
    from datasets import Dataset

Names = Mapping[str, Sequence[str]]
# Texts that a question is about together.
_PAIRS = (("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("text", "text_pair"))
# Columns of options that may be blocks with a description of each; the others are as in multiple choice.
_DESCRIBED = ("options", "criteria")


def column_normalizer(columns: Mapping[str, Any], names: Names) -> Change | None:
    """Function that makes a row of each question, with its options as a list of texts; None for no change.

    Args:
        columns: Columns with their types of `datasets`, with their first cells where these are known.
        names: Names that each column of the task may have.
    """
    if isinstance(columns, Columns) and _are_several_sets(columns, names):
        return partial(_from_several_sets, columns=columns, names=names)
    return _of_one_set(columns, names)


def _of_one_set(columns: Mapping[str, Any], names: Names) -> Change | None:
    by_name = {name.strip().lower(): name for name in columns}
    if "questions" in by_name and first_column(by_name, names["state"]):
        return partial(_from_requests, questions=by_name["questions"], answers=by_name.get("answers"))
    of_options, described = first_column(by_name, _DESCRIBED), first_column(by_name, ("descriptions",))
    if of_options is not None:
        if _is_list(columns[of_options]) and (described is None or _is_list(columns[described])):
            return None
        return partial(_from_options, options=of_options, described=described)
    to_choices = choice_shapes.column_normalizer(columns, (), names["options"], names["answer"])
    pair = next((pair for pair in _PAIRS if set(pair) <= set(by_name)), None)
    if to_choices is not None:
        return to_choices
    if pair is not None and "state" not in by_name:
        return partial(_from_pairs, columns=[by_name[name] for name in pair])
    return None


# --- several sets ----------------------------------------------------------------------------------------------------


def _are_several_sets(columns: Columns, names: Names) -> bool:
    """Whether rows come from sets with other columns: a column of the task has several names, never two in one row."""
    by_name = {name.strip().lower(): name for name in columns}
    for known in names.values():
        present = [by_name[name] for name in known if name in by_name]
        filled: Counter[int] = Counter()  # row -> cells that it has in these columns
        for name in present:
            filled.update(row for row, cell in enumerate(columns.cells[name]) if cell is not None)
        if len(present) > 1 and max(filled.values(), default=0) <= 1:
            return True
    return False


def _from_several_sets(batch: Batch, columns: Columns, names: Names) -> Batch:
    """Rows of each set as those of that set alone; which set that is, the cells tell that a row has."""
    taken = set(chain.from_iterable(names.values()))
    others = [name for name in batch if name.strip().lower() not in taken]
    converted: Batch = {name: [] for name in [*names, *others]}
    for present, rows in groupby(rows_of(batch), key=_cells_in):
        part = _columns_of(present, list(rows))
        change = _of_one_set(Columns({name: columns[name] for name in present}, part), names)
        part = part if change is None else change(part)
        by_name = {name.strip().lower(): name for name in part}
        length = len(next(iter(part.values())))
        for name, cells in converted.items():
            source = first_column(by_name, names.get(name, (name,)))
            cells += part[source] if source is not None else [None] * length
    return converted


def _columns_of(names: Iterable[str], rows: Sequence[Row]) -> Batch:
    """Rows as columns of these names."""
    columns: Batch = {}
    for name in names:
        columns[name] = [row[name] for row in rows]
    return columns


def _cells_in(row: Row) -> tuple[str, ...]:
    """Columns of which a row has a cell."""
    return tuple(name for name, cell in row.items() if cell is not None)


# --- requests, options, pairs ----------------------------------------------------------------------------------------


def _from_requests(batch: Batch, questions: str, answers: str | None) -> Batch:
    """A row for each question of a request; `answers` has the answers by the names of the questions."""
    rows = []
    for row in rows_of(batch):
        asked = _block(row.pop(questions), questions)
        given = _block(row.pop(answers) or {}, answers) if answers is not None else {}
        for name, question in asked.items():
            if question is None:  # a table fills in the names that only other rows have
                continue
            entry = {**row, "name": name, **_flat(_block(question, f"questions.{name}"))}
            rows.append(entry if answers is None else {**entry, "answer": given.get(name)})
    names = [name for name in batch if name not in (questions, answers)]
    names += ["name", "question", "question_type", "options", "descriptions"] + (["answer"] if answers else [])
    return _columns_of(names, rows)


def _flat(question: Row) -> Row:
    """The columns of a question of a request."""
    criteria = question.get("criteria")
    options, descriptions = _split(criteria) if criteria else (None, None)
    kind, instructions = question.get("type"), question.get("instructions")
    return {"question": instructions, "question_type": kind, "options": options, "descriptions": descriptions}


def _is_list(feature: Any) -> bool:
    """Whether cells of this type of `datasets` are lists of texts."""
    return getattr(getattr(feature, "feature", None), "dtype", None) in ("string", "large_string")


def _from_options(batch: Batch, options: str, described: str | None) -> Batch:
    """Options as a list of texts, and what describes them as another one."""
    rows = {name: list(cells) for name, cells in batch.items() if name not in (options, described)}
    split = [_split(_list_in(cell, "options")) for cell in batch[options]]
    rows["options"] = [names for names, _ in split]
    rows["descriptions"] = [descriptions for _, descriptions in split]
    if described is not None and not any(rows["descriptions"]):
        rows["descriptions"] = [_texts(_list_in(cell, "descriptions")) for cell in batch[described]]
    return rows


def _texts(described: Any) -> list[str] | None:
    """Descriptions in the order of the options, empty where there is none."""
    if not described:
        return None
    return ["" if text is None else as_text(text) for text in described]


def _from_pairs(batch: Batch, columns: Sequence[str]) -> Batch:
    """The two texts as one state."""
    rows = {name: cells for name, cells in batch.items() if name not in columns}
    return {"state": list(rows_of({name: batch[name] for name in columns})), **rows}


def _split(criteria: Any) -> tuple[list[str] | None, list[str] | None]:
    """Names of options, and their descriptions where one has some, empty for the others."""
    if not criteria:
        return None, None
    if isinstance(criteria, dict):
        descriptions = _texts(criteria.values()) or []
        return list(criteria), descriptions if any(descriptions) else None
    return list(map(as_text, criteria)), None


def _parsed(cell: Any) -> Any:
    """What a cell holds, which a table has as text."""
    return parse_list(cell) if isinstance(cell, str) else cell


def _list_in(cell: Any, name: str) -> Any:
    """The list or block in a cell.

    Raises:
        DataError: It holds something else.
    """
    parsed = _parsed(cell)
    if parsed is None and isinstance(cell, str) and cell.strip():
        expected = {"options": "a list of options, or a block with their descriptions"}
        raise DataError(f"{name} holds {cell[:60]!r}, expected {expected.get(name, 'a list with one for each option')}")
    return parsed


def _block(cell: Any, name: str) -> dict[str, Any]:
    """The block in a cell.

    Raises:
        DataError: It holds something else.
    """
    parsed = _parsed(cell)
    if not isinstance(parsed, dict):
        raise DataError(f"{name} holds {str(cell)[:60]!r}, expected a block of questions by their names")
    return parsed


def without_states(rows: Dataset) -> Iterator[Row]:
    """All cells but the states, which take most of the memory."""
    names = [name for name in rows.column_names if name != "state"]
    for batch in rows.select_columns(names).iter(1000):
        yield from rows_of(batch)
