"""The JSON schema of recipe files is that of the code, accepts what a run accepts, and refuses slips of the pen."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

from hfrecipes import registry
from hfrecipes.cli import main
from hfrecipes.config.recipe_files import read_recipe_file
from hfrecipes.config.run_config import FIELDS
from hfrecipes.config.yaml12 import load
from hfrecipes.errors import HFRecipesError
from hfrecipes.schema.files import SCHEMA, schema_text, shipped_schema
from hfrecipes.schema.json_schema import json_schema
from hfrecipes.schema.page import page
from hfrecipes.schema.settings import block_settings, option_settings, run_settings, training_settings
from hfrecipes.training.configuration import configure

ROOT = Path(__file__).parents[2]
VALIDATOR = jsonschema.Draft7Validator(shipped_schema())
RECIPES = registry.recipe_files()
# A task that is new may be one file; with its example comes the rest, as in tests/test_data_page.py.
DOCUMENTED = [file.stem.replace("_", "-") for file in sorted((ROOT / "examples").glob("*.py"))]


def problems(text: str) -> list[str]:
    """Messages on a recipe file."""
    return [error.message for error in VALIDATOR.iter_errors(load(text, named=2))]


def test_the_schema_is_that_of_the_code():
    """After a change of a setting: make settings."""
    assert SCHEMA.read_text(encoding="utf-8") == schema_text(json_schema(DOCUMENTED))


def test_the_page_of_all_settings_is_that_of_the_code():
    """After a change of a setting: make settings."""
    text = (ROOT / "docs" / "all-settings.md").read_text(encoding="utf-8")
    assert text == page(DOCUMENTED)


def test_the_schema_is_a_schema():
    jsonschema.Draft7Validator.check_schema(shipped_schema())


def test_every_setting_has_a_description():
    named = [*run_settings()]
    for keys in [*block_settings().values(), *training_settings().values()]:
        named += keys
    for task in registry.shipped_tasks():
        named += option_settings(registry.find(task))
    lora = {key.name for key in block_settings()["lora"]}  # PEFT explains the rest of them
    assert [setting.name for setting in named if not setting.description and setting.name not in lora] == []


@pytest.mark.parametrize("name", RECIPES)
def test_every_shipped_recipe_file_is_valid(name):
    assert list(VALIDATOR.iter_errors(read_recipe_file(RECIPES[name]))) == []


@pytest.mark.parametrize("file", sorted((ROOT / "recipes").rglob("*.yaml")), ids=lambda file: file.stem)
def test_every_shipped_recipe_file_names_the_schema(file):
    (address,) = re.findall(r"^# yaml-language-server: \$schema=(\S+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    assert (file.parent / address).resolve() == SCHEMA


TASK = "task: text-classification\n"
# Lines that a run refuses as well.
WRONG = {
    "task: text-clasification": "is not valid under any",
    TASK + "learning_rat: 1e-4": "learning_rat",
    TASK + "training: {learning_rat: 1e-4}": "learning_rat",
    TASK + "learning_rate: fast": "'fast' is not of type",
    TASK + "learning_rate: -1": "-1",
    TASK + "num_train_epochs: 0": "0",
    TASK + "max_steps: 0": "should not be valid under",
    TASK + "max_steps: -2": "-2",
    TASK + "warmup_steps: 2.5": "is not valid under any",
    TASK + "eval_strategy: epochs": "'epochs' is not one of",
    TASK + "log_level: loud": "'loud' is not one of",
    TASK + "bf16: 1": "1 is not of type",
    TASK + "seed: true": "True is not of type",
    TASK + "do_train: false": "False is not one of",
    TASK + "max_length: 7": "7",
    TASK + "freeze: backbones": "backbones",
    TASK + "doc_stride: 8": "doc_stride",
    TASK + "options: {doc_stride: 8}": "doc_stride",
    TASK + "options: {problem_type: regresion}": "regresion",
    TASK + "splits: {dev: dev}": "dev",
    TASK + "limit: 0": "is not valid under any",
    TASK + "limit: {dev: 5}": "dev",
    TASK + "early_stopping: {patience: 2}": "patience",
    TASK + "lora: {rank: 8}": "rank",
    TASK + "lora: {r: eight}": "eight",
    TASK + "folds: {number: 3}": "number",
    TASK + "hub: {name: me/model}": "name",
    TASK + "hub: {repo_id: me/model, every: step}": "step",
    TASK + "search: {trials: many}": "many",
    TASK + "distill: {run: a, weights: 1}": "weights",
    TASK + "privacy: {eps: 8}": "eps",
    TASK + "redact: [emails]": "is not valid under any",
    TASK + "epochs: 3": "epochs",
    "task: chat\nprivacy: {epsilon: 0}": "is not valid under any",
    "task: chat\nprivacy: {canaries: 8}": "is not valid under any",
    "task: chat\nprivacy: {canaries: 301}": "is not valid under any",
    TASK + "folds: 1": "is not valid under any",
    TASK + "folds: -3": "is not valid under any",
    TASK + "folds: {n_splits: 10001}": "is not valid under any",
    TASK + "folds: {fold: 0}": "is not valid under any",
    TASK + "curve: 1": "is not valid under any",
    TASK + "curve: {steps: 21}": "is not valid under any",
    TASK + "distill: {run: runs/a, weight: 2}": "is not valid under any",
    TASK + "distill: {weight: 0.5}": "is not valid under any",
    TASK + "search: {learning_rate: [1e-5, 1e-4], trials: 0}": "is not valid under any",
    TASK + "seeds: [1, 1]": "non-unique",
    TASK + "seeds: [1]": "should not be valid under",
    TASK + "seeds: [1, -1]": "-1",
    TASK + "lora: {peft_type: LORA, rr: 8}": "rr",
    TASK + "lora: {peft_type: BOGUS}": "BOGUS",
    TASK + "lora: {lora_dropout: 1.5}": "is not valid under any",
    TASK + "accelerator_config: {split_batches: true}": "split_batches",
    TASK + "model: {pth: x}": "pth",
    "task: chat\npredict_with_generate: true": "predict_with_generate",
    "model: me/model": "'task' is a required property",
}


@pytest.mark.parametrize("text", WRONG)
def test_the_schema_refuses_what_a_run_refuses(text):
    (problem, *_) = problems(text)
    assert WRONG[text] in problem
    with pytest.raises(HFRecipesError):
        configure(load(text, named=2), {"model": "m", "dataset": "d"} if "model:" not in text else {})


# Lines that look unusual and that a run accepts.
RIGHT = [
    TASK + "learning_rate: 5e-5",
    TASK + "warmup_steps: 0.1\nmax_steps: -1",
    TASK + "warmup_steps: 20\nmax_steps: 100",
    TASK + "training: {learning_rate: null, max_steps: 5}\noptions: null",
    TASK + "model: {path: me/model, revision: v1, dtype: bfloat16}",
    TASK + "dataset: {train: [a.csv, b.csv], test: c.csv}",
    TASK + "dataset: {path: me/data, name: en, trust_remote_code: false}",
    TASK + "tests: {hospital: a.csv}\nby: source",
    TASK + "columns: {text: 0, label: [toxic, insult]}",
    TASK + "limit: {train: 100}",
    TASK + "limit: 100",
    TASK + "early_stopping: false",
    TASK + "early_stopping: {early_stopping_patience: 3}",
    TASK + "lora: true",
    TASK + "lora: {peft_type: lora, r: 8}",
    TASK + "accelerator_config: {non_blocking: true}",
    "task: text_classification\nmax_length: 64",
    "task: chat\nprivacy: {canaries: 9}",
    TASK + "curve: 3",
    TASK + "lora: {peft_type: VERA, r: 64, d_initial: 0.1}",
    TASK + "lora: {r: 8, target_modules: [query, value]}",
    TASK + "folds: 5",
    TASK + "folds: {groups: author}",
    TASK + "seeds: [1, 2]",
    TASK + "search: {learning_rate: 'loguniform(1e-5, 5e-4)', lora: {r: [4, 8]}, trials: 10, cost: seconds}",
    TASK + "hub: {repo_id: me/model, private: true, card: {license: mit}}",
    TASK + "freeze: 4",
    TASK + "class_weights: {rare: 3}",
    TASK + "do_train: true",
    TASK + "include_num_input_tokens_seen: all",
    "task: summarization\npredict_with_generate: true\nnum_beams: 4",
]


@pytest.mark.parametrize("text", RIGHT)
def test_the_schema_accepts_what_a_run_accepts(text):
    assert problems(text) == []
    configure({"model": "m", "dataset": "d", **load(text, named=2)}, {})


# What stands beside a key that is null; one of another block would be missing.
BESIDE = {
    "dataset": {"data_dir": "d"},
    "distill": {"run": "runs/a"},
    "hub": {"repo_id": "me/model"},
    "model": {"path": "m"},
    "privacy": {"canaries": 30},
    "redact": {"kinds": ["email"]},
    "search": {"learning_rate": [1e-5, 1e-4]},
}
KEYS = [(block, key.name) for block, keys in block_settings().items() for key in keys]
# Left to the libraries, which refuse null later.
LATER = [("dataset", "path"), ("lora", "bias"), ("lora", "init_lora_weights")]


def is_accepted(settings: dict) -> bool:
    """Whether a run accepts these settings."""
    try:
        configure(settings, {})
    except HFRecipesError:
        return False
    return True


@pytest.mark.parametrize(("block", "key"), [pair for pair in KEYS if pair not in LATER], ids=".".join)
def test_keys_of_blocks_are_null_where_a_run_accepts_it(block, key, monkeypatch):
    monkeypatch.setattr("hfrecipes.training.configuration.teacher.check_run", lambda *_, **__: None)
    task = "chat" if block == "privacy" else "text-classification"
    settings = {"task": task, "model": "m", "dataset": "d", block: {**BESIDE.get(block, {}), key: None}}
    assert VALIDATOR.is_valid(settings) == is_accepted(settings)


def test_null_is_the_default_of_settings_options_and_arguments():
    settings = dict.fromkeys([*FIELDS], None) | {"task": "text-classification", "model": "m", "dataset": "d"}
    options = [option.name for option in option_settings(registry.find("text-classification"))]
    arguments = []
    for group in training_settings().values():
        arguments += [argument.name for argument in group]
    settings |= {"options": dict.fromkeys(options), "training": dict.fromkeys(arguments)}
    assert is_accepted(settings)
    assert list(VALIDATOR.iter_errors(settings)) == []


def test_columns_that_the_task_does_not_have_are_refused():
    """A run refuses them too, once it reads the rows."""
    assert "txt" in problems(TASK + "columns: {txt: review}")[0]


def test_a_task_in_a_file_of_its_own_may_have_any_options():
    assert problems("task: my_task.py\nstrictness: 3\noptions: {strictness: 3}") == []
    assert problems("task: my_task.py\nlearning_rate: fast")


def test_several_models_may_be_listed():
    assert problems(TASK + "model: [a, {path: b, revision: v1}]") == []


def test_the_file_that_a_run_writes_is_valid(tmp_path):
    from hfrecipes.config.recipe_files import recipe_text

    for name in ("text-classification/quickstart", "chat/alpaca", "translation/neighbours"):
        config, _ = configure(name, {"output_dir": "runs/x"})
        assert problems(recipe_text(config)) == []


def test_the_command_prints_the_schema():
    printed = CliRunner().invoke(main, ["schema"]).stdout
    assert json.loads(printed) == shipped_schema()
    assert set(FIELDS) <= set(json.loads(printed)["properties"])
    assert printed.isascii(), "Windows would write it in the encoding of the console"


def test_the_command_writes_the_schema(tmp_path):
    assert CliRunner().invoke(main, ["schema", "-o", str(tmp_path / "recipe.schema.json")]).exit_code == 0
    assert json.loads((tmp_path / "recipe.schema.json").read_text(encoding="utf-8")) == shipped_schema()


def test_a_task_of_another_package_is_in_the_schema_that_is_printed(monkeypatch):
    class Entry:
        name, value, dist = "praise", "somewhere", None

        def load(self):
            return registry.find("text-classification")

    monkeypatch.setattr(registry, "_entry_points", lambda: [Entry()])
    printed = json.loads(CliRunner().invoke(main, ["schema"]).stdout)
    assert "praise" in printed["properties"]["task"]["anyOf"][0]["enum"]
    assert "label_names" in printed["definitions"]["praise"]["properties"]["options"]["properties"]


def test_the_script_writes_the_files_that_are_compared():
    spec = importlib.util.spec_from_file_location("make_settings", ROOT / "docs" / "make_settings.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.PAGE.is_file()
    assert script.SCHEMA.is_file()
