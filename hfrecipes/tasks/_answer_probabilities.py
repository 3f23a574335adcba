"""The probability that an answer to a question is right: among its candidates, after a temperature, and its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import calibration
from ..recipe import LOWER, Measure, Metric, Row, detail

ANSWERABLE_METRICS: dict[str, Metric] = {"answerable_log_loss": detail(LOWER), "answerable_ece": detail(LOWER)}
_TINY = 1e-12  # keeps logarithms finite


class RankedAnswer(dict[str, Any]):
    """Prediction for a question: the best span, or no answer.

    Its keys tell the answer that was decided on, with its `score`, the share that it has among all candidates. These
    are remembered, so that another threshold or temperature can decide without the model.

    Args:
        span: `answer`, `start` and `end` of the best span.
        logits: Scores of the candidates: the best span first, no answer last where a question may have none.
        may_have_none: Whether it may.
        threshold: Odds above which there is no answer.
        temperature: By which the logits are divided before they become probabilities; it decides nothing.
    """

    def __init__(
        self,
        span: Row,
        logits: np.ndarray,
        *,
        may_have_none: bool,
        threshold: float = 0.0,
        temperature: float = 1.0,
    ) -> None:
        odds = float(logits[-1] - logits[0])
        self.span, self.logits, self.may_have_none = span, logits, may_have_none
        self.chosen = len(logits) - 1 if may_have_none and odds > threshold else 0
        shares = calibration.apply_temperature(calibration.softmax(logits[None]), temperature)[0]
        answer = {"answer": "", "start": None, "end": None} if self.chosen else span
        score = float(shares[self.chosen])
        super().__init__(answer=answer["answer"], score=score, start=answer["start"], end=answer["end"])
        if may_have_none:
            self |= {"null_odds": odds, "best_span": span["answer"], "no_answer_score": float(shares[-1])}

    def decided(self, calibration: Mapping[str, float]) -> RankedAnswer:
        """The same prediction with the threshold and the temperature among these numbers."""
        return RankedAnswer(
            self.span,
            self.logits,
            may_have_none=self.may_have_none,
            threshold=calibration.get("null_threshold", 0.0),
            temperature=calibration.get("temperature", 1.0),
        )


def fit(predictions: Sequence[RankedAnswer], is_right: np.ndarray) -> tuple[dict[str, float], str]:
    """The temperature with which the score of an answer says best whether it is right, and a sentence on it.

    Its log loss is that of the event that the answer which is shown is an exact match: that is what a score stands
    for. The log loss of the right span would leave out the rows of which no candidate is right, where the score should
    be low.

    Args:
        predictions: With the answers that the threshold decides on.
        is_right: Whether each of them is an exact match, (rows,).
    """
    logits = calibration.side_by_side([row.logits for row in predictions])
    shares = calibration.softmax(np.where(np.isnan(logits), -np.inf, logits))
    shares[np.isnan(logits)] = np.nan
    rows, chosen = np.arange(len(predictions)), [row.chosen for row in predictions]

    def loss(temperature: float) -> float:
        scores = calibration.apply_temperature(shares, temperature)[rows, chosen]
        scores = np.clip(scores, _TINY, 1 - _TINY)
        return float(-np.mean(np.where(is_right, np.log(scores), np.log1p(-scores))))

    return calibration.fit(loss, len(predictions))


def measures(predictions: Sequence[Row], references: Sequence[Any], is_right: np.ndarray) -> list[Measure]:
    """Log loss and calibration error of `score` as the probability of an exact match, and of having an answer.

    Args:
        predictions: One per row; those without `no_answer_score` are not scored for having an answer.
        references: Texts of the answers, none for a question without answer.
        is_right: Whether each answer is an exact match, (rows,).
    """
    scores = np.array([row["score"] for row in predictions], dtype=float)
    parts = _of_event(scores, is_right)
    if all("no_answer_score" in row for row in predictions):
        has_answer = np.array([1 - row["no_answer_score"] for row in predictions], dtype=float)
        for measure in _of_event(has_answer, np.array(list(map(bool, references)))):
            parts.append(_renamed(measure))
    return parts


def _of_event(probability: np.ndarray, happens: np.ndarray) -> list[Measure]:
    from ..metrics import _weighted

    chance = np.where(happens, probability, 1 - probability)
    return [_weighted.log_loss(chance), _weighted.calibration_error(probability, happens)]


def _renamed(measure: Measure) -> Measure:
    return lambda weights: {f"answerable_{name}": values for name, values in measure(weights).items()}
