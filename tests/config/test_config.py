"""Settings: every key has one owner, and all problems are reported at once, before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfrecipes.config.blocks import local_path
from hfrecipes.config.layers import merge, move_bare_keys_into_blocks
from hfrecipes.config.overrides import parse_overrides
from hfrecipes.config.recipe_files import read_recipe_file, recipe_text, to_yaml
from hfrecipes.config.resolving import resolve
from hfrecipes.config.run_config import WRITTEN_WITH_BLOCK, RunConfig
from hfrecipes.config.trainer_keywords import training_types
from hfrecipes.config.yaml12 import format_value, parse_value
from hfrecipes.errors import ConfigError, MissingPackageError, ModelError, NotFoundError
from hfrecipes.recipe import option_types
from hfrecipes.tasks.text_classification import TextClassification

OPTIONS = option_types(TextClassification)
TRAINING = training_types()


def resolved(**settings) -> RunConfig:
    placed = move_bare_keys_into_blocks({"task": "text-classification", **settings}, options=OPTIONS, training=TRAINING)
    return resolve(placed, option_types=OPTIONS, training=TRAINING)


def problems(**settings) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        resolved(**settings)
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5e-5", 5e-5),
        ("1E3", 1000.0),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("010", 10),
        ("0x10", 16),
        ("", None),
        ("2026-01-02", "2026-01-02"),
        ("[a, 1]", ["a", 1]),
        ("a: b: c", "a: b: c"),
        ("summarize: ", "summarize: "),
        ("# a", "# a"),
        ('""', ""),
        ("{a: 1}", {"a": 1}),
    ],
)
def test_values_are_read_as_yaml_1_2(text, value):
    assert parse_value(text) == value


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("abno5e-.: #'\"{", max_size=8),
        lambda inner: st.lists(inner, max_size=3),
    )
)
def test_a_value_survives_writing_and_reading(value):
    assert parse_value(format_value(value)) == value


def test_bare_keys_go_to_their_owner():
    config = resolved(learning_rate=3e-5, max_length=64, training={"seed": 1})
    assert config.training == {"seed": 1, "learning_rate": 3e-5}
    assert config.options == {"max_length": 64}


def test_no_other_option_of_a_task_shares_its_name_with_a_training_argument():
    assert set(OPTIONS) & set(TRAINING) == WRITTEN_WITH_BLOCK


def test_a_name_that_an_option_and_a_training_argument_share_is_written_with_its_block():
    (problem,) = problems(label_names=["no", "yes"])
    assert "write options.label_names=…" in problem
    assert resolved(options={"label_names": ["no", "yes"]}).options == {"label_names": ["no", "yes"]}
    assert resolved(training={"label_names": ["labels"]}).training == {"label_names": ["labels"]}


def test_an_unknown_key_names_the_nearest():
    assert problems(learning_rat=1) == ["unknown setting learning_rat (did you mean learning_rate?)"]
    assert problems(options={"max_lenght": 1}) == ["unknown setting options.max_lenght (did you mean max_length?)"]


def test_several_mistakes_are_told_at_once():
    assert len(problems(learning_rat=1, seed="one", limit=0, model={"revision": "x"})) == 4


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"learning_rate": "fast"}, "found fast (str), expected number"),
        ({"seed": 1.5}, "found 1.5 (float), expected whole number"),
        ({"bf16": "yes"}, "found 'yes' (str), expected true or false"),
        ({"columns": "text"}, "found text (str), expected block of keys"),
        ({"max_length": True}, "found true (bool), expected whole number"),
        ({"problem_type": "binary"}, "expected single_label_classification or"),
        ({"limit": {"train": "all"}}, "expected whole number or block of keys or null"),
    ],
)
def test_a_value_of_the_wrong_type_says_what_is_expected(settings, expected):
    (problem,) = problems(**settings)
    assert expected in problem


@pytest.mark.parametrize(
    ("old", "value", "new"),
    [
        ("evaluation_strategy", "epoch", "eval_strategy=epoch"),
        ("warmup_ratio", 0.1, "warmup_steps=0.1"),
        ("group_by_length", True, "train_sampling_strategy=group_by_length"),
        ("no_cuda", True, "use_cpu=true"),
        ("overwrite_output_dir", True, "another output_dir"),
        ("torch_dtype", "bfloat16", "bf16=true"),
        ("fp16_backend", "auto", "fp16=true"),
        ("tokenizer", "x", "model=x"),
        ("per_gpu_train_batch_size", 8, "per_device_train_batch_size=8"),
        ("push_to_hub", True, "hub="),
        ("epochs", 3, "num_train_epochs=3"),
    ],
)
def test_an_old_name_is_answered_with_the_new_name_and_value(old, value, new):
    for settings in ({old: value}, {"training": {old: value}}):
        (problem,) = problems(**settings)
        assert new in problem


def test_a_token_is_refused():
    assert "HF_TOKEN" in problems(model={"path": "a", "token": "hf_secret"})[0]
    assert "HF_TOKEN" in problems(hub_token="hf_secret")[0]
    assert "hf_secret" not in problems(model={"path": "a", "token": "hf_secret"})[0]
    assert "hf_secret" not in problems(hub_token="hf_secret")[0]


def test_overrides_reach_into_blocks():
    assert parse_overrides(["a.b=1", "a.c=x", "d=[1, 2]"]) == {"a": {"b": 1, "c": "x"}, "d": [1, 2]}
    with pytest.raises(ConfigError, match="expected key=value"):
        parse_overrides(["learning_rate"])


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        (["lora=true", "lora.r=8"], {"lora": {"r": 8}}),
        (["lora.r=8", "lora=true"], {"lora": {"r": 8}}),
        (["model=m", "model.revision=v1"], {"model": {"path": "m", "revision": "v1"}}),
        (["hub.private=true", "hub=me/m"], {"hub": {"repo_id": "me/m", "private": True}}),
        (["folds=3", "folds.groups=id"], {"folds": {"n_splits": 3, "groups": "id"}}),
    ],
)
def test_a_value_and_the_keys_of_its_block_are_one_block(words, settings):
    assert parse_overrides(words) == settings


@pytest.mark.parametrize(
    "words", [["lora=false", "lora.r=8"], ["model=a", "model.path=b"], ["limit=3", "limit.train=2"]]
)
def test_a_value_that_contradicts_the_keys_of_its_block_is_refused(words):
    with pytest.raises(ConfigError, match="give the block or its keys, not both"):
        parse_overrides(words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["max_steps=2", "max_steps=3"], "max_steps: found max_steps=2 and max_steps=3, keep one of them"),
        (["lora.r=1", "lora.r=2"], "lora.r: found lora.r=1 and lora.r=2"),
        (["lora={r: 1}", "lora={r: 2}"], "lora: found lora={r: 1} and lora={r: 2}"),
        (["lora.r=1", "lora={r: 2}"], "not both: lora.r=1, lora={r: 2}"),
        (["lora={r: 2}", "seed=1", "lora.r=1"], "not both: lora={r: 2}, lora.r=1"),
        (["model=a", "model=b"], "model: found model=a and model=b"),
        (["lora.r.x=1", "lora.r=3"], "not both: lora.r.x=1, lora.r=3"),
        (["model.token=secret", "model.token=secrets"], "model.token: found model.token=… and model.token=…"),
    ],
)
def test_a_setting_given_twice_names_both(words, message):
    with pytest.raises(ConfigError) as caught:
        parse_overrides(words)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_steps": 2, "training": {"max_steps": 3}}, "max_steps: found max_steps=2 and training.max_steps=3"),
        ({"options": {"max_length": 32}, "max_length": 64}, "found max_length=64 and options.max_length=32"),
    ],
)
def test_a_setting_given_at_the_top_and_in_its_block_names_both(settings, message):
    assert message in problems_of(settings)


def test_an_unset_variable_of_the_shell_is_not_the_default():
    with pytest.raises(ConfigError, match="learning_rate: found no value; learning_rate=null is the default"):
        parse_overrides(["learning_rate="])


def test_null_takes_back_what_a_lower_layer_says_and_its_name_must_exist():
    from hfrecipes.training.configuration import configure

    low = {"task": "text-classification", "hub": "me/m", "lora": {"r": 4}, "learning_rate": 1e-3, "max_length": 64}
    config, recipe = configure(low, {"hub": None, "lora": None, "learning_rate": None, "max_length": None})
    assert (config.hub, config.lora, "learning_rate" in config.training, recipe.max_length) == (None, False, False, 512)
    assert configure(low, {"save_total_limit": None})[0].training["save_total_limit"] is None
    with pytest.raises(ConfigError, match="unknown setting nonsense"):
        configure(low, {"nonsense": None})


def test_a_setting_that_has_keys_keeps_them_when_it_is_only_switched_or_named():
    assert merge({"lora": {"r": 4}}, {"lora": True}) == {"lora": {"r": 4}}
    assert merge({"lora": {"r": 4}}, {"lora": False}) == {"lora": False}
    assert merge({"hub": {"repo_id": "me/a", "private": True}}, {"hub": "me/b"}) == {
        "hub": {"repo_id": "me/b", "private": True}
    }
    assert merge({"hub": "me/a"}, {"hub": {"private": True}}) == {"hub": {"repo_id": "me/a", "private": True}}
    assert merge({"model": {"path": "a", "revision": "v1"}}, {"model": "b"}) == {"model": "b"}


@pytest.mark.parametrize("key", [5, None, True, 1.5])
@pytest.mark.parametrize(
    "block", ["", "training", "options", "columns", "hub", "folds", "early_stopping", "lora", "limit"]
)
def test_a_key_that_is_no_text_is_refused(block, key):
    settings = {block: {key: 1}} if block else {key: 1}
    assert "as the name of a setting, expected a text" in problems_of(settings)


def problems_of(settings: dict) -> str:
    from hfrecipes.training.configuration import configure

    with pytest.raises(ConfigError) as caught:
        configure("text-classification", settings)
    return str(caught.value)


def test_settings_may_be_a_path_and_hold_paths_enumerations_tuples_and_numbers_of_numpy(tmp_path: Path):
    import numpy as np
    from transformers.trainer_utils import IntervalStrategy

    from hfrecipes.training.configuration import configure

    (tmp_path / "mine.yaml").write_text("task: text-classification\n")
    settings = {
        "model": tmp_path,
        "seeds": (1, 2),
        "eval_strategy": IntervalStrategy.STEPS,
        "learning_rate": np.float64(1e-3),
        "max_length": np.int64(64),
    }
    config, recipe = configure(tmp_path / "mine.yaml", settings)
    (tmp_path / "written.yaml").write_text(recipe_text(config), encoding="utf-8")
    written = read_recipe_file(tmp_path / "written.yaml")
    assert (written["model"], written["seeds"], recipe.max_length) == (str(tmp_path), [1, 2], 64)
    assert (written["training"]["eval_strategy"], written["training"]["learning_rate"]) == ("steps", 1e-3)


@pytest.mark.parametrize("what", [None, 5, b"..", ["text-classification"]])
def test_what_is_neither_a_task_nor_a_file_nor_settings_is_named(what):
    import hfrecipes

    with pytest.raises(ConfigError, match="expected the name of a task, a recipe file or a dict of settings"):
        hfrecipes.check(what)
    if not isinstance(what, bytes | list):
        with pytest.raises(NotFoundError, match="expected the folder of a run"):
            hfrecipes.load(what)


@pytest.mark.parametrize("task", ["../cli", "a" * 5000, "tasks.chat", "a\0b"])
def test_a_name_that_cannot_be_a_task_is_unknown(task):
    from hfrecipes.registry import find

    with pytest.raises(NotFoundError, match="unknown task"):
        find(task)


def test_hundreds_of_mistakes_are_counted_and_not_all_listed():
    from hfrecipes.errors import SHOWN

    assert "and 19990 more" in problems_of({"options": {f"nothing{number}": 1 for number in range(20_000)}})

    message = problems_of({f"nothing{number}": 1 for number in range(300)})
    assert message.count("\n") == SHOWN + 1
    assert message.endswith(f"… and {300 - SHOWN} more")


def test_a_bare_key_of_a_higher_layer_wins_over_a_block_of_a_lower_one_and_back():
    from hfrecipes.training.configuration import configure

    low, high = {"training": {"seed": 1}, "learning_rate": 1e-5}, {"seed": 2, "training": {"learning_rate": 2e-5}}
    config, _ = configure({"task": "text-classification", **low}, high)
    assert (config.training["seed"], config.training["learning_rate"]) == (2, 2e-5)


def test_blocks_are_added_to_and_a_name_may_become_a_block():
    assert merge({"lora": {"r": 4}}, {"lora": {"lora_alpha": 8}}) == {"lora": {"r": 4, "lora_alpha": 8}}
    assert merge({"model": "m"}, {"model": {"revision": "v"}}) == {"model": {"path": "m", "revision": "v"}}
    assert merge({"dataset": {"path": "d"}}, {"dataset": {"train": "a.csv"}}) == {"dataset": {"train": "a.csv"}}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": 0}, "a number above 0"),
        ({"learning_rate": float("nan")}, "a number above 0"),
        ({"num_train_epochs": -1}, "a number above 0"),
        ({"per_device_train_batch_size": 0}, "a number above 0"),
        ({"seed": -1}, "a number from 0 to 4294967295"),
        ({"max_length": 0}, "a number above 3"),
        ({"lora": {"rank": 1}}, "unknown setting lora.rank"),
        ({"early_stopping": {"patience": 1}}, "it takes early_stopping_patience and early_stopping_threshold"),
        ({"model": {"path": "m", "id2label": {"0": "pos"}}}, "model.id2label: leave it out, labels come from the data"),
        ({"model": {"path": "m", "label2id": {"pos": 0}}}, "model.label2id: leave it out, labels come from the data"),
        ({"model": {"path": "m", "num_labels": 3}}, "model.num_labels: leave it out, labels come from the data"),
        ({"model": {"path": "m", "problem_type": "regression"}}, "options.problem_type says what kind they are"),
        ({"model": {"path": "m", "dtype": "half"}}, "model.dtype: found half, expected auto or bfloat16 or float16"),
        ({"max_length": 10**20}, "max_length: found 100000000000000000000, expected 2147483647 or less"),
        ({"max_steps": 10**20}, "max_steps: found 100000000000000000000, expected 2147483647 or less"),
        ({"output_dir": "a\0b"}, "output_dir: found a name with a zero byte"),
        ({"output_dir": ""}, "output_dir: found an empty name"),
        ({"output_dir": " "}, "output_dir: found an empty name"),
        ({"dataset": {"": "a.csv"}}, "dataset: found a split without a name"),
        ({"dataset": {"train": "a.csv", " ": "b.csv"}}, "dataset: found a split without a name"),
        ({"seeds": [1.5, 2]}, "expected list of whole numbers"),
        ({"lora": {"lora_alpha": 0}}, "lora.lora_alpha: found 0, expected a number above 0"),
        ({"lora": {"lora_dropout": -0.5}}, "lora.lora_dropout: found -0.5, expected a number from 0 to below 1"),
        ({"lora": {"lora_dropout": 1}}, "lora.lora_dropout: found 1, expected a number from 0 to below 1"),
        ({"lora": {"r": 10**20}}, "lora.r: found 100000000000000000000, expected 2147483647 or less"),
        ({"lora": {"rank_pattern": {"query": -1}}}, "lora.rank_pattern: found -1, expected a number above 0"),
        ({"lora": {"target_modules": "*"}}, "lora.target_modules: found *, expected names of layers in a list"),
        ({"lora": {"exclude_modules": "["}}, "lora.exclude_modules: found [, expected names of layers in a list"),
        ({"lora": {"peft_type": "IA3", "feedforward_modules": "*"}}, "lora.feedforward_modules: found"),
        ({"lora": {"peft_type": "LOHA", "module_dropout": 2}}, "lora.module_dropout: found 2"),
        ({"lora": {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 0}}, "found 0, expected 1 or more"),
        ({"lora": {"peft_type": "PROMPT_TUNING", "prompt_tuning_init": "EVIL"}}, "expected TEXT or SAMPLE_VOCAB or"),
    ],
)
def test_a_number_out_of_range_and_an_unknown_keyword_are_told_before_anything_is_read(settings, message):
    from hfrecipes.training.configuration import configure

    with pytest.raises(ConfigError) as caught:
        configure("text-classification", settings)
    assert message in str(caught.value)


def test_later_layers_win_key_by_key():
    assert merge({"training": {"seed": 1, "x": 2}}, {"training": {"seed": 3}, "limit": 4}) == {
        "training": {"seed": 3, "x": 2},
        "limit": 4,
    }


def test_a_written_recipe_file_reads_back(tmp_path: Path):
    config = resolved(model="m", columns={"text": "no", "label": 3}, learning_rate=5e-5, early_stopping=False)
    (tmp_path / "recipe.yaml").write_text(recipe_text(config), encoding="utf-8")
    assert resolved(**read_recipe_file(tmp_path / "recipe.yaml")) == config
    assert "output_dir" not in to_yaml(config)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("task: [", "not valid YAML"),
        ("model: x", "names no task"),
        ("- a", "names no task"),
        ("", "names no task"),
        ("task: a\ntask: b", "duplicate key 'task'"),
    ],
)
def test_a_broken_recipe_file_is_one_sentence(tmp_path: Path, content, message):
    file = tmp_path / "r.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=message) as caught:
        read_recipe_file(file)
    assert "\n" not in str(caught.value)


def test_a_recipe_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(NotFoundError, match=r"r\.yaml"):
        read_recipe_file(tmp_path / "r.yaml")


def test_pkg_names_lead_into_installed_packages(tmp_path, monkeypatch):
    (tmp_path / "somepackage" / "model").mkdir(parents=True)
    (tmp_path / "somepackage" / "__init__.py").touch()
    (tmp_path / "somepackage" / "model" / "model.safetensors").write_bytes(b"weights")
    monkeypatch.syspath_prepend(tmp_path)
    assert local_path("pkg://somepackage/model") == str(tmp_path / "somepackage" / "model")
    assert local_path("me/model") == "me/model"
    with pytest.raises(ModelError, match="sha256"):
        local_path("pkg://somepackage/model#sha256=00")
    with pytest.raises(ConfigError, match=r"found '\.\.' as a package"):
        local_path("pkg://../model")
    with pytest.raises(MissingPackageError, match="pip install no-such-package"):
        local_path("pkg://no_such_package/model")


@pytest.mark.parametrize("words", [["lora=true", "lora.r=8"], ["lora.r=8", "lora=true"]])
def test_true_switches_a_block_on_and_leaves_its_keys(words):
    from hfrecipes.config.layers import merge

    assert parse_overrides(words) == {"lora": {"r": 8}}
    assert merge({"lora": {"r": 8}}, {"lora": True}) == {"lora": {"r": 8}}
    assert merge({"lora": True}, {"lora": {"r": 8}}) == {"lora": {"r": 8}}
    with pytest.raises(ConfigError, match="lora already has a value"):
        parse_overrides(["lora=false", "lora.r=8"])


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("lora.lora_alpha", lambda number: {"lora": {"lora_alpha": number}}),
        ("lora.alpha_pattern.query", lambda number: {"lora": {"alpha_pattern": {"query": number}}}),
        (
            "early_stopping.early_stopping_threshold",
            lambda number: {"early_stopping": {"early_stopping_threshold": number}},
        ),
        ("lr_scheduler_kwargs.num_cycles", lambda number: {"lr_scheduler_kwargs": {"num_cycles": number}}),
        ("class_weights.good", lambda number: {"class_weights": {"good": number}}),
        ("dropout.classifier_dropout", lambda number: {"dropout": {"classifier_dropout": number}}),
        ("dropout", lambda number: {"dropout": number}),
    ],
)
def test_no_block_has_a_number_that_is_none(name, settings, number):
    assert f"{name}: found {format_value(number)}, expected a finite number" in problems_of(settings(number))


def test_values_of_numpy_are_those_of_python():
    import numpy as np

    from hfrecipes.training.configuration import configure

    settings = {
        "seed": np.int64(3),
        "learning_rate": np.float32(0.5),
        "bf16": np.bool_(False),
        "metrics": (np.str_("accuracy"),),
        "columns": {"text": np.str_("review")},
        "lora": {"target_modules": np.array(["query", "value"])},
    }
    config, _ = configure("text-classification", settings)
    same, _ = configure("text-classification", read_again(to_yaml(config)))
    assert config == same
    assert (config.training["seed"], config.training["learning_rate"], config.training["bf16"]) == (3, 0.5, False)
    assert config.lora == {"target_modules": ["query", "value"]}
    assert configure("text-classification", {"seeds": np.array([1, 2])})[0].seeds == [1, 2]


def read_again(text: str) -> dict:
    import hfrecipes.config.yaml12

    return hfrecipes.config.yaml12.load(text)


@pytest.mark.parametrize("what", [None, 5, 1.5, b"text-classification", [], object(), True])
def test_what_is_no_task_and_no_file_is_one_sentence(what):
    import hfrecipes

    for function in (hfrecipes.run, hfrecipes.check, hfrecipes.build):
        with pytest.raises(ConfigError, match="expected the name of a task, a recipe file or a dict of settings"):
            function(what)
    with pytest.raises(NotFoundError, match=r"found .*, expected the folder of a run, or a Hub id"):
        hfrecipes.load(what)
    with pytest.raises(NotFoundError, match=r"there is no recipe file x\.yaml"):
        hfrecipes.run(Path("x.yaml"))


def test_a_message_has_an_end_and_keeps_its_edit():
    from hfrecipes.characters import LONGEST
    from hfrecipes.errors import DataError

    message = str(DataError(f"found {'x' * 10**6}: rename it"))
    assert (len(message) <= LONGEST, message[:7], message[-11:]) == (True, "found x", ": rename it")
    assert len(problems_of({"seed": "x" * 10**5, "max_steps": "y" * 10**5, "nothing": 1})) <= LONGEST


def test_a_default_folder_has_a_name_that_a_file_system_takes():
    from hfrecipes.training.configuration import configure
    from hfrecipes.training.folder_names import default_folder

    config, _ = configure("text-classification", {"dataset": "y" * 240 + ".jsonl", "model": "me/" + "x" * 240})
    assert len(default_folder("text-classification", config).name) < 250
