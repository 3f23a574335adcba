"""Memory is estimated before a training, measured in it, and saved by the settings that are there for that."""

from __future__ import annotations

import json

import pytest
import torch
from conftest import opinions, rows_of

import hfrecipes
from hfrecipes.errors import ConfigError
from hfrecipes.memory import estimate, peak
from hfrecipes.registry import find
from hfrecipes.training import memory_check

ROWS = {"train": opinions(40), "validation": opinions(8, 1)}


def two_layers() -> tuple[torch.nn.Module, object]:
    """A model whose memory can be counted by hand, and a function that learns from a number of rows."""
    model = torch.nn.Sequential(torch.nn.Linear(100, 100, bias=False), torch.nn.ReLU(), torch.nn.Linear(100, 100))

    def learn(rows: int) -> None:
        model(torch.zeros(rows, 100)).square().sum().backward()

    return model, learn


@pytest.mark.parametrize("rows", [1, 50, 4000])
def test_an_estimate_is_what_that_many_rows_take(rows):
    from hfrecipes import _upstream

    model, learn = two_layers()
    estimated = estimate.needed(model, learn, rows, 8.0)
    model.zero_grad()
    measured = max(_upstream.live_bytes(lambda: learn(rows)))
    assert estimated.weights == 4 * (100 * 100 + 100 * 100 + 100)
    assert estimated.optimizer == 2 * estimated.weights
    assert estimated.batch == pytest.approx(max(measured, estimated.weights), rel=0.02)


def test_gradients_of_earlier_batches_count():
    model, learn = two_layers()
    once, twice = (estimate.needed(model, learn, 4, 8.0, accumulates=flag) for flag in (False, True))
    assert twice.batch > once.batch


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda weights: torch.optim.AdamW(weights), 8),
        (lambda weights: torch.optim.SGD(weights, lr=0.1), 0),
        (lambda weights: torch.optim.SGD(weights, lr=0.1, momentum=0.9), 4),
    ],
)
def test_the_states_of_an_optimizer_are_measured(make, expected):
    assert estimate.bytes_of_optimizer(make) == pytest.approx(expected, abs=0.01)


# --- check ---------------------------------------------------------------------------------------------------------


def costs(task: str = "text-classification", **settings) -> str:
    from hfrecipes.checkup import examine

    return " | ".join(examine(task, {"bf16": False, **settings}).costs)


@pytest.mark.parametrize("task", ["text-classification", "translation", "text-generation", "multiple-choice"])
@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
def test_a_check_says_how_much_memory_a_training_takes(task, lora, model_for):
    kind = find(task)
    printed = costs(task, model=model_for(kind), dataset={"train": rows_of(kind, 16)}, lora=lora)
    assert "memory: about " in printed
    assert "of gradients and activations with " in printed


def test_small_batches_and_optimizers_with_little_state_take_less(tiny_bert, monkeypatch):
    monkeypatch.setattr(memory_check, "in_words", str)

    def total(**settings) -> int:
        printed = costs(model=tiny_bert, dataset=ROWS, **settings)
        return int(printed.partition("about ")[2].partition(" in training")[0])

    plain = total(per_device_train_batch_size=64)
    assert total(per_device_train_batch_size=8) < plain
    assert total(per_device_train_batch_size=64, optim="sgd") < plain


def test_too_little_memory_is_a_warning_with_settings_that_fit(tiny_bert, monkeypatch):
    monkeypatch.setattr(memory_check, "free_bytes", lambda device: 2_000_000)
    printed = costs(model=tiny_bert, dataset=ROWS, per_device_train_batch_size=64)
    assert "warning: 2 MB are free: per_device_train_batch_size=" in printed
    assert "activation_checkpointing=true, lora=true or a lower max_length needs less" in printed


def test_a_large_model_is_not_loaded_for_an_estimate(tiny_bert, monkeypatch):
    monkeypatch.setattr(memory_check, "_MOST_WORK", 1)
    assert "for 0.0M weights and the optimizer, plus the memory of each batch" in costs(model=tiny_bert, dataset=ROWS)


def test_a_check_changes_no_random_state(tiny_bert):
    before = torch.random.get_rng_state()
    costs(model=tiny_bert, dataset=ROWS)
    assert torch.equal(before, torch.random.get_rng_state())


# --- the peak ------------------------------------------------------------------------------------------------------


def test_a_run_prints_its_peak_and_keeps_it(quick, tmp_path, monkeypatch, caplog):
    # A process that has had more memory before does not grow.
    monkeypatch.setattr(peak.Meter, "peak", lambda self: 5_000_000)
    with caplog.at_level("INFO"):
        result = hfrecipes.run("text-classification", dataset=ROWS, output_dir=tmp_path / "run", **quick)
    assert "memory: peak of " in caplog.text
    assert json.loads((result.path / "run.json").read_text())["memory"] > 0


def test_what_was_used_and_given_back_counts():
    meter = peak.Meter("cpu")
    torch.zeros(60_000_000).add_(1)
    assert meter.peak() > 200_000_000


# --- settings that save memory -------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["text-classification", "translation"])
@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("name", ["activation_checkpointing", "gradient_checkpointing"])
def test_checkpointing_teaches_the_same_under_either_name(task, lora, name, model_for, tmp_path):
    kind, learnt = find(task), []
    settings = {"model": model_for(kind), "dataset": {"train": rows_of(kind, 16)}, "splits": {"validation": None}}
    settings |= {"max_steps": 2, "optim": "sgd", "learning_rate": 0.1, "warmup_steps": 0, "bf16": False, "lora": lora}
    settings |= {"dropout": 0.0, "save_strategy": "no"}
    for is_on in (False, True):
        trainer = hfrecipes.build(task, output_dir=tmp_path / str(is_on), **settings, **{name: is_on})
        trained = [weights for weights in trainer.model.parameters() if weights.requires_grad]
        before = torch.cat([weights.detach().flatten() for weights in trained])
        trainer.train()
        learnt.append(torch.cat([weights.detach().flatten() for weights in trained]) - before)
    assert float(learnt[0].norm()) > 1e-4
    assert torch.allclose(*learnt, atol=1e-5)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("optim", ["adamw_bnb_8bit", "paged_adamw_8bit", "paged_adamw_32bit", "lion_8bit"])
def test_an_optimizer_of_bitsandbytes_needs_a_gpu(optim, tiny_bert):
    with pytest.raises(ConfigError, match=f"optim={optim}: found no GPU, which it needs; optim=adafactor"):
        costs(model=tiny_bert, dataset=ROWS, optim=optim)
