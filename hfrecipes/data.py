"""Rows of a run: choose splits, rename columns, name classes, limit, draw a validation split.

After this module a dataset has the splits `train`, `validation`, `test` (some may lack) and the columns of the task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from . import fingerprint
from .config import SPLITS, RunConfig
from .errors import ConfigError, DataError, nearest
from .recipe import Batch, Recipe
from .say import say
from .sources import USUAL_NAMES, by_position, quiet_bars, read

if TYPE_CHECKING:
    from datasets import Dataset

HELD_OUT = 0.1
GROUP = "__group__"  # column of train with the groups that folds keep together
ROW = "__row__"  # column with the number of each row, until all splits are final
_BLIND = {"-1", "-1.0", "None"}


@dataclass
class Data:
    """Rows by split, under the task's column names."""

    splits: dict[str, Dataset]
    """Split name -> rows."""
    columns: dict[str, str]
    """Task column -> column of the dataset."""
    chosen: dict[str, str]
    """Split -> split of the dataset; a drawn validation split is not among them."""
    class_names: list[str] = field(default_factory=list)
    """Names of the classes, where the dataset itself knows them."""
    places: dict[str, list[int]] = field(default_factory=dict)
    """Number of each row of a split in the data as it was read, from 0; a split that was drawn has those of train."""
    notes: dict[str, str] = field(default_factory=dict)
    """Split -> sentence on its labels that no prediction can match, and that count as wrong."""
    groups: dict[str, Sequence[Any] | None] = field(default_factory=dict)
    """Group of each row of a split, where folds keep groups together."""
    fold_groups: dict[int, Any] | None = None
    """Group of each row that is cut into folds, by its number; None where rows share nothing."""


def load(config: RunConfig, recipe: Recipe) -> Data:
    """Load the dataset of a run, its columns renamed.

    Raises:
        HFRecipesError: The data is not there, or not of a form that the task can use.
    """
    kind = type(recipe)
    found = read(config.dataset, header=not by_position(config.columns), formats=recipe.formats)
    chosen = choose_splits(list(found), config.splits)
    if "train" not in chosen:
        raise DataError(f"found the splits {', '.join(found)}, expected one to train on: splits.train=<one of them>")
    given: dict[str, Mapping[str, str | int]] = {}
    for split, name in chosen.items():
        before = found[name].column_names
        found[name], given[split] = reshape(found[name], recipe, config.columns)
        if split == "train" and found[name].column_names != before:
            say(f"rows reshaped: {', '.join(before)} became {', '.join(found[name].column_names)}")
    _say_splits(chosen, found)
    columns = find_columns(found[chosen["train"]].column_names, kind, given["train"])
    splits = {}
    for split, name in chosen.items():
        own = _columns_of(found[name], columns, kind, given[split]) if split != "train" else columns
        own = {**own, **_more_answers(found[name], own, kind)} if split != "train" else own
        splits[split] = rename(found[name], own, kind, split)
    renamed = {task: own for task, own in columns.items() if task != own}
    if renamed:
        say("columns: " + ", ".join(f"{task} is {own!r}" for task, own in renamed.items()))
    others = [name for name in found[chosen["train"]].column_names if name not in columns.values()]
    if others:
        say(f"columns not used: {', '.join(others)}")
    for rows in splits.values():
        check_lists(rows, columns, kind)
    if isinstance(config.folds, dict) and config.folds.get("groups"):
        splits["train"] = _with_groups(splits["train"], found[chosen["train"]], str(config.folds["groups"]))
    data = Data(splits, columns, chosen)
    name_classes(data, kind)
    drop_blind_answers(data, kind)
    return data


def number_rows(data: Data) -> None:
    """Add the column that tells which row of its split each row is, whatever is dropped, drawn or moved from now on."""
    for split, rows in data.splits.items():
        with quiet_bars(len(rows)):
            data.splits[split] = rows.add_column(ROW, np.arange(len(rows)))


def _with_groups(rows: Dataset, found: Dataset, name: str) -> Dataset:
    """The rows, with the column that tells which of them belong together."""
    if name not in found.column_names:
        known = found.column_names
        raise DataError(f"folds.groups: no column {name!r}{nearest(name, known)}; there are {', '.join(known)}")
    cells = found[name][:]
    empty = [place for place, cell in enumerate(cells) if cell in (None, "") or cell != cell]
    if empty:
        raise DataError(
            f"folds.groups: column {name!r} is empty in {len(empty)} of {len(cells)} rows ({empty[0]}, …), which would "
            "be one large group: fill it in, or drop these rows",
            rows=empty,
        )
    return rows.add_column(GROUP, [str(cell) for cell in cells])


def drop_groups(data: Data) -> None:
    """Take that column away, into `groups`, and the numbers of rows, once all splits are drawn; no task reads them."""
    for split, rows in data.splits.items():
        data.places[split] = rows.with_format(None)[ROW][:]
        if GROUP in rows.column_names:
            data.groups[split] = rows[GROUP][:]
        data.splits[split] = rows.remove_columns([name for name in (GROUP, ROW) if name in rows.column_names])


# --- splits ------------------------------------------------------------------------------------------------------


def choose_splits(found: list[str], wanted: Mapping[str, str | None]) -> dict[str, str]:
    """Which split of the dataset serves as train, validation and test.

    Example:
        >>> choose_splits(["train", "dev"], {})
        {'train': 'train', 'validation': 'dev'}
    """
    missing = [name for name in wanted.values() if name is not None and name not in found]
    if missing:
        raise ConfigError(
            [f"splits: no split {name}{nearest(name, found)}; the dataset has {', '.join(found)}" for name in missing]
        )
    chosen = {split: name for split, name in wanted.items() if name is not None}
    for split, names in USUAL_NAMES.items():
        usual = next((name for name in found if name.lower() in names and name not in chosen.values()), None)
        if split not in wanted and usual:
            chosen[split] = usual
    if not chosen and len(found) == 1:
        chosen["train"] = found[0]
    return {split: chosen[split] for split in SPLITS if split in chosen}


def _say_splits(chosen: dict[str, str], found: dict[str, Dataset]) -> None:
    other = [name for name in found if name not in chosen.values()]
    counts = [f"{split} {len(found[name])} rows" + (f" ({name})" * (name != split)) for split, name in chosen.items()]
    say("splits: " + ", ".join(counts) + (f"; not used: {', '.join(other)}" if other else ""))


def hold_out(
    rows: Dataset,
    strata: Sequence[Any] | None,
    groups: Sequence[Any] | None,
    seed: int,
    repeated: Set[int] = frozenset(),
) -> tuple[Dataset, Dataset]:
    """Draw a tenth of the rows as validation: whole groups, or else each stratum in proportion and none emptied.

    Args:
        rows: To draw from.
        strata: Stratum of each row.
        groups: Group of each row.
        seed: Of the draw.
        repeated: Places of rows that stand elsewhere too; they stay in train unless too few others were drawn.

    Raises:
        DataError: There are too few rows.
    """
    held = _held_groups(groups, seed) if groups is not None else _held_rows(len(rows), strata, seed)
    once = [place for place in held if place not in repeated]
    held = once if groups is None and len(once) >= len(held) / 4 else held
    if not held:
        about = "are too few" if groups is None else "are of too few groups, or share too few texts,"
        raise DataError(f"{len(rows)} training rows {about} to draw a validation split from: give one, or more rows")
    kept = sorted(set(range(len(rows))) - set(held))
    return rows.select(kept), rows.select(sorted(held))


def _held_groups(groups: Sequence[Any], seed: int) -> list[int]:
    """Rows of groups drawn until a tenth is reached; nothing where one group would be all."""
    places: dict[Any, list[int]] = {}
    for place, group in enumerate(groups):
        places.setdefault(group, []).append(place)
    held: list[int] = []
    drawn = list(places.values())
    for turn in np.random.default_rng(seed).permutation(len(drawn)).tolist():
        if len(held) >= HELD_OUT * len(groups) or len(held) + len(drawn[turn]) > len(groups) / 2:
            continue
        held += drawn[turn]
    return held


def _held_rows(number: int, strata: Sequence[Any] | None, seed: int) -> list[int]:
    order = np.random.default_rng(seed).permutation(number)
    if strata is not None:
        order = np.array(sorted(order.tolist(), key=lambda place: str(strata[place])))
    step = round(1 / HELD_OUT)
    seen: set[str] = set()
    held = []
    for position, place in enumerate(order.tolist()):
        first_of_stratum = strata is not None and str(strata[place]) not in seen
        seen.add(str(strata[place]) if strata is not None else "")
        if position % step == step // 2 and not first_of_stratum:
            held.append(place)
    return held


def limit(data: Data, config: RunConfig) -> None:
    """Keep no more rows of each split than asked for, drawn with the seed and in their order."""
    limits = dict.fromkeys(SPLITS, config.limit) if isinstance(config.limit, int) else (config.limit or {})
    generator = np.random.default_rng(config.training.get("seed", 42))
    for split, rows in data.splits.items():
        most = limits.get(split)
        if most and len(rows) > most:
            data.splits[split] = rows.select(sorted(generator.permutation(len(rows))[:most].tolist()))
            say(f"limit: {most} of {len(rows)} rows of {split}, drawn with the seed")


# --- columns -----------------------------------------------------------------------------------------------------


def reshape(rows: Dataset, recipe: Recipe, given: Mapping[str, str | int]) -> tuple[Dataset, Mapping[str, str | int]]:
    """Bring rows of another published shape into the columns of the task.

    Returns:
        The rows, and the columns that the user named, by their names in these rows.
    """
    wanted = {str(name): column for column, name in given.items() if str(name) in rows.column_names}
    change = recipe.reshape({wanted.get(name, name): kind for name, kind in rows.features.items()})
    if change is None:
        return rows, given
    from datasets import Features

    rows = rows.rename_columns({name: column for name, column in wanted.items() if name != column})
    first = rows[:100]
    made = change(first)
    features = Features({name: _feature_of(name, values, first, rows, type(recipe)) for name, values in made.items()})
    with quiet_bars(len(rows)), fingerprint.cached(rows, recipe, "reshape") as key:
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
        found = find_columns(rows.column_names, recipe, given, gold=False)
    except DataError:
        return columns
    own = {column: found[column] for column in lacking if column in found}
    if own:
        say("columns of another split: " + ", ".join(f"{column} is {name!r}" for column, name in own.items()))
    return {**columns, **own}


def find_columns(
    found: list[str], recipe: type[Recipe], given: Mapping[str, str | int], *, gold: bool = True
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
        and (gold or not recipe.columns.get(column, recipe.columns[next(iter(recipe.columns))]).gold)
    ]
    names = list(wanted.values())
    twice = dict.fromkeys(name for name in names if names.count(name) > 1)
    problems += [f"column {name!r} is named for two columns of the task" for name in twice]
    if problems:
        raise DataError("; ".join(problems) + f". The dataset has the columns {', '.join(found)}")
    columns = {column: name for column, name in wanted.items() if name in found}
    columns |= _known_layout(found, recipe, columns)
    for column in recipe.columns:
        if column not in columns and (name := _one_name(column, found, recipe, columns, gold)):
            columns[column] = name
    lacking = [
        name for name, facts in recipe.columns.items() if name not in columns and not (facts.optional or facts.aside)
    ]
    lacking = [name for name in lacking if gold or not recipe.columns[name].gold]
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
        column for column, facts in recipe.columns.items() if facts.gold and facts.optional and column not in columns
    ]
    found = {column: _one_name(column, rows.column_names, recipe, columns, gold=False) for column in left}
    more = {column: name for column, name in found.items() if name is not None}
    if more:
        say("columns of another split: " + ", ".join(f"{column} is {name!r}" for column, name in more.items()))
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


def _one_name(column: str, found: list[str], recipe: type[Recipe], taken: Mapping[str, str], gold: bool) -> str | None:
    """The column called so, or the only one with a name that real datasets give it."""
    if column in found and column not in taken.values():
        return column
    facts = recipe.columns[column]
    known = {name.lower() for name in (column, *facts.names)}
    usual = [name for name in found if name.strip().lower() in known and name not in taken.values()]
    if len(usual) > 1 and (gold or not facts.gold):
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
        and not (recipe.columns[column].gold and split != "train")
        and not recipe.columns[column].aside
    ]
    for column in columns:
        if recipe.columns[column].gold and not recipe.columns[column].optional and column not in present:
            say(f"{split}: there is no column {columns[column]!r}, so its rows have no {column}")
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


def name_classes(data: Data, recipe: type[Recipe]) -> None:
    """Turn class ids into the names that the dataset's own features give them; -1 becomes missing."""
    for column in recipe.answers():
        data.class_names = data.class_names or _class_names(next(iter(data.splits.values())), column)
        for split, rows in data.splits.items():
            own = _class_names(rows, column)
            if own:
                data.splits[split] = _with_names(rows, column, own)


def drop_blind_answers(data: Data, recipe: type[Recipe]) -> None:
    """Take away the answers of a test split where each is -1, as benchmarks publish a test without answers."""
    for column in recipe.answers():
        rows = data.splits.get("test")
        if rows is not None and len(rows) and column in rows.column_names and all(map(_is_blind, rows[column])):
            data.splits["test"] = rows.remove_columns(column)
            say(f"test: every {column} is -1, empty or missing, so no row has an answer")


def _is_blind(cell: Any) -> bool:
    """Whether the cell holds no answer, as in a test split that is published without."""
    if isinstance(cell, dict):
        return all(map(_is_blind, cell.values()))
    return all(map(_is_blind, cell)) if isinstance(cell, list) else str(cell) in _BLIND


def _class_names(rows: Dataset, column: str) -> list[str]:
    kind = rows.features.get(column)
    names: list[str] = getattr(getattr(kind, "feature", kind), "names", None) or []
    return names


def _with_names(rows: Dataset, column: str, names: list[str]) -> Dataset:
    from datasets import List, Value

    several = hasattr(rows.features[column], "feature")
    features = rows.features.copy()
    features[column] = List(Value("string")) if several else Value("string")
    about = {"column": column, "names": names}
    with quiet_bars(len(rows)):
        return rows.map(_name_batch, batched=True, fn_kwargs=about, features=features, desc=f"Naming {column}")


def _name_batch(batch: dict[str, list[Any]], column: str, names: list[str]) -> dict[str, list[Any]]:
    return {column: [_class_name(value, names) for value in batch[column]]}


def _class_name(value: Any, names: list[str]) -> Any:
    if isinstance(value, list):
        return [_class_name(one, names) for one in value]
    return None if value is None or value < 0 else names[value]
