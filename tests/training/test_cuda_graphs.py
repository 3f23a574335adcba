"""Steps that are replayed on a GPU learn what computed ones learn; without a GPU, how batches are padded for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from rows import opinions

import hfrecipes
from hfrecipes.models import cuda_graphs
from hfrecipes.models.cuda_graphs import Padding
from hfrecipes.registry import find
from hfrecipes.training import replaying

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
PADDING = Padding({"input_ids": 7, "attention_mask": 0}, is_left=False, is_fixed=False)
# Without dropout, and in float32, replayed and computed steps differ by rounding alone.
EXACT = {"bf16": False, "max_steps": 12, "per_device_train_batch_size": 4, "splits": {"validation": None, "test": None}}


def test_lengths_are_padded_to_few_different_ones_and_by_an_eighth_or_eight_tokens_at_most():
    sizes = [PADDING.size(length) for length in range(1, 1025)]
    assert len(set(sizes)) == 8 + 4 * 4
    for length, size in enumerate(sizes, start=1):
        assert length <= size < length + max(8, length / 4)


def test_no_batch_is_padded_beyond_what_the_model_has_positions_for():
    assert replace(PADDING, limit=512).size(509) == 512
    assert replace(PADDING, limit=510).size(509) == 509


def test_inputs_of_unknown_meaning_are_not_padded():
    batch = {"input_ids": torch.ones(2, 9), "attention_mask": torch.ones(2, 9)}
    assert PADDING.sizes(batch) == {"input_ids": 16, "attention_mask": 16}
    for others in ({"position_ids": torch.ones(2, 9)}, {"bbox": torch.ones(2, 9, 4)}):
        assert set(PADDING.sizes({**batch, **others}).values()) <= {9, 4}
    del batch["attention_mask"]
    assert PADDING.sizes(batch) == {"input_ids": 9}


def test_padding_is_on_the_side_of_the_tokenizer_and_on_the_right_of_a_decoder():
    left = Padding(PADDING.fillers, is_left=True, is_fixed=False)
    row = torch.arange(5)
    assert row[left.part("input_ids", 2)].tolist() == [3, 4]
    assert row[left.part("decoder_input_ids", 2)].tolist() == [0, 1]
    assert row[PADDING.part("input_ids", 2)].tolist() == [0, 1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="without a GPU")
def test_nothing_is_recorded_without_a_gpu(quick, tmp_path):
    settings = {**quick, "dataset": {"train": opinions(40)}, "output_dir": str(tmp_path / "run")}
    trainer = hfrecipes.build("text-classification", **settings)
    assert replaying.recorder(trainer, find("text-classification")()) == []


def losses_of(task: str, model: str, folder, monkeypatch, *, replays: bool, **settings) -> torch.Tensor:
    """Loss of each part of a batch in a training without dropout."""
    if not replays:
        monkeypatch.setattr(replaying, "recorder", lambda *_: [])
    rows = [dict(find(task).samples[index % 3]) for index in range(60)]
    trainer = hfrecipes.build(
        task, model=model, dataset={"train": rows}, output_dir=folder / str(replays), **{**EXACT, **settings}
    )
    for module in trainer.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    losses, step = [], trainer.training_step

    def kept(*arguments, **keywords):
        losses.append(step(*arguments, **keywords).detach())
        return losses[-1]

    trainer.training_step = kept
    trainer.train()
    return torch.stack(losses).cpu()


@needs_gpu
@pytest.mark.parametrize("accumulated", [1, 3])
@pytest.mark.parametrize(
    "task", ["text-classification", "token-classification", "question-answering", "multiple-choice", "fill-mask"]
)
def test_replayed_steps_of_encoders_learn_what_computed_ones_learn(task, accumulated, tiny_bert, tmp_path, monkeypatch):
    settings = {"gradient_accumulation_steps": accumulated}
    replayed = losses_of(task, tiny_bert, tmp_path, monkeypatch, replays=True, **settings)
    computed = losses_of(task, tiny_bert, tmp_path, monkeypatch, replays=False, **settings)
    torch.testing.assert_close(replayed, computed, rtol=1e-3, atol=1e-4)


@needs_gpu
@pytest.mark.parametrize("task", ["text-generation", "chat", "summarization", "translation"])
def test_replayed_steps_of_decoders_learn_what_computed_ones_learn(task, model_for, tmp_path, monkeypatch):
    model = model_for(find(task))
    replayed = losses_of(task, model, tmp_path, monkeypatch, replays=True)
    computed = losses_of(task, model, tmp_path, monkeypatch, replays=False)
    torch.testing.assert_close(replayed, computed, rtol=1e-3, atol=1e-4)


@needs_gpu
def test_a_model_that_cannot_be_recorded_is_trained_without(tiny_bert, tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise RuntimeError("no")

    monkeypatch.setattr(cuda_graphs.LearningGraph, "capture", refuse)
    losses = losses_of("text-classification", tiny_bert, tmp_path, monkeypatch, replays=True)
    assert len(losses) == EXACT["max_steps"]
