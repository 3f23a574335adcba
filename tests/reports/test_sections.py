"""What the sections of a report say of predictions, for each kind of task."""

from __future__ import annotations

import math

import numpy as np
import pytest
from report_data import classified, report_of, sections_of, tables_of, texts_of

from hfrecipes.registry import find
from hfrecipes.reports.page import Lines, Matrix
from hfrecipes.reports.probabilities import probabilities_of
from hfrecipes.reports.sections import classes, reliability, risk_coverage, thresholds


def classifier(labels: list[str], **options):
    recipe = find("text-classification")(problem_type="single_label_classification", **options)
    recipe.labels = labels
    return recipe


@pytest.fixture
def intents(tmp_path):
    """Four rows of two labels, one of them confidently wrong."""
    lines = [
        classified("good", {"good": 0.9, "bad": 0.1}),
        classified("good", {"good": 0.6, "bad": 0.4}),
        classified("bad", {"good": 0.2, "bad": 0.8}),
        classified("bad", {"good": 0.99, "bad": 0.01}, "the film was awful"),
    ]
    return report_of(classifier(["good", "bad"]), tmp_path, lines)


def test_worst_rows_are_those_with_the_highest_loss(intents):
    (table,) = tables_of(sections_of(intents)["Worst rows"]).values()
    assert list(table.heads) == ["row", "loss", "label", "prediction", "text"]
    assert texts_of(table)[0] == ["3", f"{-math.log(0.01):.3f}", "bad", "good", "the film was awful"]
    assert [row[0] for row in table.rows] == [3, 1, 2, 0]


def test_rows_are_told_by_their_ids_as_in_the_data(tmp_path):
    lines = [
        {"编号": 414 + number, **classified("good", {"good": share, "bad": 1 - share})}
        for number, share in enumerate((0.9, 0.2))
    ]
    (table,) = tables_of(sections_of(report_of(classifier(["good", "bad"]), tmp_path, lines))["Worst rows"]).values()
    assert list(table.heads) == ["row", "loss", "编号", "label", "prediction", "text"]
    assert [row[2] for row in table.rows] == ["415", "414"]


def test_the_matrix_counts_right_and_wrong_predictions(intents):
    (matrix,) = [block for block in sections_of(intents)["By label and by part"].blocks if isinstance(block, Matrix)]
    assert list(matrix.labels) == ["good", "bad"]
    assert matrix.counts == [[2, 0], [1, 1]]


def test_thresholds_are_those_of_the_second_label(intents):
    known = probabilities_of(intents, "test")
    precision, recall, f1 = thresholds.scores_by_threshold(known)
    assert (precision[50], recall[50], f1[50]) == (1, 0.5, pytest.approx(2 / 3))
    assert (precision[30], recall[30]) == (0.5, 0.5)
    assert recall[0] == 1
    assert "label bad" in str(sections_of(intents)["Thresholds"].blocks)


def test_reliability_is_the_share_that_is_right_in_each_bin(intents):
    assert reliability.bins_of(probabilities_of(intents, "test")) == [
        (1, pytest.approx(0.6), 1.0),
        (1, pytest.approx(0.8), 1.0),
        (2, pytest.approx(0.945), 0.5),
    ]


def test_the_risk_is_the_error_rate_among_the_surest_rows(tmp_path):
    lines = []
    for index in range(20):  # the surer the model, the more often it is right
        share = 0.5 + (index + 1) / 41
        lines.append(classified("good" if index >= 6 or index % 2 else "bad", {"good": share, "bad": 1 - share}))
    section = sections_of(report_of(classifier(["good", "bad"]), tmp_path, lines))["Risk and coverage"]
    (plot,) = [block for block in section.blocks if isinstance(block, Lines)]
    (series,) = plot.series
    assert series.xs == pytest.approx([rows / 20 for rows in range(10, 21)])
    assert series.ys == pytest.approx([0] * 5 + [0, 1 / 16, 1 / 17, 2 / 18, 2 / 19, 3 / 20])
    table = tables_of(section)["Answers of test"]
    assert texts_of(table)[0] == ["1.000", "0.524", "0.150", "0.032–0.379"]
    assert texts_of(table)[-1] == ["0.500", "0.768", "0.000", "0.000–0.308"]
    assert "abstain={share: 0.1}" in section.blocks[0]
    decided = classifier(["good", "bad"], abstain={"share": 0.1})
    decided.calibration = {"abstain_below": 0.55}
    assert "Here it is those below 0.550" in risk_coverage.section(report_of(decided, tmp_path, lines)).blocks[0]
    expected = (0 * 15 + 1 / 16 + 1 / 17 + 2 / 18 + 2 / 19 + 3 / 20) / 20
    assert f"AURC) is {expected:.3f}; with as many errors it would be {(1 / 18 + 2 / 19 + 3 / 20) / 20:.3f}" in str(
        section.blocks
    )


def test_rows_of_the_same_probability_share_their_errors():
    curve = risk_coverage.RiskCurve(np.array([0.9, 0.6, 0.6, 0.6, 0.6]), np.array([True, True, False, False, True]))
    assert curve.cuts.tolist() == [1, 5]
    assert curve.errors.tolist() == [0, 0.5, 1, 1.5, 2]
    shuffled = risk_coverage.RiskCurve(curve.confidence[::-1], curve.is_right[::-1])
    assert shuffled.area == curve.area == pytest.approx((0.5 / 2 + 1 / 3 + 1.5 / 4 + 2 / 5) / 5)


def test_scores_stand_with_interval_and_those_of_tables_first(intents):
    (table,) = tables_of(sections_of(intents)["Scores"]).values()
    assert [row[1] for row in table.rows[:2]] == ["accuracy", "f1_macro"]
    assert texts_of(table)[0][2] == "0.750"
    assert " to " in texts_of(table)[0][3]


def test_a_confident_wrong_label_is_a_likely_error(tmp_path):
    lines = [
        classified(name, {"good": 0.9, "bad": 0.1} if name == "good" else {"good": 0.1, "bad": 0.9})
        for name in ["good", "bad"] * 20
    ]
    lines[6] = classified("good", {"good": 0.02, "bad": 0.98}, "the film was dreadful")
    section = sections_of(report_of(classifier(["good", "bad"]), tmp_path, lines))["Likely label errors"]
    (table,) = tables_of(section).values()
    assert texts_of(table) == [["6", "0.020", "good", "bad", "the film was dreadful"]]
    assert "test: 1 of 40 rows." in section.blocks


def test_rows_without_a_known_label_are_left_out(tmp_path):
    recipe = classifier(["good", "bad"])
    lines = [
        classified("good", {"good": 0.9, "bad": 0.1}),
        classified("new", {"good": 0.9, "bad": 0.1}),
        {"text": "hidden", "label": -1, "prediction": {"label": "bad", "scores": {"good": 0.1, "bad": 0.9}}},
        {"text": "none", "prediction": {"label": "bad", "scores": {"good": 0.1, "bad": 0.9}}},
    ]
    run = report_of(recipe, tmp_path, lines)
    assert [row.number for row in run.known_rows("test")] == [0, 1]
    (table,) = tables_of(sections_of(run)["Worst rows"]).values()
    assert [row[0] for row in table.rows] == [1, 0]


def test_several_labels_have_thresholds_and_losses_over_all_of_them(tmp_path):
    recipe = find("text-classification")(problem_type="multi_label_classification")
    recipe.labels, recipe.calibration = ["a", "b"], {"threshold[a]": 0.3, "threshold[b]": 0.6}
    lines = [
        {"text": "x", "label": ["a"], "prediction": {"label": ["a"], "scores": {"a": 0.9, "b": 0.2}}},
        {"text": "y", "label": [], "prediction": {"label": ["b"], "scores": {"a": 0.1, "b": 0.7}}},
    ]
    sections = sections_of(report_of(recipe, tmp_path, lines))
    (table,) = tables_of(sections["Worst rows"]).values()
    assert [row[0] for row in table.rows] == [1, 0]
    assert table.rows[0][1].value == pytest.approx(-math.log(0.9) - math.log(0.3))
    tuned = tables_of(sections["Thresholds"])["Thresholds that were tuned on validation"]
    assert texts_of(tuned) == [["a", "0.300"], ["b", "0.600"]]
    assert "Likely label errors" not in sections


def test_numbers_are_ranked_by_their_error(tmp_path):
    recipe = find("text-classification")(problem_type="regression")
    lines = [{"text": "x", "label": 1.0, "prediction": {"label": value}} for value in (1.5, 4.0, 1.0)]
    (table,) = tables_of(sections_of(report_of(recipe, tmp_path, lines))["Worst rows"]).values()
    assert table.heads[1] == "mae"
    assert [row[0] for row in table.rows] == [1, 0, 2]


def test_entities_are_told_apart_by_kind_of_error(tmp_path):
    recipe = find("token-classification")(scheme="BIO")
    recipe.labels = ["O", "B-x", "I-x", "B-y", "I-y"]
    tokens = ["Ada", "Lovelace", "of", "London"]
    lines = [
        {
            "tokens": tokens,
            "tags": ["B-x", "I-x", "O", "B-y"],
            "prediction": {"tags": ["B-x", "O", "O", "B-x"], "scores": [1.0] * 4},
        },
        {
            "tokens": tokens,
            "tags": ["B-x", "I-x", "O", "O"],
            "prediction": {"tags": ["O", "O", "O", "B-y"], "scores": [1.0] * 4},
        },
    ]
    section = sections_of(report_of(recipe, tmp_path, lines))["Errors in entities"]
    by_type = tables_of(section)["Errors on test by type of entity and kind"]
    counts = {row[0]: dict(zip(by_type.heads[1:], row[1:], strict=True)) for row in by_type.rows}
    assert counts["x"] == {"boundary": 1, "type": 0, "type and boundary": 0, "missed": 1, "spurious": 0}
    assert counts["y"] == {"boundary": 0, "type": 1, "type and boundary": 0, "missed": 0, "spurious": 1}
    listed = tables_of(section)["Errors on test"]
    assert ["0", "boundary", "Ada Lovelace (x)", "Ada (x)", " ".join(tokens)] in texts_of(listed)


def test_answers_are_told_apart_by_length_and_question_word(tmp_path):
    recipe = find("question-answering")()
    lines = []
    for question, wanted, given in (
        ("Who?", "Ada", "Ada"),
        ("谁写的？", "李白", "李白"),
        ("What?", "a red stone wall", "no"),
    ):
        answers = {"text": [wanted], "answer_start": [0]}
        lines.append(
            {"question": question, "context": wanted, "answers": answers, "prediction": {"answer": given, "score": 0.5}}
        )
    sections = sections_of(report_of(recipe, tmp_path, lines))
    lengths = tables_of(sections["Texts and their lengths"])["f1 by length of the reference on test, in words"]
    assert texts_of(lengths) == [["1", "2", "100.000"], ["3 to 4", "1", "0.000"]]
    words = tables_of(sections["By label and by part"])["Scores by question on test"]
    assert {row[0] for row in words.rows} == {"who", "谁", "what"}
    (worst,) = tables_of(sections["Worst rows"]).values()
    assert worst.rows[0][0] == 2


def test_generated_texts_stand_beside_their_references(tmp_path):
    recipe = find("text2text-generation")()
    lines = [
        {
            "input": "hi",
            "output": "hello you",
            "prediction": {"generated_text": "hello you", "tokens": 3, "at_limit": False},
        },
        {"input": "bye", "output": "see you", "prediction": {"generated_text": "no", "tokens": 2, "at_limit": False}},
    ]
    section = sections_of(report_of(recipe, tmp_path, lines))["Texts and their lengths"]
    table = tables_of(section)["test: the first 2 rows"]
    assert texts_of(table)[1][2:] == ["see you", "no", "bye"]
    (plot,) = [block for block in section.blocks if isinstance(block, Lines)]
    assert plot.series[0].xs == [2, 2]


def test_texts_that_are_only_scored_are_ranked_by_loss(tmp_path):
    recipe = find("text-generation")()
    lines = [
        {"text": name, "prediction": {"tokens": 3, "correct": 1, "loss": loss, "bytes": 3}}
        for name, loss in (("a", 1.0), ("b", 5.0))
    ]
    (table,) = tables_of(sections_of(report_of(recipe, tmp_path, lines))["Worst rows"]).values()
    assert texts_of(table)[0] == ["1", "5.000", "b"]


def test_choices_have_losses_and_reliability(tmp_path):
    recipe = find("multiple-choice")()
    lines = []
    for right, scores in ((0, [0.7, 0.3]), (1, [0.8, 0.2])):
        best = int(np.argmax(scores))
        prediction = {"label": best, "choice": "ab"[best], "score": max(scores), "scores": scores}
        lines.append({"text": "q", "choices": ["a", "b"], "label": right, "prediction": prediction})
    sections = sections_of(report_of(recipe, tmp_path, lines))
    (table,) = tables_of(sections["Worst rows"]).values()
    assert texts_of(table)[0][2:4] == ["1: b", "0: a"]
    assert "Reliability" in sections
    assert "Risk and coverage" not in sections, "two rows say nothing about shares of rows"
    assert "Likely label errors" not in sections


@pytest.mark.parametrize("number", [2, 60, 90])
def test_a_matrix_of_many_labels_shows_those_that_are_confused_the_most(number, tmp_path):
    labels = [f"label {index:02}" for index in range(number)]
    lines = []
    for index, name in enumerate(labels):
        given = labels[(index + 1) % number] if index >= number // 2 else name
        lines.append({"text": "x", "label": name, "prediction": {"label": given, "score": 1.0, "scores": {given: 1.0}}})
    run = report_of(classifier(labels), tmp_path, lines)
    matrix = classes.matrix("test", run.breakdowns["test"])
    assert len(matrix.labels) == min(number, classes.LARGEST)
    assert labels[-1] in matrix.labels
    assert np.array(matrix.counts).sum() >= number // 2
