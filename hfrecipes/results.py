"""What a run, or several runs, give back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .evaluation import scoring
from .predictor import Predictor

if TYPE_CHECKING:
    from transformers import Trainer


@dataclass
class Result:
    """What a run gives back.

    Attributes:
        metrics: Split -> metric -> value.
        path: Folder with the model, its scores and its predictions.
        trainer: Plain `transformers.Trainer`, with the best model in it.
        scores: As `metrics`, each value with its 95 % interval and its baseline; and the `gap` between train and
            validation.
        notes: Split -> sentence on labels in it that train lacks, which count as wrong.
    """

    metrics: dict[str, dict[str, float]]
    path: Path
    trainer: Trainer
    scores: dict[str, dict[str, dict[str, Any]]]
    predictor: Predictor
    notes: dict[str, str]

    @property
    def headline(self) -> tuple[str, ...]:
        """Metrics that tables show."""
        return self.predictor.recipe.headline

    def predict(self, rows: Any) -> Any:
        """Predict new rows: a text, a list of texts, or rows with the columns of training."""
        return self.predictor.predict(rows)

    def __repr__(self) -> str:
        best = self.headline[0]
        shown = ", ".join(
            f"{split} {best} {values[best]:.3f}" for split, values in self.metrics.items() if best in values
        )
        return f"Result({shown}, path={str(self.path)!r})"


@dataclass
class Results:
    """What several runs give back, over folds or seeds.

    Attributes:
        metrics: Split -> metric -> mean over the runs; for folds also `out_of_fold`, all rows scored together.
        path: Folder of all runs, with their scores and, for folds, the out-of-fold predictions.
        scores: As `metrics`, each value with its standard deviation, the values of the runs, and the baseline.
        runs: Folder of each run, for `hfrecipes.load`.
        headline: Metrics that tables show.
        notes: Split -> sentence on labels in it that train lacks, which count as wrong.
    """

    metrics: dict[str, dict[str, float]]
    path: Path
    scores: dict[str, dict[str, dict[str, Any]]]
    runs: list[Path]
    headline: tuple[str, ...]
    notes: dict[str, str]

    def __repr__(self) -> str:
        best = self.headline[0]
        entries = {split: found[best] for split, found in self.scores.items() if best in found and split != scoring.GAP}
        shown = ", ".join(f"{split} {best} {scoring.shown(entry)}" for split, entry in entries.items())
        return f"Results({len(self.runs)} runs, {shown}, path={str(self.path)!r})"
