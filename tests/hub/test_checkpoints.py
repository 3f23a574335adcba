"""Checkpoints on the Hub: another machine continues from them to the same weights; a failed upload is printed."""

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
from processes import run_python
from rows import opinions
from safetensors.torch import load_file

import hfrecipes
from hfrecipes.errors import HubError
from hfrecipes.hub import checkpoints
from hfrecipes.run_folder import progress

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def name(hub) -> str:
    return f"{hub.owner}/{uuid.uuid4().hex}"


def words_of(tiny_bert: str, folder: Path, name: str | None, **more: str) -> list[str]:
    """A run of a few seconds whose best epoch need not be the last one."""
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
    return ["-m", "hfrecipes", "run", "text-classification", *(f"{k}={v}" for k, v in settings.items())]


def weights(folder: Path) -> torch.Tensor:
    tensors = load_file(folder / "run" / "model.safetensors")
    return torch.cat([tensor.flatten() for tensor in tensors.values()])


@pytest.mark.long
@pytest.mark.parametrize("lora", ["false", "true"], ids=["full", "lora"])
def test_another_machine_continues_to_the_same_weights(hub, name, tiny_bert, tmp_path, lora):
    whole, first, second = tmp_path / "whole", tmp_path / "first", tmp_path / "second"
    more = {"lora": lora, "learning_rate": "3e-3" if lora == "false" else "1e-2"}
    run_python(*words_of(tiny_bert, whole, None, **more), cwd=ROOT)
    command = [sys.executable, *words_of(tiny_bert, first, name, **more)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, cwd=ROOT, text=True)
    # Killed as soon as a checkpoint has arrived, so that there is something to continue from.
    while not [call for call in hub.log("/commit/hfrecipes-checkpoints") if call["status"] == 200]:
        assert process.poll() is None, process.stderr.read()[-2000:]
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (first / "run" / "metrics.json").exists(), "it was killed before its end"
    api = HfApi()
    files = api.list_repo_files(name, revision="hfrecipes-checkpoints")
    assert any(file.endswith("optimizer.pt") for file in files)
    assert not [file for file in files if file.endswith("training_args.bin")]
    assert api.list_repo_files(name) == [".gitattributes"], "none of it on the main branch"
    made = run_python(*words_of(tiny_bert, second, name, **more), cwd=ROOT)
    assert "hub: downloaded checkpoint-" in made.stderr
    assert "resuming from" in made.stderr
    assert torch.equal(weights(whole), weights(second))
    assert (whole / "run" / "metrics.json").read_text() == (second / "run" / "metrics.json").read_text()
    assert "hfrecipes-checkpoints" not in [branch.name for branch in api.list_repo_refs(name).branches], (
        "the run is complete"
    )
    assert "model.safetensors" in api.list_repo_files(name)
    assert not list((second / "run").glob(".hub*"))
    assert not list((second / "run").glob("checkpoint-*"))


def settings_of(tiny_bert: str, name: str, **more) -> dict:
    rows = {"train": opinions(60), "validation": opinions(20, 1)}
    about = {"model": tiny_bert, "dataset": rows, "num_train_epochs": 2, "learning_rate": 1e-2, "bf16": False}
    return {**about, "hub": {"repo_id": name, "every": "save"}, **more}


def test_a_failed_upload_is_printed_and_does_not_stop_the_training(hub, name, tiny_bert, tmp_path, caplog):
    hub.fault("status", "/commit/hfrecipes-checkpoints", status=403, times=99)
    result = hfrecipes.run("text-classification", output_dir=tmp_path / "run", **settings_of(tiny_bert, name))
    assert "was not uploaded: this token may not do that" in caplog.text
    assert "training continues" in caplog.text
    assert result.metrics["validation"]
    assert "model.safetensors" in HfApi().list_repo_files(name), "the final model is pushed all the same"
    assert not list((tmp_path / "run").glob(".hub*"))


def test_a_checkpoint_that_the_trainer_deletes_during_its_upload_arrives(
    hub, name, tiny_bert, tmp_path, caplog, monkeypatch
):
    """Each push waits until the Trainer has saved twice more, if it does, and deleted the older checkpoint."""
    api, pushed = HfApi(), []
    upload = HfApi.upload_folder

    def newest(folder: Path) -> int:
        return max((int(path.name.rpartition("-")[2]) for path in folder.glob("checkpoint-*")), default=0)

    def slow(self, **keywords):
        if keywords.get("revision") == "hfrecipes-checkpoints":
            wanted = min(newest(Path(keywords["folder_path"])) + 8, 16)
            while newest(tmp_path / "run") < wanted:
                time.sleep(0.01)
            pushed.append(sorted(file.name for file in Path(keywords["folder_path"]).glob("checkpoint-*/*.pt")))
        return upload(self, **keywords)

    monkeypatch.setattr(HfApi, "upload_folder", slow)
    monkeypatch.setattr(HfApi, "delete_branch", lambda *_, **__: None)
    settings = settings_of(tiny_bert, name, num_train_epochs=4, save_total_limit=1, early_stopping=False)
    hfrecipes.run("text-classification", output_dir=tmp_path / "run", **settings)
    assert "was not uploaded" not in caplog.text
    assert 2 <= len(pushed) < 4, "checkpoints that were saved during an upload are pushed together"
    assert all({"optimizer.pt", "scheduler.pt"} <= set(files) for files in pushed)
    files = api.list_repo_files(name, revision="hfrecipes-checkpoints")
    assert any(file.startswith("checkpoint-16/") for file in files), "the last checkpoint is among them"


def test_no_path_of_this_machine_is_in_a_checkpoint(hub, name, tiny_bert, tmp_path, monkeypatch):
    from huggingface_hub import snapshot_download

    monkeypatch.setattr(HfApi, "delete_branch", lambda *_, **__: None)
    settings = settings_of(tiny_bert, name, lora=True)
    hfrecipes.run("text-classification", output_dir=tmp_path / "run", **settings)
    snapshot = Path(snapshot_download(name, revision="hfrecipes-checkpoints"))
    assert list(snapshot.glob("checkpoint-*/adapter_model.safetensors"))
    for file in snapshot.rglob("*"):
        if file.suffix in (".json", ".yaml"):
            assert str(tmp_path) not in file.read_text(), file
            assert str(Path(tiny_bert).parent) not in file.read_text(), file
    state = json.loads(next(snapshot.glob("checkpoint-*/trainer_state.json")).read_text())
    assert "/" not in state["best_model_checkpoint"]


OTHER_ROWS = {"train": opinions(64), "validation": opinions(20, 1)}


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"learning_rate": 2e-2}, "training.learning_rate is 0.01 there and 0.02 here"),
        ({"dataset": OTHER_ROWS}, "the rows differ"),
    ],
    ids=["settings", "rows"],
)
def test_checkpoints_of_another_run_are_refused_before_training(
    hub, name, tiny_bert, tmp_path, monkeypatch, change, difference
):
    monkeypatch.setattr(HfApi, "delete_branch", lambda *_, **__: None)
    settings = settings_of(tiny_bert, name)
    hfrecipes.run("text-classification", output_dir=tmp_path / "run", **settings)
    with pytest.raises(HubError, match=rf"has checkpoints of another run \({difference}\)"):
        hfrecipes.run("text-classification", output_dir=tmp_path / "other", **{**settings, **change})
    left = [path for path in (tmp_path / "other").glob("*") if path.is_file() or not path.name.startswith(".")]
    assert not left


def test_a_resumed_run_finds_its_best_checkpoint_in_a_folder_that_was_moved(tmp_path):
    state = tmp_path / "trainer_state.json"
    state.write_text(json.dumps({"best_model_checkpoint": "/elsewhere/run/checkpoint-4"}))
    progress.name_best(tmp_path, None)
    assert json.loads(state.read_text())["best_model_checkpoint"] == "checkpoint-4"
    progress.name_best(tmp_path, Path("here"))
    assert json.loads(state.read_text())["best_model_checkpoint"] == str(Path("here/checkpoint-4"))


def test_an_interrupted_download_is_repeated(hub, name, tiny_bert, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(HfApi, "delete_branch", lambda *_, **__: None)
        hfrecipes.run("text-classification", output_dir=tmp_path / "run", **settings_of(tiny_bert, name))
    HfApi().delete_file("model.safetensors", name)
    hub.fault("status", "/resolve/", status=403, times=99)
    with pytest.raises(HubError, match="cannot download the checkpoints of"):
        hfrecipes.run("text-classification", output_dir=tmp_path / "other", **settings_of(tiny_bert, name))
    hub.clear()
    (tmp_path / "other" / ".hub-left").mkdir(parents=True)  # of a run that was killed
    result = hfrecipes.run("text-classification", output_dir=tmp_path / "other", **settings_of(tiny_bert, name))
    assert result.metrics["validation"]
    assert not list((tmp_path / "other").glob(".hub*"))


def test_a_name_without_owner_belongs_to_the_user(hub, tiny_bert, tmp_path, caplog):
    bare = uuid.uuid4().hex
    hfrecipes.run("text-classification", output_dir=tmp_path / "run", **settings_of(tiny_bert, bare))
    assert "was not uploaded" not in caplog.text
    assert hub.log(f"{hub.owner}/{bare}/commit/hfrecipes-checkpoints")
    assert "model.safetensors" in HfApi().list_repo_files(f"{hub.owner}/{bare}")


def test_a_full_disk_leaves_no_folder_and_does_not_stop_the_training(
    hub, name, tiny_bert, tmp_path, caplog, monkeypatch
):
    def full(files, target):
        raise OSError("No space left on device")

    monkeypatch.setattr(checkpoints, "link_files", full)
    result = hfrecipes.run("text-classification", output_dir=tmp_path / "run", **settings_of(tiny_bert, name))
    assert "for the push: No space left on device; training continues" in caplog.text
    assert result.metrics["validation"]
    assert not list((tmp_path / "run").glob(".hub*"))
