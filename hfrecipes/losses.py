"""Losses that do not depend on how a batch is split, and options for rare labels.

Most heads average the loss over each part of a batch, and so give the items of small parts more weight: what is learnt
depends on `gradient_accumulation_steps` and on the number of processes. The losses here are sums, divided by the number
of items in the whole batch (`mean_over_batch`).

`item_loss` and `binary_loss` make the loss of each item from a recipe's options (`class_weights`, `focal_gamma`,
`logit_adjustment`); `token_loss`, `span_loss` and `choice_loss` add up the items of a batch.

None of them picks items out of a tensor by a mask, or copies numbers to the device: a GPU would wait for Python in each
step.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Literal

from .characters import composed
from .errors import ConfigError, nearest

ClassWeights = Literal["balanced"] | dict[str, float]
OPTIONS = ("class_weights", "focal_gamma", "logit_adjustment")
# Loss of each item, from logits (items, classes) and labels (items,).
ItemLoss = Callable[[Any, Any], Any]
_SHOWN = 6  # class weights in a log line


# --- options ---------------------------------------------------------------------------------------------------------


def check_options(recipe: Any) -> None:
    """Refuse values of the options that no loss can use.

    Raises:
        ConfigError: A number is negative, a class weight is not above 0, or two options correct the same imbalance.
    """
    for name in ("focal_gamma", "logit_adjustment"):
        value = getattr(recipe, name)
        if not 0 <= value < math.inf:
            raise ConfigError(f"{name}: {value}, expected 0 or more")
    check_weights("class_weights", recipe.class_weights)
    if recipe.class_weights and recipe.logit_adjustment:
        raise ConfigError("class_weights and logit_adjustment correct the same imbalance: use only one of them")


def check_weights(option: str, given: ClassWeights | None) -> None:
    """Refuse weights that are not above 0.

    Args:
        option: Name of the option.
        given: Its value.

    Raises:
        ConfigError: There is one.
    """
    weights_by_name = given if isinstance(given, dict) else {}
    wrong = [f"{name} {value}" for name, value in weights_by_name.items() if not 0 < value < math.inf]
    if wrong:
        raise ConfigError(f"{option}: found {', '.join(wrong)}, expected numbers above 0")


def refuse_unknown(option: str, given: Iterable[str], known: Sequence[str], kind: str = "label") -> None:
    """Refuse names that the training rows do not have.

    Args:
        option: Name of the option that has them.
        given: The names.
        known: Names that there are.
        kind: What they name.

    Raises:
        ConfigError: There is one.
    """
    unknown = []
    for name in given:
        if name not in known:
            unknown.append(f"no {kind} {name}{nearest(name, known)}")
    if unknown:
        raise ConfigError(f"{option}: {'; '.join(unknown)}; the {kind}s are {', '.join(known[:20])}")


def refuse_options(recipe: Any, why: str, names: Sequence[str] = OPTIONS) -> None:
    """Refuse options that have no meaning for this recipe.

    Args:
        recipe: The task.
        why: Reason, for the error.
        names: Options that must not be set.

    Raises:
        ConfigError: One of them is set.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(recipe)}
    given = [name for name in names if getattr(recipe, name) != defaults[name]]
    if given:
        raise ConfigError(f"{' and '.join(given)}: leave it out, {why}")


def check_class_weights(recipe: Any, counts: Mapping[str, int]) -> list[str]:
    """Store in the recipe how often each label occurs in train, and check the class weights.

    Args:
        recipe: The task, with its labels.
        counts: Number of rows, or words, of each label.

    Returns:
        A log line with the weights; nothing if all labels weigh the same.

    Raises:
        ConfigError: A weight is for an unknown label.
    """
    recipe.label_counts = {name: counts.get(name, 0) for name in recipe.labels}
    if isinstance(recipe.class_weights, dict):
        # YAML reads the label in `1: 5.0` as a number.
        recipe.class_weights = {composed(str(name)): value for name, value in recipe.class_weights.items()}
        refuse_unknown("class_weights", recipe.class_weights, recipe.labels)
    if not recipe.class_weights:
        return []
    label_weights = dict(zip(recipe.labels, weights(recipe) or [], strict=True))
    return [f"class weights: {_listed(label_weights)}"]


def _listed(label_weights: dict[str, float]) -> str:
    """Labels with their weights in increasing order; of many, the lightest and the heaviest."""
    shown = []
    for name in sorted(label_weights, key=label_weights.__getitem__):
        shown.append(f"{name} {label_weights[name]:.3g}")
    if len(shown) > _SHOWN:
        shown = [*shown[: _SHOWN // 2], "…", *shown[-_SHOWN // 2 :]]
    return ", ".join(shown)


def weights(recipe: Any) -> list[float] | None:
    """Weight of each label in the loss; None if all weigh the same.

    Balanced: rows / (labels * rows of the label), as in scikit-learn, so that the mean over the rows is 1.
    """
    if isinstance(recipe.class_weights, dict):
        return [float(recipe.class_weights.get(name, 1.0)) for name in recipe.labels]
    if not recipe.class_weights or not recipe.label_counts:
        return None
    counts = _label_counts(recipe)
    # A label without rows in train, which the dataset or the checkpoint may know, has no weight to balance.
    seen = list(filter(None, counts))
    balanced = []
    for count in counts:
        balanced.append(sum(seen) / (len(seen) * count) if count else 1.0)
    return balanced


def _label_counts(recipe: Any) -> list[int]:
    """How often each label occurs in train, in the order of the model's head."""
    # A checkpoint with the same labels may have put them in another order since they were counted.
    return [recipe.label_counts[name] for name in recipe.labels]


# --- loss of each item -----------------------------------------------------------------------------------------------


def cross_entropy(logits: Any, labels: Any, label_smoothing: float = 0.0, among: Any = None) -> Any:
    """Cross entropy of each item, (items,).

    Args:
        logits: (items, classes).
        labels: (items,).
        label_smoothing: Share of the target that is spread evenly over the classes.
        among: The classes that it is spread over, (items, classes); None for all.
    """
    import torch

    if among is None or not label_smoothing:
        loss: Any = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="none")
        return loss
    log_shares = torch.log_softmax(logits, dim=-1)
    # A class with a logit of minus infinity must not be multiplied by 0, which would be NaN.
    even = torch.where(among, log_shares, 0.0).sum(-1) / among.sum(-1)
    target = log_shares.gather(-1, labels[:, None])[:, 0]
    return -((1 - label_smoothing) * target + label_smoothing * even)


def item_loss(recipe: Any, label_smoothing: float) -> ItemLoss:
    """Cross entropy of an item with one label, by the recipe's options."""
    priors = None
    if recipe.logit_adjustment and recipe.label_counts:
        counts, priors = _label_counts(recipe), []
        for count in counts:
            # At least 1: the logarithm of a label without rows would be minus infinity.
            priors.append(recipe.logit_adjustment * math.log(max(count, 1) / sum(counts)))
    return partial(
        weighted_cross_entropy,
        weights=weights(recipe),
        priors=priors,
        gamma=recipe.focal_gamma,
        label_smoothing=label_smoothing,
    )


def weighted_cross_entropy(
    logits: Any,
    labels: Any,
    *,
    weights: list[float] | None,
    priors: list[float] | None,
    gamma: float,
    label_smoothing: float,
) -> Any:
    """Weighted cross entropy of each item, (items,).

    Args:
        logits: (items, classes).
        labels: (items,).
        weights: Weight of each class, (classes,); None for 1.
        priors: Logit adjustment (Menon et al. 2021), (classes,): `tau * log(prior)` is added to the logits in training
            alone, so that predictions are as if all labels were equally frequent.
        gamma: Exponent of the focal loss `(1 - p) ** gamma` (Lin et al. 2017), 0 for none.
        label_smoothing: Share of the target that is spread evenly over the classes.
    """
    import torch

    if priors is not None:
        logits = logits + _on_device(priors, logits)
    weight = None if weights is None else _on_device(weights, logits)
    # Not the default reduction, which divides by the sum of the weights of this part of the batch.
    losses: Any = torch.nn.functional.cross_entropy(
        logits, labels, weight=weight, label_smoothing=label_smoothing, reduction="none"
    )
    if gamma:
        share = torch.softmax(logits, dim=-1).gather(-1, labels[:, None])[:, 0]
        losses = losses * (1 - share) ** gamma
    return losses


def binary_loss(recipe: Any, rows: int, label_smoothing: float) -> ItemLoss:
    """Binary cross entropy of each cell (rows, labels), where a row may have any number of labels.

    Balanced: rows with a label and rows without it weigh the same in its column, with a mean of 1. Weights by label
    apply to the rows with the label.

    Args:
        recipe: The task.
        rows: Number of rows of train.
        label_smoothing: Share of the target that is spread evenly over yes and no.
    """
    yes = no = None
    if isinstance(recipe.class_weights, dict):
        yes, no = weights(recipe), [1.0] * len(recipe.labels)
    elif recipe.class_weights and recipe.label_counts:
        yes, no = [], []
        for count in _label_counts(recipe):
            # A label of no row, or of all, has only one side: half the rows give it a weight of 1.
            positives = count if 0 < count < rows else rows / 2
            yes.append(rows / (2 * positives))
            no.append(rows / (2 * (rows - positives)))
    return partial(
        weighted_binary_cross_entropy, yes=yes, no=no, gamma=recipe.focal_gamma, label_smoothing=label_smoothing
    )


def weighted_binary_cross_entropy(
    logits: Any, labels: Any, *, yes: list[float] | None, no: list[float] | None, gamma: float, label_smoothing: float
) -> Any:
    """Weighted binary cross entropy of each cell, (rows, labels).

    Args:
        logits: (rows, labels).
        labels: 0 or 1, (rows, labels).
        yes: Weight of the cells with the label, (labels,); None for 1.
        no: Weight of the cells without the label, (labels,).
        gamma: As `weighted_cross_entropy` takes it.
        label_smoothing: Share of the target that is spread evenly over yes and no.
    """
    import torch

    targets = labels * (1 - label_smoothing) + label_smoothing / 2
    losses = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    if yes is not None and no is not None:
        losses = losses * torch.where(labels > 0.5, _on_device(yes, logits), _on_device(no, logits))
    if gamma:
        # The sigmoid of a flipped logit is the probability of "no".
        losses = losses * (1 - torch.sigmoid(torch.where(labels > 0.5, logits, -logits))) ** gamma
    return losses


def _on_device(values: Sequence[float], like: Any) -> Any:
    """The values as a tensor of the type and on the device of another; copied there once, and not in each step."""
    return _copied(tuple(values), like.dtype, like.device)


@lru_cache(maxsize=16)
def _copied(values: tuple[float, ...], dtype: Any, device: Any) -> Any:
    import torch

    # Kept for training too, where a tensor that was made in inference mode cannot be used.
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)


# --- loss of a batch -------------------------------------------------------------------------------------------------


def mean_over_batch(total: Any, counted: Any, num_items_in_batch: Any) -> Any:
    """A summed loss as a mean over the whole batch.

    Args:
        total: Summed loss of this part of the batch.
        counted: Number of items in this part.
        num_items_in_batch: Number of items in the whole batch, as the Trainer counts them; None if this is all of it.
    """
    import torch

    if num_items_in_batch is None:
        return total / counted
    if torch.is_grad_enabled():
        return total / num_items_in_batch
    # In evaluation the Trainer also counts labels below 0, and multiplies by the number of processes as in training.
    is_distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    loss = total / counted / (torch.distributed.get_world_size() if is_distributed else 1)
    # The mean over a split must be one over its items, and batches differ in their number.
    loss.items = counted
    return loss


def token_loss(
    outputs: Any, labels: Any, num_items_in_batch: Any = None, *, item_loss: ItemLoss = cross_entropy
) -> Any:
    """Loss of the tokens, or rows, that have a label.

    Args:
        outputs: With `logits`, (rows, tokens, labels) or (rows, labels).
        labels: (rows, tokens) or (rows,), below 0 where there is nothing to learn.
        num_items_in_batch: Labels in the whole batch, as `mean_over_batch` takes it.
        item_loss: Loss of each item, from its logits and label.
    """
    known, logits = labels.flatten() >= 0, outputs["logits"]
    losses = item_loss(logits.reshape(-1, logits.shape[-1]).float(), labels.flatten().clamp(min=0))
    return mean_of_known(losses, known, num_items_in_batch)


def mean_of_known(losses: Any, known: Any, num_items_in_batch: Any) -> Any:
    """The losses of the items whose label is known, as a mean over the whole batch."""
    import torch

    # At least 1: a part of a batch may have no label, and its loss is 0, not NaN.
    return mean_over_batch(torch.where(known, losses, 0.0).sum(), known.sum().clamp(min=1), num_items_in_batch)


def span_loss(
    start_logits: Any,
    end_logits: Any,
    positions: Any,
    readable: Any,
    *,
    windows_in_batch: Any = None,
    tokens_after: int = 1,
    label_smoothing: float = 0.0,
) -> Any:
    """Cross entropy of the first and the last token of an answer, their mean, over the windows whose answer is known.

    Args:
        start_logits: Logits of the first token, (windows, tokens).
        end_logits: Logits of the last token, (windows, tokens).
        positions: First and last token of the answer, (windows, 2): 0 for no answer, below 0 for an unknown one.
        readable: Whether a token belongs to the context, where answers are, (windows, tokens).
        windows_in_batch: Windows in the whole batch, as `mean_over_batch` takes the number of items.
        tokens_after: Special tokens after the context; all tokens after them are padding.
        label_smoothing: Share of the target that is spread evenly over the context and token 0.
    """
    import torch

    known = positions[:, 0] >= 0
    indices = torch.arange(readable.shape[1], device=readable.device)
    # -1 for a window without context.
    last_readable = torch.where(readable, indices, -1).amax(dim=1, keepdim=True)
    # How much padding a window has depends on the windows of the same batch, so the softmax must not see it.
    is_padding = (indices > last_readable + tokens_after) & (indices > 0)
    # Token 0 means that there is no answer.
    candidates = readable | (indices == 0)
    losses: Any = 0.0
    for logits, targets in zip((start_logits, end_logits), positions.clamp(min=0).T, strict=True):
        masked = logits.float().masked_fill(is_padding, -torch.inf)
        losses = losses + cross_entropy(masked, targets, label_smoothing, candidates) / 2
    return mean_of_known(losses, known, windows_in_batch)


def choice_loss(
    logits: Any, labels: Any, is_choice: Any, *, num_items_in_batch: Any = None, label_smoothing: float = 0.0
) -> Any:
    """Cross entropy over the choices of each row, over the rows with a label.

    Args:
        logits: (rows, choices).
        labels: Index of the right choice, (rows,), below 0 where there is nothing to learn.
        is_choice: False for the copies that pad rows of fewer choices, (rows, choices).
        num_items_in_batch: Labels in the whole batch, as `mean_over_batch` takes it.
        label_smoothing: Share of the target that is spread evenly over the choices of the row.
    """
    import torch

    # How many copies a row has depends on the rows of the same batch.
    masked = logits.float().masked_fill(~is_choice, -torch.inf)
    losses = cross_entropy(masked, labels.clamp(min=0), label_smoothing, is_choice)
    return mean_of_known(losses, labels >= 0, num_items_in_batch)
