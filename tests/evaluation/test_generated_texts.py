"""Texts are generated with weights that mixed precision converts once, and not again for each token."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import hfrecipes
from hfrecipes import _upstream
from hfrecipes.evaluation import generation, inference


class Conversions(TorchDispatchMode):
    """Counts how often a weight of a model is converted to another precision."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.weights = {weights.data_ptr() for weights in model.parameters()}
        self.number = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._to_copy.default:
            self.number += args[0].data_ptr() in self.weights
        return func(*args, **(kwargs or {}))


def conversions(model: torch.nn.Module, write) -> int:
    with Conversions(model) as counted:
        write()
    return counted.number


@pytest.mark.parametrize("method", [{}, {"lora": True}, {"freeze": 1}], ids=["full", "lora", "freeze"])
@pytest.mark.parametrize("task", ["text-generation", "chat"])
def test_longer_texts_convert_no_more_weights(task, method, trial_of, tmp_path):
    """Frozen weights too, of which autocast by itself keeps nothing."""
    trial = trial_of(task)
    rows = {"train": trial.rows(8), "validation": trial.rows(4)}
    settings = {**trial._short_texts(), **method, "bf16": True, "report_to": "none"}
    trainer = hfrecipes.build(task, model=trial.model, dataset=rows, output_dir=tmp_path / "run", **settings)
    scorer = trainer.compute_metrics
    writing = inference.Inference.of(trainer.model, scorer.recipe, scorer.training)
    trained = [weights.requires_grad for weights in trainer.model.parameters()]
    numbers = []
    for tokens in (1, 9):
        write = partial(generation.generate, writing, [[5, 6, 7]], min_new_tokens=tokens, max_new_tokens=tokens)
        numbers.append(conversions(trainer.model, write))
    assert numbers[0] == numbers[1] > 0
    assert [weights.requires_grad for weights in trainer.model.parameters()] == trained


def test_evaluation_of_texts_converts_each_weight_once(trial_of, tmp_path, monkeypatch):
    """In the Trainer and after training, with the same texts and the same loss as with conversions for each token."""
    trial = trial_of("summarization")
    rows = {"train": trial.rows(8), "validation": trial.rows(12)}
    settings = {**trial._short_texts(), "bf16": True, "report_to": "none", "per_device_eval_batch_size": 12}
    trainer = hfrecipes.build("summarization", model=trial.model, dataset=rows, output_dir=tmp_path / "run", **settings)
    scorer = trainer.compute_metrics
    matrices = sum(weights.ndim > 1 for weights in trainer.model.parameters())
    evaluated = conversions(trainer.model, trainer.evaluate)
    # Those of the loss come on top: it is computed by itself, so that no part of it is less exact.
    assert 0 < evaluated <= 2 * matrices
    after = conversions(trainer.model, lambda: inference.outputs(scorer.inference, scorer.encoded))
    assert 0 < after <= matrices
    scores, kept = trainer.evaluate(), scorer.kept.of(trainer.model)
    monkeypatch.setattr(_upstream, "generating_in", lambda context, trainer: nullcontext())
    again = trainer.evaluate()
    assert again["eval_loss"] == scores["eval_loss"]
    assert kept is not None
    assert repr(kept) == repr(scorer.kept.of(trainer.model))
