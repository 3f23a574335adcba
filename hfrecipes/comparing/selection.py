"""What a run of several models gives: all of them compared, and the one that validation chose."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..characters import visible_line
from ..evaluation.comparison import Evaluation
from ..evaluation.scoring import Scores
from ..log import log
from ..results import Result
from .compare import compared
from .comparison import Comparison
from .runs import read_runs

if TYPE_CHECKING:
    import pandas as pd


class Chosen:
    """Several runs of which validation chose one: what is asked of them all is asked of that one."""

    best: Result

    @property
    def scores(self) -> dict[str, Scores]:
        """Scores of the chosen run."""
        return self.best.scores

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Split -> metric -> value, of the chosen run."""
        return self.best.metrics

    @property
    def notes(self) -> Mapping[str, str]:
        """What to know about the scores of the chosen run, by split."""
        return self.best.notes

    def predict(self, rows: Any = None, *, file: str | os.PathLike[str] | None = None, **settings: Any) -> Any:
        """Predict new rows with the chosen model, as `Predictor.predict` does."""
        return self.best.predict(rows, file=file, **settings)

    def evaluate(self, dataset: Any = None, **settings: Any) -> Evaluation | dict[str, Evaluation]:
        """Score the chosen model on other rows, as `Predictor.evaluate` does."""
        return self.best.evaluate(dataset, **settings)


@dataclass
class Selection(Chosen):
    """What a run of several models returns.

    Attributes:
        path: Folder around all runs, with `comparison.json`.
        comparison: All runs on the test rows, each against the chosen one.
        best: The run that validation chose, as `hfrecipes.run` returns it for its model alone.
        runs: Folder of each run, for `hfrecipes.load`.
    """

    path: Path
    comparison: Comparison
    best: Result
    runs: list[Path]

    @property
    def frame(self) -> pd.DataFrame:
        """A row for each run, as `Comparison.frame`."""
        return self.comparison.frame

    @property
    def pareto(self) -> list[str]:
        """Names of the models on the Pareto front, as `Comparison.pareto`."""
        return self.comparison.pareto

    def _repr_html_(self) -> str:
        """What a notebook shows: the comparison, and the chosen run."""
        return f"{self.comparison.as_html()}<p>model: {html.escape(visible_line(str(self.best.path)))}</p>"

    def __repr__(self) -> str:
        return f"Selection({self.comparison.reference} of {len(self.runs)} models, {self.best!r})"


def compare_models(
    folders: Sequence[Path], names: Sequence[str], *, timing: bool, chosen: int | None = None
) -> Comparison:
    """The runs of several models, with the one that is best on validation as reference.

    Args:
        folders: Folders of complete runs, which the user made or trusts.
        names: Names of the models.
        timing: As for `compare`; where memory is short, models are not timed.
        chosen: As for `compared`.
    """
    import torch

    runs = read_runs(folders, trust=True)
    try:
        return compared(runs, timing=timing, trust=True, names=names, is_choice=True, chosen=chosen)
    except (MemoryError, torch.OutOfMemoryError):
        log("not timed: the models do not fit into memory together")
    return compared(runs, timing=False, trust=True, names=names, is_choice=True, chosen=chosen)
