"""Several columns that make one: those of 0 and 1 become lists of labels, those of one choice each lists of choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import DataError, nearest
from ..log import log
from ..recipe import Recipe
from .batches import cells_of
from .shapes.cells import as_text
from .shapes.labels import is_missing, label_name

if TYPE_CHECKING:
    from datasets import Dataset

Columns = Mapping[str, str | int | list[str | int]]  # task column -> column of the dataset, or several of them
_BITS = {"0": 0, "1": 1, "False": 0, "True": 1, "false": 0, "true": 1}
_NO_LABEL = -1  # as an id, what `datasets` takes for a class that is not known
_HIDDEN = "-1"  # what published test splits have in place of 0 and 1
_SAMPLE = 100  # rows that are looked at first


def find_indicators(rows: Dataset, recipe: type[Recipe], given: Columns) -> dict[str, list[str | int]]:
    """The columns of 0 and 1 that are the labels, where the rows have no column with a usual name for them."""
    column = _column_of_labels(recipe)
    if column is None or column in given or _has_usual_name(rows, recipe, column):
        return {}
    taken = {str(name).lower() for name in given.values()}
    for facts in recipe.columns.values():
        taken.update(map(str.lower, facts.names))
    names: list[str | int] = []
    # Asked once, since each time they are copied.
    features, sample = rows.features, rows[:_SAMPLE]
    for name, feature in features.items():
        if name.lower() in taken or hasattr(feature, "feature") or isinstance(feature, dict):
            continue
        if _is_indicator(rows, name, sample[name]):
            names.append(name)
    if len(names) < 2:
        return {}
    log(
        f"columns {', '.join(map(str, names))} hold 0 or 1: they are read as labels, any number of them per text; "
        f"columns.{column}={names[0]} learns one alone, columns.{column}=[{names[0]}, {names[1]}] some of them"
    )
    return {column: names}


def _column_of_labels(recipe: type[Recipe]) -> str | None:
    """The column of the task that may hold a list of labels: one whose cells may be anything."""
    for name, facts in recipe.columns.items():
        if facts.reference and facts.kind is None:
            return name
    return None


def _has_usual_name(rows: Dataset, recipe: type[Recipe], column: str) -> bool:
    usual = {column, *map(str.lower, recipe.columns[column].names)}
    return not usual.isdisjoint(name.strip().lower() for name in rows.column_names)


def _is_indicator(rows: Dataset, name: str, sample: list[Any]) -> bool:
    """Whether each cell of a column is 0 or 1; those of a few rows show it of most other columns."""
    if {*map(label_name, sample)} <= set(_BITS):
        return all(label_name(cell) in _BITS for cell in cells_of(rows, name))
    return False


def join_indicators(rows: Dataset, recipe: type[Recipe], given: Columns) -> tuple[Dataset, dict[str, str | int]]:
    """Replace columns that are named together by one: a list of the labels with a 1, or of the texts of all.

    Returns:
        The rows, and the columns that the user named, each a single one.

    Raises:
        DataError: The task takes a single column there, or they are not there, or hold something else.
    """
    single: dict[str, str | int] = {}
    for column, names in given.items():
        if not isinstance(names, list):
            single[column] = names
            continue
        if not names:
            raise DataError(f"columns.{column}: found an empty list, expected the name of a column")
        is_label = column == _column_of_labels(recipe)
        if not is_label and not _is_list_to_read(recipe, column):
            raise DataError(f"columns.{column}: found a list, expected one column, such as columns.{column}={names[0]}")
        if not set(map(str, names)) & set(rows.column_names):
            continue  # a split to predict has no labels
        single[column] = column
        texts = list(map(str, names))
        rows = _joined(rows, column, texts) if is_label else _listed(rows, column, texts)
    return rows, single


def _is_list_to_read(recipe: type[Recipe], column: str) -> bool:
    """Whether a column of the task holds a list of texts to read, such as choices."""
    facts = recipe.columns.get(column)
    return facts is not None and facts.kind == ["string"] and not facts.reference


def _check_names(rows: Dataset, column: str, names: Sequence[str]) -> None:
    for name in names:
        if name not in rows.column_names:
            known = rows.column_names
            raise DataError(f"columns.{column}: there is no column {name!r}{nearest(name, known)}; there are {known}")


def _listed(rows: Dataset, column: str, names: Sequence[str]) -> Dataset:
    """The rows with a column of lists in place of columns of texts; empty cells at the end of a row are left out."""
    from datasets import List, Value

    _check_names(rows, column, names)
    lists = []
    for cells in zip(*(cells_of(rows, name) for name in names), strict=True):
        texts = [None if is_missing(cell) else as_text(cell) for cell in cells]
        while texts and texts[-1] is None:
            texts.pop()
        lists.append(texts)
    dropped = {*names, column} & set(rows.column_names)
    return rows.remove_columns(sorted(dropped)).add_column(column, lists, feature=List(Value("string")))


def _joined(rows: Dataset, column: str, names: Sequence[str]) -> Dataset:
    """The rows with a column of lists of labels in place of columns of 0 and 1."""
    from datasets import ClassLabel, List

    _check_names(rows, column, names)
    columns = [cells_of(rows, name) for name in names]
    labels = [_ids(cells, names) for cells in zip(*columns, strict=True)]
    dropped = {*names, column} & set(rows.column_names)
    return rows.remove_columns(sorted(dropped)).add_column(column, labels, feature=List(ClassLabel(names=list(names))))


def _ids(cells: Sequence[Any], names: Sequence[str]) -> list[int]:
    """Indices of the cells that are 1; the id of an unknown label where no cell says anything.

    Raises:
        DataError: A cell is something else than 0 and 1.
    """
    if all(is_missing(cell) or label_name(cell) == _HIDDEN for cell in cells):
        return [_NO_LABEL]
    ids = []
    for index, cell in enumerate(cells):
        bit = _BITS.get(label_name(cell))
        if bit is None:
            raise DataError(
                f"column {names[index]!r} holds {str(cell)[:40]!r}, expected 0 or 1 in each column of a label: several "
                "numbers are not learnt at once"
            )
        if bit:
            ids.append(index)
    return ids
