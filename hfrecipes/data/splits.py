"""Which rows serve as train, validation and test: chosen by name, limited, drawn, or one of several folds."""

from __future__ import annotations

import types
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config.run_config import SPLITS, RunConfig, named_sets
from ..errors import ConfigError, DataError, counted, nearest
from ..log import log
from ..metrics._uncertainty import group_indices
from ..recipe import Recipe
from .checks import duplicate_rows, input_keys, references
from .folders import SPLIT_NAMES
from .rows import GROUP, ROW, Data

if TYPE_CHECKING:
    from datasets import Dataset

HELD_OUT = Fraction(1, 10)  # share of train that is drawn as validation
MOST_PARTS = 20  # that rows are divided into, some of which are held out
SHOWN = 8  # labels that are listed


# --- by name -----------------------------------------------------------------------------------------------------


def choose_splits(known: list[str], wanted: Mapping[str, str | float | None]) -> dict[str, str]:
    """Which split of the dataset serves as train, validation and test.

    Args:
        known: Splits of the dataset.
        wanted: What the user decided; a number for a split that is drawn from train, None for no split.

    Raises:
        ConfigError: The dataset has no split of that name.

    Example:
        >>> choose_splits(["train", "dev"], {})
        {'train': 'train', 'validation': 'dev'}
    """
    named = {split: name for split, name in wanted.items() if isinstance(name, str)}
    missing = [name for name in named.values() if name not in known]
    if missing:
        there_are = f"the dataset has {', '.join(known)}"
        raise ConfigError([f"splits: no split {name}{nearest(name, known)}; {there_are}" for name in missing])
    chosen = dict(named)
    for split, usual in SPLIT_NAMES.items():
        if split in wanted:
            continue
        for name in known:
            if name.lower() in usual and name not in chosen.values():
                chosen[split] = name
                break
    if not chosen and len(known) == 1:
        chosen["train"] = known[0]
    return {split: chosen[split] for split in SPLITS if split in chosen}


def split_to_test(known: list[str], wanted: Mapping[str, str | float | None] = types.MappingProxyType({})) -> str:
    """Which split of a dataset a model is tested on: test, else validation, else the first one.

    Args:
        known: Splits of the dataset.
        wanted: As for `choose_splits`.
    """
    chosen = choose_splits(known, wanted)
    return chosen.get("test") or chosen.get("validation") or known[0]


def log_splits(chosen: Mapping[str, str], parts: Mapping[str, Dataset]) -> None:
    """Print the number of rows of each split, and which splits of the dataset are not used."""
    counts = []
    for split, name in chosen.items():
        counts.append(f"{split} {counted(len(parts[name]), 'row')}" + (f" ({name})" if name != split else ""))
    unused = [name for name in parts if name not in chosen.values()]
    log("splits: " + ", ".join(counts) + (f"; not used: {', '.join(unused)}" if unused else ""))


def limit(data: Data, config: RunConfig) -> Data:
    """Keep no more rows of each split than the settings say, drawn with the seed and in their order."""
    limits = dict.fromkeys(data.splits, config.limit) if isinstance(config.limit, int) else (config.limit or {})
    generator = np.random.default_rng(config.training.get("seed", 42))
    for split, rows in data.splits.items():
        most = limits.get(split)
        if most and len(rows) > most:
            data = data.with_split(split, rows.select(sorted(generator.permutation(len(rows))[:most].tolist())))
            log(f"limit: {most} of {counted(len(rows), 'row')} of {split}, drawn with the seed")
    return data


# --- splits that are drawn, and folds ----------------------------------------------------------------------------


def draw_splits(data: Data, recipe: Recipe, config: RunConfig) -> Data:
    """Draw a share of train as test, where the settings say so, and as validation, by default a tenth.

    Labels keep their proportions, and rows of a group stay together.

    Raises:
        DataError: There are too few rows, or groups.
    """
    shares = {split: Fraction(share) for split, share in config.splits.items() if isinstance(share, int | float)}
    if "validation" not in data.splits and "validation" not in config.splits:
        shares["validation"] = HELD_OUT
    left = Fraction(1)
    for split in ("test", "validation"):
        if split in shares:
            data = _drawn(data, recipe, split, shares[split] / left, config.training["seed"])
            left -= shares[split]
    return data


def _drawn(data: Data, recipe: Recipe, split: str, share: Fraction, seed: int) -> Data:
    """The data with a share of train as one of its splits."""
    train = data.splits["train"]
    strata, groups = strata_of(train, recipe), groups_of(train, recipe)
    kept, held_out = hold_out(train, strata, groups, seed, duplicate_rows(train, recipe), split, share)
    splits = {**data.splits, "train": kept, split: held_out}
    log(f"{split}: {counted(len(held_out), 'row')} drawn from train with seed {seed}, {len(kept)} left to train on")
    ordered = {name: splits[name] for name in SPLITS if name in splits}
    return replace(data, splits={**ordered, **named_sets(splits)}, slice_cells=_cells_of_train(data, split))


def _cells_of_train(data: Data, split: str) -> dict[str, Sequence[str]]:
    """The values to slice by, where a split is a part of train now."""
    cells = {name: values for name, values in data.slice_cells.items() if name != split}
    return {**cells, split: cells["train"]} if "train" in cells else cells


def hold_out(
    rows: Dataset,
    strata: Sequence[Any] | None,
    groups: Sequence[Any] | None,
    seed: int,
    duplicates: set[int] | frozenset[int] = frozenset(),
    split: str = "validation",
    share: Fraction = HELD_OUT,
) -> tuple[Dataset, Dataset]:
    """Split off some of the rows.

    Args:
        rows: Rows to split.
        strata: Label of each row, to keep in proportion; no label is left without a row in the larger part.
        groups: Group of each row; a group is not divided.
        seed: Seed of the draw.
        duplicates: Indices of rows whose input another row has too; they stay in the larger part unless that leaves too
            few for the smaller one.
        split: What the rows are held out for, for the error.
        share: About how many of the rows, from 0 to 1.

    Returns:
        The rows that stay, and those that are held out.

    Raises:
        DataError: There are too few rows, or groups.
    """
    units = len(rows) if groups is None else len(set(groups))
    held_out: list[int] = []
    # From five rows none can be spared; a handful of groups can still be told apart.
    if units > (5 if groups is None else 1):
        held_out = _drawn_indices(len(rows), strata, groups, share, min(MOST_PARTS, units), seed)
    if groups is None:
        held_out = _without_last_of_stratum(held_out, strata)
        once = [row for row in held_out if row not in duplicates]
        held_out = once if len(once) >= len(held_out) / 4 else held_out
    if not held_out:
        problem = "too few" if groups is None else "of too few groups, or with too few shared texts,"
        raise DataError(
            f"{counted(len(rows), 'training row')}, {problem} to draw a {split} split from: add a {split} split, "
            f"or more rows, or train without one, splits.{split}=null"
        )
    return rows.select(np.setdiff1d(np.arange(len(rows)), held_out)), rows.select(held_out)


def _drawn_indices(
    rows: int, strata: Sequence[Any] | None, groups: Sequence[Any] | None, share: Fraction, most_parts: int, seed: int
) -> list[int]:
    """Indices of about this share of the rows; none where one large group makes it more than half of them."""
    number = share.limit_denominator(most_parts).denominator
    number = number if number > 1 else most_parts
    count = min(max(round(number * share), 1), number - 1)
    parts = _parts(rows, strata, groups, number, seed)
    # Groups make parts of different sizes: those that are nearest to the share come first.
    parts.sort(key=lambda part: abs(len(part) - rows * share / count))
    indices = np.sort(np.concatenate(parts[:count]))
    return [] if share < Fraction(1, 2) < Fraction(len(indices), rows) else indices.tolist()


def _without_last_of_stratum(held_out: list[int], strata: Sequence[Any] | None) -> list[int]:
    """The rows without those that would leave their label with no other row."""
    if strata is None:
        return held_out
    total = Counter(map(str, strata))
    here = Counter(str(strata[row]) for row in held_out)
    return [row for row in held_out if here[str(strata[row])] < total[str(strata[row])]]


def take_fold(data: Data, recipe: Recipe, config: RunConfig) -> Data:
    """Make one of the folds of train the test split; the test split of the dataset itself is not used.

    Labels keep their proportions; rows that share a group, a text or the whole input stay together.

    Raises:
        DataError: There are fewer groups, or rows, than folds.
    """
    settings = config.cross_validation
    if settings is None:
        return data
    rows = data.splits["train"]
    groups = groups_of(rows, recipe)
    fold_groups = None if groups is None else dict(zip(rows[ROW], groups, strict=True))
    folds = _folds(rows, recipe, groups, settings.n_splits, config.training["seed"])
    if settings.fold is None:  # `hfrecipes check` only looks whether the folds can be made
        return replace(data, fold_groups=fold_groups)
    held_out = folds[settings.fold - 1]
    splits = {"train": rows.select(np.setdiff1d(np.arange(len(rows)), held_out))}
    if "validation" in data.splits:
        splits["validation"] = data.splits["validation"]
    splits["test"] = rows.select(held_out)
    splits |= named_sets(data.splits)
    unused = "; the dataset's own test split is not used" if "test" in data.chosen else ""
    origins = {split: origin for split, origin in data.origins.items() if split != "test"}
    log(
        f"fold {settings.fold} of {settings.n_splits}: {counted(len(splits['train']), 'row')} of train for training, "
        f"the other {len(held_out)} for scoring{unused}"
    )
    cells = _cells_of_train(data, "test")
    return replace(data, splits=splits, fold_groups=fold_groups, origins=origins, slice_cells=cells)


def _folds(rows: Dataset, recipe: Recipe, groups: list[int] | None, number: int, seed: int) -> list[np.ndarray]:
    """Indices of the rows of each fold, in their order."""
    strata = strata_of(rows, recipe)
    if groups is None and duplicate_rows(rows, recipe):
        groups = group_indices(input_keys(rows, recipe))
    units = len(rows) if groups is None else len(set(groups))
    if units < number:
        raise DataError(f"folds: found {units} {'rows' if groups is None else 'groups'}, expected {number} or more")
    counts = Counter(map(str, strata or []))
    most = max(counts.values(), default=number)
    if most < number:
        raise DataError(f"folds: no label has more than {most} rows, expected {number}: use fewer folds")
    rare = [name for name, times in counts.items() if times < number]
    if rare:
        shown = ", ".join(rare[:SHOWN]) + (", …" if len(rare) > SHOWN else "")
        log(f"folds: too few rows to be in each of {number} folds: {shown}")
    return _parts(len(rows), strata, groups, number, seed)


def _parts(
    rows: int, strata: Sequence[Any] | None, groups: Sequence[Any] | None, number: int, seed: int
) -> list[np.ndarray]:
    """Indices of each of several parts of about equal size, as scikit-learn's splitters make them."""
    from sklearn import model_selection

    labels = None if strata is None else [str(label) for label in strata]
    if labels is not None and max(Counter(labels).values()) < number:
        labels = None  # scikit-learn refuses to stratify where no label has a row for each part
    classes = None
    if labels is not None:
        # As numbers, since an array of texts is as wide as the longest of them.
        numbers = {label: index for index, label in enumerate(sorted(set(labels)))}
        classes = [numbers[label] for label in labels]
    name = f"{'' if labels is None else 'Stratified'}{'' if groups is None else 'Group'}KFold"
    splitter = getattr(model_selection, name)(number, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about rare labels, which are printed above
        return [np.sort(part) for _, part in splitter.split(np.zeros(rows), classes, groups)]


def groups_of(rows: Dataset, recipe: Recipe) -> list[int] | None:
    """Number of the group of each row, None where rows share nothing: a column of the user's, or of the task."""
    if GROUP in rows.column_names:
        return group_indices(rows[GROUP][:])
    return task_groups(rows, recipe)


def task_groups(rows: Dataset, recipe: Recipe) -> list[int] | None:
    """Number of what each row shares with others by the facts of the task, such as a text; None where rows do not."""
    for name, column in recipe.columns.items():
        if column.grouped and name in rows.column_names:
            # Rows that do without a text share nothing; its number stands for such a row.
            cells = rows[name][:]
            return group_indices([cell or index for index, cell in enumerate(cells)])
    return None


def strata_of(rows: Dataset, recipe: Recipe) -> list[Any] | None:
    """Label of each row where the task keeps labels in proportion, and a row has one label; else None."""
    if not any(column.stratified and name in rows.column_names for name, column in recipe.columns.items()):
        return None
    labels = references(recipe, rows)
    is_one_label = all(label is None or isinstance(label, str) for label in labels)
    return labels if is_one_label else None
