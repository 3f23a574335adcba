"""Private training: gradients of rows, their clipping, noise, sampling, and the epsilon that is spent."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from conftest import opinions, rows_of

import hfrecipes
from hfrecipes.errors import ConfigError, MissingPackageError
from hfrecipes.privacy import accounting, gradients, promise, sampling
from hfrecipes.privacy.accounting import Mechanism
from hfrecipes.registry import find
from hfrecipes.runner import run_settings
from hfrecipes.training.configuration import configure

ROWS = 24
KINDS = {"full": {}, "lora": {"lora": True}, "head": {"options": {"freeze": "backbone"}}}
TASKS = ["text-classification", "token-classification", "question-answering", "text-generation", "chat"]


def private(task: str, model_for, tmp_path, **settings):
    """A Trainer of a private run, and what its steps do."""
    kind = find(task)
    options = {**({"across_documents": False} if task == "text-generation" else {}), **settings.pop("options", {})}
    rows = rows_of(kind, ROWS)
    given = {
        "model": model_for(kind),
        "dataset": {"train": rows, "validation": rows[:8]},
        "output_dir": str(tmp_path / "run"),
        "privacy": {"noise_multiplier": 1.0},
        "training": {"per_device_train_batch_size": 4, "max_steps": 2, "bf16": False},
        "options": options,
    }
    trainer = hfrecipes.build(task, **{**given, **settings})
    return trainer, trainer.training_step.__self__


def steps_of(trainer):
    return trainer.training_step.__self__


# --- gradients of rows ---------------------------------------------------------------------------------------------


def batch_of(steps, rows):
    batch = sampling.collate_rows(steps.trainer.data_collator)([steps.rows[row] for row in rows])
    return {name: value.to(steps.trainer.args.device) for name, value in batch.items()}


def plain_gradients(trainer, steps, row: int):
    """The gradient of a row alone in a batch, as torch computes it."""
    batch = batch_of(steps, [row])
    batch.pop(sampling.ROW)
    labels = batch.pop("labels")
    trainer.model.zero_grad()
    trainer.compute_loss_func(trainer.model(**batch), labels).backward()
    found = {}
    for weight in gradients.trained(trainer.model):
        found[weight] = torch.zeros_like(weight) if weight.grad is None else weight.grad.clone()
    trainer.model.zero_grad()
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", TASKS)
def test_gradients_of_rows_are_those_of_each_row_alone_by_hooks_and_one_by_one(task, kind, model_for, tmp_path, caplog):
    caplog.set_level("INFO")
    if kind == "head" and task in ("text-generation", "chat"):
        pytest.skip("the head of the tiny decoder is its table of embeddings")
    trainer, steps = private(task, model_for, tmp_path, **KINDS[kind])
    assert steps.has_hooks, caplog.text
    rows = [0, 1, 2, 5]
    with gradients._without_dropout(trainer.model):
        alone = [plain_gradients(trainer, steps, row) for row in rows]
        one_by_one, _ = gradients.one_by_one(trainer.model, trainer.compute_loss_func, batch_of(steps, rows))
        hooks = gradients.Hooks(trainer.model)
        by_hooks, _ = hooks(trainer.model, trainer.compute_loss_func, batch_of(steps, rows))
    hooks.remove()
    for weight in gradients.trained(trainer.model):
        expected = torch.stack([of_row[weight] for of_row in alone])
        assert torch.allclose(one_by_one[weight], expected, atol=1e-5), weight.shape
        assert torch.allclose(by_hooks[weight], expected, atol=1e-5), weight.shape
        assert weight.grad is None
    trainer.train()
    spent = steps.spent()
    assert spent["steps"] == 2
    assert 0 < spent["epsilon"] < 100
    assert not hasattr(trainer.model, "autograd_grad_sample_hooks"), "the model that is saved has no hooks left"


def test_hooks_that_give_other_gradients_are_not_used(model_for, tmp_path, monkeypatch, caplog):
    right = gradients.Hooks.__call__

    def wrong(self, *args):
        computed, losses = right(self, *args)
        return {weight: 2 * values for weight, values in computed.items()}, losses

    monkeypatch.setattr(gradients.Hooks, "__call__", wrong)
    caplog.set_level("INFO")
    trainer, steps = private("text-classification", model_for, tmp_path)
    assert not steps.has_hooks
    assert "the gradient of each row is computed alone, which is slow" in caplog.text
    trainer.train()
    assert steps.spent()["steps"] == 2


def test_the_windows_of_a_row_are_one_row():
    rows = sampling.FeaturesByRow([{"x": number} for number in range(5)], [0, 1, 1, 1, 2])
    assert [[feature["x"] for feature in rows[row]] for row in range(3)] == [[0], [1, 2, 3], [4]]
    batch = {sampling.ROW: torch.tensor([0, 1, 1, 1, 2]), "x": torch.arange(5)}
    assert [part["x"].tolist() for part in gradients.parts(batch, 2)] == [[0], [1, 2, 3], [4]]
    assert [part["x"].tolist() for part in gradients.parts(batch, 4)] == [[0, 1, 2, 3], [4]]


def test_a_long_context_read_in_windows_has_one_gradient(model_for, tmp_path):
    context = " ".join(["the cat sat on the mat"] * 20) + " and the owl sat on a lamp"
    row = {"question": "who sat on a lamp", "context": context, "answers": {"text": ["owl"], "answer_start": [468]}}
    row["answers"]["answer_start"] = [context.index("owl")]
    trainer, steps = private(
        "question-answering",
        model_for,
        tmp_path,
        dataset={"train": [row] * 8, "validation": [row] * 2},
        options={"max_length": 60, "doc_stride": 16},
    )
    assert len(steps.rows[0]) > 2
    computed, losses = gradients.one_by_one(trainer.model, trainer.compute_loss_func, batch_of(steps, [0, 1]))
    assert len(losses) == 2
    assert all(len(values) == 2 for values in computed.values())


@pytest.mark.parametrize("seed", range(5))
def test_one_row_changes_the_sum_by_no_more_than_clipping_allows(seed):
    generator = torch.Generator().manual_seed(seed)
    rows = {name: torch.randn(6, 4, 3, generator=generator) * 10**seed for name in ("a", "b")}
    other = {name: values.clone() for name, values in rows.items()}
    for values in other.values():
        values[2] = torch.randn(4, 3, generator=generator) * 1e6
    left_out = {name: values[torch.arange(6) != 2] for name, values in rows.items()}
    whole = gradients.clipped_sum(rows, 0.5)
    replaced, without = gradients.clipped_sum(other, 0.5), gradients.clipped_sum(left_out, 0.5)

    def distance(sums):
        return float(torch.cat([(whole[name] - sums[name]).flatten() for name in whole]).norm())

    assert distance(replaced) <= 2 * 0.5 + 1e-5
    assert distance(without) <= 0.5 + 1e-5


def test_short_gradients_are_not_changed_by_clipping():
    rows = {"a": torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])}
    assert torch.allclose(gradients.clipped_sum(rows, 1.0)["a"], torch.tensor([0.9, 1.2]), atol=1e-4)


# --- steps ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accumulated", [1, 3])
def test_without_noise_and_clipping_a_private_training_is_the_plain_one(accumulated, model_for, tmp_path):
    shared = {
        "learning_rate": 1e-2,
        "num_train_epochs": 4,
        "bf16": False,
        "eval_strategy": "no",
        "save_strategy": "no",
    }
    common = {"model": model_for(find("text-classification")), "dataset": {"train": opinions(ROWS)}}
    common["options"] = {"dropout": 0.0}
    plain = hfrecipes.build(
        "text-classification",
        **common,
        output_dir=str(tmp_path / "plain"),
        training={**shared, "per_device_train_batch_size": ROWS, "max_grad_norm": 0},
    )
    trainer = hfrecipes.build(
        "text-classification",
        **common,
        output_dir=str(tmp_path / "private"),
        privacy={"noise_multiplier": 1.0},
        training={
            **shared,
            "per_device_train_batch_size": ROWS // accumulated,
            "gradient_accumulation_steps": accumulated,
        },
    )
    steps = steps_of(trainer)
    assert steps.mechanism.sample_rate == 1.0
    steps.mechanism = replace(steps.mechanism, noise_multiplier=0.0, max_grad_norm=1e6)
    plain.train()
    trainer.train()
    assert plain.state.global_step == trainer.state.global_step == 4
    assert plain.state.log_history[-2]["loss"] == pytest.approx(trainer.state.log_history[-2]["loss"], rel=1e-3)
    for one, other in zip(plain.model.parameters(), trainer.model.parameters(), strict=True):
        assert torch.allclose(one, other, atol=2e-3)


def test_steps_whose_batch_is_empty_add_noise_alone(model_for, tmp_path):
    trainer, steps = private("text-classification", model_for, tmp_path)
    batches = trainer.get_train_dataloader().batch_sampler
    batches.rate = 0.0
    before = [weight.clone() for weight in trainer.model.parameters()]
    trainer.train()
    assert steps.spent()["steps"] == 2
    assert all(not torch.equal(*pair) for pair in zip(before, trainer.model.parameters(), strict=True))
    assert trainer.state.log_history[0]["loss"] == 0


def test_noise_has_the_size_that_is_promised_and_differs_in_each_training(model_for, tmp_path):
    trainer, steps = private("text-classification", model_for, tmp_path, privacy={"noise_multiplier": 3.0})
    noise = []
    for _ in range(2):
        steps.begin(trainer.model, tmp_path)
        steps._release(trainer.model)
        noise.append(torch.cat([weight.grad.flatten() for weight in gradients.trained(trainer.model)]))
        steps.end()
    assert float(noise[0].std()) == pytest.approx(3.0 / 4, rel=0.05)
    assert abs(float(torch.corrcoef(torch.stack(noise))[0, 1])) < 0.1


def test_bf16_gives_clipped_steps_too(model_for, tmp_path):
    training = {"per_device_train_batch_size": 4, "max_steps": 2, "bf16": True}
    trainer, steps = private("text-classification", model_for, tmp_path, training=training)
    assert steps.has_hooks
    trainer.train()
    assert all(bool(torch.isfinite(weight).all()) for weight in trainer.model.parameters())


# --- sampling ------------------------------------------------------------------------------------------------------


def test_each_row_is_drawn_with_the_same_probability_and_is_in_one_part():
    batches = sampling.PoissonBatches(50, 0.1, parts=2, steps=4000)
    assert len(batches) == 8000
    drawn = list(batches)
    steps = [drawn[start] + drawn[start + 1] for start in range(0, 8000, 2)]
    assert all(len(step) == len(set(step)) for step in steps)
    counts = np.bincount(np.concatenate(steps).astype(int), minlength=50)
    assert counts.min() > 300
    assert counts.max() < 500
    sizes = [len(step) for step in steps]
    # A binomial distribution: batches of one size would be another way to draw, with another epsilon.
    assert np.var(sizes) == pytest.approx(50 * 0.1 * 0.9, rel=0.15)
    assert min(map(len, drawn)) == 0
    assert list(batches) != drawn, "whoever knows the seed would know who took part"


# --- what is spent -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("noise", "rate", "steps"), [(1.0, 0.01, 500), (0.7, 0.1, 40), (2.0, 1.0, 10)])
def test_epsilon_is_that_of_opacus(noise, rate, steps):
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    for _ in range(steps):
        accountant.step(noise_multiplier=noise, sample_rate=rate)
    mechanism = Mechanism(noise, 1.0, rate, 1e-5, steps, 1000)
    assert accounting.epsilon(mechanism.history(steps), 1e-5) == pytest.approx(accountant.get_epsilon(delta=1e-5))
    halves = [*mechanism.history(steps // 2), *mechanism.history(steps - steps // 2)]
    assert accounting.epsilon(halves, 1e-5) == pytest.approx(accountant.get_epsilon(delta=1e-5))


@pytest.mark.parametrize("target", [0.5, 3, 8])
def test_the_noise_for_an_epsilon_spends_nearly_all_of_it_and_no_more(target):
    settings = hfrecipes.config.blocks.PrivacySettings(epsilon=target)
    mechanism = accounting.mechanism(settings, rows=1000, batch=32, steps=100)
    assert mechanism.delta == pytest.approx(1e-4)
    assert 0.97 * target < accounting.epsilon(mechanism.history(100), mechanism.delta) <= target


def settings_of(model: str, tmp_path, name: str) -> dict:
    return {
        "model": model,
        "dataset": {"train": opinions(ROWS), "validation": opinions(8, 1), "test": opinions(8, 2)},
        "output_dir": str(tmp_path / name),
        "privacy": {"epsilon": 8},
        "per_device_train_batch_size": 8,
        "num_train_epochs": 3,
        "early_stopping": False,
        "bf16": False,
    }


def test_a_run_that_is_killed_and_resumed_has_spent_as_much_as_one_that_is_not(tiny_bert, tmp_path, caplog):
    caplog.set_level("INFO")
    settings = settings_of(tiny_bert, tmp_path, "run")

    class Kill(transformers.TrainerCallback):
        def on_step_begin(self, args, state, control, **_):
            if state.global_step == 5:  # two steps after the first checkpoint
                raise InterruptedError

    with pytest.raises(InterruptedError):
        run_settings("text-classification", settings, callbacks=[Kill()])
    kept = json.loads((tmp_path / "run" / "checkpoint-3" / "privacy.json").read_text())
    assert [entry[2] for entry in kept["history"]] == [3]
    run_settings("text-classification", settings)
    assert "resuming from" in caplog.text
    spent = json.loads((tmp_path / "run" / "run.json").read_text())["privacy"]
    assert spent["steps"] == 9
    whole = accounting.epsilon([(spent["noise_multiplier"], spent["sample_rate"], 9)], spent["delta"])
    assert spent["epsilon"] == pytest.approx(whole, abs=1e-3)
    assert 7.8 < spent["epsilon"] <= 8
    card = (tmp_path / "run" / "README.md").read_text()
    assert "differentially private for one row of train" in card
    assert "rows of validation and test are not protected" in card
    assert " after 9 steps, delta" in caplog.text
    log = json.loads((tmp_path / "run" / "history.json").read_text())["log"]
    assert [row["epsilon"] for row in log] == sorted(row["epsilon"] for row in log)
    # The same command again trains nothing, and keeps what is written.
    run_settings("text-classification", settings)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["privacy"] == spent


def test_a_second_training_of_the_same_trainer_is_added(model_for, tmp_path):
    trainer, steps = private("text-classification", model_for, tmp_path)
    trainer.train()
    once = steps.spent()
    trainer.train()
    assert steps.spent()["steps"] == 2 * once["steps"]
    assert steps.spent()["epsilon"] > once["epsilon"]


# --- what is refused -----------------------------------------------------------------------------------------------

REFUSED = [
    ({"privacy": {"delta": 1e-5}}, "give one of privacy.epsilon=8"),
    ({"privacy": {"epsilon": 8, "noise_multiplier": 1.0}}, "give one of privacy.epsilon=8"),
    ({"privacy": {"epsilon": 0}}, "privacy.epsilon: found 0"),
    ({"privacy": {"epsilon": "8"}}, "privacy.epsilon: found"),
    ({"privacy": {"epsilonn": 8}}, "unknown setting privacy.epsilonn"),
    ({"privacy": {"noise_multiplier": 0}}, "privacy.noise_multiplier: found 0"),
    ({"privacy": {"epsilon": 8, "delta": 1}}, "privacy.delta: found 1"),
    ({"privacy": {}}, "give one of privacy.epsilon=8"),
    ({"activation_checkpointing": True}, "layers that are computed twice have no gradients of rows"),
    ({"gradient_checkpointing": True}, "layers that are computed twice have no gradients of rows"),
    ({"train_sampling_strategy": "group_by_length"}, "train_sampling_strategy: leave group_by_length out"),
    ({"max_grad_norm": 1.0}, "write privacy.max_grad_norm=1.0"),
    ({"torch_compile": True}, "torch_compile: leave it out with privacy"),
    ({"auto_find_batch_size": True}, "auto_find_batch_size: leave it out"),
    ({"seeds": [1, 2]}, "seeds: leave it out with privacy"),
    ({"folds": 3}, "folds: leave it out with privacy"),
    ({"curve": 3}, "curve: leave it out with privacy"),
    ({"search": {"learning_rate": [1e-3, 1e-4], "trials": 2}}, "search: leave it out with privacy"),
    ({"lora": {"peft_type": "PROMPT_TUNING"}}, "privacy trains no virtual tokens"),
]


@pytest.mark.parametrize(("settings", "sentence"), REFUSED)
def test_what_cannot_be_private_is_refused_before_a_row_is_read(settings, sentence, tmp_path):
    given = {"privacy": {"epsilon": 8}, "model": "no/such-model", "dataset": "no-such-file.csv", **settings}
    with pytest.raises(ConfigError, match=sentence.replace("[", r"\[").replace(".", r"\.")):
        hfrecipes.run("text-classification", **given, output_dir=str(tmp_path / "run"))


def test_other_tasks_and_shared_rows_are_refused(tmp_path):
    given = {"privacy": {"epsilon": 8}, "model": "no/such-model", "dataset": "no-such-file.csv"}
    for task, settings, sentence in (
        ("translation", {}, "translation has no private training"),
        ("text-generation", {}, "add across_documents=false"),
        ("chat", {"packing": True}, "packing: leave it out with privacy"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            hfrecipes.run(task, **given, **settings)


def test_several_models_and_batch_norm_are_refused(tiny_bert, tmp_path, monkeypatch):
    settings = settings_of(tiny_bert, tmp_path, "run")
    with pytest.raises(ConfigError, match="model: found a list with privacy, expected one model"):
        hfrecipes.run("text-classification", **{**settings, "model": [tiny_bert, "no/other"]})
    from hfrecipes.privacy.training import _refuse_batch_norm

    with pytest.raises(ConfigError, match="batch norm, which mixes the rows"):
        _refuse_batch_norm(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2)))


def test_a_promise_that_says_nothing_is_refused_once_the_rows_are_counted():
    settings = hfrecipes.config.blocks.PrivacySettings
    with pytest.raises(ConfigError, match="expected less than 1/1000"):
        accounting.mechanism(settings(epsilon=8, delta=0.5), rows=1000, batch=32, steps=100)
    with pytest.raises(ConfigError, match="promises nothing"):
        accounting.mechanism(settings(noise_multiplier=0.01), rows=1000, batch=100, steps=10)


def test_numbers_are_refused_as_training_starts_from_their_mean(tiny_bert, tmp_path):
    rows = [{**row, "label": 1.5 * (index % 7)} for index, row in enumerate(opinions(ROWS))]
    settings = {**settings_of(tiny_bert, tmp_path, "run"), "dataset": rows}
    with pytest.raises(ConfigError, match="labels that are numbers: their mean and deviation"):
        hfrecipes.build("text-classification", **settings)


def test_null_takes_back_a_key_of_a_recipe_file():
    low = {"task": "text-classification", "privacy": {"epsilon": 8}}
    config, _ = configure(low, {"privacy": {"epsilon": None, "noise_multiplier": 1.0}})
    assert config.privacy == {"noise_multiplier": 1.0}


def test_the_card_never_says_less_than_was_spent():
    for value in np.random.default_rng(0).lognormal(0, 5, 500):
        assert value * (1 - 1e-8) <= float(promise.rounded_up(value)) <= value * 1.011


def test_an_interrupted_training_that_is_begun_again_is_counted(model_for, tmp_path):
    trainer, steps = private("text-classification", model_for, tmp_path)

    class Stop(transformers.TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            raise InterruptedError

    stop = Stop()
    trainer.add_callback(stop)
    with pytest.raises(InterruptedError):
        trainer.train()
    trainer.remove_callback(stop)
    trainer.train()
    assert steps.spent()["steps"] == 3


def test_opacus_is_asked_for_where_it_is_missing(monkeypatch):
    monkeypatch.setattr("hfrecipes.errors.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="pip install opacus"):
        hfrecipes.run("text-classification", model="no/such", dataset="none.csv", privacy={"epsilon": 8})


def test_duplicates_in_train_are_counted_in_the_log(tiny_bert, tmp_path, caplog):
    caplog.set_level("INFO")
    rows = opinions(ROWS)
    settings = {**settings_of(tiny_bert, tmp_path, "run"), "dataset": {"train": [*rows, rows[0], rows[0]]}}
    hfrecipes.build("text-classification", **settings)
    assert "have the input of another one, 3 times at most" in caplog.text
