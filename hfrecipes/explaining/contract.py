"""What a task offers so that its predictions can be explained; a task without it is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from .. import registry
from ..errors import ConfigError

if TYPE_CHECKING:
    from ..recipe import Row


Score = Callable[[Any], Any]
"""Outputs of the model for a batch to one number for each of its rows, (rows,)."""


class Span(NamedTuple):
    """Characters of a cell."""

    column: str
    start: int
    end: int


@dataclass(frozen=True)
class ScoreToExplain:
    """A number in the outputs of the model that a prediction rests on."""

    target: str
    """What is predicted: a label, the type of an entity, `answer`."""
    score: Score
    """The larger, the more the model says so."""
    features: Row
    """What the model reads: the row, or the window of it that the prediction is from."""
    tokens: Sequence[Span | None]
    """The characters that each token stands for; None for special tokens, which are not explained."""
    probability: Score | None = None
    """The same as a probability; None for what has none, such as a number."""
    span: Span | None = None
    """Where the predicted thing itself stands, for entities and answers."""


@runtime_checkable
class Explainable(Protocol):
    """A task whose predictions can be explained by the words that speak for them."""

    def scores_to_explain(self, row: Row, prediction: Row) -> list[ScoreToExplain]:
        """What a prediction rests on, one score for each thing that is predicted.

        Args:
            row: Under the column names of the task.
            prediction: That of the row, as `Recipe.decode` and `calibrated` make it.
        """
        ...


def explainable(recipe: Any) -> Explainable:
    """The task as one that can be explained.

    Raises:
        ConfigError: It cannot.
    """
    if isinstance(recipe, Explainable):
        return recipe
    known = [name for name in registry.list_tasks() if issubclass(registry.find(name), Explainable)]
    raise ConfigError(f"{recipe.task} cannot be explained word by word; these tasks can: {', '.join(known)}")
