"""Predictions and scores of splits: the one way to evaluate, for a run, its result, a loaded run, folds and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config.run_config import own_splits
from ..data.checks import references as references_of
from ..data.features import encode, without_references
from ..data.rows import Data
from ..data.splits import task_groups
from ..errors import counted
from ..log import log
from ..recipe import Recipe, Row
from . import generation, scoring
from .inference import Inference, outputs
from .scoring import Scores

if TYPE_CHECKING:
    from datasets import Dataset

SHOWN, WIDTH = 3, 200  # texts that are printed after training, and characters of each
MIN_ROWS = 100  # rows of train that are scored, where it has as many


@dataclass(frozen=True)
class Predicted:
    """Rows of a split with their predictions and references."""

    rows: Dataset
    references: list[Any]
    groups: Sequence[Any] | None
    """What each row shares with others; None where rows are independent."""
    predictions: list[Row]
    uncalibrated: list[Row] | None = None
    """Predictions before calibration; None where nothing is calibrated."""

    def select(self, indices: Sequence[int]) -> Predicted:
        """The same for some of the rows."""

        def selected(values: Sequence[Any]) -> list[Any]:
            return [values[index] for index in indices]

        return Predicted(
            self.rows.select(indices),
            selected(self.references),
            None if self.groups is None else selected(self.groups),
            selected(self.predictions),
            None if self.uncalibrated is None else selected(self.uncalibrated),
        )


@dataclass(frozen=True)
class Scored:
    """Scores of all splits, and what they mean."""

    scores: dict[str, Scores]
    """Split -> metric -> score; the gap between train and validation next to the splits."""
    sentences: list[str]
    """What limits the use of the model, such as overfitting."""


# --- predictions -------------------------------------------------------------------------------------------------


def predict_splits(
    inference: Inference, data: Data, encoded: Mapping[str, Dataset], known: Any = None
) -> dict[str, Predicted]:
    """Predictions of all splits. Those of validation come first: they decide the calibration that all others use.

    Args:
        inference: The trained model; the calibration of its recipe is set.
        data: Rows by split.
        encoded: Features by split.
        known: Outputs of the model for validation, where an evaluation gave them already.
    """
    recipe, predicted = inference.recipe, {}
    recipe.calibration = {}
    if "validation" in data.splits:
        validation = _predict(inference, data, "validation", encoded["validation"], known)
        recipe.calibration, sentences = recipe.calibrate(validation.predictions, validation.references)
        for sentence in sentences:
            log(sentence)
        predicted["validation"] = _calibrated(recipe, validation)
    for split in data.splits:
        if split == "train":
            predicted[split] = _predict_some_of_train(inference, data, encoded[split])
        elif split != "validation":
            predicted[split] = _calibrated(recipe, _predict(inference, data, split, encoded[split]))
    finished = {}
    for split in data.splits:
        entry = predicted[split]
        texts = generation.add_texts(inference, entry.rows, entry.predictions)
        finished[split] = replace(entry, predictions=texts)
    return finished


def _predict(inference: Inference, data: Data, split: str, encoded: Dataset, known: Any = None) -> Predicted:
    """Predictions of a split before calibration."""
    recipe, rows = inference.recipe, data.splits[split]
    predictions = recipe.decode(outputs(inference, encoded) if known is None else known, rows, encoded)
    # Anew: since the plan, the labels may have come into the order of the checkpoint.
    return Predicted(rows, references_of(recipe, rows), _groups(data, split, recipe), predictions)


def _calibrated(recipe: Recipe, predicted: Predicted) -> Predicted:
    if not recipe.calibration:
        return predicted
    predictions = recipe.calibrated(predicted.predictions, recipe.calibration)
    return replace(predicted, predictions=predictions, uncalibrated=predicted.predictions)


def _predict_some_of_train(inference: Inference, data: Data, trained_on: Dataset) -> Predicted:
    """Predictions of as many training rows as validation has, `MIN_ROWS` at least, drawn with the seed."""
    recipe, rows = inference.recipe, data.splits["train"]
    drawn = list(range(len(rows)))
    groups = _groups(data, "train", recipe)
    size = max(len(data.splits.get("validation", rows)), MIN_ROWS)
    if len(rows) > size:
        drawn = sorted(np.random.default_rng(inference.settings.seed).permutation(len(rows))[:size].tolist())
        log(f"train scores are over {counted(size, 'row')} drawn with the seed")
        rows = rows.select(drawn)
        groups = None if groups is None else [groups[row] for row in drawn]
    if _reads_alike(recipe, trained_on, len(data.splits["train"])):
        encoded = trained_on.select(drawn)
    else:
        encoded = encode(recipe, without_references(rows, recipe))
    predictions = recipe.decode(outputs(inference, encoded), rows, encoded)
    predicted = Predicted(rows, references_of(recipe, rows), groups, predictions)
    return replace(_calibrated(recipe, predicted), uncalibrated=None)


def _reads_alike(recipe: Recipe, features: Dataset, rows: int) -> bool:
    """Whether the features of rows to train on are, one for each row, those of rows to predict."""
    is_same = type(recipe).encode_for_training is Recipe.encode_for_training
    return is_same and "row" not in features.column_names and len(features) == rows


def _groups(data: Data, split: str, recipe: Recipe) -> Sequence[Any] | None:
    """Groups that the user named, else those of the task."""
    return data.groups.get(split) or task_groups(data.splits[split], recipe)


# --- scores ------------------------------------------------------------------------------------------------------


def score_splits(
    inference: Inference,
    predicted: Mapping[str, Predicted],
    baseline: Mapping[str, Any],
    *,
    metrics: Sequence[str] = (),
    lora: bool = False,
    in_train: Sequence[int] = (),
) -> Scored:
    """Scores by split, how far train is above validation, and what the scores mean.

    Args:
        inference: The model that predicted.
        predicted: Rows with their predictions, by split.
        baseline: What `Recipe.baseline` gave for the training rows.
        metrics: Further metrics that the user named.
        lora: Whether adapters were trained, for which the advice is different.
        in_train: Indices of the rows of test whose input is also in train; the others are scored separately as well.
    """
    recipe, scores = inference.recipe, {}
    score = partial(score_rows, recipe, baseline=baseline, seed=inference.settings.seed, metrics=metrics)
    for split, entry in predicted.items():
        log_unscored(split, entry.references)
        scored = score(entry)
        if scored:
            scores[split] = scored
    of_splits = own_splits(scores)
    if not of_splits:
        return Scored(scores, [])
    last = next(reversed(of_splits))
    for sentence in scoring.effect_of_calibration(last, scores[last]):
        log(sentence)
    sentences = scoring.no_better_than_baseline(recipe, scores[last])
    if "train" in scores and "validation" in scores:
        scores[scoring.GAP] = scoring.gap(scores["train"], scores["validation"])
        sentences += scoring.overfitting(recipe, scores, lora=lora)
    if in_train and "test" in scores:
        rows = len(predicted["test"].references)
        clean = predicted["test"].select(sorted(set(range(rows)) - set(in_train)))
        log_unscored(scoring.CLEAN, clean.references)
        scored = score(clean)
        if scored:
            scores[scoring.CLEAN] = scored
        sentences += scoring.effect_of_overlap(recipe, scores, rows, len(clean.references))
    for sentence in sentences:
        log(sentence)
    return Scored(scores, sentences)


def log_unscored(split: str, references: Sequence[Any]) -> None:
    """Print how many rows of a split have no reference to be scored against."""
    unknown = sum(reference is None for reference in references)
    if unknown:
        log(f"{split}: {unknown} of {counted(len(references), 'row')} without a reference, predicted but not scored")


def score_rows(
    recipe: Recipe,
    predicted: Predicted,
    baseline: Mapping[str, Any] | None,
    *,
    seed: int,
    metrics: Sequence[str] = (),
) -> Scores:
    """Scores of any rows, with intervals, and with the baseline next to them if it is known."""
    references = predicted.references
    scored = scoring.scores(
        recipe, predicted.predictions, references, seed=seed, others=metrics, groups=predicted.groups
    )
    if predicted.uncalibrated is not None:
        scored = scoring.with_uncalibrated(recipe, scored, predicted.uncalibrated, references)
    if baseline is None:
        return scored
    return scoring.with_baseline(recipe, scored, predicted.rows, predicted.predictions, references, baseline)


def log_samples(predictions: list[Row]) -> None:
    """Print some texts that the model wrote after a prompt."""
    texts = [prediction for prediction in predictions if scoring.TEXT in prediction and "prompt" in prediction]
    for prediction in texts[:SHOWN]:
        prompt = " ".join(prediction["prompt"].split())[-WIDTH:]
        text = " ".join(prediction[scoring.TEXT].split())
        log(f"sample: {prompt} → {text[:WIDTH]}{'…' if len(text) > WIDTH else ''}")
