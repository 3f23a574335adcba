"""The history of a training is kept: losses, rates and scores by step, the best one, and why training ended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import transformers
from interruptions import run_until_trained
from rows import opinions

import hfrecipes
from hfrecipes.errors import NotFoundError
from hfrecipes.run_folder.history import HISTORY

TASK = "text-classification"


@pytest.fixture
def settings(tiny_bert) -> dict:
    rows = opinions(60)
    dataset = {"train": rows[:32], "validation": rows[32:46], "test": rows[46:]}
    return {"model": tiny_bert, "dataset": dataset, "bf16": False, "per_device_train_batch_size": 4}


def test_the_history_has_a_row_for_each_epoch(settings, tmp_path):
    result = hfrecipes.run(TASK, **settings, num_train_epochs=2, output_dir=tmp_path / "run")
    frame = result.history
    assert frame["step"].tolist() == [8, 16]
    assert frame["epoch"].tolist() == [1, 2]
    assert {"loss", "learning_rate", "eval_loss", "eval_accuracy"} <= set(frame.columns)
    assert frame.notna().all().all()
    assert frame.attrs["best_step"] in (8, 16)
    assert frame.attrs["ending"].startswith(("ended after epoch 2 of 2", "kept epoch 1, the "))
    assert frame.attrs["best_epoch"] == frame.attrs["best_step"] / 8
    assert hfrecipes.load(tmp_path / "run").history.equals(frame)
    names = {name for row in json.loads((tmp_path / "run" / HISTORY).read_text())["log"] for name in row}
    assert not [name for name in names if "time" in name or "second" in name], "seconds differ from try to try"


def test_the_history_says_why_training_ended_and_what_is_kept(settings, tmp_path):
    patience = {"early_stopping_patience": 1}
    # A rate of almost nothing: no epoch is better than the first.
    result = hfrecipes.run(
        TASK, **settings, num_train_epochs=9, learning_rate=1e-12, early_stopping=patience, output_dir=tmp_path / "run"
    )
    assert result.history.attrs == {
        "best_step": 8,
        "best_epoch": 1,
        "ending": "stopped early after epoch 2 of 9; kept epoch 1",
    }


class Stop(transformers.TrainerCallback):
    """Ends the process, as a kill does, after some step."""

    step = 6

    def on_step_end(self, args, state, control, **_):
        if state.global_step == self.step:
            raise InterruptedError


def run_in_two_parts(settings: dict, folder: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run until a step, as if killed there, and once more to the end."""
    from hfrecipes.training import trainer as training

    early_stopping = training._early_stopping
    monkeypatch.setattr(Stop, "step", step)
    monkeypatch.setattr(training, "_early_stopping", lambda *given: [*early_stopping(*given), Stop()])
    with pytest.raises(InterruptedError):
        hfrecipes.run(TASK, **settings, output_dir=folder)
    monkeypatch.setattr(training, "_early_stopping", early_stopping)
    hfrecipes.run(TASK, **settings, output_dir=folder)


@pytest.mark.parametrize("step", [3, 7, 9, 15])
def test_a_resume_loses_nothing_of_the_history_and_writes_nothing_twice(settings, tmp_path, monkeypatch, step):
    """Checkpoints lie inside an epoch, whose mean loss is logged at its end, or are saved just before that."""
    settings |= {"num_train_epochs": 2, "eval_strategy": "steps", "eval_steps": 2, "early_stopping": False}
    hfrecipes.run(TASK, **settings, output_dir=tmp_path / "whole")
    run_in_two_parts(settings, tmp_path / "stopped", step, monkeypatch)
    assert (tmp_path / "stopped" / HISTORY).read_bytes() == (tmp_path / "whole" / HISTORY).read_bytes()


def test_a_resume_does_not_count_what_it_starts_from_as_an_evaluation(settings, tmp_path, monkeypatch):
    # The rate lets no evaluation be better, so that each counts for the patience.
    settings |= {"num_train_epochs": 3, "learning_rate": 1e-12, "eval_on_start": True}
    settings |= {"eval_strategy": "steps", "eval_steps": 2, "early_stopping": {"early_stopping_patience": 4}}
    hfrecipes.run(TASK, **settings, output_dir=tmp_path / "whole")
    run_in_two_parts(settings, tmp_path / "stopped", 5, monkeypatch)
    assert (tmp_path / "stopped" / HISTORY).read_bytes() == (tmp_path / "whole" / HISTORY).read_bytes()


@pytest.mark.parametrize("stops_early", [False, True])
def test_a_training_that_was_over_has_the_same_history(settings, tmp_path, stops_early):
    settings |= {"num_train_epochs": 2, "eval_strategy": "steps", "eval_steps": 2, "logging_strategy": "epoch"}
    if stops_early:
        settings |= {"learning_rate": 1e-12, "early_stopping": {"early_stopping_patience": 2}}
    hfrecipes.run(TASK, **settings, output_dir=tmp_path / "whole")

    run_until_trained(TASK, **settings, output_dir=tmp_path / "stopped")
    hfrecipes.run(TASK, **settings, output_dir=tmp_path / "stopped")
    assert (tmp_path / "stopped" / HISTORY).read_bytes() == (tmp_path / "whole" / HISTORY).read_bytes()


def test_several_runs_have_their_histories_below_each_other(settings, tmp_path):
    results = hfrecipes.run(TASK, **settings, max_steps=2, seeds=[1, 2], output_dir=tmp_path / "runs")
    frame = results.history
    assert frame["run"].unique().tolist() == ["seed-1", "seed-2"]
    assert len(frame) == sum(len(hfrecipes.load(path).history) for path in results.runs)


def test_a_folder_without_history_is_named(settings, tmp_path):
    hfrecipes.run(TASK, **settings, max_steps=1, output_dir=tmp_path / "run")
    (tmp_path / "run" / HISTORY).unlink()
    with pytest.raises(NotFoundError, match=r"has no history\.json, which is not pushed: give the folder"):
        _ = hfrecipes.load(tmp_path / "run").history
