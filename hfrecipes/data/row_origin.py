"""How to find a row of a run in its data again: by its number, its file, and its id columns."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from ..recipe import Recipe, Row
from . import kinds

if TYPE_CHECKING:
    from datasets import Dataset

_IDS = re.compile(r"(.*[_\W])?(id|idx|index|uuid|guid|key|nr|no)|.*[a-z](Id|ID)|编号|序号", re.DOTALL)
_LONGEST = 64  # characters of an id
# Keys of a line that are no columns.
_TAKEN = {"split", "row", "file", "file_row", "fold", "prediction"}


@dataclass(frozen=True)
class Origin:
    """Where the rows of a split come from: columns and files that the task itself does not read."""

    ids: Dataset
    """Columns that tell rows apart."""
    files: Sequence[tuple[str, int]]
    """Name and number of rows of each file that they come from, where there are several."""

    def without_ids(self) -> Origin:
        """The files alone."""
        return Origin(self.ids.select_columns([]), self.files)

    def of(self, number: int) -> Row:
        """The file and the ids of the row of this number."""
        origin: Row = {}
        first = 0
        for file, rows in self.files:
            if number < first + rows:
                origin = {"file": file, "file_row": number - first}
                break
            first += rows
        for name, cell in self.ids[number].items() if self.ids.column_names else ():
            origin[name] = kinds.decoded(cell, self.ids.features[name])
        return origin


def origin_of(rows: Dataset, used: Collection[str], recipe: type[Recipe], files: Sequence[tuple[str, int]]) -> Origin:
    """The origin of rows as they were read.

    Args:
        rows: All of their columns.
        used: Those that the task reads.
        recipe: The task.
        files: Files that the rows were joined from.
    """
    ids = []
    for name in rows.column_names:
        is_free = name not in used and name not in recipe.columns and name not in _TAKEN
        if is_free and _tells_apart(name, rows):
            ids.append(name)
    return Origin(rows.select_columns(ids), files)


def _tells_apart(name: str, rows: Dataset) -> bool:
    """Whether a column has a name that is usual for ids, or a different short text or number in each row."""
    dtype = str(getattr(rows.features[name], "dtype", ""))
    if kinds.is_json(rows.features[name]) or not dtype.startswith(("string", "large_string", "int", "uint")):
        return False
    cells = rows.with_format("arrow")[name]
    cells = getattr(cells, "combine_chunks", lambda: cells)()
    if names_an_id(name):
        return True
    if "string" in dtype and (pc.max(pc.utf8_length(cells)).as_py() or 0) > _LONGEST:
        return False
    return len(cells) > 1 and cells.null_count == 0 and pc.count_distinct(cells).as_py() == len(cells)


def names_an_id(name: str) -> bool:
    """Whether a column has a name that is usual for ids."""
    return _IDS.fullmatch(name) is not None


def line_of(origins: Mapping[str, Origin], split: str, number: int) -> Row:
    """The file and the ids of a row of a split; of train where the split was drawn from it."""
    origin = origins.get(split, origins.get("train"))
    return {} if origin is None else origin.of(number)


def described(origins: Mapping[str, Any]) -> list[str]:
    """A sentence on the columns that stay with the rows; none where there are none."""
    names: dict[str, None] = {}
    for origin in origins.values():
        names |= dict.fromkeys(origin.ids.column_names)
    word = "column" if len(names) == 1 else "columns"
    return [f"predictions.jsonl also has the {word} {', '.join(map(repr, names))}"] if names else []
