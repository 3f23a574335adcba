"""What a comparison says: scores on the same rows, paired tests against one of the runs, costs, Pareto front."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..evaluation import scoring
from ..evaluation.scoring import Score, Scores
from ..evaluation.tables import change, html_table
from ..recipe import Metric
from .cost import COST_COLUMNS, DASH, Cost, distinct, pareto_front
from .plot import Point, draw
from .significance import LEVEL

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SECONDS = "seconds for one row"  # what quality is weighed against, where it was measured


@dataclass(frozen=True)
class Test:
    """A paired test of one run against the reference run, for one metric."""

    method: str
    p: float
    """Probability of such a difference, or a greater one, if both models were equally good; NaN if not tested."""
    p_holm: float
    """The same, adjusted for the number of tests in the comparison."""

    @property
    def is_significant(self) -> bool:
        """Whether the adjusted probability is below 5 %."""
        return self.p_holm < LEVEL

    def __str__(self) -> str:
        if math.isnan(self.p_holm):
            return DASH
        return "<0.001" if self.p_holm < 0.001 else f"{self.p_holm:.3f}"


@dataclass(frozen=True)
class Compared:
    """A run in a comparison.

    Attributes:
        name: Short name, as tables show it.
        path: Folder of the run.
        scores: Metric -> score on the rows that are compared, with its 95 % interval.
        validation: Metric -> score on validation; empty where the run has none.
        differences: Metric -> score minus that of the reference run on the same rows, with the 95 % interval of the
            paired difference; empty for the reference run itself.
        tests: Headline metric -> paired test of that difference.
        cost: Parameters, training, size and speed.
    """

    name: str
    path: Path
    scores: Scores
    validation: Scores
    differences: Scores = field(default_factory=dict)
    tests: Mapping[str, Test] = field(default_factory=dict)
    cost: Cost = field(default_factory=Cost)


@dataclass(frozen=True)
class Comparison:
    """Several runs on the same rows.

    Attributes:
        runs: Each run with its scores, its tests and its costs.
        reference: Name of the run that the others are tested against.
        metrics: Headline metrics, with the direction of each; the first one decides.
        split: Split whose scores are compared.
        rows: Number of its rows.
        sentences: What was decided, and what the numbers mean.
    """

    runs: Sequence[Compared]
    reference: str
    metrics: Mapping[str, Metric]
    split: str
    rows: int
    sentences: Sequence[str] = ()

    @property
    def metric(self) -> str:
        """The metric that decides."""
        return next(iter(self.metrics))

    @property
    def best(self) -> int:
        """Index of the reference run."""
        return [run.name for run in self.runs].index(self.reference)

    @property
    def prices(self) -> tuple[str, dict[str, float]]:
        """What quality is weighed against, and its value by run: seconds for one row where measured, else parameters.

        Runs whose seconds cannot be told apart have the same number.
        """
        latencies = {run.name: run.cost.latency for run in self.runs if run.cost.latency is not None}
        if len(latencies) == len(self.runs):
            return SECONDS, distinct(latencies)
        parameters = {run.name: float(run.cost.parameters) for run in self.runs if run.cost.parameters is not None}
        return "parameters", parameters

    @property
    def pareto(self) -> list[str]:
        """Names of the runs on the Pareto front: no other run is as good and as cheap, and better in one of both.

        Good is the first headline metric, cheap is what `prices` says.
        """
        _, prices = self.prices
        sign = self.metrics[self.metric].sign
        known, points = [], []
        for run in self.runs:
            score = run.scores.get(self.metric)
            if score is not None and math.isfinite(score.value) and run.name in prices:
                known.append(run.name)
                points.append((sign * score.value, prices[run.name]))
        return [name for name, is_on in zip(known, pareto_front(points), strict=True) if is_on]

    @property
    def frame(self) -> pd.DataFrame:
        """A row for each run: scores with their intervals, differences, tests and costs in columns of numbers."""
        import pandas as pd

        front = self.pareto
        rows = []
        for run in self.runs:
            row: dict[str, Any] = {"path": str(run.path)}
            for name in dict.fromkeys([*self.metrics, *run.scores]):
                row |= _columns(name, run)
            rows.append({**row, **run.cost.as_dict(), "on_pareto_front": run.name in front})
        return pd.DataFrame(rows, index=pd.Index([run.name for run in self.runs], name="run"))

    def as_json(self) -> dict[str, Any]:
        """Everything as JSON values."""
        front, runs = self.pareto, {}
        for run in self.runs:
            scored = {self.split: run.scores, "validation": run.validation, "differences": run.differences}
            tests = {name: vars(test) for name, test in run.tests.items()}
            is_on_front = run.name in front
            runs[run.name] = {
                "path": str(run.path),
                **scoring.to_json(scored),
                "tests": tests,
                "cost": run.cost.as_dict(),
                "on_pareto_front": is_on_front,
            }
        return {
            "split": self.split,
            "rows": self.rows,
            "metrics": list(self.metrics),
            "reference": self.reference,
            "runs": runs,
            "sentences": list(self.sentences),
        }

    def plot(self) -> Figure:
        """A matplotlib figure of quality against cost, with the Pareto front.

        Raises:
            MissingPackageError: matplotlib is not installed.
        """
        price, prices = self.prices
        front = self.pareto
        points = []
        for run in self.runs:
            score = run.scores.get(self.metric)
            if score is not None and run.name in prices:
                # As measured, so that runs which count as equally fast do not cover each other.
                latency = run.cost.latency if price == SECONDS else None
                value = prices[run.name] if latency is None else latency.median
                spread = [value, value] if latency is None else [latency.low, latency.high]
                interval = score.ci95 or [score.value, score.value]
                points.append(Point(run.name, value, score.value, interval, spread, run.name in front))
        better = "higher" if self.metrics[self.metric].greater_is_better else "lower"
        return draw(points, f"{price} (lower is better)", f"{self.split} {self.metric} ({better} is better)")

    def as_html(self) -> str:
        """Both tables, and the sentences."""
        tables = html_table(*score_cells(self)) + html_table(*cost_cells(self))
        return tables + "".join(f"<p>{html.escape(sentence)}</p>" for sentence in self.sentences)

    _repr_html_ = as_html  # what a notebook shows

    def __repr__(self) -> str:
        shown = [f"{run.name} {scoring.number(_value(run, self.metric))}" for run in self.runs]
        return f"Comparison({self.split} {self.metric}: {', '.join(shown)})"


def _value(run: Compared, metric: str) -> float | None:
    return run.scores[metric].value if metric in run.scores else None


def _columns(name: str, run: Compared) -> dict[str, Any]:
    """Numbers of one metric of a run, by name of the column."""
    score, difference, test = run.scores.get(name), run.differences.get(name), run.tests.get(name)
    columns: dict[str, Any] = {name: math.nan if score is None else score.value}
    if score is not None and score.ci95 is not None:
        columns |= {f"{name}_low": score.low, f"{name}_high": score.high}
    if difference is not None:
        columns |= {f"{name}_difference": difference.value}
        columns |= {f"{name}_difference_low": difference.low, f"{name}_difference_high": difference.high}
    if test is not None:
        columns |= {f"{name}_p": test.p, f"{name}_p_holm": test.p_holm}
    return columns


# --- tables ------------------------------------------------------------------------------------------------------


def score_cells(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the table of scores: for each headline metric a line for each run."""
    rows = []
    for metric in comparison.metrics:
        rows.append([metric, "", "", ""])
        for run in comparison.runs:
            score = run.scores.get(metric, Score(math.nan))
            difference = "" if run.name == comparison.reference else change(run.differences.get(metric))
            test = run.tests.get(metric)
            rows.append([f"  {run.name}", str(score), difference, "" if test is None else str(test)])
    return ["", comparison.split, "difference", "p"], rows


def cost_cells(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the table of costs; columns that are known of no run are left out."""
    front = comparison.pareto
    columns: dict[str, list[str]] = {"": [run.name for run in comparison.runs]}
    for head, show in COST_COLUMNS.items():
        cells = [show(run.cost) for run in comparison.runs]
        if any(cell != DASH for cell in cells):
            columns[head] = cells
    columns["front"] = ["yes" if run.name in front else "no" for run in comparison.runs]
    return list(columns), [list(cells) for cells in zip(*columns.values(), strict=True)]
