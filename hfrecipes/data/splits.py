"""Which rows serve as train, validation and test: chosen, limited, drawn, or one of several folds."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config import SPLITS, RunConfig
from ..errors import ConfigError, DataError, nearest
from ..log import log
from ..metrics._uncertainty import numbered
from ..recipe import Recipe
from . import checks
from .rows import GROUP, ROW, Data
from .sources import USUAL_NAMES

if TYPE_CHECKING:
    from datasets import Dataset


HELD_OUT = 0.1


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
    log("splits: " + ", ".join(counts) + (f"; not used: {', '.join(other)}" if other else ""))


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
            log(f"limit: {most} of {len(rows)} rows of {split}, drawn with the seed")


def _draw_validation(data: Data, recipe: Recipe, seed: int) -> None:
    train = data.splits["train"]
    repeated = checks.repeated_rows(train, recipe)
    groups = groups_of(train, recipe)
    kept, held = hold_out(train, recipe.strata(train), groups, seed, repeated)
    data.splits = {**data.splits, "train": kept, "validation": held}
    data.splits = {split: data.splits[split] for split in SPLITS if split in data.splits}
    log(f"validation: {len(held)} rows drawn from train with seed {seed}, {len(kept)} left to train on")


def _keywords(config: RunConfig) -> dict[str, Any]:
    return config.folds if isinstance(config.folds, dict) else {}


def _number(config: RunConfig) -> Any:
    return _keywords(config).get("n_splits", 5) if isinstance(config.folds, dict) else config.folds


def take_fold(data: Data, recipe: Recipe, config: RunConfig) -> None:
    """Let one of the folds of train be the test split; the dataset's own is left alone.

    Folds have the labels in like shares; rows that share a group, a text or the whole input stay together.

    Raises:
        DataError: There are fewer groups, or rows, than folds.
    """
    if config.folds is None:
        return
    rows, number, fold = data.splits["train"], _number(config), _keywords(config).get("fold")
    groups = groups_of(rows, recipe)
    data.fold_groups = None if groups is None else dict(zip(rows[ROW], groups, strict=True))
    folds = _held(rows, recipe, groups, number, config.training["seed"])
    if fold is None:  # only looked at
        return
    held = folds[fold - 1]
    kept = np.setdiff1d(np.arange(len(rows)), held)
    rest = {split: own for split, own in data.splits.items() if split == "validation"}
    data.splits = {"train": rows.select(kept), **rest, "test": rows.select(held)}
    left = "; the dataset's own test split is left alone" if "test" in data.chosen else ""
    log(f"fold {fold} of {number}: {len(kept)} rows of train to learn from, the other {len(held)} to score on{left}")


def _held(rows: Dataset, recipe: Recipe, groups: list[int] | None, number: int, seed: int) -> list[np.ndarray]:
    """Places of the rows of each fold, in their order."""
    from sklearn import model_selection

    strata = recipe.strata(rows)
    if groups is None and checks.repeated_rows(rows, recipe):
        groups = numbered(checks.input_keys(rows, recipe))
    units = len(rows) if groups is None else len(set(groups))
    if units < number:
        raise DataError(f"folds: found {units} {'rows' if groups is None else 'groups'}, expected {number} or more")
    counts = Counter(map(str, strata)) if strata is not None else Counter()
    if counts and max(counts.values()) < number:
        most = max(counts.values())
        raise DataError(f"folds: no label has more than {most} rows, expected {number}: fewer folds")
    few = [name for name, times in counts.items() if times < number]
    if few:
        log(f"folds: too few rows to be in each of {number} folds: {', '.join(few[:8])}{', …' * (len(few) > 8)}")
    name = f"{'' if strata is None else 'Stratified'}{'' if groups is None else 'Group'}KFold"
    folds = getattr(model_selection, name)(number, shuffle=True, random_state=seed)
    labels = None if strata is None else [str(one) for one in strata]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of few rows, which was said
        return [np.sort(held) for _, held in folds.split(np.zeros(len(rows)), labels, groups)]


def groups_of(rows: Dataset, recipe: Recipe) -> list[int] | None:
    """Number of what each row shares with others that stay in the same split: a column of the user's, or a text."""
    groups = rows[GROUP][:] if GROUP in rows.column_names else recipe.groups(rows)
    return None if groups is None else numbered(groups)
