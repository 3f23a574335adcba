"""Steps that are replayed learn what computed ones learn: on a GPU, and on a CPU that runs what was recorded again."""

from __future__ import annotations

import copy
import shutil
from dataclasses import replace

import pytest
import torch
from recorded_on_cpu import emulate
from rows import opinions

import hfrecipes
from hfrecipes.models import cuda_graphs
from hfrecipes.models.cuda_graphs import Padding
from hfrecipes.registry import find
from hfrecipes.training import replaying

HAS_GPU = torch.cuda.is_available()
PADDING = Padding({"input_ids": 7, "attention_mask": 0}, is_left=False, is_fixed=False)
# Without dropout, and in float32, replayed and computed steps differ by rounding alone.
EXACT = {"bf16": False, "max_steps": 12, "per_device_train_batch_size": 4, "splits": {"validation": None, "test": None}}
ENCODERS = ["text-classification", "token-classification", "question-answering", "multiple-choice", "fill-mask"]


# --- padding -----------------------------------------------------------------------------------------------------


def test_lengths_are_padded_to_few_different_ones_and_by_a_quarter_or_eight_tokens_at_most():
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


def test_padding_is_on_the_side_of_the_tokenizer_and_on_the_right_for_texts_to_continue(quick, tmp_path):
    left = replace(PADDING, is_left=True)
    row = torch.arange(5)
    assert row[left.part(2)].tolist() == [3, 4]
    assert row[PADDING.part(2)].tolist() == [0, 1]
    settings = {**quick, "dataset": {"train": opinions(40)}, "output_dir": str(tmp_path / "run")}
    trainer = hfrecipes.build("text-classification", **settings)
    recipe = trainer.hfrecipes_job.plan.recipe
    recipe.tokenizer.padding_side = "left"
    assert Padding.of(recipe, trainer.model).is_left
    recipe.auto_model = "AutoModelForCausalLM"
    assert not Padding.of(recipe, trainer.model).is_left


# --- training ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(HAS_GPU, reason="without a GPU")
def test_nothing_is_recorded_without_a_gpu(quick, tmp_path):
    settings = {**quick, "dataset": {"train": opinions(40)}, "output_dir": str(tmp_path / "run")}
    trainer = hfrecipes.build("text-classification", **settings)
    assert replaying.recorder(trainer, find("text-classification")()) == []


@pytest.fixture
def recorded(monkeypatch):
    """Recordings that are made, also where there is no GPU."""
    if not HAS_GPU:
        emulate(monkeypatch)
        monkeypatch.setattr(replaying, "_can_be_recorded", lambda trainer: True)
    made, record = [], replaying.LearningGraph.capture

    def capture(graph):
        record(graph)
        made.append(graph)

    monkeypatch.setattr(replaying.LearningGraph, "capture", capture)
    return made


def built(task, model, folder, **settings):
    """A Trainer without dropout."""
    rows = [dict(find(task).samples[index % 3]) for index in range(60)]
    trainer = hfrecipes.build(task, model=model, dataset={"train": rows}, output_dir=folder, **{**EXACT, **settings})
    for module in trainer.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return trainer


def losses_of(trainer, *, replays: bool) -> torch.Tensor:
    """Loss of each part of a batch in a training."""
    if not replays:
        trainer.callback_handler.callbacks = [
            callback for callback in trainer.callback_handler.callbacks if type(callback).__name__ != "RecordBatches"
        ]
    losses, step = [], trainer.training_step

    def kept(*arguments, **keywords):
        losses.append(step(*arguments, **keywords).detach())
        return losses[-1]

    trainer.training_step = kept
    trainer.train()
    return torch.stack(losses).cpu()


@pytest.mark.parametrize("accumulated", [1, 3])
@pytest.mark.parametrize("task", ENCODERS)
def test_replayed_steps_of_encoders_learn_what_computed_ones_learn(task, accumulated, tiny_bert, tmp_path, recorded):
    settings = {"gradient_accumulation_steps": accumulated}
    replayed = losses_of(built(task, tiny_bert, tmp_path / "one", **settings), replays=True)
    assert recorded
    computed = losses_of(built(task, tiny_bert, tmp_path / "two", **settings), replays=False)
    torch.testing.assert_close(replayed, computed, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("task", ["text-generation", "chat", "summarization", "translation"])
def test_replayed_steps_of_decoders_learn_what_computed_ones_learn(task, model_for, tmp_path, recorded):
    model = model_for(find(task))
    replayed = losses_of(built(task, model, tmp_path / "one"), replays=True)
    # Texts that are written have lengths of their own: nearly each batch would be of another shape.
    assert bool(recorded) == (task in ("text-generation", "chat"))
    computed = losses_of(built(task, model, tmp_path / "two"), replays=False)
    torch.testing.assert_close(replayed, computed, rtol=1e-3, atol=1e-4)


def test_packed_texts_are_computed(model_for, tmp_path, recorded):
    losses_of(built("chat", model_for(find("chat")), tmp_path, packing=True), replays=True)
    assert not recorded


def test_adapters_are_replayed_too(tiny_bert, tmp_path, recorded):
    settings = {"lora": {"lora_dropout": 0.0}}
    replayed = losses_of(built("text-classification", tiny_bert, tmp_path / "one", **settings), replays=True)
    assert recorded
    computed = losses_of(built("text-classification", tiny_bert, tmp_path / "two", **settings), replays=False)
    torch.testing.assert_close(replayed, computed, rtol=1e-3, atol=1e-4)


def test_after_a_training_the_model_computes_and_its_copies_do(tiny_bert, tmp_path, recorded):
    trainer = built("text-classification", tiny_bert, tmp_path)
    forward, copies = trainer.model.forward, []
    step = trainer.training_step

    def with_copy(*arguments, **keywords):
        loss = step(*arguments, **keywords)
        copies.append(copy.deepcopy(trainer.model))
        return loss

    trainer.training_step = with_copy
    trainer.train()
    assert recorded
    assert type(trainer.model.forward) is type(forward)
    for copied in copies[:2]:
        assert not isinstance(copied.forward, cuda_graphs.ReplayedForward)
        with torch.no_grad():
            for weights in copied.parameters():
                weights.zero_()
        outputs = copied.eval()(input_ids=torch.tensor([[5, 6]], device=copied.device))
        assert float(outputs.logits.abs().max()) == 0, "a copy has weights of its own"


@pytest.mark.parametrize("problem", [RuntimeError("no"), None])
def test_a_model_that_cannot_be_recorded_is_trained_without(
    problem, tiny_bert, tmp_path, recorded, monkeypatch, caplog
):
    def fail(graph):
        if problem is not None:
            raise problem
        graph.backward = graph.graph = type("Empty", (), {"replay": lambda self: None})()
        graph.given, graph.used = [], [0]
        graph.gradients[0].fill_(1000.0)  # not what the model computes

    monkeypatch.setattr(replaying.LearningGraph, "capture", fail)
    monkeypatch.setattr(replaying._upstream, "copy_all", lambda targets, sources: None)
    with caplog.at_level("INFO"):
        losses = losses_of(built("text-classification", tiny_bert, tmp_path), replays=True)
    assert len(losses) == EXACT["max_steps"]
    assert caplog.text.count("CUDA graphs: off") == 1


def test_recordings_are_given_up_before_batches_are_computed_in_parts(tiny_bert, tmp_path, recorded, monkeypatch):
    settings = {"save_strategy": "steps", "save_steps": 6, "max_steps": 14, "save_total_limit": 3}
    trainer = built("text-classification", tiny_bert, tmp_path / "one", **settings)
    fill, failures = cuda_graphs.Graph.fill, []

    def fail_once(graph, inputs):
        if len(recorded) and not failures:
            failures.append(1)
            raise torch.OutOfMemoryError("CUDA out of memory")
        fill(graph, inputs)

    monkeypatch.setattr(cuda_graphs.Graph, "fill", fail_once)
    losses = losses_of(trainer, replays=True)
    assert failures
    assert len(losses) == 14
    made = len(recorded)
    resumed = built("text-classification", tiny_bert, tmp_path / "two", **settings)
    shutil.copytree(tmp_path / "one" / "checkpoint-6", tmp_path / "two" / "checkpoint-6")
    resumed.train(resume_from_checkpoint=str(tmp_path / "two" / "checkpoint-6"))
    assert len(recorded) == made, "a resumed run does not record either"


# --- single rows -------------------------------------------------------------------------------------------------


def test_single_rows_of_a_loaded_model_are_replayed_from_the_third_of_a_length_on(quick, tmp_path, monkeypatch):
    settings = {**quick, "dataset": {"train": opinions(40)}, "output_dir": str(tmp_path / "run")}
    hfrecipes.run("text-classification", **settings)
    predictor = hfrecipes.load(tmp_path / "run")
    texts = ["the book was good", "the film that nobody liked was rather bad", "good"]
    computed = [predictor.predict(text) for text in texts]
    if not HAS_GPU:
        emulate(monkeypatch)
        padding = Padding.of(predictor.recipe, predictor.model)
        forward = predictor.model.forward
        replayed = cuda_graphs.ReplayedForward(
            forward,
            padding,
            lambda inputs: cuda_graphs.Graph(forward, inputs, padding, None),
            lambda inputs: len(inputs["input_ids"]) == 1,
            from_time=3,
        )
        predictor.model.forward = replayed
    for _ in range(4):
        for text, expected in zip(texts, computed, strict=True):
            assert predictor.predict(text)["scores"] == pytest.approx(expected["scores"], abs=1e-5)
    assert predictor.model.forward.graphs
    together = predictor.predict(texts)
    assert [row["label"] for row in together] == [row["label"] for row in computed]

    def fail(graph, inputs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(cuda_graphs.Graph, "fill", fail)
    assert predictor.predict(texts[0])["scores"] == pytest.approx(computed[0]["scores"], abs=1e-5)
    assert not predictor.model.forward.graphs, "their memory is given back before a batch is computed in parts"
