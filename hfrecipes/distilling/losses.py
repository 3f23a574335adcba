"""Losses towards a teacher, normalized as those of the tasks: sums over the items of the whole batch.

All of them take `outputs` with `logits` and the `teacher`'s probabilities or numbers, and the labels of the rows, which
say which items there are. Those of probabilities are Kullback-Leibler divergences at a temperature T, multiplied by T²:
gradients shrink with 1/T², and the part of the teacher would depend on T (Hinton, Vinyals and Dean 2015, section 2).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from .. import losses
from ..config.distillation import DistillSettings
from ..recipe import TEACHER

if TYPE_CHECKING:
    from .contract import Distillable

_LEAST = 1e-38  # probability that a float32 can hold
_EDGE = 1e-7  # how near to 0 and 1 a float32 tells a probability from them
_FAR = -1e9  # logit of what is no choice; minus infinity would make gradients NaN


def with_teacher(loss: Callable[..., Any], recipe: Distillable, settings: DistillSettings) -> Callable[..., Any]:
    """The loss of the task together with that towards the teacher, where the batch has what the teacher says."""
    return partial(_weighted, loss, partial(recipe.soft_loss(), temperature=settings.temperature), settings.weight)


def _weighted(
    loss: Callable[..., Any],
    soft_loss: Callable[..., Any],
    weight: float,
    outputs: Any,
    labels: Any,
    num_items_in_batch: Any = None,
) -> Any:
    usual = loss(outputs, labels, num_items_in_batch=num_items_in_batch)
    if TEACHER not in outputs:  # rows that are scored
        return usual
    return weight * soft_loss(outputs, labels, num_items_in_batch) + (1 - weight) * usual


def soft_label_loss(outputs: Any, labels: Any, num_items_in_batch: Any = None, *, temperature: float) -> Any:
    """Divergence from the teacher's probabilities of rows with one label, of words, or of choices.

    Args:
        outputs: With `logits` (rows, labels) or (rows, tokens, labels), and probabilities of the teacher, as many.
        labels: (rows,) or (rows, tokens), below 0 where there is nothing to learn.
        num_items_in_batch: Labels in the whole batch, as `losses.mean_over_batch` takes it.
        temperature: What both logits are divided by.
    """
    import torch

    targets = outputs[TEACHER]
    # Batches may be padded to a length that no feature has, on the right.
    logits, known = outputs["logits"][:, : targets.shape[1]].float(), labels[..., : targets.shape[1]] >= 0
    if labels.dim() == 1:
        known = labels >= 0
    is_there = targets >= 0
    student = torch.log_softmax(logits.masked_fill(~is_there, _FAR) / temperature, dim=-1)
    logarithms = targets.clamp(min=_LEAST).log().masked_fill(~is_there, _FAR)
    teacher = torch.log_softmax(logarithms / temperature, dim=-1)
    each = temperature**2 * (teacher.exp() * (teacher - student)).sum(-1)
    return losses.mean_of_known(each, known, num_items_in_batch)


def soft_cell_loss(outputs: Any, labels: Any, num_items_in_batch: Any = None, *, temperature: float) -> Any:
    """Divergence from the teacher's probability of each label by itself, where a row may have several.

    Args:
        outputs: With `logits` (rows, labels), and probabilities of the teacher, as many.
        labels: (rows, labels).
        num_items_in_batch: As for `soft_label_loss`.
        temperature: As for `soft_label_loss`.
    """
    from torch.nn.functional import logsigmoid

    student = outputs["logits"].float() / temperature
    teacher = outputs[TEACHER].clamp(min=_EDGE, max=1 - _EDGE).logit() / temperature
    share = teacher.sigmoid()
    yes = share * (logsigmoid(teacher) - logsigmoid(student))
    no = (1 - share) * (logsigmoid(-teacher) - logsigmoid(-student))
    each = temperature**2 * (yes + no)
    return losses.mean_over_batch(each.sum(), each.numel(), num_items_in_batch)


def soft_number_loss(outputs: Any, labels: Any, num_items_in_batch: Any = None, *, temperature: float) -> Any:
    """Squared distance from the teacher's number, which has no temperature; (rows, 1) both."""
    squared = (outputs["logits"].float() - outputs[TEACHER]) ** 2
    return losses.mean_over_batch(squared.sum(), squared.numel(), num_items_in_batch)
