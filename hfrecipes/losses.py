"""Losses that are right however a batch is split: sums, divided by what the whole batch has; class weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from .errors import ConfigError, nearest

ClassWeights = Literal["balanced"] | dict[str, float]
OPTIONS = ("class_weights", "focal_gamma", "logit_adjustment")


def check(recipe: Any) -> None:
    """Refuse values that no loss can be made of.

    Raises:
        ConfigError: One is negative, or two make up for the same skew.
    """
    for name in ("focal_gamma", "logit_adjustment"):
        if not 0 <= getattr(recipe, name) < math.inf:
            raise ConfigError(f"{name}: {getattr(recipe, name)}, expected 0 or more")
    given = recipe.class_weights if isinstance(recipe.class_weights, dict) else {}
    wrong = [f"{name} {value}" for name, value in given.items() if not 0 < value < math.inf]
    if wrong:
        raise ConfigError(f"class_weights: found {', '.join(wrong)}, expected numbers above 0")
    if recipe.class_weights and recipe.logit_adjustment:
        raise ConfigError("class_weights and logit_adjustment make up for the same skew: give one of them")


def refuse(recipe: Any, why: str, names: Sequence[str] = OPTIONS) -> None:
    """Refuse options where they mean nothing.

    Raises:
        ConfigError: One is set.
    """
    given = [name for name in names if getattr(recipe, name)]
    if given:
        raise ConfigError(f"{' and '.join(given)}: leave it out, {why}")


def check_class_weights(recipe: Any, counts: Mapping[str, int]) -> list[str]:
    """Keep how often each label stands in train, and say the weights.

    Args:
        recipe: The task, with its labels.
        counts: By label.

    Raises:
        ConfigError: A weight is for no label.
    """
    recipe.counts = {name: counts.get(name, 0) for name in recipe.labels}
    if isinstance(recipe.class_weights, dict):
        recipe.class_weights = {str(name): value for name, value in recipe.class_weights.items()}
        unknown = [name for name in recipe.class_weights if name not in recipe.labels]
        if unknown:
            known = "; ".join(f"no label {name}{nearest(name, recipe.labels)}" for name in unknown)
            raise ConfigError(f"class_weights: {known}; the labels are {', '.join(recipe.labels[:20])}")
    if not recipe.class_weights:
        return []
    of = dict(zip(recipe.labels, weights(recipe) or [], strict=True))
    shown = sorted(of, key=of.__getitem__)
    ends = shown if len(shown) <= 6 else [*shown[:3], "…", *shown[-3:]]
    return ["class weights: " + ", ".join(name if name == "…" else f"{name} {of[name]:.3g}" for name in ends)]


def weights(recipe: Any) -> list[float] | None:
    """Weight of each label in the loss; None where all weigh the same.

    Balanced: rows / (labels * rows of the label), as scikit-learn has it, so that the mean over the rows is 1.
    """
    if isinstance(recipe.class_weights, dict):
        return [float(recipe.class_weights.get(name, 1.0)) for name in recipe.labels]
    if not recipe.class_weights or not recipe.counts:
        return None
    counts = _in_order(recipe)
    seen = [count for count in counts if count]
    return [sum(seen) / (len(seen) * count) if count else 1.0 for count in counts]


def _in_order(recipe: Any) -> list[int]:
    """How often each label stands in train, in the order of the head, which the checkpoint may have decided."""
    return [recipe.counts[name] for name in recipe.labels]


def item_loss(recipe: Any, label_smoothing: float) -> ItemLoss:
    """Cross entropy of an item, as the options of the recipe weigh it."""
    priors = None
    if recipe.logit_adjustment and recipe.counts:
        counts = _in_order(recipe)
        priors = [recipe.logit_adjustment * math.log(max(count, 1) / sum(counts)) for count in counts]
    return partial(
        _item_loss,
        weights=weights(recipe),
        priors=priors,
        gamma=recipe.focal_gamma,
        label_smoothing=label_smoothing,
    )


def _item_loss(
    logits: Any,
    labels: Any,
    *,
    weights: list[float] | None,
    priors: list[float] | None,
    gamma: float,
    label_smoothing: float,
) -> Any:
    """Weighted cross entropy, (items,).

    Focal loss as Lin et al. 2017 (`(1 - p) ** gamma`), logit adjustment as Menon et al. 2021 (`tau * log(prior)` is
    added to the logits in training alone, so that predictions are as if all labels were equally frequent).
    """
    import torch

    if priors is not None:
        logits = logits + logits.new_tensor(priors)
    weight = None if weights is None else logits.new_tensor(weights)
    kind = torch.nn.functional.cross_entropy
    losses = kind(logits, labels, weight=weight, label_smoothing=label_smoothing, reduction="none")
    if gamma:
        share = torch.softmax(logits, dim=-1).gather(-1, labels[:, None])[:, 0]
        losses = losses * (1 - share) ** gamma
    return losses


def binary_loss(recipe: Any, rows: int, label_smoothing: float) -> ItemLoss:
    """Binary cross entropy of each cell (rows, labels), where a row may have any number of labels.

    Balanced: rows with a label and rows without it weigh the same in its column, with a mean of 1. Weights that are
    given are of the rows with the label.

    Args:
        recipe: The task.
        rows: Of train.
        label_smoothing: Share of the target that is spread evenly over yes and no.
    """
    yes = no = None
    if isinstance(recipe.class_weights, dict):
        yes, no = weights(recipe), [1.0] * len(recipe.labels)
    elif recipe.class_weights and recipe.counts:
        counts = [count if 0 < count < rows else rows / 2 for count in _in_order(recipe)]
        yes, no = [rows / (2 * count) for count in counts], [rows / (2 * (rows - count)) for count in counts]
    return partial(_binary_loss, yes=yes, no=no, gamma=recipe.focal_gamma, label_smoothing=label_smoothing)


def _binary_loss(
    logits: Any, labels: Any, *, yes: list[float] | None, no: list[float] | None, gamma: float, label_smoothing: float
) -> Any:
    import torch

    targets = labels * (1 - label_smoothing) + label_smoothing / 2
    losses = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    if yes is not None:
        losses = losses * torch.where(labels > 0.5, logits.new_tensor(yes), logits.new_tensor(no))
    if gamma:
        losses = losses * (1 - torch.sigmoid(torch.where(labels > 0.5, logits, -logits))) ** gamma
    return losses


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
