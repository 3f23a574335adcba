"""Questions are asked as transformers asks them, answered with the same probabilities, and scored by type."""

from __future__ import annotations

import json
import shutil
import socket
import string
import time
import urllib.request
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import make_tokenizer

import hfrecipes
from hfrecipes.config.run_config import RunConfig
from hfrecipes.contract.tiny_models import save_encoder
from hfrecipes.data.prepare import read_splits
from hfrecipes.errors import ConfigError, DataError, ModelError
from hfrecipes.privacy import promise
from hfrecipes.tasks import _decision_baseline, _decision_loss, _decision_predictions, _decision_scores
from hfrecipes.tasks._decision_answers import reference_of
from hfrecipes.tasks._decision_learning import weight_of
from hfrecipes.tasks._decision_predictions import prediction_of
from hfrecipes.tasks._decision_questions import HeldOut, Question
from hfrecipes.tasks.decision import Decision

TONE = Question("choice", "Tone?", {"calm": None, "angry": "blames"})
LEVELS = Question("score", "How?", ["low", "middle", "high"])
NOUL = Question("noul", "Refund?")
FEW = {"num_train_epochs": 1, "bf16": False, "learning_rate": 1e-3}
ROWS = [
    {"state": f"Message {number} of {word}", "question": "Tone?", "options": ["calm", "angry", "sad"], "answer": word}
    for number in range(8)
    for word in ("calm", "angry", "sad")
]


def read(rows: list[dict], tmp_path, **options) -> tuple[Decision, list[dict]]:
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_dataset(str(tmp_path / "train.jsonl"), **options)


def read_dataset(dataset, **options) -> tuple[Decision, list[dict]]:
    recipe = Decision(**options)
    data = read_splits(RunConfig(task=recipe.task, dataset=dataset), recipe)
    recipe.labels = list(data.class_names)
    recipe.infer_labels(data.splits["train"])
    return recipe, list(data.splits["train"])


@pytest.fixture(scope="module")
def trained(tiny_llama, tmp_path_factory):
    folder = tmp_path_factory.mktemp("decision") / "run"
    return hfrecipes.run("decision", model=tiny_llama, dataset={"train": ROWS}, output_dir=folder, **FEW)


# --- rows --------------------------------------------------------------------------------------------------------


def test_each_question_of_a_request_is_a_row(tmp_path):
    request = {
        "state": {"from": "Ann", "text": "Hello"},
        "questions": {
            "tone": TONE.as_request(),
            "level": LEVELS.as_request(),
            "refund": {"type": "noul", "instructions": "Refund?"},
        },
        "answers": {"tone": "angry", "level": 1.5, "refund": True},
    }
    recipe, rows = read([request], tmp_path)
    assert [recipe.question(row) for row in rows] == [TONE, LEVELS, NOUL]
    assert [recipe.reference(row) for row in rows] == ["angry", {"1": 0.5, "2": 0.5}, "true"]
    assert rows[0]["state"] == '{"from": "Ann", "text": "Hello"}'


def test_descriptions_may_be_in_train_alone(tmp_path):
    described = [{**ROWS[0], "descriptions": ["x", "y", "z"]}]
    recipe = Decision()
    data = read_splits(RunConfig(task=recipe.task, dataset={"train": described, "validation": ROWS[:3]}), recipe)
    recipe.infer_labels(data.splits["train"])
    asked = recipe.question(data.splits["validation"][0])
    assert asked.criteria == dict.fromkeys(["calm", "angry", "sad"])


def test_a_classification_set_becomes_one_question(tmp_path):
    rows = [{"text": "a", "label": "spam"}, {"text": "b", "label": "ham"}]
    recipe, read_rows = read(rows, tmp_path, instructions="What is it?")
    assert recipe.question(read_rows[0]) == Question("choice", "What is it?", {"ham": None, "spam": None})
    described, read_rows = read(rows, tmp_path, criteria={"spam": "unwanted", "ham": None})
    assert described.question(read_rows[0]).criteria == {"spam": "unwanted", "ham": None}


def test_pairs_with_ratings_and_choices_in_columns_are_read(tmp_path):
    pair = {"sentence1": "a", "sentence2": "b", "score": 1.25}
    recipe, rows = read([pair], tmp_path, criteria=["no", "some", "equal"])
    assert json.loads(rows[0]["state"]) == {"sentence1": "a", "sentence2": "b"}
    assert recipe.reference(rows[0]) == {"1": 0.75, "2": 0.25}
    ending = {"sent": "He", "ending0": "runs", "ending1": "sleeps", "label": 1}
    recipe, rows = read([ending], tmp_path)
    assert recipe.reference(rows[0]) == "sleeps"


def test_sets_of_different_shapes_are_read_together(tmp_path):
    labelled, endings, requests = (tmp_path / name for name in ("mail.csv", "endings.csv", "asked.jsonl"))
    labelled.write_text("text,instructions,label\nWin now,What is it?,spam\nHello,What is it?,ham\n")
    endings.write_text("sent,ending0,ending1,label\nHe,runs,sleeps,1\nShe,sings,eats,0\n")
    request = {"state": {"n": 1}, "questions": {"tone": TONE.as_request()}, "answers": {"tone": ["calm", "angry"]}}
    requests.write_text(json.dumps(request) + "\n")
    recipe, rows = read_dataset({"train": [str(labelled), str(endings), str(requests)]})
    spam = Question("choice", "What is it?", {"ham": None, "spam": None})
    questions = [recipe.question(row) for row in rows]
    assert questions[:2] == [spam, spam]
    assert [question.options for question in questions[2:4]] == [["runs", "sleeps"], ["sings", "eats"]]
    assert questions[4] == TONE
    assert [recipe.reference(row) for row in rows] == ["spam", "ham", "sleeps", "sings", {"calm": 0.5, "angry": 0.5}]
    assert [row["state"] for row in rows] == ["Win now", "Hello", "He", "She", '{"n": 1}']


@pytest.mark.parametrize(
    "choices", [["runs", "sleeps"], '["runs", "sleeps"]', {"text": ["runs", "sleeps"], "label": ["A", "B"]}]
)
@pytest.mark.parametrize("name", ["choices", "endings"])
def test_a_column_of_choices_has_the_options(choices, name, tmp_path):
    recipe, rows = read([{"sent": "He", name: choices, "label": "B"}], tmp_path)
    assert list(recipe.question(rows[0]).criteria) == ["runs", "sleeps"]
    assert recipe.reference(rows[0]) == "sleeps"


@pytest.mark.parametrize(
    ("answer", "question", "expected"),
    [
        ("CALM", TONE, "calm"),
        (1, TONE, "angry"),
        ("B", TONE, "angry"),
        ("shy", TONE, "shy"),
        (None, TONE, None),
        ("-1", TONE, None),
        ('["calm", "angry", "calm", "calm"]', TONE, {"calm": 0.75, "angry": 0.25}),
        ("[0.5, 0.5]", TONE, {"calm": 0.5, "angry": 0.5}),
        ('{"calm": 2, "shy": 1}', TONE, '{"calm": 2, "shy": 1}'),
        ('{"type": "choice", "choice": "angry"}', TONE, "angry"),
        ("middle", LEVELS, "1"),
        ("2.0", LEVELS, "2"),
        ("2.5", LEVELS, "2.5"),
        ("yes", NOUL, "true"),
        (0.25, NOUL, {"true": 0.25, "false": 0.75}),
    ],
)
def test_an_answer_is_an_option_or_shares_of_options(answer, question, expected):
    assert reference_of(answer, question) == expected


@pytest.mark.parametrize(
    ("answers", "expected"),
    [([0, 1, 2], ["1", "2", "3"]), (["1", "2", "3"], ["1", "2", "3"]), (["A", "C", "B"], ["1", "3", "2"])],
)
@pytest.mark.parametrize("kind", ["choice", "score"])
def test_answers_of_a_column_have_one_form(answers, expected, kind, tmp_path):
    asked = {"state": "a", "question": "How many?", "options": ["1", "2", "3"], "question_type": kind}
    recipe, rows = read([{**asked, "answer": answer} for answer in answers], tmp_path)
    names = [str(int(name) - 1) for name in expected] if kind == "score" else expected
    assert [recipe.reference(row) for row in rows] == names


@pytest.mark.parametrize(
    ("options", "answer", "expected"),
    [(["low", "high"], "low", "0"), (["1", "2", "3"], "2", "1"), (["1", "2", "3"], 2.5, {"1": 0.5, "2": 0.5})],
)
def test_levels_with_descriptions_are_answered_by_their_names(options, answer, expected, tmp_path):
    asked = {"state": "a", "question_type": "score", "options": options, "descriptions": ["x", "y", "z"]}
    asked["descriptions"] = asked["descriptions"][: len(options)]
    recipe, rows = read([{**asked, "answer": str(name)} for name in (answer, options[-1])], tmp_path)
    assert recipe.reference(rows[0]) == expected
    question = recipe.question(rows[0])
    assert question.as_request()["criteria"][0] == f"{options[0]}: x"
    assert set(question.as_request()) == {"type", "instructions", "criteria"}


def test_answers_that_two_forms_read_differently_are_refused(tmp_path):
    rows = [{"state": "a", "question": "Number?", "options": ["1", "2", "3"], "answer": index} for index in (1, 2)]
    with pytest.raises(DataError, match="answers such as '1' are names of options, and may also be the number"):
        read(rows, tmp_path)


def test_letters_go_up_to_z():
    question = Question("choice", criteria=dict.fromkeys(f"option {number}" for number in range(26)))
    assert reference_of("Z", question) == "option 25"


@pytest.mark.parametrize(
    "labels", [['["calm", "angry", "calm"]', "sad"], [["calm", "angry"], ["sad"]], ['{"calm": 2, "angry": 1}', "sad"]]
)
def test_the_options_of_votes_and_shares_are_the_names_in_them(labels, tmp_path, caplog):
    recipe, rows = read([{"text": str(index), "label": label} for index, label in enumerate(labels)], tmp_path)
    assert "first is learnt" not in caplog.text  # of votes, all are learnt
    assert list(recipe.question(rows[0]).criteria) == ["angry", "calm", "sad"]
    assert set(recipe.reference(rows[0])) == {"calm", "angry"}


def test_options_and_descriptions_may_be_lists_in_the_cells_of_a_table(tmp_path):
    cells = {"state": "a", "question": "Tone?", "answer": "calm"}
    for options, described in (('["calm", "angry"]', '["", "blames"]'), ("['calm', 'angry']", "['', 'blames']")):
        rows = [{**cells, "options": options, "descriptions": described}] * 2
        recipe, read_rows = read(rows, tmp_path)
        assert recipe.question(read_rows[0]).criteria == {"calm": None, "angry": "blames"}
    with pytest.raises(DataError, match="descriptions holds 'blames', expected a list with one for each option"):
        read([{**cells, "options": '["calm", "angry"]', "descriptions": "blames"}], tmp_path)


# --- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"answer": "shy"}, "answer 'shy' is none of the options"),
        ({"options": ["calm", "angry", "calm"]}, "two options are equal"),
        ({"options": ["calm"]}, "there are 1 options, expected two or more"),
        ({"options": ["calm", *map(str, range(26))]}, "there are 27 options, expected 26 at most in a choice question"),
        ({"question_type": "essay"}, "question_type is 'essay', expected choice, score or noul"),
        ({"question_type": "noul"}, "a noul question has the options calm, angry, sad, expected true and false"),
        ({"question_type": "score", "options": None}, "there are 0 options, expected two or more"),
        ({"descriptions": ["quiet"]}, "there are 1 descriptions for 3 options"),
    ],
)
def test_questions_that_cannot_be_asked_are_refused_before_training(change, sentence, tiny_llama, tmp_path):
    rows = [{**ROWS[0], "answer": "calm", **change}, *ROWS]
    with pytest.raises(DataError, match=sentence):
        hfrecipes.run("decision", model=tiny_llama, dataset={"train": rows}, output_dir=tmp_path / "run")


def test_questions_that_cannot_be_asked_are_refused_in_prediction(trained):
    asked = [
        ({"options": ["u", "u", "v"]}, "two options are equal"),
        ({"options": ["u"]}, "there are 1 options"),
        ({"options": list(map(str, range(30)))}, "there are 30 options, expected 26 at most in a choice question"),
        ({"question_type": "essay"}, "question_type is 'essay'"),
        ({"question_type": "score"}, "there are 0 options"),
        ({"question_type": "noul", "options": ["yes", "no"]}, "expected true and false"),
    ]
    for cells, sentence in asked:
        with pytest.raises(DataError, match=sentence + ".*about 'Hello'"):
            trained.predict({"state": "Hello", "question": "Which?", **cells})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"criteria": ["low", "high"], "question_type": "choice"}, "a list has the levels of a score"),
        ({"criteria": {"a": "", "b": ""}, "question_type": "score"}, "expected a list of levels"),
        ({"criteria": {"a": ""}}, "expected two options or more"),
        ({"unseen_questions": 2.0}, "expected a share between 0 and 1"),
        ({"label_tokens": {"choise": ["A", "B"]}}, "label_tokens: no type choise"),
        ({"label_tokens": {"choice": ["A"]}}, "label_tokens.choice: found 1, expected two labels or more"),
        ({"question_weights": {"tone": 0.0}}, "expected numbers above 0"),
    ],
)
def test_options_that_describe_no_question_are_refused(options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        Decision(**options)


@pytest.mark.parametrize(("option", "kind"), [("class_weights", "option"), ("question_weights", "question")])
def test_weights_of_what_train_does_not_have_are_refused(option, kind, tmp_path):
    with pytest.raises(ConfigError, match=rf"{option}: no {kind} angri"):
        read(ROWS, tmp_path, **{option: {"angri": 2.0}})


def test_labels_that_begin_with_the_same_token_are_refused(tiny_llama, tmp_path):
    with pytest.raises(ConfigError, match=r"label_tokens.choice: .* begin with the same token"):
        hfrecipes.run(
            "decision",
            model=tiny_llama,
            dataset={"train": ROWS},
            output_dir=tmp_path / "run",
            label_tokens={"choice": ["b", "aq", "az"]},
        )


# --- prompts -----------------------------------------------------------------------------------------------------


def test_a_long_state_keeps_as_much_of_its_start_as_fits_and_is_rendered_few_times(trained, monkeypatch):
    prompts = hfrecipes.load(trained.path).recipe.prompts
    times: list[str] = []
    prepared = prompts._prepared
    monkeypatch.setattr(prompts, "_prepared", lambda state, asked: times.append(state) or prepared(state, asked))
    prompt = prompts.read("word <s> " * 2000, TONE)
    assert prompt.is_shortened
    assert prompts.max_length - 12 <= len(prompt.ids) <= prompts.max_length
    assert prompt.ids[-5:] == prepared("word", TONE).ids[-5:]
    assert len(times) <= 4
    assert prompts.tokenizer.get_vocab() is prompts.tokenizer.get_vocab()
    assert "<|mark|>" not in prompts.recipe.tokenizer.get_vocab()


@pytest.fixture
def decision_model(tiny_llama, tmp_path):
    folder = shutil.copytree(tiny_llama, tmp_path / "model")
    (folder / "decision.json").write_text(json.dumps({"labels": {"choice": ["a", "b", "c"]}}))
    return folder


def test_the_decision_config_of_the_model_is_read_as_the_model_is(decision_model, tmp_path, monkeypatch):
    given = []
    from transformers import utils

    cached_file = utils.cached_file
    monkeypatch.setattr(
        utils, "cached_file", lambda *args, **kw: given.append((args[1], kw)) or cached_file(*args, **kw)
    )
    settings = {"path": str(decision_model), "revision": "main"}
    hfrecipes.run("decision", model=settings, dataset={"train": ROWS}, output_dir=tmp_path / "run", **FEW)
    assert [(name, keywords["revision"]) for name, keywords in given if name.startswith("decision")][:2] == [
        ("decision.json", "main"),
        ("decision_template.jinja", "main"),
    ]
    assert json.loads((tmp_path / "run" / "decision.json").read_text())["labels"]["choice"] == ["a", "b", "c"]


def test_a_damaged_decision_config_is_named(decision_model, tmp_path):
    (decision_model / "decision.json").write_text("{")
    with pytest.raises(ModelError, match=r"decision\.json of the model is damaged"):
        hfrecipes.run("decision", model=decision_model, dataset={"train": ROWS}, output_dir=tmp_path / "run", **FEW)


# --- batches and loss ----------------------------------------------------------------------------------------------


def outputs_of(logits: list[list[float]], targets: list[list[float]], candidates: list[list[int]], **others) -> dict:
    rows = len(logits)
    spread = torch.zeros(rows, rows, len(logits[0]))
    for row, values in enumerate(logits):
        spread[row, row] = torch.tensor(values)
    known = {"is_ranked": torch.zeros(rows, dtype=int), "weights": torch.ones(rows), **others}
    return {"logits": spread, "candidates": torch.tensor(candidates), "targets": torch.tensor(targets), **known}


def test_the_loss_is_over_the_options_of_each_row_alone():
    outputs = outputs_of(
        [[1.0, 3.0, 9.0], [0.0, 1.0, 2.0]], [[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]], [[0, 1, -1], [0, 1, 2]]
    )
    loss = _decision_loss.option_loss(outputs, torch.tensor([[-100, 0], [-100, 1]]))
    first = -torch.tensor([1.0, 3.0]).log_softmax(0)[0]
    second = -torch.tensor([0.0, 1.0, 2.0]).log_softmax(0)[1:].mean()
    assert loss.item() == pytest.approx(float(first + second) / 2)


def test_weights_and_the_ordinal_loss_of_levels_count():
    others = {"is_ranked": torch.tensor([1]), "weights": torch.tensor([3.0])}
    outputs = outputs_of([[0.0, 0.0, 0.0]], [[1.0, 0.0, 0.0]], [[0, 1, 2]], **others)
    loss = _decision_loss.option_loss(outputs, torch.tensor([[-100, 0]]), is_ordinal=True)
    assert loss.item() == pytest.approx(3 * ((2 / 3) ** 2 + (1 / 3) ** 2))


# --- scores ------------------------------------------------------------------------------------------------------


def test_scores_are_those_of_their_definitions():
    predictions = [
        {**prediction_of("choice", {"calm": 0.8, "angry": 0.2}), "answer_in_other_order": "angry"},
        prediction_of("score", {"0": 0.2, "1": 0.3, "2": 0.5}),
    ]
    scores = _decision_scores.measure(predictions, ["angry", {"1": 0.5, "2": 0.5}])(np.ones((1, 2)))
    assert scores["accuracy"][0] == 0.0  # of two equal shares, the first level is the reference
    assert scores["log_loss[choice]"][0] == pytest.approx(-np.log(0.2))
    assert scores["log_loss[score]"][0] == pytest.approx(-(np.log(0.3) + np.log(0.5)) / 2)
    assert scores["brier[choice]"][0] == pytest.approx(0.64)
    assert scores["rps"][0] == pytest.approx((0.2**2 + 0.0**2) / 2)
    assert scores["order_bias"][0] == 1.0


def test_a_row_without_an_answer_is_not_one_whose_answer_is_an_option_called_none(trained):
    recipe = hfrecipes.load(trained.path).recipe
    asked = {"state": ["Hello"], "question": ["Which?"], "options": [["None", "Some"]], "answer": [None]}
    assert recipe.encode(asked)["labels"] == [-100]
    scores = _decision_scores.measure([prediction_of("choice", {"None": 0.9, "Some": 0.1})], [None])(np.ones((1, 1)))
    assert scores["accuracy"][0] == 0.0
    recipe.class_weights = {"None": 3.0}
    assert weight_of(recipe, {}, Question("choice", criteria={"None": None, "Some": None}), None) == 1.0


def test_each_question_has_counts_of_its_own():
    refund, broken, other = (Question("noul", text) for text in ("Refund?", "Broken?", "Other?"))
    asked = [(refund, "true"), (refund, "true"), (broken, "false"), (broken, "false"), (broken, "false")]
    baseline = _decision_baseline.count_answers(asked)
    predictions = [_decision_baseline.most_frequent(question, baseline) for question in (refund, broken, other)]
    assert [row["scores"]["true"] for row in predictions] == pytest.approx([3 / 4, 1 / 5, 3 / 7])


def test_a_temperature_is_fitted_for_each_type():
    sure = [prediction_of("noul", {"true": 0.99, "false": 0.01}) for _ in range(200)]
    numbers, sentences = _decision_predictions.fit_temperatures(sure, ["true", "true", "true", "false"] * 50)
    assert numbers["temperature_noul"] > 2
    assert sentences[0].startswith("noul: temperature:")
    (changed, *_) = _decision_predictions.at_temperatures(sure, numbers)
    assert changed["scores"]["true"] == pytest.approx(0.75, abs=0.01)


@pytest.mark.parametrize("name", ["temperature", "temperature_noul"])
def test_a_saved_temperature_is_above_zero(name, trained, tmp_path):
    folder = shutil.copytree(trained.path, tmp_path / "run")
    config = json.loads((folder / "config.json").read_text())
    (folder / "manifest.json").unlink()
    config["hfrecipes"]["calibration"] = {name: 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=f"{name} of its calibration is 0.0"):
        hfrecipes.load(folder)


def test_no_question_of_a_row_is_published_as_an_example(tmp_path):
    recipe, _ = read([{**row, "question": "Is Ann angry?"} for row in ROWS], tmp_path)
    assert "Ann" not in recipe.learned["example"]


def test_a_private_training_says_that_validation_tunes_the_temperatures(tmp_path):
    recipe, rows = read(ROWS, tmp_path)
    data = SimpleNamespace(splits={"validation": rows, "train": rows})
    config = RunConfig(task=recipe.task, dataset="rows", training={"load_best_model_at_end": False})
    (sentence,) = promise._validation(config, recipe, data)
    assert "they tune temperature_scaling" in sentence


# --- runs --------------------------------------------------------------------------------------------------------


def pipeline_scores(path, model, rows: list[dict]) -> list[dict]:
    from transformers import pipeline

    decide = pipeline("decision", str(path))
    answers = []
    for row in rows:
        question = model.recipe.question(row)
        answer = decide({"state": row["state"], "questions": {"q": question.as_request()}})["q"]
        noul = {"true": answer.get("noul"), "false": 1 - answer.get("noul", 0)}
        answers.append(answer.get("probabilities", noul))
    return answers


@pytest.fixture(scope="module")
def tiny_encoder(tmp_path_factory):
    """A folder with a BERT that has room for a whole prompt in single characters."""
    folder = tmp_path_factory.mktemp("encoder")
    return save_encoder(make_tokenizer(string.ascii_uppercase), folder / "bert", max_position_embeddings=512)


@pytest.mark.parametrize(
    ("model", "lora"), [("tiny_llama", False), ("tiny_llama", True), ("tiny_encoder", False), ("tiny_encoder", True)]
)
def test_the_pipeline_gives_the_same_probabilities(model, lora, request, tmp_path):
    rows = [dict(row) for row in Decision.samples * 6]
    train = [{**row, "state": f"{row['state']} {number}"} for number, row in enumerate(rows)]
    settings = {"dataset": {"train": train, "validation": train[:12]}, "lora": lora, **FEW}
    hfrecipes.run("decision", model=request.getfixturevalue(model), output_dir=tmp_path / "run", **settings)
    asked = [{**row, "state": "long " * (number % 7) + row["state"]} for number, row in enumerate(train)]
    asked = [{name: cell for name, cell in row.items() if name != "answer"} for row in asked * 3][:100]
    loaded = hfrecipes.load(tmp_path / "run")
    # Row by row, as columns that some rows lack are read together.
    predicted = [loaded.predict(row) for row in asked]
    for row, expected in zip(predicted, pipeline_scores(tmp_path / "run", loaded, asked), strict=True):
        assert row["scores"] == pytest.approx(expected, abs=1e-5)


def test_the_label_of_an_encoder_is_looked_up_at_its_mask_token(tiny_encoder, tmp_path):
    path = tmp_path / "run"
    hfrecipes.run("decision", model=tiny_encoder, dataset={"train": ROWS}, output_dir=path, **FEW)
    recipe = hfrecipes.load(path).recipe
    prompts, tokenizer = recipe.prompts, recipe.tokenizer
    prompt, long = prompts.read("Hello", TONE), prompts.read("word " * 500, TONE)
    for read_prompt in (prompt, long):
        assert read_prompt.ids[read_prompt.mark] == tokenizer.mask_token_id
        assert read_prompt.ids[0] == tokenizer.cls_token_id
        assert read_prompt.ids[-1] == tokenizer.sep_token_id
    assert long.is_shortened
    assert prompts.max_length - 8 <= len(long.ids) <= prompts.max_length
    assert (path / "decision_template.jinja").read_text().endswith("[MASK]<|mark|>[SEP]")


def test_an_encoder_without_a_mask_token_is_refused(tmp_path):
    tokenizer = make_tokenizer(string.ascii_uppercase)
    tokenizer.mask_token = None
    folder = save_encoder(tokenizer, tmp_path / "bert", max_position_embeddings=512)
    with pytest.raises(ModelError, match="the model's tokenizer has no mask token"):
        hfrecipes.run("decision", model=folder, dataset={"train": ROWS}, output_dir=tmp_path / "run", **FEW)


@pytest.mark.parametrize("model", ["tiny_llama", "tiny_encoder"])
def test_a_prompt_whose_question_does_not_fit_keeps_its_mark(model, request, tmp_path):
    folder = shutil.copytree(request.getfixturevalue(model), tmp_path / "model")
    mask = "[CLS] [MASK]" if model == "tiny_encoder" else "answer"
    (folder / "decision_template.jinja").write_text(mask + "<|mark|> {{ state }} {{ question.instructions }}")
    path, asked = tmp_path / "run", Question("noul", "why " * 600)
    hfrecipes.run("decision", model=folder, dataset={"train": ROWS}, output_dir=path, **FEW)
    recipe = hfrecipes.load(path).recipe
    short, prompt = recipe.prompts.read("Hello", TONE), recipe.prompts.read("Hello", asked)
    assert prompt.mark == short.mark
    assert prompt.ids[: prompt.mark + 1] == short.ids[: short.mark + 1]
    assert len(prompt.ids) <= recipe.prompts.max_length
    if model == "tiny_encoder":
        assert prompt.ids[prompt.mark] == recipe.tokenizer.mask_token_id
        assert prompt.ids[0] == recipe.tokenizer.cls_token_id


def test_an_encoder_keeps_its_first_token_and_its_mask_where_the_question_does_not_fit(tiny_encoder, tmp_path):
    hfrecipes.run("decision", model=tiny_encoder, dataset={"train": ROWS}, output_dir=tmp_path / "run", **FEW)
    recipe = hfrecipes.load(tmp_path / "run").recipe
    prompt = recipe.prompts.read("Hello", Question("noul", "why " * 600))
    assert len(prompt.ids) == recipe.prompts.max_length
    assert prompt.ids[0] == recipe.tokenizer.cls_token_id
    assert prompt.ids[prompt.mark] == recipe.tokenizer.mask_token_id


def test_encoders_that_the_pipeline_cannot_ask_are_refused(tiny_encoder, tmp_path):
    folder = shutil.copytree(tiny_encoder, tmp_path / "model")
    (folder / "config.json").write_text('{"model_type": "distilbert"}')
    with pytest.raises(ModelError, match="does not look up the mask token of a model of type distilbert"):
        hfrecipes.run("decision", model=folder, dataset={"train": ROWS}, output_dir=tmp_path / "run", **FEW)


def test_an_encoder_that_pads_all_rows_is_refused_with_the_maximum_at_which_it_does_not(tiny_encoder, tmp_path):
    from transformers import BigBirdConfig

    folder = shutil.copytree(tiny_encoder, tmp_path / "model")
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    config = BigBirdConfig(vocab_size=256, block_size=16, num_random_blocks=1, max_position_embeddings=512, **sizes)
    config.save_pretrained(folder)
    settings = {"model": folder, "dataset": {"train": ROWS}, "output_dir": tmp_path / "run", **FEW}
    with pytest.raises(ModelError, match=r"does not pad: set max_length=112, at which its attention is full"):
        hfrecipes.run("decision", max_length=256, **settings)


def test_options_that_yaml_reads_as_numbers_are_texts(tmp_path):
    rows = [{"text": "good", "label": 1}, {"text": "bad", "label": 0}]
    recipe, read_rows = read(rows, tmp_path, criteria={0: "negative", 1: "positive"}, class_weights={1: 2.0})
    assert recipe.question(read_rows[0]).criteria == {"0": "negative", "1": "positive"}
    assert recipe.reference(read_rows[0]) == "1"


def test_options_that_yaml_reads_as_booleans_are_written_as_in_yaml(tmp_path):
    noul = Decision(question_type="noul", criteria={True: "is real", False: None})
    assert noul.criteria == {"true": "is real", "false": None}
    rows = [{"text": "good", "name": "1", "label": True}, {"text": "bad", "name": "1", "label": False}]
    options = {"criteria": {True: "real", False: "fake"}, "class_weights": {True: 2.0}, "question_weights": {1: 2.0}}
    recipe, read_rows = read(rows, tmp_path, question_type="choice", **options)
    assert recipe.question(read_rows[0]).criteria == {"true": "real", "false": "fake"}
    assert recipe.reference(read_rows[0]) == "true"
    question = recipe.question(read_rows[0])
    assert weight_of(recipe, read_rows[0], question, "true") == 4.0


def test_unseen_questions_are_left_out_of_training_and_scored_apart(tiny_llama, tmp_path, caplog):
    others = [{**row, "question": "Mood?"} for row in ROWS]
    splits = {"train": ROWS + others, "validation": ROWS[:6] + others[:6], "test": ROWS[:6] + others[:6]}
    result = hfrecipes.run(
        "decision",
        model=tiny_llama,
        dataset=splits,
        output_dir=tmp_path / "run",
        unseen_questions=["Mood?"],
        order_bias=True,
        **FEW,
    )
    assert {"accuracy[seen]", "accuracy[unseen]", "order_bias"} <= set(result.scores["test"])
    assert "held out of train and validation: 1 of 2 questions (Mood?)" in caplog.text
    assert "validation before training: accuracy" in caplog.text
    asked = {"state": "Hello", "questions": {"tone": TONE.as_request(), "refund": NOUL.as_request()}}
    assert [answer["type"] for answer in result.predict(asked)] == ["choice", "noul"]
    assert json.loads((tmp_path / "run" / "history.json").read_text())["log"][0]["step"] == 0


def test_a_question_is_held_out_by_its_name_and_by_its_text(tmp_path):
    asked = [{"name": "tone"}, {"name": "again"}, {}, {"name": "mood", "question": "Mood?"}]
    recipe, rows = read([{**ROWS[0], **cells} for cells in asked], tmp_path, unseen_questions=["tone"])
    held_out = HeldOut.of(recipe.learned)
    assert [held_out.has(row, recipe.question(row)) for row in rows] == [True, True, True, False]
    in_test = [({}, True), ({"question": "Mood?"}, False), ({"name": "new", "question": "New?"}, True)]
    for cells, expected in [*in_test, ({"name": "mood", "question": "How is she?"}, False)]:
        row = {**ROWS[0], **cells}
        assert held_out.is_unseen(row, recipe.question(row)) == expected
    with pytest.raises(ConfigError, match="holds out 2 of 2 questions"):
        read([{**ROWS[0], "name": name} for name in ("tone", "again")], tmp_path, unseen_questions=["tone"])


@pytest.mark.parametrize("criteria", [{"spam": "unwanted", "ham": None}, None])
def test_a_loaded_run_asks_the_question_that_was_trained_with_its_options_in_order(criteria, tiny_llama, tmp_path):
    rows = [{"text": f"Win {number}" if number % 2 else f"Hello {number}", "label": number % 2} for number in range(12)]
    if criteria is None:
        dataset = {split: with_names(rows, ["spam", "ham"]) for split in ("train", "validation", "test")}
    else:
        dataset = dict.fromkeys(("train", "validation", "test"), rows)
    path = tmp_path / "run"
    settings = {"instructions": "What is it?", "criteria": criteria, "shuffle_options": False}
    result = hfrecipes.run("decision", model=tiny_llama, dataset=dataset, output_dir=path, **settings, **FEW)
    model, asked = hfrecipes.load(path), {"state": "Win 3"}
    assert list(model.recipe.question(asked).criteria) == ["spam", "ham"]
    assert list(model.predict(asked)["scores"]) == ["spam", "ham"]
    assert model.predict(asked)["scores"] == pytest.approx(result.predict(asked)["scores"], abs=1e-6)
    assert model.predict(asked)["scores"] == pytest.approx(pipeline_scores(path, model, [asked])[0], abs=1e-5)
    evaluated = model.evaluate(dataset["test"]).scores
    assert evaluated["log_loss"] == pytest.approx(result.scores["test"]["log_loss"], abs=1e-5)
    example = json.loads(model.model.config.hfrecipes["learned"]["example"])
    assert list(example["criteria"]) == ["spam", "ham"]


def with_names(rows: list[dict], names: list[str]):
    from datasets import ClassLabel, Dataset

    return Dataset.from_list(rows).cast_column("label", ClassLabel(names=names))


@pytest.fixture
def served(trained):
    """Address of the route of `transformers serve` that answers with the trained model."""
    pytest.importorskip("openai")  # which transformers imports to serve
    from transformers.cli.serve import Serve

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Serve(str(trained.path), host="127.0.0.1", port=port, device="cpu", non_blocking=True)
    while not server.server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}/v1/systemone"
    server.kill_server()


@pytest.mark.long
def test_the_served_route_gives_the_same_probabilities(served, trained):
    asked = {"state": "long <s> Message", "questions": {"tone": TONE.as_request(), "refund": NOUL.as_request()}}
    body = json.dumps({"model": str(trained.path), **asked}).encode()
    request = urllib.request.Request(served, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        answers = json.load(response)["answers"]
    tone, refund = hfrecipes.load(trained.path).predict(asked)
    assert tone["scores"] == pytest.approx(answers["tone"]["probabilities"], abs=1e-5)
    assert refund["scores"]["true"] == pytest.approx(answers["refund"]["noul"], abs=1e-5)
