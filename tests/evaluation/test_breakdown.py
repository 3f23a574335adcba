"""Scores by label equal those of scikit-learn and seqeval, and confusions are counted."""

from __future__ import annotations

import json

import numpy as np
import pytest
import sklearn.metrics
from datasets import Dataset
from rows import opinions

import hfrecipes
from hfrecipes.evaluation.breakdown import LISTED, Breakdown, breakdown, listed_classes, sentences
from hfrecipes.evaluation.evaluate import Predicted
from hfrecipes.registry import find

NAMES = ["a", "b", "c"]


def report_of(recipe, predictions: list, references: list, **columns: list) -> Breakdown:
    rows = Dataset.from_dict(columns or {"text": ["x"] * len(references)})
    return breakdown(recipe, Predicted(rows, references, None, predictions))


def as_numbers(report: Breakdown) -> np.ndarray:
    return np.array([[c.precision, c.recall, c.f1, c.support] for c in report.classes.values()])


@pytest.mark.parametrize("seed", range(5))
def test_scores_of_one_label_are_those_of_scikit_learn(seed):
    generator = np.random.default_rng(seed)
    recipe = find("text-classification")(problem_type="single_label_classification")
    recipe.labels = NAMES
    references = generator.choice([*NAMES, "new"], 60).tolist()
    given = generator.choice(NAMES, 60).tolist()
    report = report_of(recipe, [{"label": name} for name in given], references)
    expected = sklearn.metrics.precision_recall_fscore_support(
        references, given, labels=[*NAMES, "new"], zero_division=0
    )
    assert list(report.classes) == [*NAMES, "new"]
    assert as_numbers(report) == pytest.approx(np.array(expected).T)
    matrix = sklearn.metrics.confusion_matrix(references, given, labels=[*NAMES, "new"])
    assert np.array_equal(report.matrix, matrix)
    for label, name, times in report.confusions:
        assert matrix[list(report.classes).index(label), list(report.classes).index(name)] == times
    assert sum(times for *_, times in report.confusions) == matrix.sum() - np.trace(matrix)
    assert [times for *_, times in report.confusions] == sorted((c[2] for c in report.confusions), reverse=True)


@pytest.mark.parametrize("seed", range(5))
def test_scores_of_several_labels_are_those_of_scikit_learn(seed):
    generator = np.random.default_rng(seed)
    recipe = find("text-classification")(problem_type="multi_label_classification")
    recipe.labels = NAMES
    tables = generator.integers(0, 2, (2, 40, 3))
    sets = [[[NAMES[column] for column in np.flatnonzero(row)] for row in table] for table in tables]
    report = report_of(recipe, [{"label": names} for names in sets[0]], sets[1])
    expected = sklearn.metrics.precision_recall_fscore_support(tables[1], tables[0], zero_division=0)
    assert as_numbers(report) == pytest.approx(np.array(expected).T)
    assert not report.confusions


@pytest.mark.parametrize("seed", range(5))
def test_scores_of_entities_are_those_of_seqeval(seed):
    from seqeval.metrics import classification_report

    generator = np.random.default_rng(seed)
    recipe = find("token-classification")(scheme="BIO")
    recipe.labels = ["O", "B-x", "I-x", "B-y", "I-y"]
    references = [generator.choice(recipe.labels, 9).tolist() for _ in range(20)]
    given = [generator.choice(recipe.labels, 9).tolist() for _ in range(20)]
    report = report_of(recipe, [{"tags": tags} for tags in given], references)
    expected = classification_report(references, given, output_dict=True, zero_division=0)
    for name, scores in report.classes.items():
        found = expected[name]
        assert scores.precision == pytest.approx(found["precision"])
        assert scores.recall == pytest.approx(found["recall"])
        assert scores.f1 == pytest.approx(found["f1-score"])
        assert scores.support == found["support"]
    assert report.by == "type of entity"


def test_an_entity_of_another_type_is_a_confusion_and_a_missed_one_too():
    recipe = find("token-classification")(scheme="BIO")
    recipe.labels = ["O", "B-x", "B-y"]
    report = report_of(recipe, [{"tags": ["B-y", "O", "B-x"]}] * 2, [["B-x", "B-y", "O"], ["B-x", "B-y", "O"]])
    assert report.confusions == [("O", "x", 2), ("x", "y", 2), ("y", "O", 2)]


def test_choices_are_told_apart_by_the_position_of_the_right_one():
    recipe = find("multiple-choice")()
    report = report_of(recipe, [{"label": 0}, {"label": 0}, {"label": 1}, {"label": 1}], [0, 1, 1, "no choice"])
    assert report.by == "position"
    assert [name for name in report.classes if name.isdecimal()] == ["0", "1"]
    assert report.classes["1"].support == 2
    assert report.classes["1"].recall == 0.5
    assert ("1", "0", 1) in report.confusions


def test_answers_are_told_apart_by_kind_and_question_word():
    recipe = find("question-answering")(version_2_with_negative=True)
    answers = [{"text": ["red"], "answer_start": [0]}, {"text": [], "answer_start": []}] * 2
    questions = ["What is it?", "what else?", "Who is it?", "who?"]
    predictions = [{"answer": answer} for answer in ("red", "", "blue", "blue")]
    references = [["red"], [], ["red"], []]
    report = report_of(recipe, predictions, references, question=questions, answers=answers)
    assert report.slices["answers"]["with answer"]["f1"] == 50
    assert report.slices["answers"]["without answer"]["exact_match"] == 50
    assert report.slices["question"]["what"] == pytest.approx(
        {"rows": 2, "f1": 100, "exact_match": 100, "HasAns_f1": 100, "NoAns_f1": 100}
    )
    (by_question, by_answers) = sentences("test", report)
    assert by_question.startswith("test by question: what f1 100.000 exact_match 100.000 (2 rows), who f1 0.000")
    assert by_answers.startswith("test by answers: with answer f1 50.000")


def test_tasks_without_labels_and_parts_have_no_report():
    recipe = find("text-classification")(problem_type="regression")
    assert report_of(recipe, [{"label": 1.5}], [2.0]) is None


def test_of_many_labels_the_worst_are_listed():
    recipe = find("text-classification")(problem_type="single_label_classification")
    recipe.labels = [f"label {number:02}" for number in range(60)]
    references = recipe.labels * 2
    given = [name if int(name[-2:]) % 3 else "label 01" for name in references]
    report = report_of(recipe, [{"label": name} for name in given], references)
    assert not report.matrix
    assert len(report.classes) == 60
    assert len(report.confusions) == 20
    listed = listed_classes(report)
    assert len(listed) == LISTED
    assert all(scores.f1 == 0 for scores in listed.values())
    assert (
        sentences("test", report)[0] == "the table shows the 12 of 60 with the lowest F1; report.json has all of them"
    )
    assert Breakdown.of(json.loads(json.dumps(report.as_dict()))) == report


def test_a_run_prints_writes_and_shows_the_scores_of_each_label(tiny_bert, tmp_path):
    from click.testing import CliRunner

    from hfrecipes.cli import main

    rows = [{**row, "label": row["label"].replace("good", "go|od [b]<i>")} for row in opinions(60)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [f"model={tiny_bert}", f"dataset={tmp_path / 'rows.jsonl'}", f"output_dir={tmp_path / 'run'}"]
    outcome = CliRunner().invoke(main, ["run", "text-classification", *words, "max_steps=2", "bf16=false"])
    assert outcome.exit_code == 0, outcome.output
    head = next(line for line in outcome.output.splitlines() if line.startswith("label (validation)"))
    assert head.split()[2:] == ["precision", "recall", "f1", "support"]
    assert "go|od [b]<i>" in outcome.output
    result = hfrecipes.run(
        "text-classification",
        model=tiny_bert,
        dataset=str(tmp_path / "rows.jsonl"),
        output_dir=tmp_path / "run",
        max_steps=2,
        bf16=False,
    )
    frame = result.report()
    assert frame.index.tolist() == ["bad", "go|od [b]<i>"]
    assert frame["support"].sum() == len((tmp_path / "run" / "predictions.jsonl").read_text().splitlines())
    predictions = [json.loads(line) for line in (tmp_path / "run" / "predictions.jsonl").open()]
    right = sum(line["prediction"]["label"] == line["label"] for line in predictions)
    assert sum(np.diag(result.reports["validation"].matrix)) == right
    shown = result._repr_html_()
    assert "<td>go|od [b]&lt;i&gt;</td>" in shown
    assert "<i>" not in shown
    assert shown.count("<table>") == 2
    card = (tmp_path / "run" / "README.md").read_text()
    assert "### By label on validation" in card
    assert "| go\\|od \\[b\\]\\<i\\> |" in card
