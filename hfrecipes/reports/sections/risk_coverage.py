"""How the error rate falls where only the rows that the model is surest of are answered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...evaluation.scoring import interval, number
from ...metrics._uncertainty import share_interval
from ...recipe import DISTANCE
from ..page import Block, Lines, Section, Series, Table, score_cell
from ..probabilities import probabilities_of
from ..run_data import RunData

FEWEST = 10  # answered rows from which an error rate is shown
SHARES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.25)
_POINTS = 200  # of a curve


@dataclass(frozen=True)
class RiskCurve:
    """Errors among the rows that the model is surest of, from one row to all of them.

    Args:
        confidence: Probability of the likeliest name of each row, or its distance from train with a minus, (rows,).
        is_right: Whether it is right, (rows,).
    """

    confidence: np.ndarray
    is_right: np.ndarray

    @property
    def ranked(self) -> np.ndarray:
        """Confidences, the highest first, (rows,)."""
        return np.sort(self.confidence)[::-1]

    @property
    def errors(self) -> np.ndarray:
        """Errors among the first rows, from one row to all, (rows,)."""
        order = np.argsort(-self.confidence, kind="stable")
        answered = np.concatenate([[0], self.cuts])
        errors = np.concatenate([[0], np.cumsum(~self.is_right[order])])[answered]
        # Rows of the same probability come in no order: their errors are spread evenly over them.
        return np.asarray(np.interp(np.arange(1, len(order) + 1), answered, errors))

    @property
    def cuts(self) -> np.ndarray:
        """Numbers of rows that a limit of the confidence can answer, increasing."""
        return np.flatnonzero(np.diff(self.ranked, append=-np.inf)) + 1

    @property
    def area(self) -> float:
        """Mean error rate over all numbers of answered rows (AURC; Geifman et al. 2019); lower is better."""
        return float((self.errors / np.arange(1, len(self.errors) + 1)).mean())

    @property
    def best_area(self) -> float:
        """The area with as many errors, were the model surer of each right row than of any wrong one."""
        errors = np.cumsum(np.sort(~self.is_right))
        return float((errors / np.arange(1, len(errors) + 1)).mean())


def section(run: RunData) -> Section | None:
    """A curve for all splits, and a table for each of them."""
    curves, by_distance = {}, run.recipe.needs_distances
    for split in reversed(run.rows):
        known = probabilities_of(run, split)
        if known is not None and not known.has_several and len(known.rows) >= FEWEST:
            confidence, is_right = known.confidence()
            if by_distance:
                confidence = -np.array([row.prediction[DISTANCE] for row in known.rows])
            curves[split] = RiskCurve(confidence, is_right)
    if not curves:
        return None
    last = "largest distances from train" if by_distance else "lowest probabilities"
    how = f"Error rate among the answers, where the rows with the {last} get none."
    tuned = {} if run.runs else run.recipe.calibration
    if "abstain_below" in tuned:
        how += f" Here it is those below {number(tuned['abstain_below'])}, as validation decided."
    elif "abstain_beyond" in tuned:
        how += f" Here it is those beyond {number(tuned['abstain_beyond'])}, as validation decided."
    elif getattr(run.recipe, "abstain", {}) is None:
        how += " abstain={share: 0.1} or {risk: 0.05} finds a limit on validation, below which a prediction is marked."
    blocks: list[Block] = [how, plot(curves)]
    for split, curve in curves.items():
        blocks += [_sentence(split, curve, by_distance), _table(split, curve, by_distance)]
    return Section("Risk and coverage", blocks)


def plot(curves: dict[str, RiskCurve]) -> Lines:
    """Share of the rows that are answered against the error rate among them."""
    series = []
    for split, curve in curves.items():
        rows = curve.cuts[curve.cuts >= FEWEST]
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, _POINTS).astype(int))]
        rates = curve.errors[rows - 1] / rows
        series.append(Series(split, (rows / len(curve.errors)).tolist(), rates.tolist()))
    return Lines("Error rate by share of answered rows", "share answered, the surest first", "error rate", series)


def _sentence(split: str, curve: RiskCurve, by_distance: bool) -> str:
    by_chance, told = 1 - float(curve.is_right.mean()), "distances" if by_distance else "probabilities"
    return (
        f"{split}: the area under the curve (AURC) is {number(curve.area)}; with as many errors it would be "
        f"{number(curve.best_area)} at best, and {number(by_chance)} if {told} told nothing."
    )


def _table(split: str, curve: RiskCurve, by_distance: bool) -> Table:
    total, errors = len(curve.errors), curve.errors
    rows = []
    for share in SHARES:
        answered = int(curve.cuts[np.abs(curve.cuts - share * total).argmin()])
        rate = float(errors[answered - 1]) / answered
        around = interval(*share_interval(rate, answered))
        limit = float(abs(curve.ranked[answered - 1]))
        line = [score_cell(answered / total), score_cell(limit), score_cell(rate), around]
        if answered >= FEWEST and line not in rows:
            rows.append(line)
    limits = "up to a distance of" if by_distance else "from a probability of"
    return Table(["share answered", limits, "error rate", "95 % interval"], rows, f"Answers of {split}")
