"""What a run has learnt to look at: words of each label, wrong rows, and whether attributions can be trusted."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import make_tokenizer
from models import ReadsOneToken
from rows import BAD, GOOD, opinions

import hfrecipes
from hfrecipes.cli import main
from hfrecipes.errors import NotFoundError
from hfrecipes.evaluation.inference import Inference
from hfrecipes.explaining.explainer import Explainer
from hfrecipes.explaining.explanation import Attribution, Explanation, Word
from hfrecipes.explaining.faithfulness import DRAWS, SHARES, Mean, row_drops, summarized
from hfrecipes.explaining.label_words import words_by_label
from hfrecipes.explaining.nearest import nearest_rows, vectors
from hfrecipes.explaining.run import explain_run, wrong_lines
from hfrecipes.tasks.question_answering import QuestionAnswering
from hfrecipes.tasks.text_classification import TextClassification
from hfrecipes.tasks.token_classification import TokenClassification

TEXT = "the film the lamp the was awful the book the"


@pytest.fixture(scope="module")
def folder(tiny_bert, tmp_path_factory):
    """A run on rows of which the last ones are labelled wrong."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    rows = opinions(80)
    test = opinions(24, seed=1)
    for row in test[:4]:
        row["label"] = "good" if row["label"] == "bad" else "bad"
    (folder.parent / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder.parent / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in test), encoding="utf-8")
    hfrecipes.run(
        "text-classification",
        model=tiny_bert,
        dataset=str(folder.parent),
        output_dir=str(folder),
        learning_rate=1e-2,
        num_train_epochs=8,
        load_best_model_at_end=False,
        early_stopping=False,
        per_device_train_batch_size=8,
        bf16=False,
    )
    return folder


@pytest.fixture
def predictor(folder):
    return hfrecipes.load(folder)


# --- faithfulness ----------------------------------------------------------------------------------------------------


def reads_one(index: int):
    recipe = TextClassification(max_length=24)
    recipe.labels = ["bad", "good"]
    recipe.tokenizer = make_tokenizer()
    model = ReadsOneToken(len(recipe.tokenizer), index)
    with torch.no_grad():
        model.head.weight *= 3
    return Explainer(Inference.of(model, recipe, {"use_cpu": True}))


def test_hiding_the_word_that_a_model_reads_lowers_the_probability_and_hiding_others_does_not():
    explainer = reads_one(7)
    labels = {}
    for label in ("bad", "good"):
        ((explained, words, target),) = explainer.attributed({"text": TEXT}, {"label": label})
        labels[label] = explained, words, target
    # The label that the word speaks for.
    explained, words, target = labels[max(labels, key=lambda label: labels[label][2].values[6])]
    drops = row_drops(explainer.attributor, explained, words, target, np.random.default_rng(0))
    assert drops.shape == (len(SHARES), 2, 2)
    hidden, kept = drops[:, 0, 0], drops[:, 0, 1]
    assert np.all(hidden > 0.01)
    assert kept == pytest.approx(0, abs=1e-6)
    # As many random words hit it less often than always.
    assert np.all(drops[:2, 1, 0] < hidden[:2])
    (first, *_) = summarized([drops, drops])
    assert first.comprehensiveness_gain.value == pytest.approx(hidden[0] - drops[0, 1, 0])
    assert first.share == SHARES[0]
    assert DRAWS > 1


def test_hidden_words_get_the_embedding_of_the_stand_in():
    explainer = reads_one(7)
    ((explained, words, _),) = explainer.attributed({"text": TEXT}, {"label": "good"})
    hidden = np.zeros((2, len(explained.tokens)), dtype=bool)
    hidden[1, 7] = True
    whole, same, without = explainer.attributor.probabilities(explained, hidden)
    assert whole == pytest.approx(same)
    masked = [word.text for word in words]
    masked[6] = "the"
    table = explainer.attributor.inference.model.table
    with torch.no_grad():
        known = table.weight[explainer.attributor.inference.recipe.tokenizer.mask_token_id]
        table.weight[explainer.attributor.inference.recipe.tokenizer.convert_tokens_to_ids("the")] = known
    ((again, *_),) = explainer.attributed({"text": " ".join(masked)}, {"label": "good"})
    assert explainer.attributor.probabilities(again, hidden[:1])[0] == pytest.approx(without, abs=1e-6)


def test_the_interval_of_a_mean_is_that_of_resampled_rows():
    values = np.random.default_rng(1).normal(0.3, 0.1, size=400)
    mean = Mean.of(values)
    assert mean.low < mean.value < mean.high
    assert mean.high - mean.low == pytest.approx(2 * 1.96 * 0.1 / 20, rel=0.15)
    assert str(Mean(0.25, 0.1, 0.4)) == "+0.250 (+0.100 to +0.400)"


def test_a_number_has_no_probability_that_could_fall():
    recipe = TextClassification(max_length=24, problem_type="regression")
    recipe.tokenizer = make_tokenizer()
    explainer = Explainer(Inference.of(ReadsOneToken(len(recipe.tokenizer), 2), recipe, {"use_cpu": True}))
    ((explained, words, target),) = explainer.attributed({"text": TEXT}, {"label": 1.0})
    assert row_drops(explainer.attributor, explained, words, target, np.random.default_rng(0)) is None


# --- words of labels -------------------------------------------------------------------------------------------------


def explained_as(label: str, words: dict[str, float]) -> Explanation:
    listed = [Word(word, 0, 1) for word in words]
    return Explanation({}, {}, listed, [Attribution(label, list(words.values()), 1, 0, 0, 32)], "[MASK]")


def test_words_of_a_label_are_means_over_three_occurrences_or_more():
    rows = [explained_as("good", {"Fine": 1.0, "film": 0.1, "!": 9.0})] * 2
    rows += [explained_as("good", {"fine": 4.0, "rare": 5.0, "film": 0.1}), explained_as("bad", {"film": -1.0})]
    words = words_by_label(rows)
    assert [(entry.word, entry.count) for entry in words["good"]] == [("fine", 3), ("film", 3)]
    assert words["good"][0].mean == pytest.approx(2.0)
    assert words["bad"] == []


# --- nearest rows ----------------------------------------------------------------------------------------------------


def test_the_nearest_training_rows_are_those_with_the_largest_cosine(predictor, monkeypatch):
    from datasets import Dataset

    monkeypatch.setattr("hfrecipes.explaining.nearest.BLOCK", 7)  # several blocks, the last one smaller
    train = Dataset.from_list([{"text": row["text"]} for row in opinions(40, seed=3)])
    rows = train.select([5, 11])
    nearest, compared = nearest_rows(predictor.inference, train, rows, time.monotonic() + 60)
    assert compared == 40
    known = vectors(predictor.inference, train)
    known = known / np.linalg.norm(known, axis=1, keepdims=True)
    for index, near in zip((5, 11), nearest, strict=True):
        cosines = known @ known[index]
        assert near[0].similarity == pytest.approx(1.0, abs=1e-5)
        assert [row.similarity for row in near] == pytest.approx(sorted(cosines, reverse=True)[:3], abs=1e-5)


def test_vectors_do_not_depend_on_the_other_rows_of_a_batch(predictor):
    from datasets import Dataset

    rows = Dataset.from_list([{"text": "the film was fine"}, {"text": "the " + "film book " * 10 + "was poor"}])
    together = vectors(predictor.inference, rows)
    assert vectors(predictor.inference, rows.select([0]))[0] == pytest.approx(together[0], abs=1e-4)


def test_training_rows_beyond_the_time_are_counted_as_not_compared(predictor, monkeypatch):
    from datasets import Dataset

    monkeypatch.setattr("hfrecipes.explaining.nearest.BLOCK", 8)
    train = Dataset.from_list([{"text": row["text"]} for row in opinions(30)])
    nearest, compared = nearest_rows(predictor.inference, train, train.select([0]), time.monotonic() - 1)
    assert compared == 8
    assert len(nearest[0]) == 3


# --- the run ---------------------------------------------------------------------------------------------------------


def test_a_run_is_explained_by_words_wrong_rows_and_training_rows_near_them(predictor):
    labels = list(predictor.recipe.labels)
    explanation = explain_run(predictor, rows=10, seconds=60)
    assert set(explanation.words) <= {"good", "bad"}
    (first, *_) = explanation.faithfulness
    assert first.share == 0.1
    wrong = explanation.worst
    assert wrong
    assert all(row.explanation.prediction["label"] != row.reference for row in wrong)
    assert all(len(row.nearest) == 3 for row in wrong)
    assert set(wrong[0].nearest[0].row) >= {"text", "label"}
    notes = " ".join(explanation.notes)
    assert "10 of 24 rows of test" in notes
    assert "of 72 of 72 rows" in notes  # 8 were drawn as validation
    assert json.loads(json.dumps(explanation.as_json()))["split"] == "test"
    assert predictor.recipe.labels == labels


def test_a_model_that_knows_the_words_of_its_labels_shows_them(predictor):
    words = explain_run(predictor, rows=24, seconds=60).words
    # A label that the model gives to a text without words has none that speak for it.
    spoken_for = {label: entries[0] for label, entries in words.items() if entries and entries[0].mean > 0.01}
    assert spoken_for, words
    for label, entry in spoken_for.items():
        assert entry.word in {*({"good": GOOD, "bad": BAD}[label]), "was"}


def test_rows_that_are_not_at_hand_any_more_are_named(folder, predictor):
    (folder.parent / "train.jsonl").rename(folder.parent / "moved.txt")
    try:
        explanation = explain_run(predictor, rows=2, seconds=60)
    finally:
        (folder.parent / "moved.txt").rename(folder.parent / "train.jsonl")
    assert "nearest training rows: not shown" in " ".join(explanation.notes)
    assert explanation.worst[0].nearest == []


def test_time_that_is_over_ends_each_part_after_one_row(predictor):
    explanation = explain_run(predictor, rows=10, seconds=0)
    assert "means over 1 of 8 rows of validation" in explanation.notes[0]
    assert "faithfulness: 1 of 24 rows" in explanation.notes[1]


def test_the_report_of_a_run_says_why(folder, monkeypatch):
    monkeypatch.setattr("hfrecipes.reports.sections.explanations.ROWS", 5)
    result = CliRunner().invoke(main, ["report", str(folder)])
    assert result.exit_code == 0, result.output
    page = (folder / "report.html").read_text(encoding="utf-8")
    for shown in ("Why it said so", "nearest training rows", "integrated gradients", "5 of 24 rows of test"):
        assert shown in page


def test_without_captum_the_report_names_the_extra(folder, monkeypatch):
    monkeypatch.setattr("hfrecipes.reports.sections.explanations.find_spec", lambda name: None)
    assert CliRunner().invoke(main, ["report", str(folder)]).exit_code == 0
    assert "captum is missing" in (folder / "report.html").read_text(encoding="utf-8")


def test_a_model_without_predictions_is_refused(predictor, tmp_path):
    predictor.folder = tmp_path
    with pytest.raises(NotFoundError, match=r"has no predictions\.jsonl"):
        explain_run(predictor)


@pytest.mark.parametrize(
    ("kind", "reference", "right", "wrong"),
    [
        (TextClassification, {"label": "a"}, {"label": "a", "score": 0.9}, {"label": "b", "score": 0.9}),
        (TextClassification, {"label": ["a", "b"]}, {"label": ["a", "b"]}, {"label": ["a"]}),
        (TextClassification, {"label": 2.0}, {"label": 2.0}, {"label": 3.5}),
        (TokenClassification, {"tags": ["O", "B-x"]}, {"tags": ["O", "B-x"]}, {"tags": ["B-x", "O"]}),
        (QuestionAnswering, {"answers": {"text": ["a", "b"], "answer_start": [0, 1]}}, {"answer": "b"}, {"answer": ""}),
        (QuestionAnswering, {"answers": {"text": [], "answer_start": []}}, {"answer": ""}, {"answer": "b"}),
    ],
)
def test_wrong_rows_are_told_for_every_form_of_prediction(kind, reference, right, wrong):
    recipe = kind()
    recipe.labels = ["O", "B-x"] if kind is TokenClassification else ["a", "b"]
    rows = [{"row": 0, **reference, "prediction": right}, {"row": 1, **reference, "prediction": wrong}]
    assert [line["row"] for line in wrong_lines(recipe, rows)] == [1]


@pytest.mark.long
def test_attributions_of_a_real_model_are_better_than_chance(tmp_path):
    hfrecipes.run("text-classification/quickstart", output_dir=str(tmp_path / "run"))
    explanation = explain_run(hfrecipes.load(tmp_path / "run"), rows=60, seconds=900)
    for share in explanation.faithfulness[1:]:
        assert share.comprehensiveness_gain.low > 0, share
        assert share.sufficiency_gain.low > 0, share
