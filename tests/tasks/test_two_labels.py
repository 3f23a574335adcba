"""Two labels: the threshold is the best one for what was asked, is saved and applied, and ranks are scored."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
from conftest import opinions, plan_of
from sklearn import metrics as reference

import hfrecipes
from hfrecipes.errors import ConfigError
from hfrecipes.metrics import _weighted
from hfrecipes.recipe import best_metric, table_metrics
from hfrecipes.tasks import _two_labels


def cases(number: int):
    generator = np.random.default_rng(0)
    for _ in range(number):
        rows = int(generator.integers(4, 60))
        shares = np.round(generator.random(rows), int(generator.integers(1, 4)))  # many of them are equal
        yield shares, generator.random(rows) < 0.4, generator.integers(0, 4, (3, rows)).astype(np.float32)


def test_ranks_are_scored_as_scikit_learn_does_and_are_unknown_where_all_rows_are_alike():
    for shares, positive, weights in cases(100):
        scores = _weighted.ranking(shares, positive)(weights)
        for index, drawn in enumerate(weights):
            rows = np.repeat(np.arange(len(shares)), drawn.astype(int))
            if len(set(positive[rows])) < 2:
                assert math.isnan(scores["roc_auc"][index])
                continue
            for name, function in (
                ("roc_auc", reference.roc_auc_score),
                ("average_precision", reference.average_precision_score),
            ):
                assert scores[name][index] == pytest.approx(function(positive[rows], shares[rows]), abs=1e-9)


def log_loss_of(shares, positive):
    both = np.stack([1 - shares, shares], axis=1)
    measure = _two_labels.measure(both, 1, positive.astype(int))
    return measure(np.ones((1, len(shares)), dtype=np.float32))["log_loss"][0]


def test_the_log_loss_is_that_of_scikit_learn():
    for shares, positive, _ in cases(30):
        clipped = np.clip(shares, 0.01, 0.99)
        expected = reference.log_loss(positive, clipped, labels=[False, True])
        assert log_loss_of(clipped, positive) == pytest.approx(expected, rel=1e-6)


WANTED = {
    "f1": lambda is_positive, given: reference.f1_score(is_positive, given, zero_division=0),
    "balanced_accuracy": reference.balanced_accuracy_score,
    "f_beta: 2": lambda is_positive, given: reference.fbeta_score(is_positive, given, beta=2, zero_division=0),
    "cost": lambda is_positive, given: -(10 * (is_positive & ~given).sum() + (given & ~is_positive).sum()),
}
FORMS = {"f_beta: 2": {"f_beta": 2}, "cost": {"missed": 10, "false_alarm": 1}}


@pytest.mark.parametrize("name", WANTED)
def test_no_other_threshold_is_better(name):
    for shares, positive, _ in cases(60):
        if len(set(positive)) < 2:
            continue
        threshold, _ = _two_labels.best_threshold(shares, positive, FORMS.get(name, name))
        value = WANTED[name](positive, shares > threshold)
        others = [WANTED[name](positive, shares > other) for other in (-1, *shares, 2)]
        assert value == pytest.approx(max(others), abs=1e-9)


@pytest.mark.parametrize("kept", ["recall", "precision"])
def test_a_share_is_kept_where_it_can_be_and_the_other_one_is_as_high_as_it_gets(kept):
    for shares, positive, _ in cases(60):
        if len(set(positive)) < 2:
            continue
        threshold, said = _two_labels.best_threshold(shares, positive, {kept: 0.8})
        best = None
        for other in (threshold, -1, *shares, 2):
            given = shares > other
            hits = (given & positive).sum()
            scores = {"precision": hits / given.sum() if hits else 0.0, "recall": hits / positive.sum()}
            rest = scores["precision" if kept == "recall" else "recall"]
            if best is None:
                assert (scores[kept] >= 0.8) == ("never reached" not in said)
                best = rest if scores[kept] >= 0.8 else -1.0
            assert scores[kept] < 0.8 or rest <= best + 1e-9


@pytest.mark.parametrize(
    "threshold",
    ["f1", "balanced_accuracy", {"f_beta": 2}, {"recall": 0.9}, {"precision": 0.5}, {"missed": 5, "false_alarm": 1}],
)
def test_what_is_tuned_on_validation_is_saved_and_applied(threshold, quick, tmp_path, caplog):
    settings = {**quick, "dataset": opinions(60), "output_dir": tmp_path / "run"}
    result = hfrecipes.run("text-classification", **settings, threshold=threshold, positive_label="bad")
    calibration = result.predictor.recipe.calibration
    assert f"threshold of bad: {calibration['threshold']:.3g} with " in caplog.text
    assert "positive label: bad" in caplog.text
    loaded = hfrecipes.load(tmp_path / "run")
    for prediction in loaded.predict([row["text"] for row in opinions(30)]):
        expected = "bad" if prediction["scores"]["bad"] > calibration["threshold"] else "good"
        assert (prediction["label"], prediction["score"]) == (expected, prediction["scores"][expected])
    assert {"roc_auc", "average_precision", "log_loss"} <= set(result.scores["validation"])


def test_a_probability_is_compared_with_and_the_second_label_is_the_positive_one(quick, tmp_path):
    settings = {**quick, "dataset": opinions(60), "output_dir": tmp_path / "run"}
    result = hfrecipes.run("text-classification", **settings, threshold=0.999)
    assert {row["label"] for row in result.predictor.predict(["a", "b", "c"])} == {"bad"}
    assert result.predictor.recipe.calibration == {"threshold": 0.999}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"threshold": "best"}, "threshold"),
        ({"threshold": {"cost": 3}}, r"expected a probability between 0 and 1, f1, balanced_accuracy, \{f_beta: 2\}"),
        ({"threshold": {"recall": 90}}, "expected a share between 0 and 1"),
        ({"threshold": {"missed": -1, "false_alarm": 1}}, "expected a probability"),
        ({"threshold": 1.5}, "expected a probability"),
        ({"positive_label": "god"}, r"no label 'god' \(did you mean good\?\)"),
    ],
)
def test_what_is_no_threshold_is_refused_before_training(settings, said, quick, tmp_path):
    with pytest.raises(ConfigError, match=said):
        hfrecipes.run("text-classification", **quick, dataset=opinions(40), output_dir=tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_three_labels_and_several_have_no_such_threshold(quick, tmp_path):
    three = [{"text": f"t{index}", "label": "abc"[index % 3]} for index in range(30)]
    with pytest.raises(ConfigError, match="it is for two labels"):
        hfrecipes.run("text-classification", **quick, dataset=three, output_dir=tmp_path / "run", threshold="f1")
    several = [{"text": f"t{index}", "label": ["a", "b"][: index % 3]} for index in range(30)]
    with pytest.raises(ConfigError, match="which is for two labels of which a text has one"):
        hfrecipes.run("text-classification", **quick, dataset=several, output_dir=tmp_path / "run", threshold="f1")


def test_the_positive_label_is_the_one_that_was_printed_whatever_the_order_of_the_checkpoint(quick, tmp_path, caplog):
    first = hfrecipes.run("text-classification", **quick, dataset=opinions(40), output_dir=tmp_path / "first")
    config = json.loads((tmp_path / "first" / "config.json").read_text())
    config |= {"id2label": {"0": "good", "1": "bad"}, "label2id": {"good": 0, "bad": 1}}
    reversed_model = shutil.copytree(tmp_path / "first", tmp_path / "reversed")
    (reversed_model / "config.json").write_text(json.dumps(config))
    (reversed_model / "manifest.json").unlink()
    settings = {**quick, "model": str(reversed_model), "dataset": opinions(60), "output_dir": tmp_path / "run"}
    result = hfrecipes.run("text-classification", **settings, threshold="f1")
    assert first.predictor.recipe.labels == ["bad", "good"]
    assert "positive label: good" in caplog.text
    assert "threshold of good: " in caplog.text
    assert hfrecipes.load(tmp_path / "run").recipe.learned["positive"] == "good"
    assert result.predictor.recipe.labels == ["good", "bad"]


@pytest.mark.parametrize(("labels", "given"), [([0, 1], 0), ([0, 1], 1.0), ([True, False], True), (["0", "1"], "0")])
def test_the_positive_label_is_named_as_labels_are_read(labels, given, quick, tmp_path):
    rows = [{"text": row["text"], "label": labels[row["label"] == "good"]} for row in opinions(40)]
    settings = {**quick, "num_train_epochs": 1, "dataset": rows, "output_dir": tmp_path / "run"}
    result = hfrecipes.run("text-classification", **settings, threshold=0.3, positive_label=given)
    positive = result.predictor.recipe.learned["positive"]
    assert positive in result.predictor.recipe.labels
    assert positive.lower() == str(int(given) if isinstance(given, float) else given).lower()


@pytest.mark.parametrize("option", [{"threshold": "f1"}, {"coverage": 0.9}, {"temperature_scaling": True}])
def test_what_is_tuned_needs_a_validation_split(option, quick, tmp_path):
    settings = {**quick, "dataset": opinions(40), "output_dir": tmp_path / "run", "splits": {"validation": None}}
    with pytest.raises(ConfigError, match="found no validation split to tune on"):
        hfrecipes.run("text-classification", **settings, eval_strategy="no", early_stopping=False, **option)


COSTS = {"missed": 10, "false_alarm": 1}


def test_scores_of_the_positive_label_are_those_of_scikit_learn_and_its_errors_cost_what_was_said():
    for shares, positive, weights in cases(60):
        given = shares > 0.5
        scores = _two_labels.measure_decisions(given, positive, COSTS)(weights)
        for index, drawn in enumerate(weights):
            rows = np.repeat(np.arange(len(shares)), drawn.astype(int))
            expected = reference.precision_recall_fscore_support(
                positive[rows], given[rows], average="binary", zero_division=0
            )
            names = ("precision_positive", "recall_positive", "f1_positive")
            assert [scores[name][index] for name in names] == pytest.approx(expected[:3])
            errors = (positive & ~given)[rows].sum(), (given & ~positive)[rows].sum()
            assert scores["cost"][index] == pytest.approx((10 * errors[0] + errors[1]) / len(rows))
            of_beta = _two_labels.measure_decisions(given, positive, {"f_beta": 2})(weights)["f_beta_positive"]
            expected_beta = reference.fbeta_score(positive[rows], given[rows], beta=2, zero_division=0)
            assert of_beta[index] == pytest.approx(expected_beta)


@pytest.mark.parametrize(
    ("threshold", "name"),
    [
        (None, "accuracy"),
        (0.3, "accuracy"),
        ("f1", "f1_positive"),
        ("balanced_accuracy", "recall_macro"),
        ({"f_beta": 2}, "f_beta_positive"),
        ({"recall": 0.9}, "average_precision"),
        ({"precision": 0.9}, "average_precision"),
        ({"missed": 10, "false_alarm": 1}, "cost"),
    ],
)
def test_what_a_threshold_is_tuned_for_comes_first(threshold, name, quick, tmp_path):
    settings = {**quick, "dataset": opinions(40), "output_dir": tmp_path / "run", "threshold": threshold}
    recipe = plan_of("text-classification", settings).recipe
    assert best_metric(recipe) == table_metrics(recipe)[0] == name


def test_the_cost_that_a_threshold_is_tuned_for_picks_the_checkpoint(quick, tmp_path):
    settings = {**quick, "dataset": opinions(40), "output_dir": tmp_path / "run"}
    arguments = hfrecipes.build("text-classification", **settings, threshold=COSTS).args
    assert (arguments.metric_for_best_model, arguments.greater_is_better) == ("cost", False)
    settings |= {"output_dir": tmp_path / "other", "metric_for_best_model": "accuracy"}
    arguments = hfrecipes.build("text-classification", **settings, threshold=COSTS).args
    assert (arguments.metric_for_best_model, arguments.greater_is_better) == ("accuracy", True)


def test_a_run_scores_what_its_threshold_was_tuned_for(quick, tmp_path, caplog):
    dataset = {"train": opinions(40), "validation": opinions(40, 1), "test": opinions(40, 2)}
    settings = {**quick, "num_train_epochs": 1, "dataset": dataset, "output_dir": tmp_path / "run"}
    result = hfrecipes.run("text-classification", **settings, threshold=COSTS, positive_label="bad")
    made = [row["label"] for row in result.predict([row["text"] for row in dataset["test"]])]
    errors = [(row["label"], label) for row, label in zip(dataset["test"], made, strict=True) if row["label"] != label]
    expected = sum(10 if actual == "bad" else 1 for actual, _ in errors) / len(made)
    cost = result.scores["test"]["cost"]
    assert cost.value == pytest.approx(expected)
    assert cost.low <= cost.value <= cost.high
    assert cost.baseline in (5.0, 0.5), "half of the rows are missed, or are false alarms"
    assert "recall_positive" in result.scores["test"]
    assert hfrecipes.load(tmp_path / "run").evaluate(dataset["test"]).metrics["cost"] == pytest.approx(expected)


def test_without_a_threshold_there_are_no_scores_of_one():
    assert _two_labels.decision_metrics(None) == {}
    assert "cost" not in _two_labels.decision_metrics("f1")


@pytest.mark.parametrize("kept", ["recall", "precision"])
def test_a_share_on_validation_is_no_promise_for_new_rows_and_says_so(kept):
    shares, positive = np.array([0.9, 0.8, 0.2, 0.1]), np.array([True, True, False, False])
    _, sentence = _two_labels.best_threshold(shares, positive, {kept: 0.9})
    assert "precision 1.000 (0.158–1.000), recall 1.000 (0.158–1.000)" in sentence, "of two rows"
    assert sentence.endswith("chosen on these rows, so it may be lower on new ones")
    assert "new ones" not in _two_labels.best_threshold(shares, positive, "f1")[1]


def test_what_cannot_be_reached_is_said():
    shares, positive = np.array([0.9, 0.8, 0.2, 0.1]), np.array([False, True, False, False])
    _, said = _two_labels.best_threshold(shares, positive, {"precision": 0.9})
    assert "with the best precision, as 0.9 is never reached, on 4 validation rows: precision 0.500" in said
    assert _two_labels.best_threshold(shares, positive & False, "f1") == (
        0.5,
        "left at 0.5, as 4 validation rows have one label alone",
    )


def test_rows_of_unknown_labels_are_left_out_of_what_is_known_of_two():
    shares = np.array([[0.2, 0.8, 0.0], [0.7, 0.3, 0.0], [0.5, 0.5, 0.0]])
    measured = _two_labels.measure(shares, 1, np.array([1, 0, 2]))(np.ones((2, 3), dtype=np.float32))
    assert measured["log_loss"] == pytest.approx([-(math.log(0.8) + math.log(0.7)) / 2] * 2)
    assert measured["roc_auc"].tolist() == [1.0, 1.0]
