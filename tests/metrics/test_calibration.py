"""Thresholds and temperature: what validation decides, saved with the model and used wherever it is loaded."""

from __future__ import annotations

import json

import datasets
import numpy as np
import pandas as pd
import pytest
from conftest import BAD, GOOD, opinions

import hfrecipes
from hfrecipes import calibration
from hfrecipes.evaluation.scoring import score
from hfrecipes.metrics import _weighted
from hfrecipes.tasks.text_classification import TextClassification


def reference_ece(sure: np.ndarray, right: np.ndarray) -> float:
    """By its definition: share of the cells in each bin, times the gap between confidence and accuracy in it."""
    table = pd.DataFrame(
        {"sure": sure, "right": right, "bin": pd.cut(sure, np.linspace(0, 1, 16), include_lowest=True)}
    )
    groups = table.groupby("bin", observed=True)
    gaps = (groups["sure"].mean() - groups["right"].mean()).abs()
    return float((gaps * groups.size() / len(table)).sum())


@pytest.mark.parametrize("labels", [2, 5])
def test_ece_and_brier_of_one_label_are_those_of_the_references(labels):
    from sklearn.metrics import brier_score_loss

    names = [f"l{index}" for index in range(labels)]
    recipe = TextClassification()
    recipe.infer_labels(datasets.Dataset.from_dict({"label": names}))
    for seed in range(30):
        generator = np.random.default_rng(seed)
        logits = generator.normal(size=(generator.integers(3, 60), labels)) * generator.uniform(0.5, 5)
        reference = generator.integers(0, labels, len(logits))
        predictions = recipe.decode(logits, [], None)
        shares = np.array([list(one["scores"].values()) for one in predictions])
        result = score(recipe, predictions, [names[one] for one in reference])
        assert result["brier"] == pytest.approx(
            brier_score_loss(reference, shares if labels > 2 else shares[:, 1], labels=range(labels))
        )
        assert result["ece"] == pytest.approx(reference_ece(shares.max(1), shares.argmax(1) == reference))


def test_ece_and_brier_of_several_labels_are_means_over_all_cells():
    recipe = TextClassification()
    recipe.infer_labels(datasets.Dataset.from_dict({"label": [["a"], ["b", "c"]]}))
    for seed in range(30):
        generator = np.random.default_rng(seed)
        predictions = recipe.decode(generator.normal(size=(20, 3)), [], None)
        reference = generator.integers(0, 2, (20, 3))
        shares = np.array([list(one["scores"].values()) for one in predictions])
        names = [[name for name, there in zip("abc", row, strict=True) if there] for row in reference]
        result = score(recipe, predictions, names)
        assert result["brier"] == pytest.approx(((shares - reference) ** 2).mean())
        assert result["ece"] == pytest.approx(reference_ece(shares.ravel(), reference.ravel()))


def test_calibration_of_resamples_is_that_of_the_rows_they_hold():
    generator = np.random.default_rng(0)
    sure, right, squared = generator.random((40, 1)), generator.integers(0, 2, (40, 1)), generator.random(40)
    weights = generator.integers(0, 3, (5, 40))
    result = _weighted.calibration(sure, right, squared, weights)
    for draw, counts in enumerate(weights):
        drawn = np.repeat(np.arange(40), counts)
        assert result["ece"][draw] == pytest.approx(reference_ece(sure[drawn, 0], right[drawn, 0]))
        assert result["brier"][draw] == pytest.approx(squared[drawn].mean())


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("is_multi_label", [False, True])
def test_the_temperature_that_made_the_logits_is_found(true, is_multi_label):
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(20_000, 4)) * 2
    if is_multi_label:
        reference = (generator.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(int)
    else:
        reference = (logits + generator.gumbel(size=logits.shape)).argmax(1)
    shares = calibration.apply_temperature(
        calibration.apply_temperature(np.full((1, 4), 0.25), 1.0, several=is_multi_label), 1.0, several=is_multi_label
    )
    assert shares == pytest.approx(0.25)
    stretched = logits * true
    if is_multi_label:
        shares = 1 / (1 + np.exp(-stretched))
    else:
        shares = np.exp(stretched) / np.exp(stretched).sum(1, keepdims=True)
    loss = calibration.loss_of(shares, reference, several=is_multi_label)
    assert calibration.best_temperature(loss) == pytest.approx(true, rel=0.05)


def test_a_threshold_is_the_one_with_the_best_f1():
    from sklearn.metrics import f1_score

    for seed in range(100):
        generator = np.random.default_rng(seed)
        reference = generator.integers(0, 2, (60, 1))
        shares = np.round(np.clip(0.3 * reference + generator.random((60, 1)) * 0.7, 0, 1), 2)
        (result,) = calibration.thresholds(shares, reference)
        # One column for each threshold, as scikit-learn takes a millisecond for each call.
        limits = np.append(np.unique(np.append(shares, 0)) - 1e-9, result)
        *every, ours = f1_score(np.repeat(reference, len(limits), axis=1), shares > limits, average=None)
        assert ours == pytest.approx(max(every))


def test_thresholds_have_the_best_mean_of_micro_and_macro_f1():
    from sklearn.metrics import f1_score

    for seed in range(5):
        generator = np.random.default_rng(seed)
        often = np.array([0.5, 0.3, 0.1, 0.05])
        reference = (generator.random((300, 4)) < often).astype(int)
        shares = np.clip(
            often * generator.uniform(0.3, 1.5, (300, 4)) + 0.25 * reference * generator.random((300, 4)), 0, 1
        )

        def mean_f1(limits, shares=shares, reference=reference) -> float:
            micro = f1_score(reference, shares > limits, average="micro", zero_division=0)
            macro = f1_score(reference, shares > limits, average="macro", zero_division=0)
            return (micro + macro) / 2

        result = calibration.thresholds(shares, reference)
        assert mean_f1(result) >= max(mean_f1(np.full(4, threshold)) for threshold in (0.1, 0.2, 0.3, 0.5)) - 1e-9
        for label in range(4):
            for other in np.quantile(shares[:, label], np.linspace(0, 1, 5)):
                moved = result.copy()
                moved[label] = other
                assert mean_f1(moved) <= mean_f1(result) + 1e-9, "no label can improve it by itself"


def test_a_label_of_few_rows_gets_the_threshold_of_all():
    from sklearn.metrics import f1_score

    generator = np.random.default_rng(0)
    reference = generator.integers(0, 2, (80, 2))
    reference[:, 1] = 0
    reference[:3, 1] = 1
    shares = np.clip(reference * 0.4 + generator.random((80, 2)) * 0.6, 0, 1)
    _, rare = calibration.thresholds(shares, reference)
    best = max(f1_score(reference, shares > threshold, average="micro") for threshold in np.unique(shares) - 1e-9)
    assert f1_score(reference, shares > rare, average="micro") == pytest.approx(best)


def labelled(row: dict, index: int) -> dict:
    text = f"{row['text']} {'lamp ' * (index % 3)}".strip()
    return {"text": text, "labels": [row["label"]] + ["lamp"] * ("lamp" in text)}


@pytest.fixture(scope="module")
def multi_label_run(tiny_bert, tmp_path_factory) -> hfrecipes.Result:
    rows = [labelled(row, index) for index, row in enumerate(opinions(400))]
    settings = {"model": tiny_bert, "learning_rate": 3e-3, "num_train_epochs": 3, "bf16": False}
    return hfrecipes.run(
        "text-classification",
        dataset={"train": rows[:200], "validation": rows[200:300], "test": rows[300:]},
        output_dir=tmp_path_factory.mktemp("several") / "run",
        temperature_scaling=True,
        **settings,
    )


def test_thresholds_and_temperature_go_where_the_model_goes(multi_label_run):
    tuned = multi_label_run.predictor.recipe.calibration
    assert set(tuned) == {"temperature", "threshold[bad]", "threshold[good]", "threshold[lamp]"}
    assert json.loads((multi_label_run.path / "config.json").read_text())["hfrecipes"]["calibration"] == tuned
    again = hfrecipes.load(multi_label_run.path)
    assert again.recipe.calibration == tuned
    texts = [f"the film was {word}" for word in (*GOOD, *BAD)]
    first, second = multi_label_run.predict(texts), again.predict(texts)
    assert [row["label"] for row in first] == [row["label"] for row in second]
    assert all(
        row["label"] == [name for name, share in row["scores"].items() if share > tuned[f"threshold[{name}]"]]
        for row in second
    )


def test_scores_say_what_they_would_be_without(multi_label_run):
    entries = json.loads((multi_label_run.path / "metrics.json").read_text())["test"]
    assert "uncalibrated" not in entries["lrap"], "ranks do not change"
    plain = hfrecipes.load(multi_label_run.path)
    plain.recipe.calibration = {}
    rows = [json.loads(line) for line in (multi_label_run.path / "predictions.jsonl").read_text().splitlines()]
    test = [{"text": row["text"], "labels": row["label"]} for row in rows if row["split"] == "test"]
    without = plain.evaluate(test).metrics
    for name, entry in entries.items():
        assert entry.get("uncalibrated", entry["value"]) == pytest.approx(without[name], abs=1e-6), name
    assert any("uncalibrated" in entry for entry in entries.values())


def test_a_threshold_that_is_given_is_used_and_none_is_tuned(quick, tmp_path):
    rows = [labelled(row, index) for index, row in enumerate(opinions(80))]
    result = hfrecipes.run("text-classification", dataset=rows, output_dir=tmp_path / "run", threshold=0.3, **quick)
    assert not result.predictor.recipe.calibration
    (made,) = hfrecipes.load(tmp_path / "run").predict(["the film was great"])
    assert made["label"] == [name for name, share in made["scores"].items() if share > 0.3]


def test_one_temperature_leaves_labels_as_they_are_and_improves_the_log_loss(quick, tmp_path, caplog):
    rows = {"train": opinions(160), "validation": opinions(120, 1), "test": opinions(80, 2)}
    for row in rows["validation"][::8]:  # without errors there is no uncertainty to calibrate
        row["label"] = {"good": "bad", "bad": "good"}[row["label"]]
    run = {"dataset": rows, **quick, "num_train_epochs": 4}
    plain = hfrecipes.run("text-classification", output_dir=tmp_path / "a", **run)
    scaled = hfrecipes.run("text-classification", output_dir=tmp_path / "b", temperature_scaling=True, **run)
    assert "temperature:" in caplog.text
    assert plain.metrics["test"]["accuracy"] == scaled.metrics["test"]["accuracy"]
    assert scaled.scores["test"]["ece"].uncalibrated == pytest.approx(plain.metrics["test"]["ece"])

    def log_loss(result) -> float:
        lines = [json.loads(line) for line in (result.path / "predictions.jsonl").read_text().splitlines()]
        held = [line for line in lines if line["split"] == "validation"]
        return -float(np.mean([np.log(line["prediction"]["scores"][line["label"]]) for line in held]))

    assert log_loss(scaled) <= log_loss(plain) + 1e-9


def test_a_run_that_starts_from_the_model_does_not_inherit_its_calibration(multi_label_run, quick, tmp_path):
    rows = [labelled(row, index) for index, row in enumerate(opinions(80))]
    for lora in (False, True):
        settings = {**quick, "model": str(multi_label_run.path), "threshold": 0.5, "lora": lora, "max_steps": 2}
        result = hfrecipes.run("text-classification", dataset=rows, output_dir=tmp_path / str(lora), **settings)
        for folder in ("", "adapter") if lora else ("",):
            again = hfrecipes.load(tmp_path / str(lora) / folder)
            assert again.recipe.calibration == {}
            assert again.predict("the film was great")["label"] == result.predict("the film was great")["label"]


def test_a_temperature_is_found_only_if_there_are_enough_informative_rows(caplog):
    recipe = TextClassification(temperature_scaling=True)
    recipe.infer_labels(datasets.Dataset.from_dict({"label": ["a", "b"]}))
    generator = np.random.default_rng(0)
    for rows, right, expected in (
        (40, 0.8, "too few rows to find it: 40 validation rows"),
        (200, 1.0, "not determined by 200 validation rows"),
    ):
        reference = generator.integers(0, 2, rows)
        guessed = np.where(generator.random(rows) < right, reference, 1 - reference)
        logits = np.stack([1 - guessed, guessed], axis=1) * 2.0
        numbers, (sentence,) = recipe.calibrate(recipe.decode(logits, [], None), ["ab"[one] for one in reference])
        assert expected in sentence
        assert not numbers
