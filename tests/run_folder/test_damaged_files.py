"""A file beside the model that is damaged or missing does not cost the model, and what it is needed for says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import opinions

import hfrecipes
from hfrecipes.errors import HFRecipesError, ModelError, NotFoundError

TASK, TEXT = "text-classification", "the film was great"
SETTINGS = {"max_steps": 2, "per_device_train_batch_size": 8, "bf16": False, "max_length": 32}


@pytest.fixture(scope="module")
def saved(tiny_bert, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "run"
    hfrecipes.run(TASK, model=tiny_bert, dataset=opinions(32), output_dir=path, **SETTINGS)
    return path


@pytest.fixture
def run(saved, tmp_path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "run"))


def again(run: Path, model: str):
    return hfrecipes.run(TASK, model=model, dataset=opinions(32), output_dir=run, **SETTINGS)


METRICS = ["5", "{", '{"test": 5}', '{"test": {"accuracy": 1}}', '{"test": {"accuracy": {"value": "high"}}}']
METRICS += ['{"test": {"accuracy": {"value": 1, "ci95": [1]}}}', '{"test": {"accuracy": {}}}']
INFOS = ["[]", "{", '{"data": "rows"}', '{"files": "all", "hfrecipes": "1"}', '{"seconds": "9"}']


@pytest.mark.parametrize(
    ("name", "text"), [*(("metrics.json", text) for text in METRICS), *(("run.json", text) for text in INFOS)]
)
def test_damaged_scores_and_facts_do_not_cost_the_model(run, tiny_bert, name, text):
    expected = hfrecipes.load(run).predict(TEXT)
    weights = (run / "model.safetensors").read_bytes()
    (run / name).write_text(text)
    assert hfrecipes.load(run).predict(TEXT) == expected
    with pytest.raises(NotFoundError, match=rf"{name} is damaged .*hfrecipes predict {run}  works"):
        again(run, tiny_bert)
    assert (run / "model.safetensors").read_bytes() == weights


@pytest.mark.parametrize("text", [None, "", "[1]", "task: text-class", "task: text-classification\noptions: 5\n"])
def test_lost_settings_are_taken_from_elsewhere(run, tiny_bert, caplog, text):
    expected = hfrecipes.load(run).predict(TEXT)
    if text is None:
        (run / "recipe.yaml").unlink()
    else:
        (run / "recipe.yaml").write_text(text)
    loaded = hfrecipes.load(run)
    assert "recipe.yaml is missing or damaged" in caplog.text
    assert "the settings that the run kept elsewhere are used" in caplog.text
    assert loaded.predict(TEXT) == expected
    assert loaded.recipe.max_length == 32
    assert loaded.config.columns == {"text": "text", "label": "label"}
    with pytest.raises(HFRecipesError, match=r"recipe.yaml|contains another run"):
        again(run, tiny_bert)
    (run / "run.json").unlink()
    with pytest.raises(ModelError, match=r"recipe.yaml"):
        hfrecipes.load(run)


def test_edited_settings_are_used_and_printed(run, caplog):
    text = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(text.replace("max_length: 32", "max_length: 8"))
    assert hfrecipes.load(run).recipe.max_length == 8
    assert "recipe.yaml is not what was saved" in caplog.text


def test_a_whole_model_without_scores_predicts(run, caplog):
    (run / "metrics.json").unlink()
    assert hfrecipes.load(run).predict(TEXT)["label"] in ("good", "bad")
    assert f"{run} has no metrics.json" in caplog.text
    (run / "manifest.json").unlink()
    with pytest.raises(ModelError, match="not complete"):
        hfrecipes.load(run)


def files_of(run: Path) -> dict[str, bytes]:
    return {str(file.relative_to(run)): file.read_bytes() for file in run.rglob("*") if file.is_file()}


@pytest.mark.pictures
@pytest.mark.parametrize(
    "names", [["metrics.json"], ["README.md", "predictions.jsonl"], ["metrics.json", "baseline.json", "trained_on.npy"]]
)
def test_deleted_results_are_written_again_from_the_saved_model(run, tiny_bert, caplog, names):
    before = {**files_of(again(run, tiny_bert).path)}
    steps = json.loads(before["run.json"])["steps"]
    for name in names:
        (run / name).unlink()
    again(run, tiny_bert)
    assert "the saved model is scored again, and not trained" in caplog.text
    assert f"step {steps}/{steps}" not in caplog.text
    assert files_of(run) == before


def test_results_of_an_adapter_that_cannot_be_merged_are_written_again(run, tiny_bert, quick, tmp_path, caplog):
    tuning = {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 2}
    settings = {**quick, "dataset": {"train": opinions(24), "test": opinions(8)}, "num_train_epochs": 1}
    for _ in range(2):
        hfrecipes.run("text-classification", **settings, lora=tuning, output_dir=tmp_path / "tuned")
        (tmp_path / "tuned" / "metrics.json").unlink()
    assert caplog.text.count("the saved model is scored again, and not trained") == 1
    assert hfrecipes.load(tmp_path / "tuned").predict(TEXT)["label"] in ("good", "bad")


def test_a_changed_model_is_not_scored_again(run, tiny_bert):
    (run / "metrics.json").unlink()
    content = (run / "model.safetensors").read_bytes()
    (run / "model.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ModelError, match=r"model.safetensors is not what was saved"):
        again(run, tiny_bert)
    assert not (run / "metrics.json").exists()


@pytest.mark.parametrize("text", ["", "x", "[1]", '{"label": 5}'])
def test_evaluation_does_without_damaged_facts_on_the_training_rows(run, caplog, text):
    for name in ("baseline.json", "trained_on.npy"):
        (run / name).write_text(text)
    evaluation = hfrecipes.load(run).evaluate(opinions(8))
    assert 0 <= evaluation.metrics["accuracy"] <= 1
    assert evaluation.scores["accuracy"].baseline is None
    assert f"{run / 'baseline.json'} is not what was saved" in caplog.text
    assert f"{run / 'trained_on.npy'} is not what was saved" in caplog.text
    (run / "manifest.json").unlink()  # as a run of an earlier release
    (run / "trained_on.npy").write_text("x")
    (run / "baseline.json").write_text("[1]")
    hfrecipes.load(run).evaluate(opinions(8))
    assert "no baseline" in caplog.text
    for content in ({}, {"label": "bad"}, {"label": 5, "scores": "x"}):
        caplog.clear()
        (run / "baseline.json").write_text(json.dumps(content))
        assert hfrecipes.load(run).evaluate(opinions(8)).scores["accuracy"].baseline is None
        assert "no baseline: baseline.json is not what the run wrote" in caplog.text


def test_what_the_run_learned_must_be_readable(run):
    content = json.loads((run / "config.json").read_text())
    (run / "manifest.json").unlink()
    labels = ["bad", "good"]
    for learned in (
        "x",
        {},
        {"labels": 5},
        {"labels": []},
        {"labels": labels[:1]},
        {"labels": labels, "calibration": "x"},
        {"labels": labels, "calibration": {"temperature": "x"}},
        {"labels": labels, "calibration": {"temperature": 0}},
        {"labels": labels, "calibration": {"threshold": float("nan")}},
    ):
        (run / "config.json").write_text(json.dumps({**content, "hfrecipes": learned}))
        with pytest.raises(ModelError, match=r"config.json: the block hfrecipes is not what the run saved"):
            hfrecipes.load(run)
