"""No answer where the model is not sure: as many rows as was asked for, or as few errors, on rows that are new."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import opinions

import hfrecipes
from hfrecipes.errors import ConfigError
from hfrecipes.tasks import _abstention


def draw(generator, rows: int, accuracy: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a model that is as often right as its probability says."""
    confidence = generator.beta(accuracy / (1 - accuracy), 1, rows)
    return confidence, generator.random(rows) < confidence


def limit_of(confidence, is_right, abstain) -> float:
    return _abstention.tune(confidence, is_right, abstain)[0]["abstain_below"]


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_the_share_of_new_rows_without_an_answer_is_the_one_that_was_asked_for(share):
    generator = np.random.default_rng(0)
    shares = []
    for _ in range(200):
        limit = limit_of(*draw(generator, 100), {"share": share})
        shares.append((draw(generator, 300)[0] < limit).mean())
    assert np.mean(shares) == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize(("rows", "risk"), [(100, 0.1), (300, 0.05), (1000, 0.05), (1000, 0.1)])
def test_the_error_rate_of_new_answers_is_above_the_risk_in_one_of_twenty_draws_at_most(rows, risk):
    generator = np.random.default_rng(1)
    new_confidence, new_is_right = draw(generator, 100_000)
    broken = []
    for _ in range(400):
        is_answered = new_confidence >= limit_of(*draw(generator, rows), {"risk": risk})
        wrong = ~new_is_right[is_answered]
        broken.append(len(wrong) > 0 and wrong.mean() > risk)
    assert np.mean(broken) < 0.05 + 0.02  # of 400 draws, one in twenty has a standard error of 0.011


def test_more_rows_are_answered_the_more_is_known_and_the_more_risk_is_allowed():
    answered = {}
    for rows, risk in ((200, 0.05), (2000, 0.05), (2000, 0.08)):
        generator = np.random.default_rng(2)
        parts = []
        for _ in range(50):
            confidence, is_right = draw(generator, rows)
            parts.append((confidence >= limit_of(confidence, is_right, {"risk": risk})).mean())
        answered[rows, risk] = np.mean(parts)
    assert answered[200, 0.05] < answered[2000, 0.05] < answered[2000, 0.08]
    # Of such a model 68 % could be answered with that error rate, were it known exactly.
    assert 0.4 < answered[2000, 0.05] < 0.68


def test_all_rows_are_answered_where_that_keeps_the_risk():
    numbers, sentence = _abstention.tune(np.linspace(0.4, 0.9, 200), np.ones(200, dtype=bool), {"risk": 0.05})
    assert numbers == {"abstain_below": 0.0}
    assert "an answer for each of 200 validation rows, and for any other row; 0.000 of the answers" in sentence


def test_no_row_is_answered_where_too_few_rows_show_the_risk_and_that_is_printed():
    confidence = np.array([1.0, 0.9, 0.8])
    numbers, sentence = _abstention.tune(confidence, np.ones(3, dtype=bool), {"risk": 0.05})
    assert sentence == (
        "abstain: 3 validation rows cannot show a risk of 0.05, whichever are answered, so no row is answered: "
        "allow a higher risk, or add rows (at least 72 that are all predicted right)"
    )
    (row,) = _abstention.with_abstention([{"label": "a", "score": 1.0}], numbers)
    assert row == {"label": "a", "score": 1.0, "abstained": True}
    # As many as the sentence names are enough.
    confidence = np.linspace(0.5, 1, 72)
    assert limit_of(confidence, np.ones(72, dtype=bool), {"risk": 0.05}) == 0.0
    assert limit_of(confidence[1:], np.ones(71, dtype=bool), {"risk": 0.05}) > 1


def test_rows_of_the_same_probability_are_answered_all_or_not_at_all():
    confidence = np.array([0.9] * 5 + [0.5] * 5)
    for share, answered in ((0.1, 10), (0.4, 5), (0.6, 5), (0.9, 0)):
        limit = limit_of(confidence, np.ones(10, dtype=bool), {"share": share})
        assert (confidence >= limit).sum() == answered


def test_accuracy_is_that_of_the_answers_and_unknown_without_any():
    rows = [{"abstained": False}, {"abstained": True}, {}, {"abstained": True}]
    measured = _abstention.measure(rows, np.array([True, False, False, True]))
    weights = np.array([[1, 1, 1, 1], [2, 0, 1, 1], [0, 3, 0, 1]], dtype=np.float32)
    scores = measured(weights)
    assert scores["answered"].tolist() == [0.5, 0.75, 0.0]
    assert scores["accuracy_answered"][:2] == pytest.approx([0.5, 2 / 3])
    assert math.isnan(scores["accuracy_answered"][2])


def test_a_run_saves_the_limit_and_scores_the_answers(quick, tmp_path, caplog):
    dataset = {"train": opinions(60), "validation": opinions(40, 1), "test": opinions(40, 2)}
    # Some labels are wrong, so that not all is certain.
    for split in ("validation", "test"):
        for row in dataset[split][::5]:
            row["label"] = "good" if row["label"] == "bad" else "bad"
    settings = {**quick, "dataset": dataset, "output_dir": tmp_path / "run"}
    hfrecipes.run("text-classification", **settings, abstain={"share": 0.25}, coverage=0.7)
    assert "abstain: no answer below a probability of" in caplog.text
    loaded = hfrecipes.load(tmp_path / "run")
    limit = loaded.recipe.calibration["abstain_below"]
    predictions = loaded.predict([row["text"] for row in dataset["test"]])
    for prediction in predictions:
        assert prediction["abstained"] == (prediction["score"] < limit)
        assert prediction["label"] in prediction["label_set"]
        assert prediction["score"] == prediction["scores"][prediction["label"]]
    scores = loaded.evaluate(dataset["test"]).scores
    answers = [
        row["label"] == made["label"]
        for row, made in zip(dataset["test"], predictions, strict=True)
        if not made["abstained"]
    ]
    assert scores["answered"].value == pytest.approx(len(answers) / 40)
    assert scores["answered"].low <= scores["answered"].value <= scores["answered"].high
    assert scores["accuracy_answered"].value == pytest.approx(np.mean(answers))
    assert scores["accuracy_answered"].low <= np.mean(answers) <= scores["accuracy_answered"].high
    right = [row["label"] == made["label"] for row, made in zip(dataset["test"], predictions, strict=True)]
    assert scores["accuracy"].value == pytest.approx(np.mean(right)), "all rows, answered or not"


def test_a_run_in_which_nothing_is_answered_ends_with_a_dash(quick, tmp_path, caplog):
    settings = {**quick, "dataset": opinions(40), "output_dir": tmp_path / "run"}
    result = hfrecipes.run("text-classification", **settings, abstain={"risk": 0.01})
    assert "so no row is answered" in caplog.text
    assert "answered 1.000 → 0.000" in caplog.text
    assert "→ –" in caplog.text
    assert result.scores["validation"]["answered"].value == 0
    assert math.isnan(result.scores["validation"]["accuracy_answered"].value)
    assert all(row["abstained"] for row in hfrecipes.load(tmp_path / "run").predict(["the film was good"] * 2))


def test_questions_with_choices_get_no_answer_either(quick, tmp_path):
    rows = []
    for index, row in enumerate(opinions(60)):
        rows.append({"question": row["text"], "choices": ["good", "bad"], "label": int(row["label"] == "bad")})
        rows[-1]["choices"] += ["neither"] * (index % 2)
    settings = {**quick, "dataset": rows, "output_dir": tmp_path / "run"}
    result = hfrecipes.run("multiple-choice", **settings, abstain={"share": 0.5})
    assert result.scores["validation"]["answered"].value == pytest.approx(0.5, abs=0.2)
    loaded = hfrecipes.load(tmp_path / "run")
    predictions = loaded.predict([{"question": row["question"], "choices": row["choices"]} for row in rows])
    limit = loaded.recipe.calibration["abstain_below"]
    assert [row["abstained"] for row in predictions] == [row["score"] < limit for row in predictions]
    assert all(row["choice"] == rows[index]["choices"][row["label"]] for index, row in enumerate(predictions))


SEVERAL = [{"text": f"t{index}", "label": ["a", "b"][: index % 3]} for index in range(30)]
NUMBERS = [{"text": f"t{index}", "label": index / 7} for index in range(30)]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"abstain": {"share": 10}}, r"expected \{share: 0.1\} for no answer to the least sure tenth of the rows"),
        ({"abstain": {"share": 0.1, "risk": 0.1}}, r"\{risk: 0.05\} for an error rate of at most 0.05"),
        ({"abstain": {}}, r"expected \{share: 0.1\}"),
        ({"abstain": 0.1}, r"abstain: found 0.1, expected \{share: 0.1\}"),
        ({"abstain": {"share": 0.1}, "threshold": 0.3}, "abstain and threshold: leave one of them out"),
        ({"abstain": {"share": 0.1}, "dataset": SEVERAL}, "abstain: leave it out, it is for texts that have one label"),
        ({"abstain": {"share": 0.1}, "dataset": NUMBERS}, "abstain: leave it out, the labels are numbers"),
        (
            {"abstain": {"share": 0.1}, "splits": {"validation": None}, "eval_strategy": "no", "early_stopping": False},
            "options.abstain: found no validation split to tune on",
        ),
    ],
)
def test_what_cannot_be_abstained_on_is_refused_before_training(settings, problem, quick, tmp_path):
    with pytest.raises(ConfigError, match=problem):
        hfrecipes.run(
            "text-classification", **{**quick, "dataset": opinions(40), "output_dir": tmp_path / "run", **settings}
        )
    assert not (tmp_path / "run").exists()
