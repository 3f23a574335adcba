"""The order of training rows: it depends only on seed and epoch, so that a resumed run has the same order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    import torch

    sampler, seed = _sampler(batches), seed_of(args)
    if _upstream.is_length_grouped(sampler):
        sampler.generator = torch.Generator().manual_seed(seed + epoch)
    elif _upstream.adds_epoch_to_seed(sampler):  # accelerate's, which adds the epoch itself
        sampler.initial_seed = seed


def batches_of(batches: Any, args: TrainingArguments, epoch: int) -> list[list[int]]:
    """Numbers of the features in each batch of an epoch; nothing if the sampler's random state is not known."""
    import torch

    sampler = _sampler(batches)
    if isinstance(sampler, torch.utils.data.RandomSampler) and not _upstream.adds_epoch_to_seed(sampler):
        return []
    start_epoch(batches, args, epoch)
    if hasattr(_sampler(batches), "set_epoch"):
        _sampler(batches).set_epoch(epoch)
    return [list(batch) for batch in batches]


def _sampler(batches: Any) -> Any:
    while hasattr(batches, "batch_sampler"):  # several processes wrap it
        batches = batches.batch_sampler
    return getattr(batches, "sampler", None)


def _mixed(seed: int) -> int:
    """A number far from that of the next seed; below 2**31, so that epochs can be added."""
    import numpy as np

    return int(np.random.SeedSequence(seed).generate_state(1)[0] >> 1)
