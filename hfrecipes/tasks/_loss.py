"""Losses that are right however a batch is cut into parts: sums, divided by what the whole batch has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

ItemLoss = Callable[[Any, Any], Any]


def over_batch(total: Any, counted: Any, num_items_in_batch: Any) -> Any:
    """A summed loss as a mean over the whole batch.

    Most heads average over each part of a batch, and so give what stands in a part of few more weight: what is learnt
    would depend on `gradient_accumulation_steps` and on the number of processes.

    Args:
        total: Summed loss of this part.
        counted: Number of items in this part.
        num_items_in_batch: Number in the whole batch, as the Trainer counts; `counted` is the whole where None.
    """
    import torch

    if num_items_in_batch is None:
        return total / counted
    if torch.is_grad_enabled():
        return total / num_items_in_batch
    # In evaluation the Trainer counts marks below 0 too, and multiplies by the number of processes as in training.
    joined = torch.distributed.is_available() and torch.distributed.is_initialized()
    loss = total / counted / (torch.distributed.get_world_size() if joined else 1)
    loss.items = counted  # so that a whole split can be averaged over its items, not over its batches
    return loss


def cross_entropy(logits: Any, labels: Any, label_smoothing: float = 0.0, among: Any = None) -> Any:
    """Cross entropy of each item, (items,).

    Args:
        logits: (items, classes).
        labels: (items,).
        label_smoothing: Share of the target that is spread evenly.
        among: Classes that it is spread over, (items, classes); all where None.
    """
    import torch

    if among is None or not label_smoothing:
        kind = torch.nn.functional.cross_entropy
        loss: Any = kind(logits, labels, label_smoothing=label_smoothing, reduction="none")
        return loss
    log_shares = torch.log_softmax(logits, dim=-1)
    even = torch.where(among, log_shares, 0.0).sum(-1) / among.sum(-1)
    sure = log_shares.gather(-1, labels[:, None])[:, 0]
    return -((1 - label_smoothing) * sure + label_smoothing * even)


def token_loss(
    outputs: Any, labels: Any, num_items_in_batch: Any = None, *, item_loss: ItemLoss = cross_entropy
) -> Any:
    """Loss of the tokens with a label.

    Args:
        outputs: With `logits`, (rows, tokens, labels).
        labels: (rows, tokens), below 0 where nothing is to be learnt.
        num_items_in_batch: Labels in the whole batch, of which this may be a part.
        item_loss: Loss of each token, from its logits and label.
    """
    known = labels >= 0
    losses = item_loss(outputs["logits"][known].float(), labels[known])
    return over_batch(losses.sum(), known.sum().clamp(min=1), num_items_in_batch)
