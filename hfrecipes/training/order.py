"""The order of training rows: it depends only on seed and epoch, so that a resumed run has the same order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _upstream

if TYPE_CHECKING:
    from transformers import TrainingArguments


def seed_of(args: TrainingArguments) -> int:
    """Seed of the order of rows, to which the number of an epoch can be added: that of the next seed is far away."""
    return _mixed(args.seed if args.data_seed is None else args.data_seed)


def start_epoch(batches: Any, args: TrainingArguments, epoch: int) -> None:
    """Make the order that the sampler draws depend only on the seed and the number of the epoch.

    Left alone, the order of rows grouped by length depends on all that was drawn before, and the other samplers add
    seed and epoch, so that seeds 1 and 2 share all orders but one.

    Args:
        batches: Batch sampler of the train dataloader.
        args: With `data_seed`, or else `seed`.
        epoch: From 0.
    """
    cut, seed = _cut(batches), seed_of(args)
    if _upstream.is_length_grouped(cut.sampler):
        cut.sampler = GroupedByLength(cut.sampler.lengths[:], cut.sampler.batch_size * args.world_size)
    if isinstance(cut.sampler, GroupedByLength):
        cut.sampler.seed = seed + epoch
    elif _upstream.adds_epoch_to_seed(cut.sampler):  # accelerate's, which adds the epoch itself
        cut.sampler.initial_seed = seed


def batches_of(batches: Any, args: TrainingArguments, epoch: int) -> list[list[int]]:
    """Numbers of the features in each batch of an epoch; nothing if the sampler's random state is not known."""
    import torch

    sampler = getattr(_cut(batches), "sampler", None)
    if isinstance(sampler, torch.utils.data.RandomSampler) and not _upstream.adds_epoch_to_seed(sampler):
        return []
    start_epoch(batches, args, epoch)
    set_epoch = getattr(sampler, "set_epoch", None)
    if set_epoch is not None:
        set_epoch(epoch)
    return [list(batch) for batch in batches]


def _cut(batches: Any) -> Any:
    """What cuts the order of a sampler into batches; several processes, and a resume, wrap it."""
    while hasattr(batches, "batch_sampler"):
        batches = batches.batch_sampler
    return batches


class GroupedByLength:
    """Order of an epoch in which each batch has rows of similar length, and the batches come in random order.

    The sampler of the Trainer sorts parts of the rows, a quarter of them at most: with a thousand rows, a tenth of what
    is computed is padding then.

    Args:
        lengths: Length of each row.
        size: Number of rows that are kept together.

    Attributes:
        seed: Seed of the next epoch.
    """

    def __init__(self, lengths: Sequence[int], size: int) -> None:
        self.lengths, self.size, self.seed = np.asarray(lengths), size, 0

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        """Indices of the rows; the longest come first, so that memory that is too small is noticed at once."""
        generator = np.random.default_rng(self.seed)
        order = generator.permutation(len(self.lengths))
        order = order[np.argsort(self.lengths[order], kind="stable")]
        # Rows move by half a batch at most, so that the same ones do not meet in each epoch.
        order = order[np.argsort(np.arange(len(order)) + self.size * generator.random(len(order)) / 2)]
        rest = len(order) % self.size
        # The last batch has fewer rows, which weigh more: they are of another length in each epoch.
        start = self.size * int(generator.integers(len(order) // self.size + 1))
        short, whole = order[start : start + rest], np.delete(order, range(start, start + rest))
        groups = list(whole.reshape(-1, self.size)[::-1])
        shuffled = [*groups[:1], *(groups[1 + index] for index in generator.permutation(max(len(groups) - 1, 0)))]
        yield from np.concatenate([*shuffled, short]).tolist()


def _mixed(seed: int) -> int:
    """A number far from that of the next seed; below 2**31, so that epochs can be added."""
    return int(np.random.SeedSequence(seed).generate_state(1)[0] >> 1)
