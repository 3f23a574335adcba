"""The score of a saved model on the test rows of its job: the same code for each way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from . import ways
from .jobs import IGNORED, Job


def score(job: Job, folder: Path) -> float:
    """Score on test: accuracy, F1 of entities, share of windows whose answer is exact, or loss per token."""
    import torch
    import transformers

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = getattr(transformers, job.kind.auto_model).from_pretrained(folder).to(device)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    results = ways.outputs(model, job, tokenizer)
    by_name = {"accuracy": _accuracy, "f1": _f1, "exact": _exact, "loss": _loss}
    return float(by_name[job.kind.score](job, model.config, results))


def _accuracy(job: Job, config: Any, results: list[Any]) -> float:
    right = []
    for rows, _, outputs in results:
        for row, number in zip(rows, outputs.logits.argmax(-1).tolist(), strict=True):
            right.append(config.id2label[number] == str(job.rows["test"][row]["label"]))
    return float(np.mean(right))


def _f1(job: Job, config: Any, results: list[Any]) -> float:
    from seqeval.metrics import f1_score

    references, predictions = [], []
    for _, batch, outputs in results:
        for labels, numbers in zip(batch["labels"].tolist(), outputs.logits.argmax(-1).tolist(), strict=True):
            counted = [place for place, label in enumerate(labels) if label != IGNORED]
            references.append([job.labels[labels[place]] for place in counted])
            predictions.append([config.id2label[numbers[place]] for place in counted])
    return float(f1_score(references, predictions))


def _exact(job: Job, config: Any, results: list[Any]) -> float:
    right = []
    for _, batch, outputs in results:
        starts = outputs.start_logits.argmax(-1) == batch["start_positions"]
        ends = outputs.end_logits.argmax(-1) == batch["end_positions"]
        right += (starts & ends).tolist()
    return float(np.mean(right))


def _loss(job: Job, config: Any, results: list[Any]) -> float:
    """Mean of all tokens, and not of batches."""
    total = tokens = 0.0
    for _, batch, outputs in results:
        number = int((batch["labels"] != IGNORED).sum())
        total += float(outputs.loss) * number
        tokens += number
    return total / tokens
