"""What a search gives: all trials, the one that validation chose, and what the choice is worth on test."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..comparing.comparison import Comparison
from ..comparing.cost import DASH, compact, pareto_front
from ..comparing.files import paragraphs
from ..comparing.selection import Chosen
from ..errors import counted
from ..evaluation import scoring
from ..evaluation.scoring import Score
from ..evaluation.tables import change, html_table
from ..recipe import Metric
from ..results import Result
from .study import Trial
from .trials import described

if TYPE_CHECKING:
    import pandas as pd

FILE = "search.json"
SHOWN = 10  # trials that are printed
# Cost -> head of its column, and how it is written.
COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "seconds": ("training s", lambda seconds: f"{seconds:.0f}"),
    "parameters": ("parameters", compact),
    "kwh": ("kWh", lambda kwh: f"{kwh:.3g}"),
}


@dataclass
class Search(Chosen):
    """What a search returns.

    Attributes:
        path: Folder around all trials, with `search.json` and `report.html`.
        best: The run that validation chose, as `hfrecipes.run` returns it for its settings alone.
        default: The run with the default settings.
        trials: All trials, the default settings first.
        metric: The score that chose, with the rows that it is over: `validation accuracy`.
        direction: Whether a greater score is better.
        comparison: The default settings on the test rows, against the chosen ones; None where these are the same.
        importance: Setting -> its share in how the validation score varies; empty where too few trials say nothing.
        sentences: What was chosen, and how much of the gain on validation was optimism.
        cost: What the front of the table weighs against quality: `seconds` or `parameters`.
    """

    path: Path
    best: Result
    default: Result
    trials: Sequence[Trial]
    metric: str
    direction: Metric
    comparison: Comparison | None
    importance: Mapping[str, float]
    sentences: Sequence[str]
    cost: str = "seconds"

    @property
    def ranked(self) -> list[Trial]:
        """The trials with the best validation scores first; those that were pruned or failed after all others."""
        sign = self.direction.sign

        def rank(trial: Trial) -> tuple[bool, float]:
            return trial.state != "complete", math.inf if trial.score is None else -sign * trial.score

        return sorted(self.trials, key=rank)

    def pareto(self, cost: str) -> list[str]:
        """Names of the trials that no other one beats in both quality on validation and cost.

        Args:
            cost: `seconds` or `kwh` of the training, or `parameters`.
        """
        sign = self.direction.sign
        complete, points = [], []
        for trial in self.trials:
            price = asdict(trial.costs)[cost]
            if trial.state == "complete" and trial.score is not None and price is not None:
                complete.append(trial.name)
                points.append((sign * trial.score, float(price)))
        return [name for name, is_on in zip(complete, pareto_front(points), strict=True) if is_on]

    @property
    def frame(self) -> pd.DataFrame:
        """A row for each trial: settings, validation score, state and costs."""
        import pandas as pd

        rows = []
        for trial in self.trials:
            score = {self.metric: trial.score, "state": trial.state}
            rows.append({"trial": trial.name, **trial.values, **score, **asdict(trial.costs)})
        return pd.DataFrame(rows).set_index("trial")

    def as_json(self) -> dict[str, Any]:
        """Everything as JSON can hold it."""
        return {
            "metric": self.metric,
            "best": self.best.path.name,
            "trials": [asdict(trial) for trial in self.trials],
            "importance": dict(self.importance),
            "pareto": {cost: self.pareto(cost) for cost in ("seconds", "parameters", "kwh")},
            "comparison": None if self.comparison is None else self.comparison.as_json(),
            "sentences": list(self.sentences),
        }

    def _repr_html_(self) -> str:
        """What a notebook shows: the best trials, and what was chosen."""
        return html_table(*trial_cells(self)) + paragraphs(self.sentences)

    def __repr__(self) -> str:
        return f"Search({self.best.path.name} of {len(self.trials)} trials, {self.best!r})"


def best_of(trials: Sequence[Trial], metric: Metric) -> Trial:
    """The trial with the best validation score; of several the first, so that the default settings win a tie."""
    sign = metric.sign
    complete = [trial for trial in trials if trial.state == "complete" and trial.score is not None]
    return max(complete, key=lambda trial: sign * (trial.score or 0.0), default=trials[0])


def shown_costs(search: Search) -> list[str]:
    """The costs that tell trials apart: seconds, parameters where the sizes differ, energy where it was measured."""
    costs = [trial.costs for trial in search.trials]
    shown = ["seconds"]
    if search.cost == "parameters" or len({cost.parameters for cost in costs} - {None}) > 1:
        shown.append("parameters")
    if any(cost.kwh is not None for cost in costs):
        shown.append("kwh")
    return shown


def trial_cells(search: Search) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the table of the best trials."""
    on_front = search.pareto(search.cost)
    costs = shown_costs(search)
    rows = []
    for trial in search.ranked[:SHOWN]:
        score = scoring.number(trial.score) if trial.state == "complete" else trial.state
        settings = described(trial.values) if trial.number else "default settings"
        prices = [_price(trial, cost) for cost in costs]
        rows.append([trial.name, settings, score, *prices, "yes" if trial.name in on_front else "no"])
    heads = [COLUMNS[cost][0] for cost in costs]
    return ["", "settings", search.metric, *heads, f"front ({search.cost})"], rows


def _price(trial: Trial, cost: str) -> str:
    value = asdict(trial.costs)[cost]
    return DASH if value is None else COLUMNS[cost][1](value)


# --- sentences -------------------------------------------------------------------------------------------------------


def sentences_of(
    trials: Sequence[Trial],
    best: Trial,
    chosen_by: str,
    name: str,
    metric: Metric,
    comparison: Comparison | None,
    importance: Mapping[str, float],
    *,
    has_test: bool,
) -> list[str]:
    """What was chosen, what the choice is worth, and which settings mattered.

    Args:
        trials: All of them, the default settings first.
        best: The chosen one.
        chosen_by: The score that chose, with the rows that it is over.
        name: Name of that score.
        metric: Its direction.
        comparison: The default settings against the chosen ones, if these differ.
        importance: Setting -> share.
        has_test: Whether the comparison is over test, which the search never saw.
    """
    counts = Counter(trial.state for trial in trials[1:])
    states = ", ".join(f"{number} {state}" for state, number in counts.items())
    tried = f"{counted(len(trials) - 1, 'trial')} ({states})"
    if not best.number:
        sentences = [f"{tried}: none has a better {chosen_by} than the default settings, which stay"]
    else:
        score = scoring.number(best.score)
        sentences = [f"{tried}: {best.name} has the best {chosen_by}, {score} with {described(best.values)}"]
    if comparison is not None and has_test and trials[0].score is not None:
        sentences += _optimism(trials[0], best, chosen_by, name, metric, comparison)
    if not has_test:
        sentences.append(
            "no test split: validation chose among all trials, so its scores are optimistic; nothing tells by how much"
        )
    if importance:
        shares = ", ".join(f"{setting} {share:.2f}" for setting, share in importance.items())
        sentences.append(f"importance of the settings for {chosen_by}: {shares}")
    return sentences


def _optimism(
    default: Trial, best: Trial, chosen_by: str, name: str, metric: Metric, comparison: Comparison
) -> list[str]:
    """How much of the gain over the default settings on the rows that chose is seen on test."""
    sign = metric.sign
    where_chosen = sign * ((best.score or 0.0) - (default.score or 0.0))
    entry = next(run for run in comparison.runs if run.name == default.name)
    difference = entry.differences.get(name)
    if difference is None:
        return []
    # The comparison has default minus chosen.
    on_test = difference if sign < 0 else Score(-difference.value, _minus(difference.high), _minus(difference.low))
    gain = f"gain over the default settings: {where_chosen:.3f} in {chosen_by}, {change(on_test)} on test"
    if on_test.high is None or not on_test.high < where_chosen:
        is_seen = on_test.low is not None and on_test.low > 0
        what = "which shows it too" if is_seen else "whose rows are too few to tell how much of it is optimism"
        return [f"{gain}, {what}"]
    if on_test.value <= 0:
        return [f"{gain}, which shows none of it: the default settings are the better choice"]
    return [f"{gain}: {1 - on_test.value / where_chosen:.0%} of it was optimism"]


def _minus(value: float | None) -> float | None:
    return None if value is None else -value
