"""What a task offers so that one of its runs can learn from another one; a task without it is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from .. import registry
from ..errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset

    from ..recipe import Recipe, Row


@runtime_checkable
class Distillable(Protocol):
    """A task whose predictions another model can learn from."""

    def soft_labels(self, logits: Any, encoded: Dataset) -> list[np.ndarray]:
        """What the model says of each row, in the order of the labels of this task.

        That is the probability of each label, (labels,), of each label of each word, (words, labels), of each choice,
        (choices,), or a number, (1,).

        Args:
            logits: All logits of each feature, numpy; a list where their sizes differ.
            encoded: Rows after `encode`.
        """
        ...

    def soft_targets(self, soft_labels: list[np.ndarray], encoded: Dataset) -> list[np.ndarray]:
        """What is learnt for each feature, in the shape of its logits; -1 where there is nothing to learn.

        Args:
            soft_labels: Those of each row.
            encoded: Rows to train on, after `encode`.
        """
        ...

    def predictions_of(self, soft_labels: list[np.ndarray], rows: Sequence[Row] | Dataset) -> list[Row]:
        """The predictions that follow from soft labels, which may be means over several models."""
        ...

    def soft_loss(self) -> Callable[..., Any]:
        """The loss towards the teacher: one of those in `distilling.losses`."""
        ...


def check_task(kind: type[Recipe]) -> None:
    """Refuse a task without labels, before anything is read.

    Raises:
        ConfigError: It is one.
    """
    if issubclass(kind, Distillable):
        return
    known = [name for name in registry.list_tasks() if issubclass(registry.find(name), Distillable)]
    raise ConfigError(
        f"distill: found {kind.task}, expected a task with labels ({', '.join(known)}): leave distill out, predict "
        "texts with the large model (hfrecipes predict), and train on its predictions"
    )


def distillable(recipe: Any) -> Distillable:
    """The task, which was checked before, as one that can be distilled.

    Raises:
        ConfigError: It cannot.
    """
    check_task(type(recipe))
    task: Distillable = recipe
    return task
