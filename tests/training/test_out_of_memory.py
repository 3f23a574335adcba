"""A batch that does not fit into memory is computed in parts, and the training learns what it would have learnt."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from conftest import opinions
from printed import shown, unprinted

import hfrecipes
from hfrecipes.contract.trial import Trial
from hfrecipes.errors import OutOfMemoryError
from hfrecipes.memory.parts import Limit, halves_of, in_parts
from hfrecipes.memory.shortage import is_out_of_memory
from hfrecipes.registry import list_tasks

ROWS = {"train": opinions(48), "validation": opinions(8, 1)}
SLOW = ("summarization", "text2text-generation", "chat")  # the other tasks that generate are tried each time
CUDA = "CUDA out of memory. Tried to allocate 2.00 GiB"


def tighten(model, tokens: int, *, training: bool = True) -> list[int]:
    """Make a model raise as a GPU does where a batch has more tokens; the sizes of all that it computes in the end."""
    forward, computed = model.forward, []

    def forward_if_it_fits(*args, **batch):
        number = batch["input_ids"].numel()
        if number > tokens and torch.is_grad_enabled() == training:
            raise torch.OutOfMemoryError(CUDA)
        computed.append(number)
        return forward(*args, **batch)

    model.forward = forward_if_it_fits
    return computed


def weights_of(model) -> torch.Tensor:
    return torch.cat([weights.detach().flatten() for weights in model.parameters()])


def settings_without_chance(model, **more) -> dict:
    """Settings with which two trainings that should learn the same do so, up to rounding."""
    options = {"model": model, "optim": "sgd", "learning_rate": 0.05, "warmup_steps": 0, "bf16": False}
    return {**options, "dropout": 0.0, "disable_tqdm": True, "save_strategy": "no", **more}


@pytest.mark.parametrize("task", list(list_tasks()))
def test_parts_teach_every_task_the_same_as_accumulation(task, tmp_path):
    trial = Trial(task, tmp_path)
    start, expected = trial.weights(4)
    build, made = hfrecipes.build, []
    trial_of_parts = Trial(task, tmp_path / "parts")
    trial_of_parts.__dict__["model"] = trial.model

    def build_tight(*args, **settings):
        trainer = build(*args, **settings)
        longest = max(trainer.train_dataset["length"])
        made.append(tighten(trainer.model, 5 * longest))
        return trainer

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("hfrecipes.contract.trial.build", build_tight)
        _, learnt = trial_of_parts.weights(8)
    assert len(made[0]) > 2, "some batch was computed in parts"
    assert float((learnt - expected).norm()) < 1e-3 * float((expected - start).norm())


def test_gradients_of_earlier_batches_survive_a_backward_pass_that_stops_half_way(tiny_bert, tmp_path):
    settings = settings_without_chance(tiny_bert, max_steps=2, gradient_accumulation_steps=3)
    settings |= {"per_device_train_batch_size": 8}
    learnt = []
    for name, fails in (("whole", False), ("parts", True)):
        trainer = hfrecipes.build(
            "text-classification", dataset={"train": ROWS["train"]}, output_dir=tmp_path / name, **settings
        )
        if fails:
            fail_in_backward(trainer.model, call=2)
        trainer.train()
        learnt.append(weights_of(trainer.model))
    assert torch.allclose(*learnt, atol=1e-6)


def fail_in_backward(model, call: int) -> None:
    """Let one backward pass stop where it arrives at the embeddings: the head has its gradients by then."""
    calls = []

    def raise_once(gradient):
        calls.append(gradient)
        if len(calls) == call:
            raise torch.OutOfMemoryError(CUDA)

    def watch(module, args, output):
        if output.requires_grad:
            output.register_hook(raise_once)

    model.get_input_embeddings().register_forward_hook(watch)


def test_it_is_printed_once_with_settings_that_need_as_little(tiny_bert, tmp_path, caplog):
    settings = settings_without_chance(tiny_bert, num_train_epochs=2, per_device_train_batch_size=16)
    trainer = hfrecipes.build("text-classification", dataset=ROWS, output_dir=tmp_path / "run", **settings)
    tighten(trainer.model, 160)
    with caplog.at_level("INFO"):
        trainer.train()
    lines = [record.getMessage() for record in caplog.records if "out of memory" in record.getMessage()]
    assert len(lines) == 1
    assert not unprinted(shown("docs/memory.md", "out of memory"), lines[0]), lines[0]
    assert "per_device_train_batch_size=8 gradient_accumulation_steps=2" in lines[0]
    assert trainer.state.global_step == 6, "the steps are those of the settings"


def test_short_batches_are_not_computed_in_parts():
    limit = Limit(512)
    wide, narrow = ({"input_ids": torch.zeros(16, length)} for length in (64, 20))
    assert [len(part["input_ids"]) for part in limit.parts(wide)] == [8, 8]
    assert next(limit.parts(narrow)) is narrow


def test_a_resumed_run_ends_with_the_same_weights(tiny_bert, tmp_path):
    """With dropout, which other parts draw otherwise: equal to the last bit only if the parts are the same."""
    settings = settings_without_chance(tiny_bert, num_train_epochs=2, per_device_train_batch_size=8)
    settings |= {"dropout": 0.2, "save_strategy": "steps", "save_steps": 1, "save_total_limit": 99}
    settings |= {"splits": {"validation": None}}

    def trainer_in(name, tokens):
        trainer = hfrecipes.build(
            "text-classification", dataset={"train": ROWS["train"]}, output_dir=tmp_path / name, **settings
        )
        return trainer, tighten(trainer.model, tokens)

    whole, _ = trainer_in("run", 60)
    whole.train()
    checkpoint = tmp_path / "run" / "checkpoint-4"
    assert json.loads((checkpoint / "memory.json").read_text())["training"] <= 60
    # On a machine with more memory, nothing would be computed in parts but for the checkpoint.
    resumed, computed = trainer_in("resumed", 10_000)
    shutil.copytree(checkpoint, tmp_path / "resumed" / "checkpoint-4")
    resumed.train(resume_from_checkpoint=str(tmp_path / "resumed" / "checkpoint-4"))
    assert torch.equal(weights_of(whole.model), weights_of(resumed.model))
    assert max(computed) <= 60


def test_one_row_that_does_not_fit_ends_the_run_with_the_edits(quick, tmp_path):
    settings = {**quick, "save_strategy": "steps", "save_steps": 1, "eval_strategy": "no", "early_stopping": False}
    dataset = {"train": ROWS["train"]}
    trainer = hfrecipes.build("text-classification", dataset=dataset, output_dir=tmp_path / "run", **settings)
    tighten(trainer.model, 3)
    with pytest.raises(OutOfMemoryError, match=r"step 1 at 8 rows.*smaller parts: lower max_length.*activation_check"):
        trainer.train()


def test_memory_that_is_used_up_elsewhere_is_a_sentence(quick, tmp_path, monkeypatch):
    def step(*args, **keywords):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    with pytest.raises(OutOfMemoryError, match=r"while training \(.*9 bytes\): lower max_length"):
        hfrecipes.run("text-classification", dataset=ROWS, output_dir=tmp_path / "run", **quick)


def test_other_errors_stay_what_they_are(quick, tmp_path):
    trainer = hfrecipes.build("text-classification", dataset=ROWS, output_dir=tmp_path / "run", **quick)

    def forward(*args, **batch):
        raise RuntimeError("shapes differ")

    trainer.model.forward = forward
    with pytest.raises(RuntimeError, match="shapes differ"):
        trainer.train()


@pytest.mark.parametrize(
    "words",
    [
        CUDA,
        "HIP out of memory. Tried to allocate",
        "MPS backend out of memory (MPS allocated: 9 GB)",
        "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 8",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ],
)
def test_the_words_of_each_allocator_are_known(words):
    assert is_out_of_memory(RuntimeError(words))
    assert not is_out_of_memory(ValueError(words))


# --- evaluation and prediction -----------------------------------------------------------------------------------


def test_evaluation_in_parts_gives_the_same_scores(quick, tmp_path):
    settings = {**quick, "save_strategy": "no", "early_stopping": False}
    trainer = hfrecipes.build("text-classification", dataset=ROWS, output_dir=tmp_path / "run", **settings)
    whole = trainer.evaluate()
    computed = tighten(trainer.model, 40, training=False)
    parts = trainer.evaluate()
    assert len(computed) > 1
    for name in ("eval_loss", "eval_accuracy"):
        assert parts[name] == pytest.approx(whole[name], abs=1e-5)


PREDICTING = [pytest.param(task, marks=[pytest.mark.long] * (task in SLOW)) for task in list_tasks()]


@pytest.mark.parametrize("task", PREDICTING)
def test_every_task_predicts_the_same_in_parts(task, tmp_path):
    trial = Trial(task, tmp_path)
    result = trial.run(lora=False)
    loaded = hfrecipes.load(result.path)
    inputs = trial.inputs(trial.splits["test"])
    whole = loaded.predict(inputs)
    calls = tighten_generation(loaded.trainer.model, rows=2)
    assert loaded.predict(inputs) == whole or all_close(loaded.predict(inputs), whole)
    assert calls


def tighten_generation(model, rows: int) -> list[int]:
    """As `tighten`, by rows, for the models that generate too."""
    forward, computed = model.forward, []

    def forward_if_it_fits(*args, **batch):
        inputs = batch.get("input_ids", batch.get("decoder_input_ids"))
        number = len(args[0] if inputs is None else inputs)
        if number > rows:
            raise torch.OutOfMemoryError(CUDA)
        computed.append(number)
        return forward(*args, **batch)

    model.forward = forward_if_it_fits
    return computed


def all_close(some, others) -> bool:
    from hfrecipes.contract.trial import are_close

    return all(are_close(*pair) for pair in zip(some, others, strict=True))


def test_a_row_that_cannot_be_predicted_is_a_sentence():
    def compute(batch):
        raise torch.OutOfMemoryError(CUDA)

    with pytest.raises(OutOfMemoryError, match="out of memory: 3 rows of 7 tokens cannot be computed in smaller parts"):
        in_parts(compute, {"input_ids": torch.zeros(3, 7)}, Limit())


def test_what_was_found_is_not_tried_again():
    tried, limit = [], Limit()

    def compute(batch):
        tried.append(len(batch["input_ids"]))
        if tried[-1] > 2:
            raise torch.OutOfMemoryError(CUDA)

    batch = {"input_ids": torch.zeros(4, 7)}
    in_parts(compute, batch, limit)
    in_parts(compute, batch, limit)
    assert tried == [4, 2, 2, 2, 2]


# --- how batches are halved --------------------------------------------------------------------------------------


def test_texts_in_a_single_row_are_told_apart_by_their_positions():
    batch = {"input_ids": torch.arange(9)[None], "position_ids": torch.tensor([[0, 1, 0, 1, 2, 0, 1, 2, 3]])}
    first, second = halves_of(batch)
    assert first["input_ids"].tolist() == [[0, 1, 2, 3, 4]]
    assert second["position_ids"].tolist() == [[0, 1, 2, 3]]
    assert halves_of({name: values[:, 5:] for name, values in batch.items()}) is None


def test_a_batch_with_facts_about_all_of_it_is_not_halved():
    assert halves_of({"input_ids": torch.zeros(1, 8), "cu_seq_lens_q": torch.tensor([0, 3, 8])}) is None
    assert halves_of({"input_ids": torch.zeros(4, 8), "max_length_q": 5}) is None
