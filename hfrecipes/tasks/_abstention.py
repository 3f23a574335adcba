"""No answer where the model is not sure enough: the limit beyond which a prediction counts as none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ConfigError, counted
from ..recipe import DISTANCE, HIGHER, Measure, Metric, Row

METRICS: dict[str, Metric] = {"answered": HIGHER, "accuracy_answered": HIGHER}
Abstain = dict[str, float]
Given = Abstain | float  # a bare number is refused by a sentence that names both forms
CONFIDENCE = 0.95  # that the error rate of new rows is at most the one that was asked for
STARTS = (0.0, 0.3)  # where a search for a risk begins, as a share of the rows beyond the fewest that can show it
_BELOW, _BEYOND = "abstain_below", "abstain_beyond"  # a probability, a distance
_PROBABILITIES = (2.0, 0.0)  # limits above all confidences, and below all of them
_DISTANCES = (1.0, -1e30)  # the same where a distance with a minus is the confidence


def check_abstain(abstain: Any) -> None:
    """Refuse what is neither a share of the rows nor an error rate.

    Raises:
        ConfigError: It is neither.
    """
    if abstain is None:
        return
    is_known = isinstance(abstain, dict) and set(abstain) in ({"share"}, {"risk"})
    if not (is_known and all(0 < number < 1 for number in abstain.values())):
        raise ConfigError(
            f"abstain: found {abstain}, expected {{share: 0.1}} for no answer to the least sure tenth of the rows, or "
            "{risk: 0.05} for an error rate of at most 0.05 among the answers"
        )


def tune(confidence: np.ndarray, is_right: np.ndarray, abstain: Abstain) -> tuple[dict[str, float], str]:
    """The probability that a prediction needs to be an answer, and a sentence on it.

    Args:
        confidence: Probability of the predicted label of each row, (rows,).
        is_right: Whether it is the right one, (rows,).
        abstain: `share` of the rows without an answer, or `risk`, the highest error rate among the answers.
    """
    limit, answered, errors = _tuned(confidence, is_right, abstain, _PROBABILITIES)
    return {_BELOW: limit}, _sentence(f"below a probability of {limit:.3g}", answered, errors, abstain)


def tune_distance(distances: np.ndarray, is_right: np.ndarray, abstain: Abstain) -> tuple[dict[str, float], str]:
    """The largest distance that an answer may have, and a sentence on it.

    Args:
        distances: Distance of each row from train, (rows,).
        is_right: Whether the predicted label is the right one, (rows,).
        abstain: As for `tune`.
    """
    limit, answered, errors = _tuned(-distances, is_right, abstain, _DISTANCES)
    return {_BEYOND: -limit}, _sentence(f"beyond a distance of {-limit:.3g}", answered, errors, abstain)


def _tuned(
    confidence: np.ndarray, is_right: np.ndarray, abstain: Abstain, ends: tuple[float, float]
) -> tuple[float, int, np.ndarray]:
    """The least confidence of an answer, the number of rows that have it, and errors among the first rows.

    Args:
        confidence: Of each row, (rows,).
        is_right: As for `tune`.
        abstain: As for `tune`.
        ends: Limits with which no row is answered, and all of them.
    """
    order = np.argsort(-confidence, kind="stable")
    ranked = np.concatenate([ends[:1], confidence[order], ends[1:]])
    errors = np.concatenate([[0], np.cumsum(~is_right[order])])
    # How many rows may be answered: no limit separates two rows of the same probability.
    cuts = np.flatnonzero((ranked[:-1] > ranked[1:]) | (np.arange(len(errors)) == len(confidence)))
    if "share" in abstain:
        wanted = len(confidence) - round(abstain["share"] * len(confidence))
        answered = int(cuts[np.abs(cuts - wanted).argmin()])
    else:
        answered = _most_answers(errors, cuts, abstain["risk"])
    return _limit(ranked, answered), answered, errors


def _limit(ranked: np.ndarray, answered: int) -> float:
    """A confidence between the last row that is answered and the first one that is not."""
    if answered == len(ranked) - 2:
        return float(ranked[-1])
    # In the middle, since the confidence of a row changes in its last digits with the batch that it is in.
    return float((ranked[answered] + ranked[answered + 1]) / 2) if answered else float(ranked[0])


def _most_answers(errors: np.ndarray, cuts: np.ndarray, risk: float) -> int:
    """The largest number of answered rows for which the error rate of new rows is at most `risk`.

    Learn then test (Angelopoulos et al. 2021): more and more rows are answered, and the first number at which the exact
    binomial bound of the error rate is above `risk` ends the search. The bound is then right with the probability
    `CONFIDENCE`, however many numbers were tried. As a single early error may end a search, there are two of them, at
    `STARTS`, which share the probability of being wrong.

    Args:
        errors: Number of errors among the first rows, from none of them to all, (rows + 1,).
        cuts: Numbers of rows that may be answered, increasing.
        risk: Highest error rate.
    """
    from scipy.special import betaincinv

    doubt = (1 - CONFIDENCE) / len(STARTS)
    wrong, right = errors[cuts], cuts - errors[cuts]
    bound = np.ones(len(cuts))  # as high as the error rate may be (Clopper and Pearson 1934), 1 where none is right
    bound[right > 0] = betaincinv(wrong[right > 0] + 1, right[right > 0], 1 - doubt)
    is_low = bound <= risk
    fewest, rows = _fewest(risk, doubt), len(errors) - 1
    most = 0
    for share in STARTS:
        tried = cuts >= fewest + share * (rows - fewest)
        passed = int(np.logical_and.accumulate(is_low[tried]).sum())
        if passed:
            most = max(most, int(cuts[tried][passed - 1]))
    return most


def _fewest(risk: float, doubt: float) -> int:
    """The fewest rows that can show the risk, all of them right."""
    return int(np.ceil(np.log(doubt) / np.log(1 - risk)))


def _sentence(limit: str, answered: int, errors: np.ndarray, abstain: Abstain) -> str:
    rows = len(errors) - 1
    among = counted(rows, "validation row")
    if "risk" in abstain and not answered:
        fewest = _fewest(abstain["risk"], (1 - CONFIDENCE) / len(STARTS))
        return (
            f"abstain: {among} cannot show a risk of {abstain['risk']:g}, whichever are answered, so no row is "
            f"answered: allow a higher risk, or add rows (at least {fewest} that are all predicted right)"
        )
    about = f"abstain: no answer {limit}, which is {rows - answered} of {among}"
    if answered == rows:
        about = f"abstain: an answer for each of {among}, and for any other row"
    if answered:
        about += (
            f"; {errors[answered] / answered:.3f} of the answers are wrong, and {errors[-1] / rows:.3f} of all rows"
        )
    if "risk" in abstain:
        about += f"; of answers to new rows at most {abstain['risk']:g} are wrong, {CONFIDENCE:.0%} sure"
    return about


def with_abstention(predictions: list[Row], numbers: Mapping[str, float]) -> list[Row]:
    """Predictions with `abstained`, whether they are no answer, as `score` is too low or `distance` too large."""
    if _BEYOND in numbers and DISTANCE in predictions[0]:
        return [{**prediction, "abstained": prediction[DISTANCE] > numbers[_BEYOND]} for prediction in predictions]
    if _BELOW in numbers:
        return [{**prediction, "abstained": prediction["score"] < numbers[_BELOW]} for prediction in predictions]
    return predictions


def measure(predictions: Sequence[Row], is_right: np.ndarray) -> Measure:
    """Share of the rows that are answered, and the accuracy over them; NaN where none is.

    Args:
        predictions: One per row.
        is_right: Whether the predicted label is the right one, (rows,).
    """
    # What knows no abstention, as the baseline, answers all rows.
    is_answered = np.array([not prediction.get("abstained", False) for prediction in predictions], dtype=np.float64)
    right = is_answered * is_right

    def measured(weights: np.ndarray) -> dict[str, np.ndarray]:
        answered = weights @ is_answered
        known = np.where(answered > 0, answered, np.nan)
        return {"answered": answered / weights.sum(1), "accuracy_answered": weights @ right / known}

    return measured
