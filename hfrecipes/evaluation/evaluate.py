"""Predictions and scores of the splits of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data import checks
from ..log import log
from ..recipe import Row
from ..training.trainer import Job
from . import generation, inference, scoring

if TYPE_CHECKING:
    from datasets import Dataset


SHOWN, WIDTH = 3, 200  # texts that are shown after training, and letters of each


@dataclass
class _Predicted:
    """Rows of a split, what was predicted for them, and what would have been without what validation decided."""

    rows: Dataset
    groups: Sequence[Any] | None
    predictions: list[Row]
    untuned: list[Row] | None = None


def _predict_all(job: Job) -> dict[str, _Predicted]:
    """Validation first, which settles thresholds that the other splits then keep to."""
    validation = {"validation": _predict(job, "validation")} if "validation" in job.data.splits else {}
    return {split: validation.get(split) or _predict(job, split) for split in job.data.splits}


def _predict(job: Job, split: str) -> _Predicted:
    """Predictions of a split; of train, for as many rows as validation has."""
    trainer, recipe, rows = job.trainer, job.recipe, job.data.splits[split]
    groups = job.data.groups.get(split) or recipe.groups(rows)
    if split == "train":
        drawn = _some_of_train(job)
        rows = rows.select(drawn)
        groups = None if groups is None else [groups[row] for row in drawn]
        return _Predicted(rows, groups, inference.predict_rows(trainer, recipe, rows, scored=True))
    encoded = job.encoded[split]
    outputs = inference.model_outputs(trainer, recipe, encoded)
    if split == "validation":
        predictions, untuned, sentences = inference.tuned(recipe, outputs, rows, encoded, job.references[split])
        for sentence in sentences:
            log(sentence)
    else:
        predictions = recipe.decode(outputs, rows, encoded)
        untuned = inference.untuned(recipe, outputs, rows, encoded) if recipe.tuned else predictions
    made = generation.with_texts(trainer, recipe, rows, predictions)
    return _Predicted(rows, groups, made, untuned if recipe.tuned else None)


def _some_of_train(job: Job) -> Sequence[int]:
    """Places of as many training rows as validation has, 100 at least."""
    rows = job.data.splits["train"]
    size = max(len(job.data.splits.get("validation", rows)), 100)
    if len(rows) <= size:
        return range(len(rows))
    places = np.random.default_rng(job.trainer.args.seed).permutation(len(rows))[:size]
    log(f"train scores are of {size} rows drawn with the seed")
    return sorted(places.tolist())


def _say_samples(predictions: list[Row]) -> None:
    """Some texts that the model went on writing."""
    texts = [one for one in predictions if scoring.TEXT in one and "prompt" in one]
    for one in texts[:SHOWN]:
        prompt, text = (" ".join(one[name].split()) for name in ("prompt", scoring.TEXT))
        log(f"sample: {prompt[-WIDTH:]} → {text[:WIDTH]}{'…' * (len(text) > WIDTH)}")


def _score_all(job: Job, predicted: dict[str, _Predicted]) -> tuple[dict[str, dict[str, dict[str, Any]]], list[str]]:
    """Scores by split, how far train is above validation, and sentences where that is overfitting or nothing learnt."""
    trivial = job.recipe.baseline(job.data.splits["train"])
    scores = {split: found for split, one in predicted.items() if (found := _score(job, split, one, trivial))}
    if not scores:
        return scores, []
    last = next(reversed(scores))
    for sentence in scoring.what_tuning_did(last, scores[last]):
        log(sentence)
    sentences = scoring.no_better(job.recipe, scores[last])
    if "train" in scores and "validation" in scores:
        scores[scoring.GAP] = scoring.gap(scores["train"], scores["validation"])
        sentences += scoring.overfitting(job.recipe, scores, lora=bool(job.config.lora))
    for sentence in sentences:
        log(sentence)
    return scores, sentences


def _score(
    job: Job, split: str, made: _Predicted, trivial: Callable[[Dataset], list[Row]]
) -> dict[str, dict[str, Any]]:
    rows = made.rows
    references = (
        job.references[split] if len(rows) == len(job.references[split]) else checks.references(job.recipe, rows)
    )
    unknown = sum(reference is None for reference in references)
    if unknown:
        log(f"{split}: {unknown} of {len(rows)} rows have no answer; they are predicted and not scored")
    seed = job.trainer.args.seed
    others = job.config.metrics
    found = scoring.scores(job.recipe, made.predictions, references, seed=seed, others=others, groups=made.groups)
    if made.untuned is not None:
        found = scoring.with_untuned(job.recipe, found, made.untuned, references)
    return scoring.with_baseline(job.recipe, found, rows, made.predictions, references, trivial)
