"""Keywords of TrainingArguments: each is used, set right with a line, or refused before a row is read."""

from __future__ import annotations

import contextlib
import math
import re
import typing
from dataclasses import fields
from pathlib import Path

import pytest
import transformers
from rows import opinions
from transformers.trainer_utils import SchedulerType
from transformers.training_args import OptimizerNames

import hfrecipes
from hfrecipes.config import hints
from hfrecipes.config.trainer_descriptions import WORKS
from hfrecipes.config.trainer_keywords import FIXED, LARGEST, NOT_HERE, RANGES, table, training_types
from hfrecipes.errors import ConfigError, HFRecipesError, MissingPackageError
from hfrecipes.flow import single
from hfrecipes.training import order
from hfrecipes.training.arguments import make_arguments, try_arguments
from hfrecipes.training.configuration import configure
from hfrecipes.training.optimization import _schedule_keywords

PAGE = Path(__file__).parents[2] / "docs" / "all-settings.md"
CLASSES = (transformers.TrainingArguments, transformers.Seq2SeqTrainingArguments)
TYPES = training_types()
ALL = sorted({field.name for kind in CLASSES for field in fields(kind) if field.init})
# What a schedule needs where it has no default of its own.
NEEDED = {
    "warmup_stable_decay": {"num_decay_steps": 10},
    "cosine_with_min_lr": {"min_lr_rate": 0.1},
    "cosine_warmup_with_min_lr": {"min_lr_rate": 0.1},
}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["quer", "keys"], "no linear layer of this model is called keys .did you mean key.*there are .*query"),
        ("query", "called query in full: add . . for a part of the names, optim_target_modules='.query.'; there are"),
        (["word_embeddings"], "no linear layer of this model is called word_embeddings"),
        (["query", ".*value"], None),
        (".*query", None),
        ("all-linear", None),
    ],
)
def test_layers_of_an_optimizer_are_those_of_the_model(names, said, tiny_bert):
    from hfrecipes.training.optimization import check_layers

    arguments = transformers.TrainingArguments(optim_target_modules=names)
    model = transformers.AutoModel.from_pretrained(tiny_bert)
    refused = contextlib.nullcontext() if said is None else pytest.raises(ConfigError, match=said)
    with refused:
        check_layers(model, arguments)


def tried(**settings):
    """The settings after all that is checked before a row is read."""
    config, recipe = configure("text-classification", settings)
    try_arguments(config, recipe)
    return config


def arguments_of(**settings):
    """The arguments that a run has."""
    config, recipe = configure("text-classification", {"bf16": False, **settings})
    recipe.labels = ["bad", "good"]
    return make_arguments(config, recipe, Path("run"), has_validation=True)


@pytest.mark.parametrize("name", ALL)
def test_what_happens_with_each_keyword_is_decided_once(name):
    """Where a release of transformers adds a keyword, decide it in trainer_keywords.py."""
    assert [name in WORKS, name in FIXED, name in NOT_HERE, name in hints.NAMES, name == "output_dir"].count(True) == 1


def test_no_keyword_is_decided_that_transformers_does_not_have():
    assert {*WORKS, *FIXED, *NOT_HERE} <= set(ALL)


@pytest.mark.parametrize("name", sorted(WORKS))
def test_each_keyword_that_is_a_number_has_a_range(name):
    """Where a release of transformers adds a number, give it a range in trainer_keywords.py."""
    kinds = typing.get_args(TYPES[name]) or (TYPES[name],)
    assert (name in RANGES) == (int in kinds or float in kinds)


@pytest.mark.parametrize("name", sorted(RANGES))
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -2.0, 10.0**30])
def test_no_number_is_accepted_that_nothing_can_count_or_that_is_none(name, value):
    if TYPES.get(name, int) is int and math.isfinite(value):
        value = int(value)
    with pytest.raises(ConfigError, match=f"{name}: found .*, expected "):
        configure("text-classification", {name: value})


def test_the_largest_numbers_are_accepted():
    assert tried(max_steps=LARGEST, seed=2**32 - 1).training["seed"] == 2**32 - 1


def test_the_page_shows_what_is_decided():
    text = PAGE.read_text(encoding="utf-8")
    assert table() in text
    for name in WORKS:
        assert f"`{name}`" in text, name


@pytest.mark.parametrize("name", sorted(FIXED))
def test_a_keyword_with_one_value_accepts_that_value_alone(name):
    fixed, why = FIXED[name]
    kind = "summarization" if name in ("predict_with_generate", "sortish_sampler") else "text-classification"
    if name != "label_names":
        configure(kind, {name: fixed})
    other = not fixed if isinstance(fixed, bool) else "other"
    with pytest.raises(ConfigError) as caught:
        configure(kind, {name: other})
    # An option has this name too, and the error says how that is written.
    instead = "options.label_names" if name == "label_names" else f"{name}: leave it out, {why}"
    assert instead in str(caught.value)


@pytest.mark.parametrize("name", sorted(name for name, (value, _) in FIXED.items() if not value))
def test_what_is_off_in_other_words_is_off(name):
    kind = "summarization" if name in ("predict_with_generate", "sortish_sampler") else "text-classification"
    config, recipe = configure(kind, {"model": "m", "dataset": "d", name: ""})
    arguments = make_arguments(config, recipe, Path("runs/off"), has_validation=True)
    assert not getattr(arguments, name)
    assert getattr(arguments, name) != "" or name == "debug"


@pytest.mark.parametrize("name", [schedule.value for schedule in SchedulerType])
def test_every_schedule_works_or_says_what_it_needs(name):
    needed = NEEDED.get(name)
    tried(lr_scheduler_type=name, **({"lr_scheduler_kwargs": needed} if needed else {}))
    if needed:
        with pytest.raises(ConfigError, match=f"lr_scheduler_kwargs.{next(iter(needed))}=<number>|min_lr_rate"):
            tried(lr_scheduler_type=name)
    with pytest.raises(ConfigError, match=f"lr_scheduler_type={name} has no x; it takes "):
        tried(lr_scheduler_type=name, lr_scheduler_kwargs={**(needed or {}), "x": 1})
    if not _schedule_keywords(name)[2]:
        with pytest.raises(ConfigError, match=f"warmup_steps: leave it out, lr_scheduler_type={name} does not warm up"):
            tried(lr_scheduler_type=name, warmup_steps=5)


@pytest.mark.parametrize("name", [optimizer.value for optimizer in OptimizerNames])
def test_every_optimizer_works_or_says_what_it_needs(name):
    refusal = ""
    try:
        tried(optim=name)
    except HFRecipesError as error:
        refusal = str(error)
    assert not refusal or re.match(rf"optim={name}: .*([Ii]nstall|import|found no GPU)", refusal), refusal


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": 2**32}, "seed: found 4294967296, expected a number from 0 to 4294967295"),
        ({"data_seed": -1}, "data_seed: found -1, expected a number from 0 to 4294967295"),
        ({"seeds": [1, 2**32]}, "seeds: found 4294967296, expected a number from 0 to 4294967295"),
        ({"num_train_epochs": float("inf")}, "num_train_epochs: found .inf, expected a finite number"),
        ({"adam_beta1": 2}, "adam_beta1: found 2, expected a number from 0 to below 1"),
        ({"adam_epsilon": -1}, "adam_epsilon: found -1, expected 0 or more"),
        ({"weight_decay": -1}, "weight_decay: found -1"),
        ({"max_grad_norm": -1}, "max_grad_norm: found -1"),
        ({"eval_steps": 0}, "eval_steps: found 0, expected a number above 0"),
        ({"max_steps": 0}, "max_steps: found 0"),
        ({"save_total_limit": 0}, "null keeps every checkpoint"),
        ({"warmup_steps": 1.0}, "a share of all steps below 1, such as 0.1, or a whole number of steps"),
        ({"warmup_steps": 2.5}, "a share of all steps below 1, such as 0.1, or a whole number of steps"),
        ({"dataloader_num_workers": -1}, "dataloader_num_workers: found -1, expected 0 or more"),
        ({"early_stopping": {"early_stopping_patience": -1}}, "found -1, expected 1 or more"),
        ({"train_sampling_strategy": "by_length"}, "expected random or sequential or group_by_length"),
        ({"lr_scheduler_type": "cosin"}, "expected linear or cosine or"),
        ({"log_level": "loud"}, "log_level: found loud"),
        ({"optim": "sgd", "optim_args": "momentum"}, "expected name=number pairs"),
        ({"optim": "sgd", "optim_args": "momentum=0.9,mass=1"}, "leave mass=1 out, optim=sgd does not use it"),
        ({"optim": "sgd", "adam_beta1": 0.5}, "adam_beta1: leave it out, optim=sgd does not use it"),
        ({"optim": "adafactor", "adam_epsilon": 0.5}, "adam_epsilon: leave it out, optim=adafactor does not use it"),
        ({"optim_target_modules": ["x"]}, "optim_target_modules: leave it out, optim=adamw_torch_fused"),
        ({"optim": "lomo", "optim_target_modules": ["x"]}, "optim_target_modules: leave it out, optim=lomo"),
        ({"report_to": "nobody"}, "report_to: nobody is not supported"),
        ({"report_to": ["none", "nobody"]}, "report_to: found none beside others"),
        ({"torch_compile_backend": "inducto"}, "torch_compile_backend: no inducto (did you mean inductor?)"),
        ({"torch_compile_mode": "fast"}, "torch_compile_mode: found fast"),
        (
            {"activation_checkpointing": True, "activation_checkpointing_kwargs": {"x": 1}},
            "unknown key x; there are context_fn",
        ),
        ({"accelerator_config": "/nowhere"}, "expected its keys, such as non_blocking=true"),
        ({"accelerator_config": {"split_batches": True}}, "split_batches: leave it out"),
        ({"dataloader_multiprocessing_context": "spawn"}, "add dataloader_num_workers=2"),
        ({"dataloader_prefetch_factor": 2}, "add dataloader_num_workers=2"),
        ({"load_best_model_at_end": True, "eval_strategy": "no"}, "evaluate validation rows with eval_strategy=epoch"),
        ({"save_strategy": "best", "eval_strategy": "no"}, "write epoch or steps"),
        ({"save_strategy": "steps"}, "write save_strategy=epoch, or load_best_model_at_end=false"),
        ({"save_steps": 3, "eval_steps": 2}, "write save_steps=2, or a multiple"),
        ({"lr_scheduler_type": "greedy", "eval_strategy": "no"}, "greedy follows a score of validation"),
        (
            {"lr_scheduler_type": "warmup_stable_decay", "lr_scheduler_kwargs": {"num_decay_steps": -5}},
            "lr_scheduler_kwargs.num_decay_steps: found -5, expected 0 or more",
        ),
        (
            {
                "lr_scheduler_type": "warmup_stable_decay",
                "lr_scheduler_kwargs": {"num_decay_steps": 5, "min_lr_ratio": 2},
            },
            "lr_scheduler_kwargs: the learning rate would rise to 0.0001, expected learning_rate=5e-05 at most",
        ),
        (
            {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr": 1}},
            "expected learning_rate=5e-05 at most",
        ),
        ({"model": {"path": "m", "use_auth_token": "x"}}, "HF_TOKEN"),
        ({"fp16": True, "use_cpu": True}, "fp16: found no GPU, which it needs; write bf16=true"),
    ],
)
def test_a_value_that_cannot_work_is_refused_before_a_row_is_read(settings, message):
    with pytest.raises(HFRecipesError) as caught:
        tried(**settings)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED"])
def test_a_launcher_that_cuts_the_weights_into_parts_is_refused(name, monkeypatch):
    monkeypatch.setenv(name, "true")
    with pytest.raises(ConfigError, match="start with torchrun alone"):
        tried()


def test_check_refuses_what_run_refuses():
    with pytest.raises(ConfigError, match=r"lr_scheduler_kwargs\.num_decay_steps=<number>"):
        hfrecipes.check("text-classification", dataset=opinions(40), lr_scheduler_type="warmup_stable_decay")


# --- what follows from other values ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"eval_steps": 5}, {"eval_strategy": "steps", "eval_steps": 5, "save_strategy": "steps", "save_steps": 5}),
        ({"save_steps": 5}, {"eval_strategy": "steps", "eval_steps": 5, "save_strategy": "steps", "save_steps": 5}),
        ({"save_steps": 5, "load_best_model_at_end": False}, {"eval_strategy": "epoch", "save_strategy": "steps"}),
        ({"logging_steps": 5}, {"logging_strategy": "steps", "logging_steps": 5, "eval_strategy": "epoch"}),
        ({"eval_strategy": "no"}, {"save_strategy": "epoch", "load_best_model_at_end": False}),
        ({"save_total_limit": None}, {"save_total_limit": None}),
    ],
)
def test_steps_set_their_strategy_and_no_evaluation_still_saves(settings, expected):
    arguments = arguments_of(**settings)
    for name, value in expected.items():
        assert getattr(arguments, name) == value, name


def test_steps_of_a_higher_layer_win_over_the_strategy_of_a_lower_one():
    config, _ = configure({"task": "text-classification", "eval_strategy": "epoch"}, {"eval_steps": 5})
    assert config.training["eval_strategy"] == "steps"


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"eval_steps": 5}, "evaluation: every 5 steps"),
        ({"eval_steps": 5}, "eval_steps=5: eval_strategy=steps, since it is by epoch otherwise"),
        ({"save_steps": 5}, "save_steps=5: eval_steps=5 too, so that each checkpoint has a score"),
        ({"eval_strategy": "no"}, "evaluation: only after training (eval_strategy=no), so the last weights are kept"),
        ({"save_strategy": "no"}, "checkpoints: none (save_strategy=no)"),
        ({"save_only_model": True}, "checkpoints: weights alone (save_only_model=true), so an interrupted run starts"),
        ({"run_name": "a"}, "run_name: without effect; report_to=<tracker> would use it"),
        ({"project": "a", "report_to": "tensorboard"}, "project: without effect; report_to=trackio would use it"),
        ({"gradient_checkpointing_kwargs": {}}, "without effect; activation_checkpointing=true would use it"),
        ({"eval_steps": 5, "eval_strategy": "epoch"}, "eval_steps: without effect; eval_strategy=steps would use it"),
        ({"max_steps": 5, "num_train_epochs": 9}, "num_train_epochs: without effect; training ends after max_steps=5"),
    ],
)
def test_what_is_decided_and_what_has_no_effect_is_printed(settings, line, caplog):
    with contextlib.suppress(MissingPackageError):  # of the tracker
        tried(**settings)
    assert line in caplog.text


def test_a_written_recipe_prints_nothing_about_its_defaults(caplog):
    config = tried()
    caplog.clear()
    configure({"task": "text-classification", "training": {**config.training, "max_steps": 5}}, {})
    assert "without effect" not in caplog.text


def test_the_order_of_rows_follows_data_seed(tiny_bert):
    orders = []
    for data_seed in (1, 2, 1):
        settings = {"model": tiny_bert, "dataset": opinions(40), "output_dir": f"run{len(orders)}", "bf16": False}
        trainer = hfrecipes.build("text-classification", **settings, data_seed=data_seed, disable_tqdm=True)
        orders.append(order.batches_of(trainer.get_train_dataloader().batch_sampler, trainer.args, 0))
    assert orders[0] == orders[2]
    assert orders[0] != orders[1]


def test_a_model_that_cannot_be_checkpointed_is_refused_before_training(tiny_bert, monkeypatch):
    monkeypatch.setattr(transformers.BertForSequenceClassification, "supports_gradient_checkpointing", False)
    with pytest.raises(ConfigError, match="models of type bert do not support it"):
        hfrecipes.build(
            "text-classification", model=tiny_bert, dataset=opinions(40), bf16=False, activation_checkpointing=True
        )


def test_a_run_that_cannot_be_resumed_says_so(quick, caplog, monkeypatch):
    """Checkpoints of weights alone are not taken for something to resume from, silently."""
    settings = {**quick, "dataset": opinions(40), "output_dir": "run", "save_only_model": True}

    class Interrupt(transformers.TrainerCallback):
        def on_step_begin(self, args, state, control, **keywords):
            if state.epoch >= 1:
                raise KeyboardInterrupt

    made = single.make_job
    monkeypatch.setattr(single, "make_job", lambda plan: _with_callback(made(plan), Interrupt()))
    with pytest.raises(KeyboardInterrupt):
        hfrecipes.run("text-classification", **settings)
    monkeypatch.setattr(single, "make_job", made)
    caplog.clear()
    hfrecipes.run("text-classification", **settings)
    assert "starting from the beginning: no checkpoint in run has all that a resume needs" in caplog.text


def _with_callback(job, callback):
    job.trainer.add_callback(callback)
    return job


def test_a_run_that_was_trained_with_what_is_refused_today_still_loads(quick):
    hfrecipes.run("text-classification", **quick, dataset=opinions(40), output_dir="run", max_steps=1)
    file = Path("run/recipe.yaml")
    file.write_text(
        file.read_text().replace("training:\n", "training:\n  debug: underflow_overflow\n  warmup_steps: 1.0\n")
    )
    text = file.read_text().replace("  warmup_steps: 0.1\n", "")
    file.write_text(text)
    assert "debug: underflow_overflow" in text
    assert hfrecipes.load("run").predict("the film was lovely")["label"] in ("bad", "good")
