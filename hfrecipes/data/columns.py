"""The column of the dataset for each column of the task, and conversion of other row shapes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from ..characters import composed
from ..errors import DataError, counted, nearest
from ..log import log
from ..recipe import Batch, Recipe, input_columns
from . import kinds
from .cache import cache_fingerprint
from .indicators import Columns, join_indicators
from .progress import hide_progress_bars
from .shapes.annotations import rejected_rows
from .shapes.cells import as_text
from .shapes.tags import holds_entity_tags
from .threads import join_threads

if TYPE_CHECKING:
    from datasets import Dataset

Given = Mapping[str, str | int]  # task column -> column of the dataset, as the user names it
EMPTY = "(empty)"  # name of the rows without a value in the column that rows are sliced by
_SAMPLE = 100  # rows that tell the types of columns; also a batch, since one row may hold a whole book


# --- other shapes ------------------------------------------------------------------------------------------------


def normalize_columns(rows: Dataset, recipe: Recipe, named: Columns) -> tuple[Dataset, Given]:
    """Convert rows of another published shape to the columns of the task.

    Returns:
        The rows, and the columns that the user named, by their names in these rows.
    """
    rows = join_threads(rows, type(recipe))
    rows, given = join_indicators(rows, type(recipe), _by_name(named, rows.column_names))
    wanted = {str(name): column for column, name in given.items() if str(name) in rows.column_names}
    change = recipe.normalize_columns(_described(rows, wanted))
    if change is None:
        return rows, given
    from datasets import Features

    rows = rows.rename_columns({name: column for name, column in wanted.items() if name != column})
    sample, texts = rows[:_SAMPLE], _text_columns(type(recipe))
    read = _decoded(sample, rows.features)
    converted = change(dict(read))
    _log_spelled(converted, texts)
    changed = _as_stored(converted, sample, read, texts)
    arguments = {"change": change, "features": rows.features, "texts": texts}
    features = {}
    for name, cells in changed.items():
        features[name] = _feature_of(name, cells, sample, rows, type(recipe))
    with hide_progress_bars(len(rows)), cache_fingerprint(rows, recipe, "normalize_columns") as key:
        rows = rows.map(
            _changed,
            batched=True,
            batch_size=_SAMPLE,
            fn_kwargs=arguments,
            remove_columns=rows.column_names,
            features=Features(features),
            new_fingerprint=key,
            desc="Reading columns",
        )
    return rows, {column: name for column, name in given.items() if str(name) in rows.column_names}


def keeps_rows(rows: Dataset, converted: Dataset) -> bool:
    """Whether each row after a conversion is one of those before it.

    Equal numbers prove nothing: of nested rows, such as paragraphs with questions, one may become two, one none.
    """
    gone = [rows.features[name] for name in rows.column_names if name not in converted.column_names]
    is_nested = any(hasattr(feature, "feature") or kinds.has_json(feature) for feature in gone)
    return len(rows) == len(converted) and not is_nested


def _described(rows: Dataset, names: Mapping[str, str]) -> kinds.Columns:
    """The columns with their types and first cells, under the names that the user gave them.

    Args:
        rows: As they are.
        names: Column of the rows -> column of the task.
    """
    described, first = {}, {}
    for name, cells in _decoded(rows[:_SAMPLE], rows.features).items():
        described[names.get(name, name)] = kinds.described(rows.features[name], cells)
        first[names.get(name, name)] = cells
    return kinds.Columns(described, first)


def without_rejected(rows: Dataset, split: str, named: Columns) -> tuple[Dataset, Sequence[int]]:
    """The rows without those that an annotator rejected in Prodigy, and the numbers that they have in the data."""
    names = [name for name in rows.column_names if name not in named.values()]
    rejected = rejected_rows({name: rows[name] if name == "answer" else () for name in names})
    if not rejected:
        return rows, range(len(rows))
    log(f"{split}: {len(rejected)} of {counted(len(rows), 'row')} left out, as their answer is not 'accept'")
    kept = np.setdiff1d(np.arange(len(rows)), rejected).tolist()
    return rows.select(kept), kept


def _log_spelled(batch: Batch, texts: Collection[str]) -> None:
    """Print which columns of texts hold something else."""
    for name in texts:
        for cell in batch.get(name, ()):
            # Whole numbers have one spelling.
            if cell is not None and not isinstance(cell, str) and type(cell) is not int:
                log(f"{name} is read as texts, in the spelling of JSON, such as {as_text(cell)[:60]}")
                break


def _text_columns(recipe: type[Recipe]) -> list[str]:
    """Columns of the task that hold texts."""
    return [name for name, facts in recipe.columns.items() if facts.kind == "string"]


def _by_name(given: Columns, known: list[str]) -> Columns:
    """Positions that the user gave as names, in rows that have names, and names as the rows spell them."""
    names: dict[str, str | int | list[str | int]] = {}
    for column, name in given.items():
        names[column] = [_name_of(part, known) for part in name] if isinstance(name, list) else _name_of(name, known)
    return names


def lists_by_name(given: Columns, known: list[str]) -> Columns:
    """The columns that the user gave, with names in place of positions where several make one."""
    named = _by_name(given, known)
    return {column: named[column] if isinstance(name, list) else name for column, name in given.items()}


def _name_of(name: str | int, known: list[str]) -> str | int:
    # A file without header has its positions as names, so that both ways lead to the same column.
    if isinstance(name, int):
        return known[name] if 0 <= name < len(known) else name
    return as_spelled(name, known)


def _decoded(batch: Batch, features: Mapping[str, Any]) -> Batch:
    """The batch with its columns of JSON read; the other columns are the same lists."""
    columns = {}
    for name, cells in batch.items():
        feature = features[name]
        columns[name] = [kinds.decoded(cell, feature) for cell in cells] if kinds.has_json(feature) else cells
    return columns


def _changed(
    batch: Batch, change: Callable[[Batch], Batch], features: Mapping[str, Any], texts: Collection[str]
) -> Batch:
    """The batch after the change.

    Args:
        batch: Cells as they are stored.
        change: What the recipe does to their columns.
        features: Of the columns.
        texts: Columns of the task that hold texts.
    """
    read = _decoded(batch, features)
    return _as_stored(change(dict(read)), batch, read, texts)


def _as_stored(converted: Batch, batch: Batch, read: Batch, texts: Collection[str]) -> Batch:
    """The columns after a change as they are stored: those of texts as texts, those of JSON as they were.

    Args:
        converted: After the change.
        batch: Before it, as stored.
        read: Before it, as the change was given it.
        texts: Columns of the task that hold texts.
    """
    columns = dict(converted)
    for name, cells in columns.items():
        # A column of JSON that is left as it is stays as it is stored.
        if name in batch and cells is read[name]:
            columns[name] = batch[name]
        elif name in texts:
            columns[name] = [None if cell is None else as_text(cell) for cell in cells]
    return columns


def _feature_of(name: str, cells: list[Any], sample: Batch, rows: Dataset, recipe: type[Recipe]) -> Any:
    """Type of a column after the change: the old one where nothing changed, else that of the task, or of its cells."""
    kind = recipe.columns[name].kind if name in recipe.columns else None
    if kind == ["json"]:  # a sample does not tell the keys that other rows have
        return _feature(kind)
    # Compared by spelling: 8.0 equals 8, and is of another type.
    if name in rows.features and repr(sample[name]) == repr(cells):
        return rows.features[name]
    if kind is None:
        kind = ["string"] if any(isinstance(cell, list) for cell in cells) else "string"
    return _feature(kind)


def _feature(kind: Any) -> Any:
    """Type of `datasets` that `Column.kind` means."""
    from datasets import Json, List, Value

    if kind == "json":
        return Json()
    if isinstance(kind, list):
        return List(_feature(kind[0]))
    if isinstance(kind, dict):
        return {name: _feature(inner) for name, inner in kind.items()}
    return Value(kind)


# --- names -------------------------------------------------------------------------------------------------------


def find_columns(
    known: list[str], recipe: type[Recipe], given: Given, *, needs_reference: bool = True
) -> dict[str, str]:
    """The column of the dataset for each column of the task.

    Args:
        known: Columns of the dataset.
        recipe: The task.
        given: Columns that the user named.
        needs_reference: Whether the columns of references must be there.

    Raises:
        DataError: With the columns of the dataset and the edit to make.
    """
    wanted = {column: as_spelled(str(name), known) for column, name in given.items()}
    _refuse_wrong_names(wanted, known, recipe, needs_reference)
    columns = {column: name for column, name in wanted.items() if name in known}
    columns |= _known_layout(known, recipe, columns)
    for column in recipe.columns:
        if column not in columns:
            name = _usual_name(column, known, recipe, columns, needs_reference)
            if name:
                columns[column] = name
    missing = [column for column in recipe.columns if column not in columns and _is_required(recipe, column)]
    if not needs_reference:
        missing = [column for column in missing if not recipe.columns[column].reference]
    if missing:
        _refuse_missing(missing, known, len(known) - len(columns), recipe)
    return {column: columns[column] for column in recipe.columns if column in columns}


def _is_required(recipe: type[Recipe], column: str) -> bool:
    return not (recipe.columns[column].optional or recipe.columns[column].passthrough)


def _refuse_missing(missing: list[str], known: list[str], unused: int, recipe: type[Recipe]) -> NoReturn:
    sentence = f"no column for {' and '.join(missing)} among {', '.join(map(repr, known))}"
    if unused < len(missing):  # no name could help
        raise DataError(f"{sentence}: the rows need more columns, such as {', '.join(missing)}")
    edit = " ".join(f"columns.{column}=<one of them>" for column in missing)
    # Of columns that may hold anything and are not kept, `normalize_columns` makes what is missing.
    parts = []
    for column, facts in recipe.columns.items():
        if facts.optional and facts.passthrough and facts.kind is None:
            parts.append(f"columns.{column}=<one of them>")
    if parts and unused >= len(parts):
        edit += f", or {' '.join(parts)}"
    raise DataError(f"{sentence}: {edit} (positions from 0, such as columns.{missing[0]}=1, for a file without header)")


def _refuse_wrong_names(
    wanted: Mapping[str, str], known: list[str], recipe: type[Recipe], needs_reference: bool
) -> None:
    """Refuse columns that the user named, and that the task or the dataset does not have."""
    problems = []
    for column in wanted:
        if column not in recipe.columns:
            problems.append(f"columns.{column}: {recipe.task} has no such column{nearest(column, recipe.columns)}")
    for column, name in wanted.items():
        is_reference = column in recipe.columns and recipe.columns[column].reference
        if name not in known and (needs_reference or not is_reference):
            problems.append(f"columns.{column}: there is no column {name!r}{nearest(name, known)}")
    names = list(wanted.values())
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            problems.append(f"column {name!r} is given for two columns of the task, expected another one for each")
    if problems:
        raise DataError(f"{'; '.join(problems)}. The dataset has the columns {', '.join(known)}")


def columns_of_split(
    rows: Dataset, columns: Mapping[str, str], recipe: type[Recipe], given: Given
) -> Mapping[str, str]:
    """Columns of train, except those that this split has under another name."""
    missing = [column for column, name in columns.items() if name not in rows.column_names]
    if not missing or set(missing) & set(given):
        return columns
    try:
        names = find_columns(rows.column_names, recipe, given, needs_reference=False)
    except DataError:
        return columns
    others = {column: names[column] for column in missing if column in names}
    _log_other_names(others)
    return {**columns, **others}


def further_references(rows: Dataset, columns: Mapping[str, str], recipe: type[Recipe]) -> dict[str, str]:
    """Columns of references that a split has and train has not, such as several translations of a text."""
    further = {}
    for column, facts in recipe.columns.items():
        if facts.reference and facts.optional and column not in columns:
            name = _usual_name(column, rows.column_names, recipe, columns, needs_reference=False)
            if name is not None:
                further[column] = name
    _log_other_names(further)
    return further


def _log_other_names(names: Mapping[str, str]) -> None:
    if names:
        log("columns of another split: " + ", ".join(f"{column} is {name!r}" for column, name in names.items()))


def other_tags(rows: Dataset, columns: Mapping[str, str], recipe: type[Recipe], named: Columns) -> list[str]:
    """A sentence on further columns of entity tags, if the user did not choose one."""
    sentences = []
    for column, name in columns.items():
        if column in named or not recipe.columns[column].reference or not _is_tagged(rows, name):
            continue
        others = [other for other in rows.column_names if other not in columns.values() and _is_tagged(rows, other)]
        if others:
            also, choice = " and ".join(map(repr, others)), f"columns.{column}={others[0]}"
            sentences.append(f"column {name!r} is used as {column}; entity tags are in {also} too, {choice} uses those")
    return sentences


def _is_tagged(rows: Dataset, name: str) -> bool:
    return hasattr(rows.features[name], "feature") and holds_entity_tags(rows[:_SAMPLE][name])


def as_spelled(name: str, known: list[str]) -> str:
    """The column as the dataset spells it, if only case or the form of accents differ and only one column matches."""
    if name in known:
        return name
    same = [column for column in known if composed(column).lower() == composed(name).lower()]
    return same[0] if len(same) == 1 else name


def refuse_other_inputs(columns: Mapping[str, str], trained: Collection[str], recipe: type[Recipe]) -> None:
    """Refuse rows that have other inputs than those that the model is trained on.

    Args:
        columns: Column of these rows for each column of the task.
        trained: Columns of the task that the training rows have.
        recipe: The task.

    Raises:
        DataError: They have more inputs, or fewer.
    """
    inputs = {name for name in input_columns(recipe) if recipe.columns[name].optional != "each row"}
    if inputs & set(columns) == inputs & set(trained):
        return
    wanted = " and ".join(name for name in recipe.columns if name in inputs & set(trained))
    present = " and ".join(repr(columns[name]) for name in recipe.columns if name in inputs & set(columns))
    raise DataError(f"this model needs {wanted}; found {present}: give rows with those columns, or columns.<name>=")


def known_columns(named: Columns, known: list[str]) -> dict[str, str | int | list[str | int]]:
    """The columns that other rows have too, of those that are named for the rows that are trained on.

    Args:
        named: Column of the training rows for each column of the task.
        known: Columns of the other rows.
    """
    there: dict[str, str | int | list[str | int]] = {}
    for column, name in named.items():
        names: list[str | int] = []
        for wanted in name if isinstance(name, list) else [name]:
            names.append(as_spelled(str(wanted), known))
        if set(names) <= set(known):
            there[column] = names if isinstance(name, list) else names[0]
    return there


def column_cells(by: str, rows: Dataset) -> list[str]:
    """Cells of the column that rows are sliced by, as texts.

    Raises:
        DataError: There is no such column.
    """
    known = rows.column_names
    by = as_spelled(by, known)
    if by not in known:
        raise DataError(f"by: no column {by!r}{nearest(by, known)}; there are {', '.join(known)}")
    cells = []
    for cell in rows[by][:]:
        value = kinds.decoded(cell, rows.features[by])
        text = kinds.as_json(value) if isinstance(value, list | dict) else str("" if value is None else value).strip()
        cells.append(text or EMPTY)
    return cells


def _known_layout(known: list[str], recipe: type[Recipe], taken: Mapping[str, str]) -> dict[str, str]:
    """Columns by the first set of names that the dataset has as a whole, unless other columns are named already."""
    spelling = {name.strip().lower(): name for name in known}
    for layout in recipe.layouts:
        if not set(layout.values()) <= set(spelling):
            continue
        has_task_name = any(column in known and column not in layout.values() for column in layout)
        is_taken = any(taken.get(column, spelling[name]) != spelling[name] for column, name in layout.items())
        if not has_task_name and not is_taken:
            return {column: spelling[name] for column, name in layout.items()}
    return {}


def _usual_name(
    column: str, known: list[str], recipe: type[Recipe], taken: Mapping[str, str], needs_reference: bool
) -> str | None:
    """The column of the same name, or the only one with a name that real datasets give it."""
    if column in known and column not in taken.values():
        return column
    facts = recipe.columns[column]
    names = {name.lower() for name in (column, *facts.names)}
    usual = [name for name in known if name.strip().lower() in names and name not in taken.values()]
    if len(usual) > 1 and (needs_reference or not facts.reference):
        raise DataError(
            f"several columns could be {column}: {', '.join(map(repr, usual))}; choose with columns.{column}={usual[0]}"
        )
    return usual[0] if len(usual) == 1 else None


def rename(rows: Dataset, columns: Mapping[str, str], recipe: type[Recipe], split: str) -> Dataset:
    """Keep the columns of the task, under its names; only train must have the references.

    Raises:
        DataError: The split does not have a column that the others have.
    """
    present = {column: name for column, name in columns.items() if name in rows.column_names}
    missing = []
    for column, name in columns.items():
        facts = recipe.columns[column]
        if column in present:
            continue
        if facts.reference and not facts.optional:
            log(f"{split}: there is no column {name!r}, so its rows have no {column}")
        # Whether a column that each row may leave empty is there says nothing of other splits.
        is_needed = split == "train" or not (facts.reference or facts.optional == "each row")
        if is_needed and not facts.passthrough:
            missing.append(name)
    if missing:
        raise DataError(
            f"split {split} has no column {', '.join(missing)}; it has {', '.join(rows.column_names)}: "
            f"use the same names in all splits, or leave this split out: splits.{split}=null"
        )
    if present == {name: name for name in rows.column_names}:
        return rows
    rows = rows.select_columns(list(present.values()))
    return rows.rename_columns({name: column for column, name in present.items() if name != column})


def check_lists(rows: Dataset, columns: Mapping[str, str], recipe: type[Recipe]) -> None:
    """Refuse cells that are not lists where the task needs lists.

    Raises:
        DataError: With the column and what it holds.
    """
    for column, facts in recipe.columns.items():
        kind = rows.features.get(column)
        if not isinstance(facts.kind, list) or kind is None or hasattr(kind, "feature"):
            continue
        holds = getattr(kind, "dtype", type(kind).__name__).removeprefix("large_")
        if holds != "null":  # a column that is empty throughout is named by the checks of rows
            name = columns[column]
            # Lists that are written as texts are read in a column that can only hold them.
            written = f"columns.{column}={name} if they are written as texts, or " * (
                holds == "string" and name != column
            )
            raise DataError(
                f"column {name!r} holds {holds}, expected a list in each row: {written}"
                f"choose another column, columns.{column}=<one of them>"
            )
