"""Scores at growing parts of train, and what they say about more rows."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..characters import visible_line
from ..config.run_config import RunConfig
from ..evaluation import scoring
from ..evaluation.scoring import Score, Scores
from ..evaluation.tables import change, html_table
from ..recipe import Metric, Recipe, deciding_metric, metric_named, table_metrics
from ..repeats import LEAST_STEPS, summary
from ..run_folder import contents
from ..run_folder.contents import RunInfo
from .forecast import Forecast, forecast, standard_errors
from .plot import draw

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_SPLITS = ("validation", "test")


@dataclass(frozen=True)
class Part:
    """A part of train, with the scores of the models that were trained on it.

    Attributes:
        rows: Number of its rows.
        scores: Split -> metric -> score; over several seeds the mean.
        runs: Folder of each run.
    """

    rows: int
    scores: Mapping[str, Scores]
    runs: Sequence[Path]


@dataclass(frozen=True)
class LearningCurve:
    """What a run with `curve` returns: scores at growing numbers of training rows, and what more rows would bring.

    Attributes:
        path: Folder around all runs, with `curve.json`.
        parts: Each part of train, the smallest first.
        metric: Metric whose validation score is extrapolated: the one that picks the checkpoints.
        greater_is_better: Whether greater values of it are better.
        forecast: What is expected of twice the rows; None where the metric has no interval.
        headline: Metrics that tables show.
        sentences: What the curve says in words, the forecast first.
    """

    path: Path
    parts: Sequence[Part]
    metric: str
    greater_is_better: bool
    forecast: Forecast | None
    headline: Sequence[str]
    sentences: Sequence[str] = ()

    @property
    def sentence(self) -> str:
        """What twice the rows would bring."""
        return self.sentences[0]

    @property
    def runs(self) -> list[Path]:
        """Folder of each run, for `hfrecipes.load`."""
        return [run for part in self.parts for run in part.runs]

    @property
    def frame(self) -> pd.DataFrame:
        """A row for each part of train: its scores with their intervals, or with their deviations over seeds."""
        import pandas as pd

        lines = []
        for part in self.parts:
            line: dict[str, float | None] = {}
            for split, scores in part.scores.items():
                for name in self.headline:
                    line |= _columns(f"{split}_{name}", scores.get(name))
            lines.append(line)
        return pd.DataFrame(lines, index=pd.Index([part.rows for part in self.parts], name="rows"))

    def plot(self) -> Figure:
        """A matplotlib figure of the scores by rows, and the fitted curve with its 95 % band up to twice the rows.

        Raises:
            MissingPackageError: matplotlib is not installed.
        """
        points = {}
        for split in _SPLITS:
            known = [(part.rows, part.scores[split][self.metric]) for part in self.parts if split in part.scores]
            if known:
                points[split] = known
        band = None if self.forecast is None else self.forecast.band
        return draw(points, band, f"{self.metric} ({'higher' if self.greater_is_better else 'lower'} is better)")

    def as_json(self) -> dict[str, Any]:
        """Everything as JSON values."""
        parts = []
        for part in self.parts:
            names = [run.name for run in part.runs]
            parts.append({"rows": part.rows, "runs": names, **scoring.to_json(dict(part.scores))})
        made: dict[str, Any] = {
            "metric": self.metric,
            "greater_is_better": self.greater_is_better,
            "sentences": list(self.sentences),
            "parts": parts,
        }
        if self.forecast is not None:
            expected = scoring.to_json({"validation": {"score": self.forecast.score, "gain": self.forecast.gain}})
            made["forecast"] = {"rows": self.forecast.rows, **expected["validation"]}
            made["band"] = vars(self.forecast.band)
        return made

    def _repr_html_(self) -> str:
        """What a notebook shows: the scores by rows, and the sentences."""
        said = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in self.sentences)
        return f"{html_table(*curve_cells(self))}{said}<p>{html.escape(visible_line(str(self.path)))}</p>"

    def __repr__(self) -> str:
        last = self.parts[-1]
        score = last.scores["validation"][self.metric]
        return f"LearningCurve(validation {self.metric} {score} at {last.rows} rows, path={str(self.path)!r})"


def _columns(name: str, score: Score | None) -> dict[str, float | None]:
    if score is None:
        return {name: None}
    if score.deviation is not None:
        return {name: score.value, f"{name}_sd": score.deviation}
    return {name: score.value, f"{name}_low": score.low, f"{name}_high": score.high}


def curve_cells(curve: LearningCurve) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of a table: a row for each part of train, with the scores of the metric that decides."""
    splits = [split for split in _SPLITS if split in curve.parts[-1].scores]
    lines = []
    for part in curve.parts:
        scores = [part.scores[split][curve.metric] for split in splits]
        lines.append([f"{part.rows:,}", *map(str, scores), scoring.number(scores[-1].baseline)])
    return ["rows", *(f"{split} {curve.metric}" for split in splits), "baseline"], lines


# --- from the folders of the runs --------------------------------------------------------------------------------


def read_curve(path: Path, runs: Sequence[Sequence[Path]], recipe: Recipe, config: RunConfig) -> LearningCurve:
    """The curve of runs that are complete.

    Args:
        path: Folder around all of them.
        runs: Folders of the runs of each part of train, the smallest part first.
        recipe: The task.
        config: Settings of one of the runs.
    """
    parts, each = [], []
    for of_part in runs:
        each.append([scoring.from_json(contents.read_scores(run)) for run in of_part])
        together = each[-1][0] if len(of_part) == 1 else summary(each[-1])
        scores = {split: together[split] for split in _SPLITS if together.get(split)}
        # Validation splits that are drawn with other seeds may leave a row more or less.
        rows = round(sum(map(_training_rows, of_part)) / len(of_part))
        parts.append(Part(rows, scores, of_part))
    name, metric = _decisive(recipe, config, parts)
    of_runs = []
    for split_scores in each:
        of_runs.append([scores["validation"][name] for scores in split_scores])
    start, notes = _start_of_fit([part.rows for part in parts], of_runs, metric)
    fitted = parts[start:]
    expected = forecast(
        [part.rows for part in fitted],
        [part.scores["validation"][name].value for part in fitted],
        standard_errors(of_runs[start:]),
        bounds=scoring.bounds(recipe, name),
        greater_is_better=metric.greater_is_better,
        seed=config.training["seed"],
    )
    headline = tuple(dict.fromkeys([name, *table_metrics(recipe)]))
    sentences = [_promise(name, metric, expected), *notes]
    return LearningCurve(path, parts, name, metric.greater_is_better, expected, headline, sentences)


def _training_rows(run: Path) -> int:
    """Number of rows that a run was trained on, the first word of what identifies them."""
    info = RunInfo.read(run) or RunInfo()
    return int(info.data["train"].split()[0])


def _decisive(recipe: Recipe, config: RunConfig, parts: Sequence[Part]) -> tuple[str, Metric]:
    """The metric that picked the checkpoints if it is among the scores; else the first one of the task."""
    scored = set.intersection(*(set(part.scores["validation"]) for part in parts))
    name = deciding_metric(recipe, config.training, scored)
    return name, metric_named(recipe, name) or recipe.metrics[name]


def _promise(name: str, metric: Metric, expected: Forecast | None) -> str:
    """What twice the rows would bring, in a sentence."""
    if expected is None:
        return f"validation {name} has no interval, so the curve is not extrapolated"
    rows, gain = f"twice the rows ({expected.rows:,})", change(expected.gain)
    edge = expected.gain.low if metric.greater_is_better else expected.gain.high
    # As it is shown: a gain of 0.000 is none.
    if edge is None or round(metric.sign * edge, 3) <= 0:
        return f"{rows} would bring no gain of validation {name} that can be told from chance: {gain}"
    amount, _, interval = gain.partition(" ")
    return f"{rows} would bring about {amount} {name} on validation {interval}, if the curve goes on like this"


def _start_of_fit(rows: Sequence[int], runs: Sequence[Sequence[Score]], metric: Metric) -> tuple[int, list[str]]:
    """Index of the first part that is fitted, and sentences on it.

    A model that has too few rows to learn anything is as good as the baseline, and its score follows no power law: the
    "small data region" of Hestness et al. (2017).
    """
    is_better = [_is_above_baseline(scores, metric) for scores in runs]
    if not any(is_better):
        return 0, ["no part is significantly better than the baseline, and the curve may only rise later"]
    first = is_better.index(True)
    start = min(first, len(runs) - LEAST_STEPS)
    notes = []
    if start:
        notes.append(f"not fitted: {rows[start - 1]:,} rows or fewer, which are not enough to learn anything")
    if start < first:
        notes.append("rough: some of the fitted parts are not significantly better than the baseline")
    return start, notes


def _is_above_baseline(scores: Sequence[Score], metric: Metric) -> bool:
    """Whether the interval of any of the runs is wholly on the better side of the baseline."""
    for score in scores:
        if score.low is None or score.high is None or score.baseline is None:
            return True
        if score.low > score.baseline if metric.greater_is_better else score.high < score.baseline:
            return True
    return False
