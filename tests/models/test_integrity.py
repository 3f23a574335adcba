"""A model that is not whole never predicts and starts no training; the file and what is wrong with it are named."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from conftest import opinions, plan_of
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

import hfrecipes
from hfrecipes.config.blocks import ModelSettings
from hfrecipes.errors import ModelError, OutputError
from hfrecipes.models import integrity
from hfrecipes.run_folder.manifest import MANIFEST
from hfrecipes.saved.run import verify

TASK, TEXT = "text-classification", "the film was great"
WEIGHTS, ADAPTER = "model.safetensors", "adapter/adapter_model.safetensors"


def change_weights(file: Path, change) -> None:
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, {"format": "pt"})


def change_json(file: Path, **values) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def drop(*parts: str):
    def change(tensors):
        for name in list(tensors):
            if any(part in name for part in parts):
                del tensors[name]

    return change


def fill(name: str, value: float):
    return lambda tensors: tensors[name].fill_(value)


@pytest.fixture(scope="module")
def saved(tiny_bert, tmp_path_factory) -> Path:
    """Two runs, with another seed each, and two with adapters."""
    folder = tmp_path_factory.mktemp("saved")
    settings = {"model": tiny_bert, "max_steps": 2, "per_device_train_batch_size": 8, "bf16": False}
    for name, more in {
        "run": {},
        "other": {"seed": 7},
        "lora": {"lora": True},
        "lora-other": {"lora": True, "seed": 7},
    }.items():
        hfrecipes.run(TASK, dataset=opinions(32), output_dir=folder / name, **settings, **more)
    return folder


@pytest.fixture
def copied(saved, tmp_path):
    def copy(name: str) -> Path:
        return shutil.copytree(saved / name, tmp_path / name)

    return copy


@pytest.fixture
def base(tiny_bert, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_bert, tmp_path / "base"))


# --- a saved run -------------------------------------------------------------------------------------------------

DAMAGE = {
    "weights of another run": lambda run: shutil.copy(run.parent / "other" / WEIGHTS, run / WEIGHTS),
    "no head": lambda run: change_weights(run / WEIGHTS, drop("classifier")),
    "a weight too many": lambda run: change_weights(run / WEIGHTS, lambda tensors: tensors.update(more=torch.ones(2))),
    "NaN": lambda run: change_weights(run / WEIGHTS, fill("classifier.bias", float("nan"))),
    "infinite": lambda run: change_weights(run / WEIGHTS, fill("classifier.bias", float("inf"))),
    "cut": lambda run: (run / WEIGHTS).write_bytes((run / WEIGHTS).read_bytes()[:-8]),
    "tokenizer changed": lambda run: change_json(run / "tokenizer.json", added_tokens=[]),
    "no tokenizer": lambda run: (run / "tokenizer.json").unlink(),
    "labels changed": lambda run: change_json(run / "config.json", id2label={"0": "good", "1": "bad"}),
    "adapter added": lambda run: (run / "adapter_config.json").write_text("{}"),
}
# What only a hash can tell.
NEEDS_HASH = ("weights of another run", "tokenizer changed", "labels changed")


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_run_does_not_predict(name, copied, quick, tmp_path):
    copied("other")
    run = copied("run")
    DAMAGE[name](run)
    with pytest.raises(ModelError, match=rf"{run.name}.*(put the right file back|fetch)"):
        hfrecipes.load(run)
    with pytest.raises(ModelError):
        plan_of(TASK, {**quick, "model": str(run), "dataset": opinions(8), "output_dir": str(tmp_path / "next")})
    assert not (tmp_path / "next").exists()
    (run / MANIFEST).unlink()
    if name not in NEEDS_HASH:
        with pytest.raises(ModelError, match=str(run)):
            hfrecipes.load(run)


def test_the_same_call_again_refuses_a_damaged_run(copied, tiny_bert):
    run = copied("run")
    change_weights(run / WEIGHTS, drop("classifier"))
    settings = {"model": tiny_bert, "max_steps": 2, "per_device_train_batch_size": 8, "bf16": False}
    with pytest.raises(ModelError, match="is not what was saved"):
        hfrecipes.run(TASK, dataset=opinions(32), output_dir=run, **settings)


def test_what_decides_no_prediction_may_change(copied, caplog):
    run = copied("run")
    before = hfrecipes.load(run).predict(TEXT)
    (run / "README.md").write_text("My model.")
    (run / "notes.txt").write_text("good")
    AutoModel.from_pretrained(run).save_pretrained(run / "body")
    for name in ("config.json", "tokenizer.json"):  # as Git leaves it on Windows
        (run / name).write_bytes((run / name).read_bytes().replace(b"\n", b"\r\n"))
    assert hfrecipes.load(run).predict(TEXT) == before
    (run / MANIFEST).unlink()
    assert hfrecipes.load(run).predict(TEXT) == before
    assert f"{run} has no manifest of what was saved" in caplog.text


def test_verify_reads_every_file(copied):
    run = copied("lora")
    number, differing = verify(run)
    assert (number >= 10, differing) == (True, [])
    file = run / ADAPTER
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    (run / "tokenizer.json").unlink()
    _, differing = verify(run)
    assert differing == [
        f"{file} is not what was saved (another content of the same size)",
        f"{run / 'tokenizer.json'} is missing",
    ]


def test_the_command_verify_ends_with_2_where_a_file_differs(copied, base):
    from click.testing import CliRunner

    from hfrecipes.cli import main

    run = copied("run")
    made = CliRunner().invoke(main, ["verify", str(run)])
    assert made.exit_code == 0
    assert "files are as they were saved" in made.output
    (run / "config.json").unlink()
    made = CliRunner().invoke(main, ["verify", str(run)])
    assert made.exit_code == 2
    assert "config.json is missing" in made.output
    made = CliRunner().invoke(main, ["verify", str(base)])
    assert made.exit_code == 2
    assert "nothing to compare" in made.output


def test_a_continued_training_starts_from_a_whole_run(copied, quick, tmp_path):
    settings = {**quick, "model": str(copied("run")), "dataset": opinions(16), "max_steps": 1}
    assert hfrecipes.run(TASK, output_dir=tmp_path / "next", **settings).predict(TEXT)["label"] in ("good", "bad")


# --- an adapter --------------------------------------------------------------------------------------------------

ADAPTER_DAMAGE = {
    "of another run": lambda run: shutil.copy(run.parent / "lora-other" / ADAPTER, run / ADAPTER),
    "no head": lambda run: change_weights(run / ADAPTER, drop("classifier")),
    "half of it": lambda run: change_weights(run / ADAPTER, drop("lora_B")),
    "too much": lambda run: change_weights(run / ADAPTER, lambda tensors: tensors.update(more=torch.ones(2))),
    "cut": lambda run: (run / ADAPTER).write_bytes((run / ADAPTER).read_bytes()[:-8]),
    "missing": lambda run: (run / ADAPTER).unlink(),
    "rank": lambda run: change_json(run / "adapter/adapter_config.json", r=4),
    "scale": lambda run: change_json(run / "adapter/adapter_config.json", lora_alpha=400),
    "method": lambda run: change_json(run / "adapter/adapter_config.json", peft_type="NONE_SUCH"),
    "config": lambda run: (run / "adapter/config/config.json").unlink(),
}


@pytest.mark.parametrize("name", ADAPTER_DAMAGE)
def test_a_damaged_adapter_does_not_predict(name, copied):
    copied("lora-other")
    run = copied("lora")
    ADAPTER_DAMAGE[name](run)
    with pytest.raises(ModelError, match=r"adapter/.*put the right file back"):
        hfrecipes.load(run / "adapter")
    hfrecipes.load(run)  # the merged model does not need it
    (run / "adapter" / MANIFEST).unlink()
    if name not in ("of another run", "scale"):
        with pytest.raises(ModelError, match="adapter"):
            hfrecipes.load(run / "adapter")


def test_an_adapter_is_not_put_onto_other_weights(base, quick, tmp_path):
    settings = {**quick, "model": str(base), "dataset": opinions(32), "max_steps": 2, "lora": True}
    result = hfrecipes.run(TASK, output_dir=tmp_path / "run", **settings)
    expected = result.predict(TEXT)["label"]
    assert hfrecipes.load(result.path / "adapter").predict(TEXT)["label"] == expected
    change_weights(base / WEIGHTS, lambda tensors: [values.mul_(1.5) for values in tensors.values()])
    with pytest.raises(ModelError, match=r"base/model.safetensors is not what was saved .* trained on the old weights"):
        hfrecipes.load(result.path / "adapter")
    assert hfrecipes.load(result.path).predict(TEXT)["label"] == expected, "the merged model has its own weights"
    with pytest.raises(OutputError, match="other weights"):
        hfrecipes.run(TASK, output_dir=tmp_path / "run", **settings)


# --- a base model ------------------------------------------------------------------------------------------------


def larger_vocabulary(folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    for number in range(20):
        vocabulary[f"more{number}"] = len(vocabulary)
    (folder / "tokenizer.json").write_text(json.dumps(content))


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def a_shard_less(folder: Path) -> None:
    model = AutoModel.from_pretrained(folder)
    (folder / WEIGHTS).unlink()
    model.save_pretrained(folder, max_shard_size="20KB")
    sorted(folder.glob("model-*"))[1].unlink()


def config(**values):
    return lambda folder: change_json(folder / "config.json", **values)


# Seen before anything is loaded.
BROKEN_FILES = {
    "hidden_size is 0": config(hidden_size=0),
    "hidden_size is 'x'": config(hidden_size="x"),
    "num_hidden_layers is 100000": config(num_hidden_layers=100_000),
    "no hidden_act 'gulu'": config(hidden_act="gulu"),
    "dtype is 'float0'": config(dtype="float0"),
    "id2label is 'x'": config(id2label="x"),
    "id2label has the key 'x'": config(id2label={"x": "y"}),
    "model_type is": config(model_type=["bert"]),
    "expected a JSON object": lambda folder: (folder / "config.json").write_text("[]"),
    "config.json is damaged": lambda folder: (folder / "config.json").write_text("[" * 100_000),
    "cut short or damaged": lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-8]),
    "pointer of Git LFS": lambda folder: (folder / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\n"),
    "has no weights": lambda folder: (folder / WEIGHTS).unlink(),
    "pytorch_model.bin holds pickled weights": pickled,
    "is missing, one of": a_shard_less,
}
# Seen when the tokenizer is loaded.
BROKEN_TOKENIZERS = {
    "has no tokenizer": lambda folder: (folder / "tokenizer.json").unlink(),
    "the tokenizer in .* cannot be loaded: KeyError": lambda folder: (folder / "tokenizer.json").write_text("{}"),
    "model_max_length is 'x'": lambda folder: change_json(folder / "tokenizer_config.json", model_max_length="x"),
    "tokens up to number .* embeddings for 10": config(vocab_size=10),
    "tokens up to number": larger_vocabulary,
}
# Seen when the model is loaded.
BROKEN_MODELS = {
    "or have other shapes than config.json": config(hidden_size=64),
    r"layer\.0\..* and \d+ more are missing": lambda folder: change_weights(folder / WEIGHTS, drop("encoder.layer.")),
    r"layer\.1\..* and \d+ more are missing": config(num_hidden_layers=2),
    "output.dense.bias are NaN": lambda folder: change_weights(
        folder / WEIGHTS, fill("encoder.layer.0.output.dense.bias", float("nan"))
    ),
}


@pytest.mark.parametrize("message", BROKEN_FILES)
def test_a_base_with_damaged_files_is_refused_before_it_is_loaded(message, base):
    from hfrecipes.models.directory import check_start

    BROKEN_FILES[message](base)
    with pytest.raises(ModelError, match=message):
        check_start(ModelSettings(str(base), {}))


def test_weights_that_are_nan_are_found_by_check(base):
    change_weights(base / WEIGHTS, fill("encoder.layer.0.output.dense.bias", float("nan")))
    with pytest.raises(ModelError, match=r"model.safetensors: the weights .*output.dense.bias are NaN"):
        hfrecipes.check(TASK, model=str(base), dataset=opinions(16))


def test_a_model_that_reads_next_to_nothing_is_named(base):
    change_json(base / "config.json", max_position_embeddings=4)
    with pytest.raises(ModelError, match="reads 4 tokens at most, as max_position_embeddings"):
        hfrecipes.check(TASK, model=str(base), dataset=opinions(16))


def test_weights_below_an_adapter_are_hashed_once_until_they_change(base, monkeypatch):
    from hfrecipes.config import blocks as settings
    from hfrecipes.models.directory import identity

    read = []
    real = settings._sha256
    monkeypatch.setattr(settings, "_sha256", lambda file: read.append(file) or real(file))
    model, file = ModelSettings(str(base), {}), base / WEIGHTS
    os.utime(file, (1, 1))
    first = identity(model)
    assert identity(model) == first
    assert len(read) == 1
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # just now: not even the second look is from memory
    second = identity(model)
    file.write_bytes(content)
    assert (identity(model), second != first) == (first, True)


@pytest.mark.parametrize("message", BROKEN_TOKENIZERS)
def test_a_base_without_its_tokenizer_is_refused_by_check(message, base):
    BROKEN_TOKENIZERS[message](base)
    with pytest.raises(ModelError, match=message):
        hfrecipes.check(TASK, model=str(base), dataset=opinions(16))


@pytest.mark.parametrize("message", BROKEN_MODELS)
def test_a_base_that_does_not_fit_is_refused_before_the_folder_is_begun(message, base, quick, tmp_path):
    BROKEN_MODELS[message](base)
    with pytest.raises(ModelError, match=message):
        hfrecipes.run(TASK, **{**quick, "model": str(base)}, dataset=opinions(16), output_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_base_may_lack_a_pooler_and_have_added_tokens(base, quick, tmp_path, caplog):
    change_weights(base / WEIGHTS, drop("pooler"))
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_tokens(["<place>"])
    tokenizer.save_pretrained(base)
    settings = {**quick, "model": str(base), "max_steps": 1}
    hfrecipes.run(TASK, dataset=opinions(16), output_dir=tmp_path / "run", **settings)
    assert "new, trained from scratch: classifier, pooler" in caplog.text
    hfrecipes.load(tmp_path / "run")


def test_the_printed_command_converts_pickled_weights(base, monkeypatch):
    before = load_file(base / WEIGHTS)
    pickled(base)
    monkeypatch.chdir(base)
    exec(integrity.CONVERT, {})
    converted = load_file(base / WEIGHTS)
    assert converted.keys() == before.keys()
    assert all(torch.equal(converted[name], values) for name, values in before.items())
