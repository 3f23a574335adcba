"""What a run, or several runs, return."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .characters import visible_line
from .config.run_config import own_splits
from .evaluation import scoring
from .evaluation.breakdown import COLUMNS, Breakdown, sentences
from .evaluation.comparison import Evaluation
from .evaluation.scoring import GAP, Scores
from .evaluation.slices import Slices, set_cells
from .evaluation.tables import class_cells, html_table, score_cells
from .predictor import Predictor, write_report
from .recipe import Row
from .reports.writing import read_breakdowns
from .run_folder.contents import read_slices
from .run_folder.history import frame_of_runs, read_history

if TYPE_CHECKING:
    import pandas as pd
    from transformers import Trainer


@dataclass
class Result:
    """What a run returns.

    Attributes:
        path: Folder with the model, its scores and its predictions.
        scores: Split -> metric -> score, with its 95 % interval and its baseline; the `gap` between train and
            validation; for a set under `tests`, as `tests.street`, also the `change` from the run's own test.
        predictor: The model with its preprocessing.
        notes: Split -> sentence on labels in it that train does not have, and that count as wrong.
        headline: Metrics that tables show.
        example: A short row of the data, with the columns that the model reads.
    """

    path: Path
    scores: dict[str, Scores]
    predictor: Predictor
    notes: Mapping[str, str]
    headline: tuple[str, ...]
    example: Row = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Split -> metric -> value."""
        return scoring.plain(self.scores)

    @property
    def reports(self) -> dict[str, Breakdown]:
        """Split -> scores by label, confusions, and scores by parts of the rows, where the task has them."""
        return read_breakdowns(self.path)

    @property
    def slices(self) -> Slices:
        """Scores of the rows of each value of the column `by`: `result.slices.splits["test"]["news"].scores`."""
        return Slices.of(read_slices(self.path))

    def report(self, split: str | None = None) -> pd.DataFrame:
        """Precision, recall, F1 and support of each label, as in the classification report of scikit-learn.

        Args:
            split: `test` or `validation`; test where there is one.
        """
        reports = self.reports
        return _frame_of(reports, split or ("test" if "test" in reports else "validation"))

    def report_html(self) -> Path:
        """Write all of report.html into the folder of the run, and return its path; see docs/report.md."""
        return write_report(self.path, trust=True)

    @property
    def history(self) -> pd.DataFrame:
        """Losses, learning rates and scores by step; `attrs` says which step is kept, and why training ended."""
        return read_history(self.path).frame()

    @property
    def trainer(self) -> Trainer:
        """Plain `transformers.Trainer`, with the best model in it."""
        return self.predictor.trainer

    def predict(self, rows: Any = None, *, file: str | os.PathLike[str] | None = None, **settings: Any) -> Any:
        """Predict new rows, as `Predictor.predict` does: a text, a list of texts, rows, or those of a file."""
        return self.predictor.predict(rows, file=file, **settings)

    def evaluate(self, dataset: Any = None, **settings: Any) -> Evaluation | dict[str, Evaluation]:
        """Score the model on other rows, as `Predictor.evaluate` does."""
        evaluation: Evaluation | dict[str, Evaluation] = self.predictor.evaluate(dataset, **settings)
        return evaluation

    def _repr_html_(self) -> str:
        """What a notebook shows: the scores, those by label of the last split, and the folder."""
        parts = [html_table(*score_cells(self.scores, self.headline))]
        parts += _of_sets(self.scores, self.headline, self.slices)
        for split, report in list(own_splits(self.reports).items())[-1:]:
            if report.classes:
                parts.append(html_table(*class_cells(split, report)))
            parts += [f"<p>{html.escape(visible_line(sentence))}</p>" for sentence in sentences(split, report)]
        return "".join([*parts, f"<p>model: {html.escape(visible_line(str(self.path)))}</p>"])

    def __repr__(self) -> str:
        best = self.headline[0]
        shown = []
        for split, values in self.metrics.items():
            if best in values:
                shown.append(f"{split} {best} {values[best]:.3f}")
        return f"Result({', '.join(shown)}, path={str(self.path)!r})"


def _of_sets(scores: Mapping[str, Scores], headline: tuple[str, ...], slices: Slices) -> list[str]:
    """The table of the sets under `tests` and of parts of rows; nothing where there are none."""
    heads, rows = set_cells(scores, headline, slices)
    return [html_table(heads, rows)] if rows else []


def _frame_of(reports: Mapping[str, Breakdown], split: str) -> pd.DataFrame:
    import pandas as pd

    classes = reports[split].classes if split in reports else {}
    frame = pd.DataFrame([vars(scores) for scores in classes.values()], index=list(classes), columns=COLUMNS)
    frame.index.name = reports[split].by if classes else None
    return frame


@dataclass
class Results:
    """What several runs return, over folds or seeds.

    Attributes:
        path: Folder of all runs, with their scores and, for folds, the out-of-fold predictions.
        scores: Split -> metric -> mean over the runs, with its standard deviation, the values of the runs and the
            baseline; for folds also `out_of_fold`, all rows scored together.
        runs: Folder of each run, for `hfrecipes.load`.
        notes: Split -> sentence on labels in it that train does not have, and that count as wrong.
        headline: Metrics that tables show.
    """

    path: Path
    scores: dict[str, Scores]
    runs: list[Path]
    notes: Mapping[str, str]
    headline: tuple[str, ...]

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Split -> metric -> mean over the runs."""
        return scoring.plain(self.scores)

    @property
    def history(self) -> pd.DataFrame:
        """Losses, learning rates and scores by step of all runs; the column `run` names the folder of each."""
        return frame_of_runs(self.runs)

    @property
    def reports(self) -> dict[str, Breakdown]:
        """For folds, the scores by label over all rows under `out_of_fold`; empty for seeds."""
        return read_breakdowns(self.path)

    @property
    def slices(self) -> Slices:
        """Mean over the runs of the scores of the rows of each value of the column `by`, as `Result.slices`."""
        return Slices.of(read_slices(self.path))

    def report(self) -> pd.DataFrame:
        """As `Result.report`, over the out-of-fold predictions of all rows; empty for seeds."""
        return _frame_of(self.reports, "out_of_fold")

    def report_html(self) -> Path:
        """As `Result.report_html`, over all runs."""
        return write_report(self.path, trust=True)

    def _repr_html_(self) -> str:
        """What a notebook shows: the scores over all runs, and the folder."""
        tables = [html_table(*score_cells(self.scores, self.headline))]
        tables += _of_sets(self.scores, self.headline, self.slices)
        return f"{''.join(tables)}<p>{len(self.runs)} runs: {html.escape(visible_line(str(self.path)))}</p>"

    def __repr__(self) -> str:
        best = self.headline[0]
        shown = []
        for split, scores in self.scores.items():
            if best in scores and split != GAP:
                shown.append(f"{split} {best} {scores[best]}")
        return f"Results({len(self.runs)} runs, {', '.join(shown)}, path={str(self.path)!r})"
