"""Rows of different numbers of choices are trained and scored right, whatever names their label and choices have."""

from __future__ import annotations

import json
import random
import re

import datasets
import numpy as np
import pytest
import sklearn.metrics
import torch
from conftest import BAD, GOOD, THINGS, make_tokenizer
from hypothesis import strategies as st
from random_cases import random_cases

import hfrecipes
from hfrecipes.config.run_config import RunConfig
from hfrecipes.data.prepare import read_splits
from hfrecipes.errors import DataError
from hfrecipes.tasks._choice_texts import choice_texts
from hfrecipes.tasks.multiple_choice import MultipleChoice

CHOICES = ["by bus", "on foot", "never"]


def read(rows: list[dict], tmp_path) -> tuple[MultipleChoice, datasets.Dataset]:
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = MultipleChoice()
    data = read_splits(RunConfig(task=recipe.task, dataset=str(tmp_path / "train.jsonl")), recipe)
    recipe.infer_labels(data.splits["train"])
    return recipe, data.splits["train"]


def in_columns(names: list[str]) -> dict:
    return dict(zip(names, CHOICES, strict=True))


SHAPES = {
    "SWAG": {"sent1": "He left.", "sent2": "He goes", **in_columns(["ending0", "ending1", "ending2"]), "label": 1},
    "CODAH": {"category": "n", "sent": "He goes", **in_columns(["ending0", "ending1", "ending2"]), "label": "1"},
    "RACE": {"article": "A text.", "question": "How?", "options": CHOICES, "answer": "B"},
    "letters beside choices": {
        "question": "How?",
        "choices": {"label": ["A", "B", "C"], "text": CHOICES},
        "answerKey": "B",
    },
    "numbers beside choices": {
        "question_stem": "How?",
        "choices": {"label": ["1", "2", "3"], "text": CHOICES},
        "answerKey": "2",
    },
    "options from 1": {"sentence": "He goes _.", **in_columns(["option1", "option2", "option3"]), "answer": "2"},
    "columns A to C": {"question": "How?", **in_columns(["A", "B", "C"]), "answer": "B"},
    "text of the choice": {"question": "How?", "choices": CHOICES, "label": "on foot"},
    "texts with their letters": {
        "question": "How?",
        "choices": [{"label": letter, "text": text} for letter, text in zip("ABC", CHOICES, strict=True)],
        "answerKey": "B",
    },
    "question with its choices": {
        "question": {
            "stem": "How?",
            "choices": [{"label": letter, "text": text} for letter, text in zip("ABC", CHOICES, strict=True)],
        },
        "answerKey": "B",
    },
    "columns with letters": {"question": "How?", **in_columns(["answerA", "answerB", "answerC"]), "label": "B"},
    "lists in a cell": {"question": "How?", "choices": json.dumps(CHOICES), "label": "1"},
    "named values": {
        "question": "How?",
        "options": [{"key": key, "value": text} for key, text in zip("ABC", CHOICES, strict=True)],
        "answer": "on foot",
    },
    "letter in brackets": {"question": "How?", "choices": CHOICES, "label": "(B)"},
    "text in other case": {"question": "How?", "choices": CHOICES, "label": "On foot"},
    "choices by letter": {"question": "How?", "options": dict(zip("ABC", CHOICES, strict=True)), "answer": "B"},
    "number as decimal": {"question": "How?", "choices": CHOICES, "label": 1.0},
}


SHAPES |= {
    "DREAM": {"dialogue": ["W: Hi.", "M: Yes?"], "question": "How?", "choice": CHOICES, "answer": "on foot"},
    "choices as lists": {"question": "How?", "choices": [["by bus"], ["on", "foot"], ["never"]], "label": 1},
    "MedMCQA": {"question": "How?", **in_columns(["opa", "opb", "opc"]), "cop": 1},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_published_shape_gives_the_same_choice(shape, tmp_path):
    rows = [SHAPES[shape]] * 3
    if shape == "options from 1":
        rows = [*rows, {**SHAPES[shape], "answer": "3"}]
    recipe, train = read(rows, tmp_path)
    assert train[0]["choices"] == CHOICES
    assert recipe.reference(train[0]) == 1


TURNS = ["W: Is it far?", "M: Not on foot."]
QUESTION = {"question": "How?", "choice": CHOICES, "answer": "on foot"}


@pytest.mark.parametrize(
    "row",
    [
        {"dialogue": TURNS, "questions": [QUESTION, {**QUESTION, "question": "When?"}], "id": "7"},
        {
            "dialogue": [{"speaker": "W", "text": "Is it far?"}, {"speaker": "M", "text": "Not on foot."}],
            "qa": [QUESTION, {**QUESTION, "question": "When?"}],
            "id": "7",
        },
        {"article": TURNS, "questions": ["How?", "When?"], "options": [CHOICES] * 2, "answers": ["B", "B"], "id": "7"},
    ],
)
def test_several_questions_about_one_text_are_a_row_each(row, tmp_path):
    recipe, train = read([row] * 3, tmp_path)
    assert train["question"][:4] == ["How?", "When?"] * 2
    for index in range(6):
        assert train[index]["context"] == "W: Is it far?\nM: Not on foot."
        assert train[index]["choices"] == CHOICES
        assert train[index]["id"] == "7"
        assert recipe.reference(train[index]) == 1


def test_entries_without_names_are_a_text_its_questions_and_an_id(tmp_path):
    first = [TURNS, [QUESTION, {**QUESTION, "question": "When?", "answer": "never"}], "1-7"]
    (tmp_path / "train.json").write_text(json.dumps([first, [TURNS[:1], [QUESTION], "1-8"]]))
    recipe = MultipleChoice()
    train = read_splits(RunConfig(task=recipe.task, dataset=str(tmp_path / "train.json")), recipe).splits["train"]
    recipe.infer_labels(train)
    assert train["id"][:] == ["1-7", "1-7", "1-8"]
    assert train[2]["context"] == "W: Is it far?"
    assert [recipe.reference(row) for row in train] == [1, 2, 1]


def test_lists_of_different_lengths_are_refused(tmp_path):
    row = {"article": "x", "questions": ["How?", "When?"], "options": [CHOICES], "answers": ["B", "B"]}
    with pytest.raises(DataError, match="a row has 2 questions, 1 options, 2 answers: expected as many of each"):
        read([row] * 3, tmp_path)


@pytest.mark.parametrize("label", [0, 2, "by bus"])
def test_of_equal_choices_the_first_is_right_whichever_is_named(label, caplog):
    good = {"question": "How?", "choices": CHOICES, "label": "by bus" if isinstance(label, str) else 0}
    twice = {"question": "How?", "choices": ["by bus", "on foot", "by bus "], "label": label}
    form = "text" if isinstance(label, str) else "from_0"
    assert MultipleChoice(label_form=form).reference(twice) == 0
    dataset = {"train": [*[good] * 9, twice], "validation": [good]}
    with caplog.at_level("INFO", "hfrecipes"):
        hfrecipes.check("multiple-choice", dataset=dataset, label_form=form)
    assert "train: two choices are equal, of which the first stands for both in 1 row (9, counted" in caplog.text


def test_labels_count_from_1_only_where_the_last_choice_shows_it(tmp_path):
    rows = [{"question": "How?", "choices": CHOICES, "label": label} for label in (1, 2, 3)]
    recipe, train = read(rows, tmp_path)
    assert [recipe.reference(row) for row in train] == [0, 1, 2]
    recipe, train = read(rows[:2], tmp_path)
    assert [recipe.reference(row) for row in train] == [1, 2]


@pytest.mark.parametrize(
    ("choices", "labels", "references", "sentence"),
    [
        (["3", "1", "0", "2"], ["0", "1", "2", "3"], [0, 1, 2, 3], "counted from 0"),
        (["B", "A", "C"], ["A", "B", "C"], [0, 1, 2], "the letter of the choice"),
        (["17", "4", "20"], ["4", "17", "20"], [1, 0, 2], "the text of the choice"),
        (["是", "否"], ["是", "否"], [0, 1], "the text of the choice"),
        (CHOICES, ["1", "2", "2"], [1, 2, 2], "counted from 0; none of them is the first choice"),
        (CHOICES, ["1", "2", "3"], [0, 1, 2], "counted from 1"),
    ],
)
def test_what_labels_are_is_decided_once_for_all_rows_and_said(choices, labels, references, sentence):
    rows = datasets.Dataset.from_list([{"question": "?", "choices": choices, "label": label} for label in labels])
    recipe = MultipleChoice()
    assert sentence in recipe.infer_labels(rows)[-1]
    assert [recipe.reference(row) for row in rows] == references


def test_an_empty_choice_between_others_does_not_move_the_answer(tmp_path):
    row = {"question": "How?", "A": "by bus", "B": "", "C": "on foot", "D": "never", "answer": "C"}
    recipe, train = read([row] * 3, tmp_path)
    assert train[0]["choices"] == ["by bus", "", "on foot", "never"]
    assert recipe.reference(train[0]) == 2
    recipe, train = read([{**row, "B": "by car", "D": ""}] * 3, tmp_path)
    assert train[0]["choices"] == ["by bus", "by car", "on foot"]


def test_numbers_as_choices_are_read_as_texts(tmp_path):
    recipe, train = read([{"question": "How many?", "choices": [3, 5, 8], "label": 1}] * 3, tmp_path)
    assert train[0]["choices"] == ["3", "5", "8"]
    assert recipe.reference(train[0]) == 1


def test_a_letter_that_no_choice_has_is_named(tmp_path):
    row = {"question": "How?", "choices": {"label": ["1", "2", "3"], "text": CHOICES}, "answerKey": "2"}
    (tmp_path / "train.jsonl").write_text("".join(json.dumps({**row, "answerKey": key}) + "\n" for key in "2A"))
    with pytest.raises(DataError, match=r"label 'A \(not in 1, 2, 3\)' is none of the choices"):
        hfrecipes.check("multiple-choice", dataset=str(tmp_path / "train.jsonl"))


@pytest.mark.parametrize("choices", [["by bus", None], ["by bus", " "], [], None])
def test_rows_to_predict_without_choices_are_answered_none_and_named(quick, tmp_path, choices, caplog):
    rows = [dict(MultipleChoice.samples[place % 4]) for place in range(20)]
    result = hfrecipes.run("multiple-choice", dataset=rows, output_dir=tmp_path / "run", **quick)
    first, second = result.predict([rows[0], {"question": "How?", "choices": choices}])
    assert first is not None
    assert second is None
    assert re.search(r"choices (is empty|has an empty entry) in 1 row \(1", caplog.text)


@pytest.mark.parametrize("label", [None, -1, "-1", "", float("nan")])
def test_a_missing_label_is_no_answer(label):
    assert MultipleChoice().reference({"choices": CHOICES, "label": label}) is None


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"choices": CHOICES, "label": 3}, "label '3' is none of the choices"),
        ({"choices": CHOICES, "label": "by ship"}, "label 'by ship' is none of the choices"),
        ({"choices": CHOICES[:1], "label": 0}, "there are 1 choices, expected 2 to 26"),
        ({"choices": [str(place) for place in range(27)], "label": 0}, "there are 27 choices, expected 2 to 26"),
        ({"choices": ["by bus", " "], "label": 0}, "choices has an empty entry"),
    ],
)
def test_rows_that_cannot_be_used_are_named(row, sentence):
    good = {"question": "How?", "choices": CHOICES, "label": "0"}
    wrong = {"question": "How?", **row, "label": str(row["label"])}
    with pytest.raises(DataError, match=sentence):
        hfrecipes.check("multiple-choice", dataset={"train": [*[good] * 9, wrong], "validation": [good]})


def test_a_gap_in_the_question_is_filled_with_the_choice():
    recipe = MultipleChoice()
    recipe.tokenizer = make_tokenizer()
    features = recipe.encode({"question": ["the _ was fine"], "choices": [["film", "book"]]})
    shown = [recipe.tokenizer.decode(ids) for ids in features["input_ids"][0]]
    assert "the film was fine" in shown[0]
    assert "the book was fine" in shown[1]


@pytest.mark.parametrize("question", ["what was it that they saw " * 20, "they saw it there " * 20 + "_ again"])
@pytest.mark.parametrize("context", [None, "the film was great " * 30])
def test_a_long_question_leaves_room_for_the_choice(question, context):
    recipe = MultipleChoice(max_length=32)
    recipe.tokenizer = make_tokenizer()
    batch = {"question": [question], "choices": [["film", "book"]], **({"context": [context]} if context else {})}
    features = recipe.encode(batch)
    shown = [recipe.tokenizer.decode(ids) for ids in features["input_ids"][0]]
    assert "film" in shown[0].replace("the film was", "")
    assert "book" in shown[1]
    assert max(features["length"]) <= 32
    assert features["over_max_length"] == [True]


def test_a_gap_between_chinese_letters_is_filled():
    recipe = MultipleChoice()
    recipe.tokenizer = make_tokenizer()
    assert choice_texts(recipe, None, "他今天___了。", "走").second == "他今天走了。"


@random_cases(1000, st.data())
def test_accuracy_is_that_of_scikit_learn(data):
    reference = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=30))
    predicted = data.draw(st.lists(st.integers(0, 3), min_size=len(reference), max_size=len(reference)))
    recipe = MultipleChoice()
    weights = np.ones((1, len(reference)), dtype=np.float32)
    found = recipe.measure([{"label": label} for label in predicted], reference)(weights)
    assert found["accuracy"][0] == pytest.approx(sklearn.metrics.accuracy_score(reference, predicted))


@pytest.fixture
def mixed(tiny_bert):
    """Rows of 2, 4 and 3 choices, and a model without dropout."""
    from transformers import AutoModelForMultipleChoice, AutoTokenizer

    recipe = MultipleChoice(label_form="from_0")
    recipe.tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    torch.manual_seed(0)
    model = AutoModelForMultipleChoice.from_pretrained(tiny_bert).eval()
    rows = [
        {"question": "the film", "choices": THINGS[:number], "label": label}
        for number, label in ((2, "1"), (4, "3"), (3, "0"))
    ]
    batch = {name: [row[name] for row in rows] for name in rows[0]}
    encoded = datasets.Dataset.from_dict(recipe.encode(batch))
    return recipe, model, rows, encoded


def test_a_batch_of_rows_with_different_numbers_of_choices_loses_what_each_row_loses_alone(mixed):
    from hfrecipes.evaluation.inference import collator

    recipe, model, _, encoded = mixed
    collate = collator(recipe, model)

    def loss_and_gradient(places: list[int], items: int | None) -> tuple[float, torch.Tensor]:
        batch = collate([encoded[place] for place in places])
        labels, sizes = batch.pop("labels"), batch.pop("sizes")
        model.zero_grad()
        loss = recipe.loss()({**model(**batch), "sizes": sizes}, labels, items)
        loss.backward()
        return float(loss), model.classifier.weight.grad.clone()

    together, gradient = loss_and_gradient([0, 1, 2], None)
    alone = [loss_and_gradient([place], 3) for place in range(3)]
    assert together == pytest.approx(sum(loss for loss, _ in alone), abs=1e-5)
    assert torch.allclose(gradient, sum(part for _, part in alone), atol=1e-6)


def test_no_choice_is_dropped_and_none_invented(mixed):
    from hfrecipes.evaluation.inference import collator
    from hfrecipes.models.binding import model_inputs

    recipe, model, rows, encoded = mixed
    batch = collator(recipe, model)([encoded[place] for place in range(3)])
    assert batch["input_ids"].shape[:2] == (3, 4)
    assert (batch["labels"] != -100).sum() == 3, "as many labels as rows, for the mean under accumulation"
    assert batch["sizes"].tolist() == [2, 4, 3]
    batch = model_inputs(recipe, batch)
    with torch.no_grad():
        together = recipe.decode(model(**batch).logits.numpy(), rows, encoded)
        for place, made in enumerate(together):
            one = model_inputs(recipe, collator(recipe, model)([encoded[place]]))
            alone = recipe.decode(model(**one).logits.numpy(), [rows[place]], encoded.select([place]))[0]
            assert len(made["scores"]) == len(rows[place]["choices"])
            assert made["scores"] == pytest.approx(alone["scores"], abs=1e-5)
            assert made["choice"] == rows[place]["choices"][made["label"]]


def moods(number: int) -> list[dict]:
    """Praise: choose the only good word, of two to five."""
    generator, rows = random.Random(0), []
    for place in range(number):
        choices = [generator.choice(GOOD), *generator.sample(BAD, 1 + place % 4)]
        right = choices[0]
        generator.shuffle(choices)
        rows.append({"question": f"the {generator.choice(THINGS)} was", "choices": choices, "label": right})
    return rows


def test_a_run_learns_from_rows_of_two_to_five_choices(quick, tmp_path):
    rows = moods(150)
    data = {"train": rows[:110], "validation": rows[110:130], "test": rows[130:]}
    result = hfrecipes.run(
        "multiple-choice", dataset=data, output_dir=tmp_path / "run", **{**quick, "num_train_epochs": 4}
    )
    assert result.metrics["test"]["accuracy"] > 0.9
    assert result.predict({"question": "the film was", "choices": ["awful", "great"]})["choice"] == "great"


def test_the_card_of_a_model_that_reads_a_context_shows_one(quick, tmp_path, monkeypatch):
    rows = [{"context": f"text {place // 2}", **MultipleChoice.samples[place % 4]} for place in range(24)]
    hfrecipes.run("multiple-choice", dataset=rows, output_dir=tmp_path / "run", **quick)
    monkeypatch.chdir(tmp_path)
    snippets = (tmp_path / "run" / "README.md").read_text().split("```python\n")[1:]
    assert len(snippets) == 2, "one for transformers, one for hfrecipes"
    for snippet in snippets:
        exec(snippet.partition("```")[0], {})
