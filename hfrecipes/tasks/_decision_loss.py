"""Batches of prompts, the logits of their options, and the loss over these options alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..losses import mean_over_batch
from ..recipe import IGNORED, Row

_NO_OPTION = -1  # in place of a label token, where a row has fewer options than others of its batch


def collate(features: list[Row], pad: Callable[[list[Row]], Any]) -> Any:
    """A batch of prompts.

    Args:
        features: One per prompt.
        pad: Makes a batch of texts.
    """
    import torch

    batch = pad([{"input_ids": row["input_ids"]} for row in features])
    most = max(len(row["candidates"]) for row in features)
    # Of all tokens in a batch, only one of each row is looked at. A model gives the logits of the same tokens
    # for all rows, so row i is found at index i among those of its own.
    batch["logits_to_keep"] = torch.tensor([row["mark"] for row in features])
    for name in ("is_ranked", "weights"):
        if name in features[0]:
            batch[name] = torch.tensor([row[name] for row in features])
    for name, filler in (("candidates", _NO_OPTION), ("targets", 0.0)):
        if name in features[0]:
            batch[name] = torch.tensor([row[name] + [filler] * (most - len(row[name])) for row in features])
    if "labels" in features[0]:
        # The Trainer counts the labels of a language model from the second one of each row on.
        batch["labels"] = torch.tensor([[IGNORED, row["labels"]] for row in features])
    return batch


def option_logits(logits: Any, candidates: Any) -> Any:
    """Logits of the label of each option, (rows, options), minus infinity where a row has fewer.

    Args:
        logits: (rows, rows, vocabulary): row, and whose last token.
        candidates: Label tokens, (rows, options).
    """
    import torch

    rows = torch.arange(len(candidates), device=logits.device)
    picked = logits[rows, rows].gather(1, candidates.clamp(min=0)).float()
    return picked.masked_fill(candidates == _NO_OPTION, -torch.inf)


def option_loss(
    outputs: Any, labels: Any, num_items_in_batch: Any = None, *, label_smoothing: float = 0.0, is_ordinal: bool = False
) -> Any:
    """Cross entropy over the options that a question has, each row with its weight.

    Args:
        outputs: With `logits`, `candidates` and `targets`, the share of each option, (rows, options); `weights` and
            `is_ranked`, whether the options are levels, (rows,).
        labels: Index of the right option, last in each row, (rows, 2), -100 where it is not known.
        num_items_in_batch: Labels in the whole batch, of which this may be a part.
        label_smoothing: Share of the targets that is spread evenly over the options.
        is_ordinal: Whether levels are learnt by the ranked probability score (Epstein 1969), the squared distance of
            the cumulated probabilities, for which a level that is farther off is worse.
    """
    is_option = outputs["candidates"] != _NO_OPTION
    logits = option_logits(outputs["logits"], outputs["candidates"])
    even = is_option / is_option.sum(1, keepdim=True)
    targets = (1 - label_smoothing) * outputs["targets"] + label_smoothing * even
    losses = -(targets * logits.log_softmax(1).masked_fill(~is_option, 0.0)).sum(1)
    if is_ordinal:
        ranked = ((logits.softmax(1) - targets).cumsum(1) ** 2).sum(1)
        losses = losses.where(outputs["is_ranked"] == 0, ranked)
    known = labels[:, -1] >= 0
    return mean_over_batch((losses * outputs["weights"] * known).sum(), known.sum().clamp(min=1), num_items_in_batch)
