"""Shadow models: the run again, on random halves of the audited rows, to know how hard a row is without it."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..data.checks import fingerprint, input_keys, with_references
from ..data.prepare import load_data
from ..data.progress import hide_progress_bars
from ..errors import ConfigError, DataError, counted
from ..flow.single import carry_out
from ..log import log, once
from ..recipe import Recipe
from ..run_folder import contents
from ..run_folder.contents import RunInfo
from ..run_folder.writing import write_json
from ..training.configuration import configure
from ..training.plan import Plan, plan_of_rows
from .likelihood import memberships
from .row_losses import losses_of
from .rows import Pool

if TYPE_CHECKING:
    from datasets import Dataset

FOLDER = "shadows"  # in that of the run
MOST = 1000


def check_number(shadows: int) -> None:
    """Refuse a number of shadow models that rows cannot be shared out to.

    Raises:
        ConfigError: It is odd, negative or very large.
    """
    if not isinstance(shadows, int) or shadows % 2 or not 0 <= shadows <= MOST:
        raise ConfigError(
            f"shadows: found {shadows}, expected an even number, {MOST} at most: every second model is trained on the "
            "rows that the one before leaves out"
        )


def costs(shadows: int, info: RunInfo) -> str:
    """A sentence on what so many further shadow models cost."""
    if not shadows:
        return "shadows: all are trained already"
    if not info.seconds:
        return f"shadows: {counted(shadows, 'training')}, each as long as that of the run"
    minutes = shadows * info.seconds / 60
    return (
        f"shadows: {counted(shadows, 'training')} of about {info.seconds:.0f} s, as the run took: {minutes:.0f} minutes"
    )


@dataclass(frozen=True)
class Shadows:
    """The shadow models of a run.

    Attributes:
        run: Folder of the run.
        info: What is known of it.
        pool: The audited rows.
        units: Number of what they share, (rows,), members first.
        seed: Seed of the halves.
        trust: As for `load`.
        dataset: What replaces the dataset that the settings name, such as rows from Python; None for nothing.
    """

    run: Path
    info: RunInfo
    pool: Pool
    units: np.ndarray
    seed: int
    trust: bool
    dataset: object = None

    @property
    def folder(self) -> Path:
        """Where their losses are; other rows have another folder."""
        rows = fingerprint(self.pool.members) + fingerprint(self.pool.others)
        return self.run / FOLDER / f"{rows[:8]}{rows[32:40]}"

    def losses(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Loss of each audited row in each of so many models, members first, and whether the model was trained on it.

        A model whose losses were kept is not trained again, and one whose training was interrupted goes on.

        Returns:
            Two arrays, (models, rows).
        """
        is_in = memberships(self.units, number, self.seed)
        files = [self.folder / f"shadow-{index}.json" for index in range(1, number + 1)]
        log(costs(sum(not file.exists() for file in files), self.info))
        losses = []
        for index, file in enumerate(files):
            kept = contents.read_json(file).get("losses")
            if kept is None:
                log(f"shadow {index + 1} of {number}: {file.with_suffix('')}")
                kept = self._trained(file.with_suffix(""), is_in[index], index + 1).tolist()
                write_json(file, {"losses": kept})
            # The model itself is of no use any more.
            shutil.rmtree(file.with_suffix(""), ignore_errors=True)
            losses.append(np.array(kept, dtype=np.float64))
        return np.array(losses), is_in

    def _trained(self, folder: Path, is_in: np.ndarray, number: int) -> np.ndarray:
        """Loss of each audited row in a model that was trained on some of them."""
        with once():
            plan = self._plan(folder, is_in, number)
            result = carry_out(plan)
        inference = result.predictor.inference
        losses = [losses_of(inference, rows) for rows in (self.pool.members, self.pool.others)]
        del result, inference
        gc.collect()  # a Trainer refers to itself, and the next one needs its memory
        return np.concatenate(losses)

    def _plan(self, folder: Path, is_in: np.ndarray, number: int) -> Plan:
        """The run again, with another seed, on the rows of train that are not audited and on some of those that are."""
        # Its losses are for nobody else: neither the Hub nor a tracker gets them.
        settings = {"output_dir": str(folder), "tests": None, "by": None, "hub": None, "report_to": "none"}
        if self.dataset is not None:
            settings["dataset"] = self.dataset  # type: ignore[assignment]
        config, recipe = configure(str(self.run / contents.RECIPE), settings, trust=self.trust)
        data, config = load_data(config, recipe)
        train = joined(self._parts(data.splits["train"], recipe, is_in), recipe.columns)
        groups = {split: group for split, group in data.groups.items() if split != "train"}
        data = replace(data.with_split("train", train), groups=groups).without_tests()
        data = replace(data, row_numbers={**data.row_numbers, "train": range(len(train))})
        seed = config.training["seed"] + number  # the splits were drawn with that of the run
        config = replace(config, training={**config.training, "seed": seed})
        return plan_of_rows(config, recipe, with_references(data, recipe), folder)

    def _parts(self, train: Dataset, recipe: Recipe, is_in: np.ndarray) -> Iterator[Dataset]:
        """About as many rows as the run was trained on, in parts."""
        # A copy of an audited row would tell a model what it is trained without.
        audited = set(input_keys(self.pool.members, recipe))
        yield train.select([row for row, key in enumerate(input_keys(train, recipe)) if key not in audited])
        members = len(self.pool.members)
        yield self.pool.members.select(np.flatnonzero(is_in[:members]))
        yield self.pool.others.select(np.flatnonzero(is_in[members:]))


def joined(parts: Iterator[Dataset], needed: Collection[str]) -> Dataset:
    """Rows of several splits as one, with the columns that all of them have.

    Args:
        parts: Rows of each.
        needed: Columns that the task reads.

    Raises:
        DataError: A column of the task is missing in one of them, or has another type.
    """
    from datasets import concatenate_datasets

    filled = [rows for rows in parts if len(rows)]
    common = set.intersection(*(set(rows.column_names) for rows in filled))
    shared = [name for name in filled[0].column_names if name in common]
    missing = [name for name in filled[0].column_names if name in needed and name not in shared]
    if missing:
        raise DataError(
            f"shadows: found {' and '.join(missing)} in train alone, expected the same columns in test, which half of "
            "each shadow model is trained on: leave shadows out"
        )
    features = filled[0].select_columns(shared).features
    try:
        with hide_progress_bars(sum(map(len, filled))):
            return concatenate_datasets([rows.select_columns(shared).cast(features) for rows in filled])
    except (ValueError, TypeError) as error:
        raise DataError(
            f"shadows: the rows of train and test have other types ({error}), so no model can be trained on both: "
            "leave shadows out"
        ) from error
