"""A run goes on from its newest whole checkpoint, and ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import shutil
import signal
from types import SimpleNamespace

import pytest
import transformers
from conftest import opinions
from printed import shown, unprinted

import hfrecipes
from hfrecipes.run_folder import progress
from hfrecipes.training import interrupts

TASK = "text-classification"


@pytest.fixture
def settings(quick) -> dict:
    rows = opinions(64)
    dataset = {"train": rows[:32], "validation": rows[32:48], "test": rows[48:]}
    return {**quick, "dataset": dataset, "eval_strategy": "steps", "eval_steps": 2, "max_steps": 6}


def sending(step: int, number: int):
    """In place of `_save_and_stop`: its callback, which sends a signal to this process at a step."""
    make = interrupts._save_and_stop

    def made(caught):
        callback = make(caught)
        at_step_end = callback.on_step_end

        def on_step_end(args, state, control, **keywords):
            if state.global_step == step:
                os.kill(os.getpid(), number)
            at_step_end(args, state, control, **keywords)

        callback.on_step_end = on_step_end
        return callback

    return made


def weights(result) -> bytes:
    return (result.path / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("number", "error", "status"), [(signal.SIGINT, KeyboardInterrupt, None), (signal.SIGTERM, SystemExit, 143)]
)
def test_a_signal_saves_a_checkpoint_from_which_the_run_ends_alike(
    settings, monkeypatch, tmp_path, caplog, request, number, error, status
):
    # A process in the background ignores Ctrl-C, and so would the run.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    whole = hfrecipes.run(TASK, output_dir=tmp_path / "whole", **settings)
    with monkeypatch.context() as patch:
        patch.setattr(interrupts, "_save_and_stop", sending(3, number))
        with pytest.raises(error) as ended:
            hfrecipes.run(TASK, output_dir=tmp_path / "run", **settings)
    assert status is None or ended.value.code == status
    assert (tmp_path / "run" / "checkpoint-3").exists()
    printed = "\n".join(record.getMessage() for record in caplog.records)
    page = shown("docs/clusters.md", "SIGTERM: ").replace("SIGTERM", number.name)
    assert not unprinted(page.replace("runs/intents", str(tmp_path / "run")), printed), printed
    resumed = hfrecipes.run(TASK, output_dir=tmp_path / "run", **settings)
    assert "resuming from" in caplog.text
    assert weights(resumed) == weights(whole)


@pytest.mark.parametrize("step", [1, 4, 6, 8], ids=["first", "last of an epoch", "inside the second", "last"])
@pytest.mark.parametrize("evaluated", ["epoch", "steps"])
def test_a_signal_anywhere_in_an_epoch_changes_nothing_of_what_the_run_writes(
    settings, monkeypatch, tmp_path, step, evaluated
):
    # With the default settings an epoch ends with an evaluation and a checkpoint.
    settings |= {"max_steps": -1, "eval_strategy": evaluated, "logging_steps": 2, "early_stopping": False}
    whole = hfrecipes.run(TASK, output_dir=tmp_path / "whole", **settings)
    assert json.loads((whole.path / "run.json").read_text())["steps"] == 8
    with monkeypatch.context() as patch:
        patch.setattr(interrupts, "_save_and_stop", sending(step, signal.SIGTERM))
        with pytest.raises(SystemExit):
            hfrecipes.run(TASK, output_dir=tmp_path / "run", **settings)
    resumed = hfrecipes.run(TASK, output_dir=tmp_path / "run", **settings)
    assert transformers.utils.logging.set_tqdm_hook(None) is None, "what hid the bars of files is gone"
    for name in ("model.safetensors", "predictions.jsonl", "history.json"):
        assert (resumed.path / name).read_bytes() == (whole.path / name).read_bytes(), name


@pytest.fixture
def interrupted(settings, monkeypatch, tmp_path):
    """Folder of a run that was killed after its training, and the run that was not."""
    whole = hfrecipes.run(TASK, output_dir=tmp_path / "whole", **settings)
    with monkeypatch.context() as patch:
        patch.setattr("hfrecipes.flow.single.finish_run", lambda *given, **keywords: exec("raise ZeroDivisionError"))
        with pytest.raises(ZeroDivisionError):
            hfrecipes.run(TASK, output_dir=tmp_path / "run", **settings)
    return tmp_path / "run", whole


def test_after_the_last_step_nothing_is_trained_again(interrupted, settings, caplog):
    path, whole = interrupted
    assert progress.is_at_end(progress.last_checkpoint(path))
    result = hfrecipes.run(TASK, output_dir=path, **settings)
    assert "training was over at" in caplog.text
    assert weights(result) == weights(whole)
    assert result.metrics == whole.metrics
    assert json.loads((path / "run.json").read_text())["steps"] == 6
    assert not list(path.glob("checkpoint-*"))


def test_a_run_goes_on_in_a_folder_that_was_moved(interrupted, settings, tmp_path):
    path, whole = interrupted
    shutil.move(path, tmp_path / "moved")
    result = hfrecipes.run(TASK, output_dir=tmp_path / "moved", **settings)
    assert weights(result) == weights(whole), "the best checkpoint is found where it is now"


def test_a_damaged_checkpoint_is_passed_over(interrupted, caplog):
    path, _ = interrupted
    newest = progress.last_checkpoint(path)
    for name in ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth"):
        content = (newest / name).read_bytes()
        for damaged in (content[: len(content) // 2], content[:-1], b"", content[:-1] + bytes([content[-1] ^ 1])):
            (newest / name).write_bytes(damaged)
            assert progress.last_checkpoint(path) != newest, name
            assert f"{newest} is not used: {name} is" in caplog.text
        (newest / name).write_bytes(content)
        assert progress.last_checkpoint(path) == newest
    (newest / progress.MANIFEST).write_text("{")
    assert progress.last_checkpoint(path) != newest, "it is written last"


def test_a_complete_run_keeps_no_temporary_files(settings, tmp_path):
    result = hfrecipes.run(TASK, output_dir=tmp_path / "run", **settings)
    (result.path / "checkpoint-4").mkdir()
    (result.path / ".draft-model").mkdir()
    hfrecipes.run(TASK, output_dir=tmp_path / "run", **settings)
    assert not (result.path / "checkpoint-4").exists()
    assert not [file.name for file in result.path.iterdir() if file.name.startswith(".")]


def test_a_signal_in_the_last_step_ends_the_run_where_its_checkpoint_is_saved(tmp_path):
    class Trainer:
        state = SimpleNamespace(global_step=6)

        def add_callback(self, callback):
            pass

        remove_callback = add_callback

    def ends() -> None:
        with interrupts.at_step_end(Trainer(), tmp_path):
            os.kill(os.getpid(), signal.SIGTERM)

    ends()  # without a checkpoint the trained model is saved first
    (tmp_path / "checkpoint-6").mkdir()
    with pytest.raises(SystemExit) as ended:
        ends()
    assert ended.value.code == 143
