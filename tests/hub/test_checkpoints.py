"""Checkpoints on the Hub: another machine goes on from them to the very same weights; what fails on the way is said."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi
from rows import opinions
from safetensors.torch import load_file

import hfrecipes
from hfrecipes.errors import HubError
from hfrecipes.hub import checkpoints

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def name(hub) -> str:
    return f"{hub.owner}/{uuid.uuid4().hex}"


def words_of(tiny_bert: str, folder: Path, name: str | None, **more: str) -> list[str]:
    """A run of some seconds, the best epoch of which need not be the last one."""
    (folder / "rows").mkdir(parents=True)
    for split, rows in {"train": opinions(120), "validation": opinions(40, 1)}.items():
        (folder / "rows" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {
        "model": tiny_bert,
        "dataset": str(folder / "rows"),
        "output_dir": str(folder / "run"),
        "learning_rate": "3e-3",
        "num_train_epochs": "12",
        "early_stopping": "false",
        "bf16": "false",
        **({"hub.repo_id": name, "hub.every": "save"} if name else {}),
        **more,
    }
    return [sys.executable, "-m", "hfrecipes", "run", "text-classification", *(f"{k}={v}" for k, v in settings.items())]


def weights(folder: Path) -> torch.Tensor:
    return torch.cat([one.flatten() for one in load_file(folder / "run" / "model.safetensors").values()])


@pytest.mark.slow
@pytest.mark.parametrize("lora", ["false", "true"], ids=["full", "lora"])
def test_another_machine_goes_on_to_the_same_weights(hub, name, tiny_bert, tmp_path, lora):
    whole, first, second = (tmp_path / one for one in ("whole", "first", "second"))
    more = {"lora": lora, "learning_rate": "3e-3" if lora == "false" else "1e-2"}
    subprocess.run(words_of(tiny_bert, whole, None, **more), check=True, capture_output=True, cwd=ROOT)
    process = subprocess.Popen(words_of(tiny_bert, first, name, **more), stderr=subprocess.PIPE, cwd=ROOT, text=True)
    until = time.monotonic() + 90
    while not [one for one in hub.log("/commit/hfrecipes-checkpoints") if one["status"] == 200]:
        assert process.poll() is None, process.stderr.read()[-2000:]
        assert time.monotonic() < until
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (first / "run" / "metrics.json").exists(), "it was killed before its end"
    api = HfApi()
    files = api.list_repo_files(name, revision="hfrecipes-checkpoints")
    assert any(file.endswith("optimizer.pt") for file in files)
    assert not [file for file in files if file.endswith("training_args.bin")]
    assert api.list_repo_files(name) == [".gitattributes"], "none of it on the main branch"
    made = subprocess.run(words_of(tiny_bert, second, name, **more), capture_output=True, cwd=ROOT, text=True)
    assert made.returncode == 0, made.stderr[-2000:]
    assert "hub: downloaded checkpoint-" in made.stderr
    assert "resuming from" in made.stderr
    assert torch.equal(weights(whole), weights(second))
    assert (whole / "run" / "metrics.json").read_text() == (second / "run" / "metrics.json").read_text()
    assert "hfrecipes-checkpoints" not in [one.name for one in api.list_repo_refs(name).branches], "the run is complete"
    assert "model.safetensors" in api.list_repo_files(name)
    assert not list((second / "run").glob(".hub*"))
    assert not list((second / "run").glob("checkpoint-*"))


def settings_of(tiny_bert: str, name: str, **more) -> dict:
    rows = {"train": opinions(60), "validation": opinions(20, 1)}
    about = {"model": tiny_bert, "dataset": rows, "num_train_epochs": 2, "learning_rate": 1e-2, "bf16": False}
    return {**about, "hub": {"repo_id": name, "every": "save"}, **more}


def test_what_fails_on_the_way_is_said_and_stops_nothing(hub, name, tiny_bert, tmp_path, caplog):
    hub.fault("status", "/commit/hfrecipes-checkpoints", status=403, times=99)
    result = hfrecipes.run("text-classification", output_dir=tmp_path / "run", **settings_of(tiny_bert, name))
    assert "was not uploaded: this token may not do that" in caplog.text
    assert "training continues" in caplog.text
    assert result.metrics["validation"]
    assert "model.safetensors" in HfApi().list_repo_files(name), "the end is pushed all the same"
    assert not list((tmp_path / "run").glob(".hub*"))


def test_a_checkpoint_that_the_trainer_deletes_while_it_travels_arrives(
    hub, name, tiny_bert, tmp_path, caplog, monkeypatch
):
    """Each push waits until the Trainer has saved again and thrown the older one away."""
    api, pushed = HfApi(), []
    upload = HfApi.upload_folder

    def slow(self, **keywords):
        if keywords.get("revision") == "hfrecipes-checkpoints":
            time.sleep(1.5)
            pushed.append(sorted(file.name for file in Path(keywords["folder_path"]).glob("checkpoint-*/*.pt")))
        return upload(self, **keywords)

    monkeypatch.setattr(HfApi, "upload_folder", slow)
    monkeypatch.setattr(HfApi, "delete_branch", lambda *_, **__: None)
    settings = settings_of(tiny_bert, name, num_train_epochs=4, save_total_limit=1, early_stopping=False)
    hfrecipes.run("text-classification", output_dir=tmp_path / "run", **settings)
    assert "was not uploaded" not in caplog.text
    assert 2 <= len(pushed) < 4, "what came while one travelled was pushed as one"
    assert all({"optimizer.pt", "scheduler.pt"} <= set(files) for files in pushed)
    found = {file.split("/")[0] for file in api.list_repo_files(name, revision="hfrecipes-checkpoints") if "/" in file}
    assert "checkpoint-16" in found, "the last one is among them"


def test_no_path_of_this_machine_is_in_a_checkpoint(hub, name, tiny_bert, tmp_path, monkeypatch):
    from huggingface_hub import snapshot_download

    monkeypatch.setattr(HfApi, "delete_branch", lambda *_, **__: None)
    settings = settings_of(tiny_bert, name, lora=True)
    hfrecipes.run("text-classification", output_dir=tmp_path / "run", **settings)
    place = Path(snapshot_download(name, revision="hfrecipes-checkpoints"))
    assert list(place.glob("checkpoint-*/adapter_model.safetensors"))
    for file in place.rglob("*"):
        if file.suffix in (".json", ".yaml"):
            assert str(tmp_path) not in file.read_text(), file
            assert str(Path(tiny_bert).parent) not in file.read_text(), file
    state = json.loads(next(place.glob("checkpoint-*/trainer_state.json")).read_text())
    assert "/" not in state["best_model_checkpoint"]


OTHER_ROWS = {"train": opinions(64), "validation": opinions(20, 1)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"learning_rate": 2e-2}, "training.learning_rate is 0.01 there and 0.02 here"),
        ({"dataset": OTHER_ROWS}, "the rows differ"),
    ],
    ids=["settings", "rows"],
)
def test_checkpoints_of_another_run_are_refused_before_training(
    hub, name, tiny_bert, tmp_path, monkeypatch, change, said
):
    monkeypatch.setattr(HfApi, "delete_branch", lambda *_, **__: None)
    settings = settings_of(tiny_bert, name)
    hfrecipes.run("text-classification", output_dir=tmp_path / "run", **settings)
    with pytest.raises(HubError, match=rf"has checkpoints of another run \({said}\)"):
        hfrecipes.run("text-classification", output_dir=tmp_path / "other", **{**settings, **change})
    assert not [one for one in (tmp_path / "other").glob("*") if one.is_file() or not one.name.startswith(".")]


def test_a_resume_finds_its_best_checkpoint_where_the_folder_was_moved(tmp_path):
    state = tmp_path / "trainer_state.json"
    state.write_text(json.dumps({"best_model_checkpoint": "/elsewhere/run/checkpoint-4"}))
    checkpoints._name_best(state, None)
    assert json.loads(state.read_text())["best_model_checkpoint"] == "checkpoint-4"
    checkpoints._name_best(state, Path("here"))
    assert json.loads(state.read_text())["best_model_checkpoint"] == str(Path("here/checkpoint-4"))


def test_a_fetch_that_is_cut_short_is_taken_up_again(hub, name, tiny_bert, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(HfApi, "delete_branch", lambda *_, **__: None)
        hfrecipes.run("text-classification", output_dir=tmp_path / "run", **settings_of(tiny_bert, name))
    HfApi().delete_file("model.safetensors", name)
    hub.fault("status", "/resolve/", status=403, times=99)
    with pytest.raises(HubError, match="cannot download the checkpoints of"):
        hfrecipes.run("text-classification", output_dir=tmp_path / "other", **settings_of(tiny_bert, name))
    hub.clear()
    (tmp_path / "other" / ".hub-left").mkdir(exist_ok=True)  # of one that was killed
    result = hfrecipes.run("text-classification", output_dir=tmp_path / "other", **settings_of(tiny_bert, name))
    assert result.metrics["validation"]
    assert not list((tmp_path / "other").glob(".hub*"))


def test_a_name_without_owner_is_the_users_own(hub, tiny_bert, tmp_path, caplog):
    bare = uuid.uuid4().hex
    hfrecipes.run("text-classification", output_dir=tmp_path / "run", **settings_of(tiny_bert, bare))
    assert "was not uploaded" not in caplog.text
    assert hub.log(f"{hub.owner}/{bare}/commit/hfrecipes-checkpoints")
    assert "model.safetensors" in HfApi().list_repo_files(f"{hub.owner}/{bare}")


def test_a_full_disk_leaves_nothing_and_stops_nothing(hub, name, tiny_bert, tmp_path, caplog, monkeypatch):
    def full(files, target):
        raise OSError("No space left on device")

    monkeypatch.setattr(checkpoints, "link_files", full)
    result = hfrecipes.run("text-classification", output_dir=tmp_path / "run", **settings_of(tiny_bert, name))
    assert "for the push: No space left on device; training continues" in caplog.text
    assert result.metrics["validation"]
    assert not list((tmp_path / "run").glob(".hub*"))
