"""Explanations of rows that a model predicts."""

from __future__ import annotations

from ..errors import require_packages
from ..evaluation.inference import Inference
from ..recipe import Row
from .contract import ScoreToExplain, explainable
from .explanation import Attribution, Explanation, Word, explanation_of
from .gradients import Attributor


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
        require_packages("explanations", "captum")
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
        return self._explained(row, prediction)[1]

    def attributed(self, row: Row, prediction: Row) -> list[tuple[ScoreToExplain, list[Word], Attribution]]:
        """Each score that a prediction rests on, with the words of the row and their attributions."""
        scores, explanation = self._explained(row, prediction)
        triples = []
        for explained, target in zip(scores, explanation.targets, strict=True):
            triples.append((explained, explanation.words, target))
        return triples

    def _explained(self, row: Row, prediction: Row) -> tuple[list[ScoreToExplain], Explanation]:
        scores = self.task.scores_to_explain(row, prediction)
        attributed = [(explained, self.attributor.attribute(explained)) for explained in scores]
        return scores, explanation_of(row, prediction, attributed, self.attributor.stand_in)
