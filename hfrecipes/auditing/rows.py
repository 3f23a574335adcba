"""The rows that a run was trained on, and rows that it never saw, read again from its data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config.run_config import RunConfig
from ..data.checks import fingerprints, input_keys
from ..data.prepare import check_again, load_again
from ..data.rows import Data
from ..data.splits import task_groups
from ..errors import DataError, HFRecipesError, counted
from ..log import once
from ..metrics._uncertainty import group_indices
from ..recipe import Recipe, fresh_copy
from ..run_folder.contents import RunInfo

if TYPE_CHECKING:
    from datasets import Dataset

LEAST = 20  # rows of each kind; with fewer, no interval says anything
LEAST_UNITS = 10  # texts of each kind that they are about
_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Pool:
    """Equally many rows of train and rows that the model never saw.

    Attributes:
        split: Split of the latter, `test` or `validation`.
        members: Rows of train.
        others: Rows of that split.
        seen: Number of rows of that split that are left out, as train has their input too.
    """

    split: str
    members: Dataset
    others: Dataset
    seen: int

    def groups(self, recipe: Recipe) -> np.ndarray:
        """Number of what each row shares with others of its kind, (rows,), members first."""
        numbers: list[Any] = []
        for kind, rows in enumerate((self.members, self.others)):
            # Equal rows share their fate: one of them in a half, a model or a resample, all of them there.
            groups = task_groups(rows, recipe) or input_keys(rows, recipe)
            numbers += [(kind, group) for group in groups]
        return np.array(group_indices(numbers))


def read_again(config: RunConfig, recipe: Recipe, info: RunInfo, what: str) -> Data:
    """The rows of a run, after checking that they are those that it was made with.

    Args:
        config: Its settings.
        recipe: Its task, with tokenizer and labels.
        info: What it knows of its rows.
        what: Its folder, for errors.

    Raises:
        DataError: They cannot be read any more, or have changed.
    """
    try:
        with once():
            data = load_again(config, fresh_copy(recipe))
    except HFRecipesError as error:
        raise DataError(f"the rows that {what} was trained on cannot be read again: {error}") from error
    now = fingerprints(data.splits)
    changed = [split for split in _SPLITS if info.data.get(split) != now.get(split)]
    if changed:
        raise DataError(
            f"the rows of {' and '.join(changed)} are not those that {what} was made with, so nobody knows which of "
            "them it was trained on: put the data back as it was"
        )
    return check_again(data, recipe)


def pool_of(data: Data, recipe: Recipe, most: int, seed: int) -> Pool:
    """Rows to try attacks on, drawn with the seed.

    Args:
        data: The rows of the run.
        recipe: Its task.
        most: Number of rows of each kind at most.
        seed: Seed of the draw.

    Raises:
        DataError: There are too few.
    """
    split, others, seen = _others(data, recipe)
    members = _with_reference(data, "train")
    number = min(len(members), len(others), most)
    if number < LEAST:
        raise DataError(
            f"found {counted(len(members), 'row')} of train and {len(others)} of {split} that the model never saw, "
            f"expected {LEAST} of each or more: with fewer, no interval says anything"
        )
    generator = np.random.default_rng(seed)
    drawn = [np.sort(generator.permutation(rows)[:number]).tolist() for rows in (members, others)]
    rows = data.splits
    return Pool(split, rows["train"].select(drawn[0]), rows[split].select(drawn[1]), seen)


def _others(data: Data, recipe: Recipe) -> tuple[str, list[int], int]:
    """The split of the rows that the model never saw, their indices, and how many are left out as train has them too.

    Raises:
        DataError: There is no such split.
    """
    for split in ("test", "validation"):
        known = _with_reference(data, split) if split in data.splits else []
        if known:
            trained = set(input_keys(data.splits["train"], recipe))
            keys = input_keys(data.splits[split], recipe)
            unseen = [index for index in known if keys[index] not in trained]
            return split, unseen, len(known) - len(unseen)
    raise DataError(
        "found no test and no validation rows with references, expected rows that the model was not trained on: there "
        "is nothing to compare the rows of train with"
    )


def _with_reference(data: Data, split: str) -> list[int]:
    return [index for index, reference in enumerate(data.references[split]) if reference is not None]
