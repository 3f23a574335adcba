"""Trackers get the settings, the dataset and the final scores of a run, and are closed after that."""

from __future__ import annotations

import json
import sqlite3
import time

import pytest
import transformers
from interruptions import run_until_trained
from rows import opinions

import hfrecipes
from hfrecipes.errors import ConfigError
from hfrecipes.training import trainer as training

TASK = "text-classification"
WANTED = ("test/accuracy", "test/accuracy_low", "test/accuracy_high", "test/accuracy_baseline", "test/f1_macro")


class Fake(transformers.TrainerCallback):
    """Writes down what it hears, as a tracker does."""

    def __init__(self) -> None:
        self.heard: list = []

    def on_train_begin(self, args, state, control, model=None, **_):
        self.heard.append(("begin", model.config.to_dict()))

    def on_log(self, args, state, control, logs=None, **_):
        self.heard.append(("log", dict(logs)))

    def on_train_end(self, args, state, control, **_):
        self.heard.append(("end", None))


Fake.__module__ = "transformers.integrations.fake"


@pytest.fixture
def settings(tiny_bert, tmp_path, monkeypatch) -> dict:
    monkeypatch.chdir(tmp_path)
    for split, rows in (("train", opinions(32)), ("validation", opinions(16, 1)), ("test", opinions(16, 2))):
        (tmp_path / "sayings").mkdir(exist_ok=True)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "sayings" / f"{split}.jsonl").write_text(text)
    return {"model": tiny_bert, "dataset": "sayings", "output_dir": "run", "max_steps": 2, "bf16": False}


@pytest.fixture
def fake(monkeypatch) -> Fake:
    tracker, callbacks = Fake(), training._early_stopping
    monkeypatch.setattr(training, "_early_stopping", lambda *given: [*callbacks(*given), tracker])
    return tracker


@pytest.mark.parametrize("lora", [False, True])
def test_a_tracker_is_told_all_and_closed_last(settings, fake, lora):
    result = hfrecipes.run(TASK, **settings, lora=lora)
    names = [name for name, _ in fake.heard if name != "log"]
    assert names == ["begin", "end"]
    assert fake.heard[-1][0] == "end"
    config = fake.heard[0][1]
    assert config["hfrecipes_dataset"] == "sayings"
    assert config["hfrecipes_task"] == TASK
    assert config["hfrecipes_options.max_length"] == "512"
    last = fake.heard[-2][1]
    score = result.scores["test"]["accuracy"]
    assert last["test_accuracy"] == score.value
    assert [last["test_accuracy_low"], last["test_accuracy_high"]] == score.ci95
    assert last["test_accuracy_baseline"] == 0.5
    assert not [name for name in last if "[" in name]
    # What trackers are told is not saved with the model.
    assert "hfrecipes_" not in (result.path / "config.json").read_text()


def test_a_tracker_hears_the_same_of_a_model_that_was_trained_by_hand(settings, fake):
    hfrecipes.run(TASK, **settings)
    of_run = [(name, sorted(values or ())) for name, values in fake.heard]
    fake.heard.clear()
    trainer = hfrecipes.build(TASK, **settings | {"output_dir": "built"})
    trainer.train()
    assert fake.heard[-1][0] == "log", "it stays open for the scores"
    result = hfrecipes.finish(trainer)
    by_hand = [(name, sorted(values or ())) for name, values in fake.heard]
    assert by_hand[-2:] == of_run[-2:]
    assert fake.heard[-2][1]["test_accuracy"] == result.metrics["test"]["accuracy"]
    assert [name for name, _ in by_hand].count("end") == 1
    assert fake.heard[0][1]["hfrecipes_dataset"] == "sayings"


def test_a_tracker_hears_of_the_scores_where_training_was_over_before(settings, fake):
    run_until_trained(TASK, **settings)
    assert fake.heard[-1][0] == "end", "it is closed whatever happens"
    fake.heard.clear()
    hfrecipes.run(TASK, **settings)
    assert [name for name, _ in fake.heard] == ["log", "end"]
    assert "test_accuracy" in fake.heard[0][1]


def test_a_tracker_that_fails_costs_no_run(settings, fake, monkeypatch, caplog):
    def on_log(args, state, control, logs=None, **_):
        if "test_accuracy" in logs:
            raise ConnectionError("the server is away")

    monkeypatch.setattr(fake, "on_log", on_log)
    result = hfrecipes.run(TASK, **settings)
    assert result.metrics["test"]
    assert "the final scores did not reach the trackers (the server is away); metrics.json has them" in caplog.text


def test_a_tracker_that_cannot_start_is_a_sentence_before_the_first_step(settings, fake, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no API key configured.\n Use `login`.")

    monkeypatch.setattr(Fake, "on_train_begin", fail)
    sentence = r"report_to: a tracker could not start \(no API key configured. Use `login`.\): log in to it, or train"
    with pytest.raises(ConfigError, match=sentence):
        hfrecipes.run(TASK, **settings)
    assert "log" not in [name for name, _ in fake.heard]


def test_tensorboard_gets_the_final_scores(settings, monkeypatch, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "events"))
    result = hfrecipes.run(TASK, **settings, report_to="tensorboard")
    events = EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    assert set(WANTED) <= set(events.Tags()["scalars"])
    assert events.Scalars("test/accuracy")[-1].value == pytest.approx(result.metrics["test"]["accuracy"])
    texts = [str(events.Tensors(name)[0].tensor_proto.string_val) for name in events.Tags()["tensors"]]
    assert "sayings" in "".join(texts)


def test_wandb_gets_the_final_scores_offline(settings, monkeypatch, tmp_path):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    hfrecipes.run(TASK, **settings, report_to="wandb")
    import wandb

    wandb.finish()
    # Another process writes the file, and may be behind.
    for _ in range(100):
        written = b"".join(file.read_bytes() for file in tmp_path.rglob("*.wandb"))
        missing = [name for name in (*WANTED, "hfrecipes_dataset", "sayings") if name.encode() not in written]
        if not missing:
            break
        time.sleep(0.2)
    assert not missing


def test_mlflow_gets_the_final_scores_in_one_run(settings, monkeypatch, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    result = hfrecipes.run(TASK, **settings, report_to="mlflow")
    [run] = mlflow.search_runs(output_format="list")
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test_accuracy"] == pytest.approx(result.metrics["test"]["accuracy"])
    assert {name.replace("/", "_") for name in WANTED} <= set(run.data.metrics)
    assert run.data.params["hfrecipes_dataset"] == "sayings"


def test_trackio_gets_the_final_scores(settings, monkeypatch, tmp_path):
    pytest.importorskip("trackio")
    monkeypatch.setattr("trackio.utils.TRACKIO_DIR", tmp_path / "trackio", raising=False)
    monkeypatch.setattr("trackio.sqlite_storage.TRACKIO_DIR", tmp_path / "trackio", raising=False)
    (tmp_path / "trackio").mkdir()
    hfrecipes.run(TASK, **settings, report_to="trackio", project="sayings", trackio_static_space_id=False)
    written = ""
    for file in (tmp_path / "trackio").rglob("*.db"):
        with sqlite3.connect(file) as database:
            for (table,) in database.execute("select name from sqlite_master where type='table'").fetchall():
                written += str(database.execute(f'select * from "{table}"').fetchall())
    for name in (*WANTED, "hfrecipes_dataset"):
        assert name in written, name
