"""Poisson sampling: each row is in the batch of a step with the same probability, whatever the other rows do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from transformers import Trainer

ROW = "privacy_row"  # in a batch: number, in the batch, of the row that each feature comes from


class PoissonBatches:
    """The batches of an epoch as indices of rows; they differ in size, and may be empty.

    They are drawn from fresh entropy of the operating system each time: whoever knows in which steps a row took part
    is protected from by less noise. A resumed run draws the steps that are left, which is as good, since no step
    depends on the one before it.

    Args:
        rows: Number of rows.
        rate: Probability of each row to be drawn for a step.
        parts: Number of batches that a step is made of, `gradient_accumulation_steps`; each drawn row is in one.
        steps: Number of steps.
    """

    # What looks at the order of other samplers looks for this one.
    sampler = None
    batch_size = None
    drop_last = False

    def __init__(self, rows: int, rate: float, parts: int, steps: int) -> None:
        self.rows, self.rate, self.parts, self.steps = rows, rate, parts, steps

    def __len__(self) -> int:
        return self.steps * self.parts

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng()
        for _ in range(self.steps):
            drawn = np.flatnonzero(generator.random(self.rows) < self.rate)
            part_of = generator.integers(self.parts, size=len(drawn))
            for part in range(self.parts):
                yield drawn[part_of == part].tolist()


class FeaturesByRow:
    """The features of each row: a long text is read in several windows, which belong to one row.

    Args:
        features: All features, as a dataset.
        rows: Number of the row that each feature comes from.
    """

    def __init__(self, features: Any, rows: Sequence[int] | np.ndarray) -> None:
        self.features = features
        numbers = np.asarray(rows)
        order = np.argsort(numbers, kind="stable")
        self.indices = np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> list[dict[str, Any]]:
        return [self.features[int(feature)] for feature in self.indices[index]]


def collate_rows(collate: Callable[..., Any]) -> Callable[..., Any]:
    """A collator for rows of `FeaturesByRow`, of which there may be none.

    Args:
        collate: The collator of features.
    """

    def collated(rows: Sequence[Sequence[dict[str, Any]]]) -> dict[str, Any]:
        import torch

        features: list[dict[str, Any]] = []
        numbers: list[int] = []
        for number, windows in enumerate(rows):
            features += windows
            numbers += [number] * len(windows)
        batch = dict(collate(features)) if features else {"labels": torch.zeros(0, dtype=torch.long)}
        return {**batch, ROW: torch.tensor(numbers, dtype=torch.long)}

    return collated


def loader(trainer: Trainer, rows: FeaturesByRow, batches: PoissonBatches) -> Callable[[], Any]:
    """`get_train_dataloader` for a Trainer, with drawn batches."""

    def get_train_dataloader() -> Any:
        from torch.utils.data import DataLoader

        args = trainer.args
        workers = args.dataloader_num_workers
        prepared: DataLoader[Any] = DataLoader(
            rows,  # type: ignore[arg-type]
            batch_sampler=batches,
            collate_fn=collate_rows(trainer.data_collator),
            num_workers=workers,
            pin_memory=args.dataloader_pin_memory,
            prefetch_factor=args.dataloader_prefetch_factor,
            multiprocessing_context=args.dataloader_multiprocessing_context if workers else None,
        )
        return trainer.accelerator.prepare(prepared)

    return get_train_dataloader
