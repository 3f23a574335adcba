"""Explanations of rows that a model predicts."""

from __future__ import annotations

from ..evaluation.inference import Inference
from ..recipe import Row
from .contract import explainable
from .explanation import Explanation, explanation_of
from .gradients import Attributor, check_captum


class Explainer:
    """Explains predictions of a model by the words that speak for them.

    Attributes:
        attributor: Attributes its scores to tokens.

    Raises:
        ConfigError: The task cannot be explained.
        MissingPackageError: Captum is not installed.
        ModelError: The model has no embeddings.
    """

    def __init__(self, inference: Inference) -> None:
        self.task = explainable(inference.recipe)
        check_captum()
        self.attributor = Attributor(inference)

    @property
    def method(self) -> str:
        """A sentence on how predictions are explained."""
        return (
            f"integrated gradients: what each word adds to the score, from a text with {self.attributor.stand_in} for "
            "each token on; special tokens stay"
        )

    def explain(self, row: Row, prediction: Row) -> Explanation:
        """The words of a row, with what each of them adds to its prediction."""
        attributed = []
        for explained in self.task.scores_to_explain(row, prediction):
            attributed.append((explained, self.attributor.attribute(explained)))
        return explanation_of(row, prediction, attributed, self.attributor.stand_in)
