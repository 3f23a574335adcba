"""Answers to questions of several types: predictions, their temperature, and their scores by type."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from .. import calibration
from ..recipe import HIGHER, LOWER, Measure, Metric, Row, detail, together
from ._decision_answers import Reference, likeliest, shares_of
from ._decision_questions import Question, options_of
from ._out_of_scope import of_rows

METRICS: dict[str, Metric] = {
    "accuracy": HIGHER,
    "f1_macro": HIGHER,
    "log_loss": LOWER,
    "brier": detail(LOWER),
    "ece": detail(LOWER),
}
OF_LEVELS: dict[str, Metric] = {"rps": LOWER}
OF_ORDER: dict[str, Metric] = {"order_bias": LOWER}
PARTS = ("seen", "unseen")  # questions that train has, and those that are held out of it
TEMPERATURE = "temperature_"
OTHER_ORDER = "answer_in_other_order"


def prediction_of(kind: str, scores: Mapping[str, float], **others: Any) -> Row:
    """The likeliest option with its `score`, the `scores` of all options, and of a score the mean `level`."""
    best = max(scores, key=scores.__getitem__)
    prediction = {"answer": best, "score": scores[best], "scores": dict(scores), "type": kind}
    if kind == "score":
        prediction["level"] = sum(int(level) * share for level, share in scores.items())
    return {**prediction, **others}


def options_key(kind: str, options: Iterable[str], instructions: str | None = None) -> str:
    """A text that questions with the same options share, and with the same instructions where these are given."""
    return json.dumps([kind, instructions or "", *sorted(options)], ensure_ascii=False)


def counts_of(question: Question, answers: Mapping[str, Any]) -> dict[str, int]:
    """How often each option is the answer to this question, or else to others with the same options; or empty."""
    kind, options = question["type"], options_of(question)
    equal = answers.get(options_key(kind, options, question["instructions"]))
    return dict(equal or answers.get(options_key(kind, options)) or {})


# --- temperature -----------------------------------------------------------------------------------------------------


def fit_temperatures(predictions: list[Row], references: list[Reference]) -> tuple[dict[str, float], list[str]]:
    """The temperature of each type of question, and a sentence for each."""
    numbers: dict[str, float] = {}
    sentences = []
    for kind, rows in _rows_by_type(predictions).items():
        loss, known = _loss_of([predictions[row] for row in rows], [references[row] for row in rows])
        fitted, sentence = calibration.fit(loss, known)
        numbers |= {f"{TEMPERATURE}{kind}": value for value in fitted.values()}
        sentences.append(f"{kind}: {sentence}")
    return numbers, sentences


def _loss_of(predictions: list[Row], references: list[Reference]) -> tuple[calibration.Loss, int]:
    """The mean log loss at each temperature, of references that may be shares, and the number of known ones."""
    from scipy.special import logsumexp

    pairs = list(zip(predictions, references, strict=True))
    known = [(row["scores"], shares_of(reference, list(row["scores"]))) for row, reference in pairs]
    known = [(scores, shares) for scores, shares in known if sum(shares)]
    probabilities = calibration.side_by_side([list(scores.values()) for scores, _ in known])
    targets = np.nan_to_num(calibration.side_by_side([shares for _, shares in known]))
    logits = np.log(np.maximum(probabilities, 1e-12))

    def loss(temperature: float) -> float:
        scaled = logits / temperature
        total = logsumexp(np.where(np.isnan(scaled), -np.inf, scaled), axis=1)
        return float(np.mean(total - (targets * np.nan_to_num(scaled)).sum(1)))

    return loss, len(known)


def at_temperatures(predictions: list[Row], numbers: Mapping[str, float]) -> list[Row]:
    """The predictions with the probabilities that the temperatures of their types give."""
    changed = []
    for row in predictions:
        temperature = numbers.get(f"{TEMPERATURE}{row['type']}", 1.0)
        scaled = calibration.apply_temperature(np.array([list(row["scores"].values())]), temperature)[0].tolist()
        changed.append({**row, **prediction_of(row["type"], dict(zip(row["scores"], scaled, strict=True)))})
    return changed


# --- scores ----------------------------------------------------------------------------------------------------------


def measure(predictions: list[Row], references: list[Reference]) -> Measure:
    """All metrics over all rows, and over those of each type where there are several."""
    parts = [_measure(predictions, references)]
    by_type = _rows_by_type(predictions)
    parts_of_rows = dict(by_type) if len(by_type) > 1 else {}
    held = [row.get("unseen", False) for row in predictions]
    for name, is_held in zip(PARTS, (False, True), strict=True):
        if any(held):
            parts_of_rows[name] = [index for index, value in enumerate(held) if value == is_held]
    for kind, rows in parts_of_rows.items():
        if not rows:
            continue
        of_type = _measure([predictions[row] for row in rows], [references[row] for row in rows])
        parts.append(partial(_named, of_rows(of_type, np.array(rows)), kind))
    return together(parts)


def _named(measured: Measure, part: str, weights: np.ndarray) -> dict[str, np.ndarray]:
    """The metrics with the name of a part of the rows."""
    values = {name: value for name, value in measured(weights).items() if name in METRICS}
    return {f"{name}[{part}]": value for name, value in values.items()}


def _measure(predictions: list[Row], references: list[Reference]) -> Measure:
    from ..metrics import _weighted

    shares = [np.array(list(row["scores"].values())) for row in predictions]
    pairs = list(zip(predictions, references, strict=True))
    targets = [np.array(shares_of(reference, list(row["scores"]))) for row, reference in pairs]
    is_right = np.array([row["answer"] == likeliest(reference) for row, reference in pairs])
    chance = np.array([_chance(*pair) for pair in zip(shares, targets, strict=True)])
    predicted, actual = _class_ids(predictions, references)
    classes = int(max(predicted.max(initial=0), actual.max(initial=0))) + 1
    of_labels = partial(_weighted.single_label, predicted, actual, labels=classes)
    sure = np.array([row["score"] for row in predictions])[:, None]
    squared = np.array([_brier(*pair) for pair in zip(shares, targets, strict=True)])
    trusted = partial(_weighted.calibration, sure, is_right[:, None], squared)
    parts: list[Measure] = [partial(_only, of_labels), trusted, _weighted.log_loss(chance)]
    levels = [index for index, row in enumerate(predictions) if row["type"] == "score"]
    if levels:
        ranked = np.array([_rps(shares[index], targets[index]) for index in levels])
        parts.append(partial(_mean_of, "rps", np.array(levels), ranked))
    swapped = [index for index, row in enumerate(predictions) if OTHER_ORDER in row]
    if swapped:
        changes = np.array([predictions[index][OTHER_ORDER] != predictions[index]["answer"] for index in swapped])
        parts.append(partial(_mean_of, "order_bias", np.array(swapped), changes))
    return together(parts)


def _only(measured: Measure, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Accuracy and macro F1 among the scores of labels."""
    return {name: value for name, value in measured(weights).items() if name in METRICS}


def _mean_of(name: str, rows: np.ndarray, values: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Mean over some of the rows; NaN in resamples without any."""
    inside = weights[:, rows]
    number = inside.sum(1)
    return {name: inside @ values / np.where(number > 0, number, np.nan)}


def _chance(shares: np.ndarray, target: np.ndarray) -> float:
    """Probability of the reference, the geometric mean of those that share it; NaN where it is no option."""
    return float(np.exp(target @ np.log(np.maximum(shares, 1e-15)))) if target.any() else np.nan


def _brier(shares: np.ndarray, target: np.ndarray) -> float:
    """Squared distance of the probabilities, halved for two options; a reference that is no option is one more."""
    squared = float(((shares - target) ** 2).sum()) + float(not target.any())
    return squared / 2 if len(shares) == 2 else squared


def _rps(shares: np.ndarray, target: np.ndarray) -> float:
    """Ranked probability score (Epstein 1969), from 0 to 1: mean squared distance of the cumulated probabilities."""
    return float(((np.cumsum(shares) - np.cumsum(target))[:-1] ** 2).mean())


def _class_ids(predictions: list[Row], references: list[Reference]) -> tuple[np.ndarray, np.ndarray]:
    """Number of the option that is predicted, and of the one that is right, (rows,) each.

    Options are the same class in questions with the same options. Where most questions have options of their own, as
    endings of a sentence are, their position is the class.
    """
    keys = [options_key(row["type"], row["scores"]) for row in predictions]
    has_own = len(set(keys)) > len(keys) / 2 and len(keys) > 1
    ids: dict[Any, int] = {}
    predicted: list[int] = []
    actual: list[int] = []
    for row, reference, key in zip(predictions, references, keys, strict=True):
        names = {name: ("position", index) if has_own else (key, name) for index, name in enumerate(row["scores"])}
        right = likeliest(reference)
        wanted = names.get(str(right), ("unknown", right))
        for name, numbers in ((names[row["answer"]], predicted), (wanted, actual)):
            numbers.append(ids.setdefault(name, len(ids)))
    return np.array(predicted, dtype=int), np.array(actual, dtype=int)


def _rows_by_type(predictions: Sequence[Row]) -> dict[str, list[int]]:
    """Indices of the predictions of each type of question."""
    rows = defaultdict(list)
    for index, prediction in enumerate(predictions):
        rows[prediction["type"]].append(index)
    return {kind: rows[kind] for kind in sorted(rows)}


# --- baseline --------------------------------------------------------------------------------------------------------


def count_answers(asked: Iterable[tuple[Question, Reference]]) -> dict[str, Any]:
    """How often each option is the answer, for equal questions, for those with the same options, and by position.

    Args:
        asked: Question and reference of each row.
    """
    by_options: dict[str, Counter[str]] = defaultdict(Counter)
    positions: Counter[int] = Counter()
    times = Counter[str]()
    for question, reference in asked:
        kind, names, right = question["type"], options_of(question), likeliest(reference)
        # Of a question without instructions, both are the same.
        keys = {options_key(kind, names), options_key(kind, names, question["instructions"])}
        times.update(keys)
        if right not in names:
            continue
        positions[names.index(str(right))] += 1
        for key in keys:
            by_options[key][str(right)] += 1
    kept = {key: dict(counts) for key, counts in by_options.items() if times[key] > 1}
    return {"answers": kept, "position": max(sorted(positions), key=positions.__getitem__, default=0)}


def most_frequent(question: Question, baseline: Mapping[str, Any]) -> Row:
    """The most frequent option with the frequency of each; for options that train does not have, that position.

    One is added to each count, so that an answer that train lacks is not impossible (rule of Laplace).
    """
    kind, options = question["type"], options_of(question)
    counts = counts_of(question, baseline["answers"])
    if counts:
        total = sum(counts.values()) + len(options)
        return prediction_of(kind, {name: (counts.get(name, 0) + 1) / total for name in options})
    even = prediction_of(kind, dict.fromkeys(options, 1 / len(options)))
    return {**even, "answer": options[min(baseline["position"], len(options) - 1)]}
