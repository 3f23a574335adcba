"""Entities and answers are explained by the words that the model reads with them, each in its own window."""

from __future__ import annotations

import pytest
from rows import rows_of

import hfrecipes
from hfrecipes.tasks.question_answering import QuestionAnswering
from hfrecipes.tasks.token_classification import TokenClassification


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Trains one model of a task on its samples, once."""
    from hfrecipes.contract.tiny_models import tiny_model

    made = {}

    def train(kind: type, **settings):
        if kind not in made:
            folder = tmp_path_factory.mktemp("runs")
            hfrecipes.run(
                kind.task,
                model=tiny_model(kind, folder / "model"),
                dataset={"train": rows_of(kind, 60), "validation": rows_of(kind, 8)},
                output_dir=str(folder / "run"),
                learning_rate=1e-2,
                num_train_epochs=12,
                bf16=False,
                **settings,
            )
            made[kind] = folder / "run"
        return hfrecipes.load(made[kind])

    return train


def sums_up(explanation) -> None:
    for target in explanation.targets:
        difference = target.score - target.baseline_score
        assert sum(target.values) == pytest.approx(difference + target.delta, abs=1e-4)
        assert abs(target.delta) <= max(0.05 * abs(difference), 1e-3) or explanation.notes


# --- entities --------------------------------------------------------------------------------------------------------


def test_each_entity_is_a_target_with_its_characters(trained):
    predictor = trained(TokenClassification)
    words = TokenClassification.samples[0]["tokens"]
    explanation = predictor.explain({"tokens": words})
    text = " ".join(words)
    assert explanation.texts == {"tokens": text}
    assert [word.text for word in explanation.words] == words
    (target,) = explanation.targets
    assert (target.target, target.text) == ("person", "Amina Hassan")
    assert text[slice(*target.span)] == "Amina Hassan"
    sums_up(explanation)


def test_words_of_a_text_have_its_characters(trained):
    predictor = trained(TokenClassification)
    text = "Ask  Amina Hassan at the boat club."
    explanation = predictor.explain({"text": text})
    assert all(text[word.start : word.end] == word.text for word in explanation.words)
    assert [text[slice(*target.span)] for target in explanation.targets] == ["Amina Hassan"]
    assert explanation.prediction["entities"][0]["start"] == explanation.targets[0].span[0]


def test_a_sentence_without_entities_has_no_target_and_says_so(trained):
    explanation = trained(TokenClassification).explain({"tokens": ["No", "rehearsal", "today"]})
    assert explanation.targets == []
    assert "nothing is predicted" in explanation.notes[0]


def test_an_entity_of_a_long_sentence_is_explained_in_its_own_window(trained):
    predictor = trained(TokenClassification)
    predictor.recipe.max_length, predictor.recipe.stride = 16, 4
    words = ["No", "rehearsal", "today", ","] * 6 + ["Ask", "Amina", "Hassan", "at", "the", "boat"]
    tags = ["O"] * 25 + ["B-person", "I-person", "O", "O", "O"]
    explanation = predictor.explainer().explain({"tokens": words}, {"tags": tags})
    (target,) = explanation.targets
    assert (target.target, target.text) == ("person", "Amina Hassan")
    assert target.values[:10] == [0.0] * 10
    assert all(target.values[25:27])
    assert "outside of the" in explanation.notes[0]
    sums_up(explanation)


def test_words_without_a_token_of_their_own_are_explained_too(trained):
    predictor = trained(TokenClassification)
    words = ["Ask", "\u200b", "Amina", "Hassan", "at"]
    explanation = predictor.explain({"tokens": words})
    assert len(explanation.words) == 5
    sums_up(explanation)


# --- answers ---------------------------------------------------------------------------------------------------------


def test_an_answer_is_explained_by_question_and_context(trained):
    predictor = trained(QuestionAnswering)
    row = {name: QuestionAnswering.samples[0][name] for name in ("question", "context")}
    explanation = predictor.explain({**row, "question": "  " + row["question"]})
    assert {word.column for word in explanation.words} == {"question", "context"}
    for word in explanation.words:
        assert explanation.texts[word.column][word.start : word.end] == word.text
    (target,) = explanation.targets
    assert target.target == "answer"
    assert target.text == explanation.prediction["answer"] == row["context"][slice(*target.span)]
    sums_up(explanation)


def test_no_answer_is_a_target_too(trained):
    predictor = trained(QuestionAnswering)
    row = {name: QuestionAnswering.samples[2][name] for name in ("question", "context")}
    explanation = predictor.explain(row)
    assert explanation.prediction["answer"] == ""
    (target,) = explanation.targets
    assert target.target == "no answer"
    assert target.span is None
    sums_up(explanation)


def test_an_answer_in_a_long_context_is_explained_in_the_window_that_has_it(trained):
    predictor = trained(QuestionAnswering)
    predictor.recipe.max_length, predictor.recipe.doc_stride = 48, 12
    sample = QuestionAnswering.samples[0]
    before = "Tickets are sold at the pier only. " * 12
    start = len(before) + 25
    row = {"question": sample["question"], "context": before + sample["context"]}
    prediction = {"answer": "17:40", "start": start, "end": start + 5}
    explanation = predictor.explainer().explain(row, prediction)
    (target,) = explanation.targets
    assert explanation.texts["context"][slice(*target.span)] == "17:40"
    values = {}
    for word, value in zip(explanation.words, target.values, strict=True):
        values[word.column, word.start] = value
    assert values["context", start]
    assert values["question", 0]
    assert values["context", 0] == 0.0
    assert "outside of the" in explanation.notes[0]
    sums_up(explanation)
