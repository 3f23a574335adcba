"""The column of the dataset for each column of the task, and rows of other shapes brought into those columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import DataError, nearest
from ..log import log
from ..recipe import Batch, Recipe
from .cache import cached
from .sources import quiet_bars

if TYPE_CHECKING:
    from datasets import Dataset


def normalize_columns(
    rows: Dataset, recipe: Recipe, given: Mapping[str, str | int]
) -> tuple[Dataset, Mapping[str, str | int]]:
    """Bring rows of another published shape into the columns of the task.

    Returns:
        The rows, and the columns that the user named, by their names in these rows.
    """
    wanted = {str(name): column for column, name in given.items() if str(name) in rows.column_names}
    change = recipe.normalize_columns({wanted.get(name, name): kind for name, kind in rows.features.items()})
    if change is None:
        return rows, given
    from datasets import Features

    rows = rows.rename_columns({name: column for name, column in wanted.items() if name != column})
    first = rows[:100]
    made = change(first)
    features = Features({name: _feature_of(name, values, first, rows, type(recipe)) for name, values in made.items()})
    with quiet_bars(len(rows)), cached(rows, recipe, "normalize_columns") as key:
        rows = rows.map(
            change,
            batched=True,
            batch_size=100,  # a row may hold a whole book
            remove_columns=rows.column_names,
            features=features,
            new_fingerprint=key,
            desc="Reshaping",
        )
    return rows, {column: name for column, name in given.items() if str(name) in rows.column_names}


def _feature_of(name: str, values: list[Any], first: Batch, rows: Dataset, recipe: type[Recipe]) -> Any:
    """Type of a reshaped column: its own where it was only carried along, else what the task says, or what it holds."""
    if name in rows.features and repr(first[name]) == repr(values):  # 8.0 is another type than 8
        return rows.features[name]
    kind = recipe.columns[name].kind if name in recipe.columns else None
    return _feature(kind or (["string"] if any(isinstance(value, list) for value in values) else "string"))


def _feature(kind: Any) -> Any:
    """Type of `datasets` that `Column.kind` stands for."""
    from datasets import List, Value

    if isinstance(kind, list):
        return List(_feature(kind[0]))
    return {name: _feature(one) for name, one in kind.items()} if isinstance(kind, dict) else Value(kind)


def _columns_of(
    rows: Dataset, columns: Mapping[str, str], recipe: type[Recipe], given: Mapping[str, str | int]
) -> Mapping[str, str]:
    """Train's columns, but for those that this split has under a name of its own."""
    lacking = [column for column, name in columns.items() if name not in rows.column_names]
    if not lacking or set(lacking) & set(given):
        return columns
    try:
        found = find_columns(rows.column_names, recipe, given, reference=False)
    except DataError:
        return columns
    own = {column: found[column] for column in lacking if column in found}
    if own:
        log("columns of another split: " + ", ".join(f"{column} is {name!r}" for column, name in own.items()))
    return {**columns, **own}


def find_columns(
    found: list[str], recipe: type[Recipe], given: Mapping[str, str | int], *, reference: bool = True
) -> dict[str, str]:
    """The column of the dataset for each column of the task.

    Args:
        found: Columns of the dataset.
        recipe: Whose columns are wanted.
        given: Columns that the user named.
        gold: Whether the answer's column must be there.

    Raises:
        DataError: With the columns found and the edit to make.
    """
    wanted = {column: _as_found(str(name), found) for column, name in given.items()}
    problems = [
        f"columns.{column}: {recipe.task} has no such column{nearest(column, recipe.columns)}"
        for column in wanted
        if column not in recipe.columns
    ]
    problems += [
        f"columns.{column}: there is no column {name!r}{nearest(name, found)}"
        for column, name in wanted.items()
        if name not in found
        and (reference or not recipe.columns.get(column, recipe.columns[next(iter(recipe.columns))]).reference)
    ]
    names = list(wanted.values())
    twice = dict.fromkeys(name for name in names if names.count(name) > 1)
    problems += [f"column {name!r} is named for two columns of the task" for name in twice]
    if problems:
        raise DataError("; ".join(problems) + f". The dataset has the columns {', '.join(found)}")
    columns = {column: name for column, name in wanted.items() if name in found}
    columns |= _known_layout(found, recipe, columns)
    for column in recipe.columns:
        if column not in columns and (name := _one_name(column, found, recipe, columns, reference)):
            columns[column] = name
    lacking = [
        name
        for name, facts in recipe.columns.items()
        if name not in columns and not (facts.optional or facts.passthrough)
    ]
    lacking = [name for name in lacking if reference or not recipe.columns[name].reference]
    if lacking:
        edit = " ".join(f"columns.{name}=<one of them>" for name in lacking)
        raise DataError(
            f"no column for {' and '.join(lacking)} among {', '.join(map(repr, found))}: {edit}"
            f" (positions from 0, such as columns.{lacking[0]}=1, for a file without header)"
        )
    return {column: columns[column] for column in recipe.columns if column in columns}


def _more_answers(rows: Dataset, columns: Mapping[str, str], recipe: type[Recipe]) -> dict[str, str]:
    """Answers that a split has beside those of train, as further references."""
    left = [
        column
        for column, facts in recipe.columns.items()
        if facts.reference and facts.optional and column not in columns
    ]
    found = {column: _one_name(column, rows.column_names, recipe, columns, reference=False) for column in left}
    more = {column: name for column, name in found.items() if name is not None}
    if more:
        log("columns of another split: " + ", ".join(f"{column} is {name!r}" for column, name in more.items()))
    return more


def _as_found(name: str, found: list[str]) -> str:
    """The column's own spelling, where only capitals differ and one alone can be meant."""
    alike = [one for one in found if one.lower() == name.lower()]
    return alike[0] if len(alike) == 1 else name


def _known_layout(found: list[str], recipe: type[Recipe], taken: Mapping[str, str]) -> dict[str, str]:
    own = {name.strip().lower(): name for name in found}
    for layout in recipe.layouts:
        named = {column for column in layout if column in found and column not in layout.values()}
        other = {column for column in layout if taken.get(column, own.get(layout[column])) != own.get(layout[column])}
        if set(layout.values()) <= set(own) and not (named | other):
            return {column: own[name] for column, name in layout.items()}
    return {}


def _one_name(
    column: str, found: list[str], recipe: type[Recipe], taken: Mapping[str, str], reference: bool
) -> str | None:
    """The column called so, or the only one with a name that real datasets give it."""
    if column in found and column not in taken.values():
        return column
    facts = recipe.columns[column]
    known = {name.lower() for name in (column, *facts.names)}
    usual = [name for name in found if name.strip().lower() in known and name not in taken.values()]
    if len(usual) > 1 and (reference or not facts.reference):
        raise DataError(
            f"several columns could be {column}: {', '.join(map(repr, usual))}; choose with columns.{column}={usual[0]}"
        )
    return usual[0] if len(usual) == 1 else None


def rename(rows: Dataset, columns: Mapping[str, str], recipe: type[Recipe], split: str) -> Dataset:
    """Keep the task's columns, under its names; a split may lack the answer unless it is to train on."""
    present = {column: name for column, name in columns.items() if name in rows.column_names}
    lacking = [
        name
        for column, name in columns.items()
        if column not in present
        and not (recipe.columns[column].reference and split != "train")
        and not recipe.columns[column].passthrough
    ]
    for column in columns:
        if recipe.columns[column].reference and not recipe.columns[column].optional and column not in present:
            log(f"{split}: there is no column {columns[column]!r}, so its rows have no {column}")
    if lacking:
        raise DataError(
            f"split {split} has no column {', '.join(lacking)}; it has {', '.join(rows.column_names)}: "
            "use the same names in all splits"
        )
    rows = rows.select_columns(list(present.values()))
    return rows.rename_columns({name: column for column, name in present.items() if name != column})


def check_lists(rows: Dataset, columns: Mapping[str, str], recipe: type[Recipe]) -> None:
    """Refuse cells that are no lists where the task reads lists.

    Raises:
        DataError: With the column and what it holds.
    """
    for column, facts in recipe.columns.items():
        kind = rows.features.get(column)
        if isinstance(facts.kind, list) and kind is not None and not hasattr(kind, "feature"):
            holds = getattr(kind, "dtype", type(kind).__name__)
            if holds != "null":
                raise DataError(
                    f"column {columns[column]!r} holds {holds}, expected a list a row: "
                    f"choose another, columns.{column}=<one of them>"
                )
