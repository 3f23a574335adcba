"""Rows that no label fits are no errors, and a score says how well doubt tells them from the others."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import opinions
from sklearn.metrics import roc_auc_score

import hfrecipes
from hfrecipes.errors import ConfigError
from hfrecipes.registry import find


def recipe_of(labels: list[str], **options):
    recipe = find("text-classification")(problem_type="single_label_classification", **options)
    recipe.labels, recipe.learned = labels, {"out_of_scope": "other"}
    return recipe


def rows_of(number: int, *, outside: int, seed: int = 0) -> tuple[list[dict], list[str]]:
    """Predictions and references; the last rows are out of scope, and their probabilities are low."""
    generator = np.random.default_rng(seed)
    predictions, references = [], []
    for index in range(number + outside):
        share = generator.uniform(0.5, 1.0 if index < number else 0.8)
        label = "ab"[generator.integers(2)]
        scores = {"a": share, "b": 1 - share} if label == "a" else {"a": 1 - share, "b": share}
        predictions.append({"label": label, "score": share, "scores": scores, "abstained": share < 0.7})
        references.append("ab"[generator.integers(2)] if index < number else "other")
    return predictions, references


def scores_of(recipe, predictions, references, weights=None) -> dict[str, np.ndarray]:
    ones = np.ones((1, len(references)), dtype=np.float32)
    return recipe.measure(predictions, references)(ones if weights is None else weights)


def test_other_scores_are_those_of_the_rows_that_a_label_fits():
    predictions, references = rows_of(40, outside=15)
    recipe = recipe_of(["a", "b"])
    scores, without = (
        scores_of(recipe, predictions, references),
        scores_of(recipe, predictions[:40], references[:40]),
    )
    assert set(scores) == {*without, "out_of_scope_roc_auc"}
    for name, value in without.items():
        assert scores[name] == pytest.approx(value)
    confidence = [prediction["score"] for prediction in predictions]
    expected = roc_auc_score([0] * 40 + [1] * 15, [-share for share in confidence])
    assert scores["out_of_scope_roc_auc"][0] == pytest.approx(expected)


def test_answers_to_rows_that_no_label_fits_are_wrong_answers():
    predictions, references = rows_of(40, outside=15)
    scores = scores_of(recipe_of(["a", "b"], abstain={"share": 0.1}), predictions, references)
    given = [not prediction["abstained"] for prediction in predictions]
    right = [prediction["label"] == reference for prediction, reference in zip(predictions, references, strict=True)]
    assert scores["answered"][0] == pytest.approx(np.mean(given))
    assert scores["accuracy_answered"][0] == pytest.approx(np.mean(np.array(right)[given]))
    assert scores["out_of_scope_abstained"][0] == pytest.approx(1 - np.mean(given[40:]))


def test_resamples_without_one_kind_of_row_do_not_know_its_scores():
    predictions, references = rows_of(4, outside=2)
    weights = np.array([[1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 1, 2]], dtype=np.float32)
    scores = scores_of(recipe_of(["a", "b"], abstain={"share": 0.1}), predictions, references, weights)
    assert not math.isnan(scores["accuracy"][0])
    assert math.isnan(scores["accuracy"][1])
    assert np.isnan(scores["out_of_scope_roc_auc"]).all()
    assert math.isnan(scores["out_of_scope_abstained"][0])
    alone = scores_of(recipe_of(["a", "b"]), predictions[4:], references[4:])
    assert math.isnan(alone["accuracy"][0])


def test_the_risk_counts_them_as_errors():
    predictions, references = rows_of(200, outside=100)
    references[:200] = [prediction["label"] for prediction in predictions[:200]]
    recipe = recipe_of(["a", "b"], abstain={"risk": 0.1})
    inside, _ = recipe.calibrate(predictions[:200], references[:200])
    assert inside["abstain_below"] == 0.0, "all of these are right"
    limit = recipe.calibrate(predictions, references)[0]["abstain_below"]
    assert 0.7 < limit < 0.85, "most rows out of scope have a probability below 0.8"


def test_a_run_finds_them_and_its_page_leaves_them_out(quick, tmp_path, caplog):
    outside = [
        {"text": f"{word} the moon", "label": "other"} for word in ("where was", "how was", "who was", "why was")
    ]
    dataset = {split: opinions(40, seed) + outside for seed, split in enumerate(("train", "validation", "test"))}
    dataset["train"] = dataset["train"][:40]
    settings = {**quick, "dataset": dataset, "output_dir": tmp_path / "run", "metrics": ["accuracy", "f1"]}
    result = hfrecipes.run("text-classification", **settings, out_of_scope="other", abstain={"share": 0.25})
    assert (
        "test: label 'other' is out of scope and counts as no error in 4 rows (40, 41, 42, 43, counted" in caplog.text
    )
    assert "no prediction can match" not in caplog.text
    scores = result.scores["test"]
    assert scores["out_of_scope_roc_auc"].low < scores["out_of_scope_roc_auc"].high
    assert scores["out_of_scope_roc_auc"].baseline == 0.5
    loaded = hfrecipes.load(tmp_path / "run")
    assert loaded.recipe.labels == ["bad", "good"]
    made = loaded.predict([row["text"] for row in dataset["test"]])
    right = [row["label"] == prediction["label"] for row, prediction in zip(dataset["test"], made, strict=True)]
    assert scores["accuracy"].value == pytest.approx(np.mean(right[:40]))
    # Metrics that the user named are over the same rows.
    assert scores["f1"].value == pytest.approx(scores["f1_macro"].value)
    assert scores["out_of_scope_abstained"].value == np.mean([prediction["abstained"] for prediction in made[40:]])
    again = loaded.evaluate(dataset["test"]).scores
    assert again["out_of_scope_roc_auc"].value == pytest.approx(scores["out_of_scope_roc_auc"].value)
    assert set(result.reports["test"].classes) == {"good", "bad"}
    assert "moon" not in (tmp_path / "run" / "report.html").read_text(), "the worst rows are rows that a label fits"


ROWS = {split: opinions(20, seed) for seed, split in enumerate(("train", "validation", "test"))}


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"out_of_scope": "bad"}, "train has rows with the label 'bad', expected it in validation and test alone"),
        (
            {"out_of_scope": "a", "dataset": [{"text": f"t{i}", "label": ["a", "b"][: i % 3]} for i in range(30)]},
            "out_of_scope: leave it out, it is for texts that have one label",
        ),
        (
            {"out_of_scope": "a", "dataset": [{"text": f"t{i}", "label": i / 7} for i in range(30)]},
            "out_of_scope: leave it out, the labels are numbers",
        ),
    ],
)
def test_a_label_that_cannot_be_out_of_scope_is_refused(settings, problem, quick, tmp_path):
    with pytest.raises(ConfigError, match=problem):
        hfrecipes.run("text-classification", **{**quick, "dataset": ROWS, "output_dir": tmp_path / "run", **settings})
    assert not (tmp_path / "run").exists()


def test_classes_that_the_dataset_names_are_learnt_without_it():
    from datasets import ClassLabel, Dataset

    train = Dataset.from_dict({"text": ["x", "y"], "label": ["a", "b"]})
    recipe = find("text-classification")(out_of_scope="other")
    recipe.labels = list(ClassLabel(names=["other", "a", "b"]).names)
    assert any("2 labels: a, b" in sentence for sentence in recipe.infer_labels(train))
    assert recipe.labels == ["a", "b"]
    assert recipe.reference({"label": "other"}) == "other"
    assert recipe.label_kind.target("other") == -100
