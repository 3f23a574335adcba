"""Hints: what is written in place of a setting that does not exist is a setting that works."""

from __future__ import annotations

import shlex

import pytest
from click.testing import CliRunner

from hfrecipes.cli import main
from hfrecipes.config import hints
from hfrecipes.config.overrides import parse_overrides
from hfrecipes.config.run_config import FIELDS
from hfrecipes.config.trainer_keywords import training_types
from hfrecipes.errors import ConfigError, MissingPackageError
from hfrecipes.training.configuration import configure

# A value of the kind that each of these names is given, where a text would not do.
NUMBERS = "epochs batch_size samples rows size steps length len lr rank alpha dropout patience threshold ratio norm "
NUMBERS += "smoothing workers state seed splits cv folds accum accumulation batches clip grad val r"
SWITCHES = (
    "use_",
    "no_",
    "overwrite_",
    "hub_private",
    "hub_always",
    "group_",
    "trust_",
    "load_in",
    "peft",
)


def value_for(name: str) -> object:
    """A usual value of a name."""
    if name in ("test_size", "validation_size", "val_size", "eval_size", "dev_size", "validation_split"):
        return 0.2
    if name.startswith(SWITCHES):
        return True
    if name.rpartition("_")[2] in NUMBERS.split() or name in NUMBERS.split():
        return 0.1 if "dropout" in name or "smoothing" in name or "ratio" in name else 16
    usual = {
        "lr_scheduler": "cosine",
        "scheduler": "cosine",
        "lr_schedule": "cosine",
        "optimizer": "adamw_torch",
        "evaluation_strategy": "epoch",
        "n_splits": 3,
        "mixed_precision": "bf16",
        "torch_dtype": "bfloat16",
        "k_folds": 3,
        "learning_curve": 5,
        "max_len": 64,
        "encoding": "latin-1",
        "file_encoding": "latin-1",
        "charset": "latin-1",
        "header": True,
        "has_header": True,
        "lora_target_modules": ["query"],
        "lora_target": ["query"],
        "target_modules": ["query"],
        "modules_to_save": ["classifier"],
    }
    return usual.get(name, "abc")


@pytest.mark.parametrize("name", sorted(hints.NAMES))
def test_every_edit_that_a_hint_names_is_accepted(name):
    hint = hints.hint_for(name, value_for(name))
    if not hint.edit:
        assert hint.why, "where nothing replaces a setting, the hint says why"
        return
    edit = hint.edit.replace("<user>", "user").replace("<name>", "name")
    tasks = {"max_target_length": "summarization", "train_on": "chat"}
    task = tasks.get(edit.partition("=")[0], "text-classification")
    lower, given = {"task": task, "model": "a/model", "dataset": "a/texts"}, parse_overrides(shlex.split(edit))
    if "quantization" in edit:  # what else it needs is there or not, but it is not unknown
        with pytest.raises((ConfigError, MissingPackageError), match=r"no GPU|bitsandbytes"):
            configure(lower, given)
        return
    configure(lower, given)


@pytest.mark.parametrize(
    ("name", "value", "edit"),
    [
        ("label", "stars", "columns.label=stars"),
        ("text", "body", "columns.text=body"),
        ("text_column", "body", "columns.text=body"),
        ("label_column_name", "stars", "columns.label=stars"),
        ("sentence", "body", "columns.text=body"),
        ("label_name", "stars", "columns.label=stars"),
        ("use_auth_token", True, "HF_TOKEN"),
        ("trust_remote_code", True, "model.trust_remote_code=true"),
        ("load_in_4bit", True, "model.quantization_config='{load_in_4bit: true}' lora=true"),
        ("lora_r", 8, "lora.r=8"),
        ("early_stopping_patience", 3, "early_stopping.early_stopping_patience=3"),
        ("max_train_samples", 100, "limit.train=100"),
        ("task_name", "sst2", "dataset.path=nyu-mll/glue dataset.name=sst2"),
        ("task_name", "ner", "the task is the first word after the command"),
        ("warmup_ratio", 0.1, "warmup_steps=0.1"),
        ("warmup_ratio", 1.0, "warmup_steps=0.9999"),
        ("sep", ";", "found from the content of the file"),
        ("test_size", 0.2, "splits.test=0.2"),
        ("train_size", 0.8, "splits.test=0.2"),
        ("num_labels", 3, "come from the data"),
        ("device", "cpu", "use_cpu=true"),
        ("device", "cuda:1", "CUDA_VISIBLE_DEVICES"),
        ("train_batch_size", 4, "per_device_train_batch_size=4"),
        ("wandb_project", "stars", "report_to=wandb (with stars in the variable WANDB_PROJECT)"),
        ("group_by_length", False, "train_sampling_strategy=random"),
    ],
)
def test_names_of_other_tools_are_answered_with_what_means_the_same(name, value, edit):
    with pytest.raises(ConfigError) as caught:
        configure("text-classification", {name: value})
    (problem,) = caught.value.problems
    assert edit in problem


def test_a_column_that_the_task_does_not_have_is_answered_with_those_it_has():
    with pytest.raises(ConfigError, match=r"columns.<name>=a .the task has the columns document, summary, references"):
        configure("summarization", {"verse_column": "a"})


def test_no_suggestion_is_refused_in_turn():
    """A name with a letter missing leads to a setting that can be set."""
    from hfrecipes.config.trainer_keywords import FIXED

    for name in training_types("Seq2SeqTrainingArguments"):
        problem = hints.sentence(name + "x", 1, known=[*FIELDS, *training_types()], columns={})
        suggested = problem.partition("did you mean ")[2].removesuffix("?)")
        assert suggested not in FIXED
        assert suggested not in hints.NAMES


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--epochs", "3"], "write: num_train_epochs=3"),
        (["--num-train-epochs=3", "--lr", "1e-4"], "write: num_train_epochs=3 learning_rate=0.0001"),
        (["--text_column", "body"], "write: columns.text=body"),
        (["--load_in_4bit"], "'model.quantization_config={load_in_4bit: true}' lora=true"),
    ],
)
def test_options_of_other_command_lines_are_answered_with_words_that_work(words, shown):
    made = CliRunner().invoke(main, ["check", "text-classification", *words])
    assert made.exit_code == 2
    assert shown in made.output


@pytest.mark.parametrize(
    ("name", "value", "edit"),
    [
        ("assistant_only_loss", True, "train_on=assistant"),
        ("completion_only_loss", False, "train_on=all"),
        ("train_on_inputs", False, "train_on=assistant"),
        ("dataset_num_proc", 4, "encoded rows are cached"),
    ],
)
def test_words_of_other_trainers_of_dialogues_are_translated(name, value, edit):
    with pytest.raises(ConfigError, match=edit):
        configure({"task": "chat", "model": "a/model", "dataset": "a/texts"}, {name: value})
