"""Answers that a model gives, with the probability of each option, and the temperature of each type of question."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import calibration
from ..recipe import Row
from ._decision_answers import Reference, shares_of
from ._decision_questions import HeldOut

if TYPE_CHECKING:
    from datasets import Dataset

TEMPERATURE = "temperature_"
OTHER_ORDER = "answer_in_other_order"


def prediction_of(kind: str, scores: Mapping[str, float]) -> Row:
    """The likeliest option with its `score`, the `scores` of all options, and of a score the mean `level`."""
    best = max(scores, key=scores.__getitem__)
    prediction = {"answer": best, "score": scores[best], "scores": dict(scores), "type": kind}
    if kind == "score":
        prediction["level"] = sum(int(level) * share for level, share in scores.items())
    return prediction


def predictions_of(recipe: Any, outputs: Any, rows: Sequence[Row], encoded: Dataset) -> list[Row]:
    """The likeliest option of each question, with the probabilities of all.

    Args:
        recipe: The task.
        outputs: Logits of the options of each prompt, filled up with minus infinity.
        rows: Raw rows.
        encoded: Prompts; a choice that is asked again in the other order has two.
    """
    predictions: list[Row] = [{} for _ in rows]
    held_out = HeldOut.of(recipe.learned)
    for logits, options, index in zip(outputs, encoded["options"][:], encoded["row"][:], strict=True):
        row = rows[index]
        question = recipe.question(row)
        shares = calibration.softmax(np.asarray(logits, np.float64)[None, : len(options)])[0].tolist()
        by_option = dict(zip(options, shares, strict=True))
        prediction = prediction_of(question.type, {name: by_option[name] for name in question.options})
        if predictions[index]:
            predictions[index][OTHER_ORDER] = prediction["answer"]
            continue
        if held_out is not None:
            prediction["unseen"] = held_out.is_unseen(row, question)
        predictions[index] = prediction
    return predictions


def rows_by_type(predictions: Sequence[Row]) -> dict[str, list[int]]:
    """Indices of the predictions of each type of question."""
    rows = defaultdict(list)
    for index, prediction in enumerate(predictions):
        rows[prediction["type"]].append(index)
    return {kind: rows[kind] for kind in sorted(rows)}


# --- temperature -----------------------------------------------------------------------------------------------------


def fit_temperatures(predictions: list[Row], references: list[Reference]) -> tuple[dict[str, float], list[str]]:
    """The temperature of each type of question, and a sentence for each."""
    numbers: dict[str, float] = {}
    sentences = []
    for kind, rows in rows_by_type(predictions).items():
        scores, targets = _known_shares([predictions[row] for row in rows], [references[row] for row in rows])
        fitted, sentence = calibration.fit(calibration.loss_of(scores, targets), len(scores))
        numbers |= {f"{TEMPERATURE}{kind}": value for value in fitted.values()}
        sentences.append(f"{kind}: {sentence}")
    return numbers, sentences


def _known_shares(predictions: list[Row], references: list[Reference]) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and references of the rows whose reference is an option or shares of some, (rows, options) each."""
    scores, targets = [], []
    for row, reference in zip(predictions, references, strict=True):
        shares = shares_of(reference, list(row["scores"]))
        if any(shares):
            scores.append(list(row["scores"].values()))
            targets.append(shares)
    return calibration.side_by_side(scores), np.nan_to_num(calibration.side_by_side(targets))


def at_temperatures(predictions: list[Row], numbers: Mapping[str, float]) -> list[Row]:
    """The predictions with the probabilities that the temperatures of their types give."""
    changed = []
    for row in predictions:
        temperature = numbers.get(f"{TEMPERATURE}{row['type']}", 1.0)
        scaled = calibration.apply_temperature(np.array([list(row["scores"].values())]), temperature)[0].tolist()
        changed.append({**row, **prediction_of(row["type"], dict(zip(row["scores"], scaled, strict=True)))})
    return changed
