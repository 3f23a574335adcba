"""Distances are the same wherever a run predicts; limits come from validation, and scores and curves go by them."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import close, opinions
from sklearn.metrics import roc_auc_score

import hfrecipes
from hfrecipes.cli import main
from hfrecipes.errors import ConfigError, ModelError
from hfrecipes.models.distances import FILE
from hfrecipes.registry import find

OUTSIDE = [{"text": f"{word} 7 + 7 = {word}?", "label": "other"} for word in ("how", "why", "who", "when")]
ROWS = {"train": opinions(40), "validation": opinions(40, 1) + OUTSIDE[:2], "test": opinions(40, 2) + OUTSIDE}
TEXTS = [row["text"] for row in ROWS["test"]]
SETTINGS = {"dataset": ROWS, "out_of_scope": "other", "out_of_scope_by": "distance", "abstain": {"share": 0.1}}


def run_in(folder, model, **settings):
    given = {"model": model, "learning_rate": 1e-2, "max_steps": 6, "per_device_train_batch_size": 8, "bf16": False}
    return hfrecipes.run("text-classification", **{**given, **SETTINGS, "output_dir": folder, **settings})


@pytest.fixture(scope="module")
def done(tiny_bert, tmp_path_factory):
    """A run, which its tests leave as it is."""
    return run_in(tmp_path_factory.mktemp("distance") / "run", tiny_bert)


def saved_distances(folder) -> list[float]:
    lines = map(json.loads, (folder / "predictions.jsonl").read_text().splitlines())
    return [line["prediction"]["distance"] for line in lines if line["split"] == "test"]


def test_all_ways_to_predict_give_the_same_distances(done, tmp_path):
    expected = saved_distances(done.path)
    loaded = hfrecipes.load(done.path)
    assert close(done.predict(TEXTS), loaded.predict(TEXTS))
    assert [row["distance"] for row in loaded.predict(TEXTS)] == pytest.approx(expected, abs=1e-4)
    assert loaded.predict(TEXTS[0])["distance"] == pytest.approx(expected[0], abs=1e-4)
    scores = loaded.evaluate(ROWS["test"]).scores
    for name in ("out_of_scope_roc_auc", "out_of_scope_abstained", "answered"):
        assert scores[name].value == pytest.approx(done.scores["test"][name].value)
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    made = CliRunner().invoke(
        main, ["predict", str(done.path), str(tmp_path / "texts.txt"), "--output", str(tmp_path / "out.jsonl")]
    )
    assert made.exit_code == 0, made.output
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["prediction"]["distance"] for row in rows] == pytest.approx(expected, abs=1e-4)
    assert done.trainer.evaluate()["eval_answered"] == pytest.approx(done.scores["validation"]["answered"].value)


def test_the_limit_is_found_on_validation_and_scores_go_by_it(done):
    limit = done.predictor.recipe.calibration["abstain_beyond"]
    validation = hfrecipes.load(done.path).predict([row["text"] for row in ROWS["validation"]])
    assert sum(row["distance"] > limit for row in validation) == 4
    made, scores = done.predict(TEXTS), done.scores["test"]
    assert [row["abstained"] for row in made] == [row["distance"] > limit for row in made]
    is_outside = [0] * 40 + [1] * 4
    by_distance = roc_auc_score(is_outside, [row["distance"] for row in made])
    assert scores["out_of_scope_roc_auc"].value == pytest.approx(by_distance)
    assert by_distance > 0.9, "their words are in no text of train"
    by_probability = roc_auc_score(is_outside, [-row["score"] for row in made])
    assert scores["out_of_scope_roc_auc_by_probability"].value == pytest.approx(by_probability)
    assert scores["out_of_scope_roc_auc"].baseline == scores["out_of_scope_roc_auc_by_probability"].baseline == 0.5


def test_other_test_rows_do_not_change_the_limit(done, tiny_bert, tmp_path):
    other = run_in(tmp_path / "run", tiny_bert, dataset={**ROWS, "test": opinions(20, 5)})
    assert other.predictor.recipe.calibration == done.predictor.recipe.calibration


def test_the_file_is_one_of_the_model_and_has_no_row(done):
    from safetensors.numpy import load_file

    assert FILE in json.loads((done.path / "manifest.json").read_text())
    assert FILE in json.loads((done.path / "run.json").read_text())["files"]
    assert {name: values.shape for name, values in load_file(done.path / FILE).items()} == {
        "means": (2, 32),
        "whitening": (32, 32),
    }
    card = " ".join((done.path / "README.md").read_text().split())
    assert "the mean of each label and one covariance over 40 training rows" in card


def test_the_report_shows_risks_by_distance(done):
    page = (done.path / "report.html").read_text()
    assert "where the rows with the largest distances from train get none. Here it is those beyond" in page
    assert "up to a distance of" in page


@pytest.mark.parametrize("change", ["deleted", "changed"])
def test_a_run_without_its_file_is_refused(change, done, tmp_path):
    shutil.copytree(done.path, tmp_path / "run")
    if change == "deleted":
        (tmp_path / "run" / FILE).unlink()
    else:
        (tmp_path / "run" / FILE).write_bytes(b"0" * (done.path / FILE).stat().st_size)
    with pytest.raises(ModelError, match=FILE):
        hfrecipes.load(tmp_path / "run")
    (tmp_path / "run" / "manifest.json").unlink()
    with pytest.raises(ModelError, match=r"distance.safetensors cannot be read .* this run predicts distances with it"):
        hfrecipes.load(tmp_path / "run")


def test_a_run_whose_scores_were_deleted_gets_the_same_ones(done, tmp_path):
    run = run_in(tmp_path / "run", done.predictor.config.base.path)
    expected = saved_distances(run.path)
    for name in ("metrics.json", "predictions.jsonl"):
        (run.path / name).unlink()
    again = run_in(tmp_path / "run", done.predictor.config.base.path)
    assert saved_distances(run.path) == pytest.approx(expected, abs=1e-4)
    assert again.scores["test"]["out_of_scope_roc_auc"] == run.scores["test"]["out_of_scope_roc_auc"]


@pytest.mark.rehearsed
def test_an_adapter_and_what_is_merged_of_it_give_the_distances_of_the_run(tiny_bert, tmp_path):
    run = run_in(tmp_path / "run", tiny_bert, lora=True)
    expected = saved_distances(run.path)
    merged = tmp_path / "merged"
    assert CliRunner().invoke(main, ["merge", str(run.path / "adapter"), str(merged)]).exit_code == 0
    for folder in (run.path, run.path / "adapter", merged):
        loaded = hfrecipes.load(folder)
        assert [row["distance"] for row in loaded.predict(TEXTS)] == pytest.approx(expected, abs=1e-3), folder
        assert FILE in json.loads((folder / "manifest.json").read_text())


def test_virtual_tokens_have_distances_too(tiny_bert, tmp_path):
    run = run_in(tmp_path / "run", tiny_bert, lora={"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 2})
    loaded = hfrecipes.load(run.path)
    assert [row["distance"] for row in loaded.predict(TEXTS)] == pytest.approx(saved_distances(run.path), abs=1e-4)


def test_folds_and_a_student_have_distances_of_their_own(tiny_bert, tmp_path):
    inside = {split: [row for row in rows if row["label"] != "other"] for split, rows in ROWS.items()}
    settings = {"dataset": inside["train"] + inside["test"], "out_of_scope": None, "max_steps": 2}
    run_in(tmp_path / "folds", tiny_bert, folds=2, **settings)
    lines = list(map(json.loads, (tmp_path / "folds" / "predictions.jsonl").read_text().splitlines()))
    assert len(lines) == 80
    assert all(line["prediction"]["distance"] > 0 for line in lines)
    student = run_in(tmp_path / "student", tiny_bert, distill=str(tmp_path / "folds"), **settings)
    assert student.predict(TEXTS[0])["distance"] > 0


def test_layers_in_8_bits_tell_the_same_rows(done):
    made = hfrecipes.load(done.path, int8=True).predict(TEXTS)
    assert roc_auc_score([0] * 40 + [1] * 4, [row["distance"] for row in made]) > 0.8


def test_predictions_without_distances_go_by_their_probability():
    recipe = find("text-classification")(out_of_scope_by="distance", abstain={"share": 0.5})
    recipe.problem_type, recipe.labels = "single_label_classification", ["a", "b"]
    shares = np.linspace(0.6, 0.9, 10)
    made = [{"label": "a", "score": share, "scores": {"a": share, "b": 1 - share}} for share in shares.tolist()]
    numbers, _ = recipe.calibrate(made, ["a"] * 10)
    assert set(numbers) == {"abstain_below"}, "as during training, before there are distances"
    apart = [{**row, "distance": float(index)} for index, row in enumerate(made)]
    numbers, (sentence,) = recipe.calibrate(apart, ["a"] * 10)
    assert numbers == {"abstain_beyond": 4.5}
    assert "no answer beyond a distance of 4.5, which is 5 of 10 validation rows" in sentence
    assert [row["abstained"] for row in recipe.calibrated(apart, numbers)] == [False] * 5 + [True] * 5
    assert all("abstained" not in row for row in recipe.calibrated(made, numbers)), "as the mean of several models"


def test_where_the_risk_allows_it_all_rows_are_answered_at_any_distance():
    recipe = find("text-classification")(out_of_scope_by="distance", abstain={"risk": 0.05})
    recipe.problem_type, recipe.labels = "single_label_classification", ["a", "b"]
    row = {"label": "a", "score": 0.9, "scores": {"a": 0.9, "b": 0.1}}
    apart = [{**row, "distance": 5.0 + index} for index in range(100)]
    numbers, (sentence,) = recipe.calibrate(apart, ["a"] * 100)
    assert "an answer for each of 100 validation rows, and for any other row" in sentence
    assert not recipe.calibrated([{**row, "distance": 1e9}], numbers)[0]["abstained"]
    numbers, (sentence,) = recipe.calibrate(apart, ["b"] * 100)
    assert "no row is answered" in sentence
    assert recipe.calibrated([{**row, "distance": 0.0}], numbers)[0]["abstained"]


SEVERAL = [{"text": f"t{i}", "label": ["a", "b"][: i % 3]} for i in range(30)]
NUMBERS = [{"text": f"t{i}", "label": i / 7} for i in range(30)]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"dataset": SEVERAL}, "out_of_scope_by: leave it out, it is for texts that have one label"),
        ({"dataset": NUMBERS}, "out_of_scope_by: leave it out, the labels are numbers"),
        ({"out_of_scope_by": "energy"}, "out_of_scope_by"),
        ({"privacy": {"epsilon": 8}}, "out_of_scope_by: leave distance out with privacy"),
    ],
)
def test_what_has_no_distances_is_refused_before_training(settings, problem, quick, tmp_path):
    given = {**quick, "dataset": ROWS, "output_dir": tmp_path / "run", "out_of_scope_by": "distance", **settings}
    with pytest.raises(ConfigError, match=problem):
        hfrecipes.run("text-classification", **given)
    assert not (tmp_path / "run").exists()
