"""Settings: every key has one owner, and all problems are reported at once, before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfrecipes.config import (
    RunConfig,
    merge,
    move_bare_keys_into_blocks,
    parse_overrides,
    read_recipe_file,
    resolve,
    to_yaml,
    training_types,
    write_recipe_file,
)
from hfrecipes.errors import ConfigError, MissingPackageError, ModelError, NotFoundError
from hfrecipes.recipe import option_types
from hfrecipes.settings import local_path
from hfrecipes.tasks.text_classification import TextClassification
from hfrecipes.yaml12 import format_value, parse_value

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


def test_no_option_of_a_task_shares_its_name_with_a_training_argument():
    assert not set(OPTIONS) & set(TRAINING)


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


def test_a_bare_key_of_a_higher_layer_wins_over_a_block_of_a_lower_one_and_back():
    from hfrecipes.training.plan import configure

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
    ],
)
def test_a_number_out_of_range_and_an_unknown_keyword_are_told_before_anything_is_read(settings, message):
    from hfrecipes.training.plan import configure

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
    write_recipe_file(config, tmp_path / "recipe.yaml")
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
    with pytest.raises(MissingPackageError, match="pip install no-such-package"):
        local_path("pkg://no_such_package/model")
