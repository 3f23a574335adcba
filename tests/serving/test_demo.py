"""A demo has the boxes that a task reads, shows what a prediction says, and shows all texts as text."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner
from rows import close, rows_of
from shipped import SHIPPED

from hfrecipes import registry
from hfrecipes.cli import main
from hfrecipes.commands.serve import is_local
from hfrecipes.errors import DataError, MissingPackageError
from hfrecipes.serving import demo
from hfrecipes.serving.boxes import Box, boxes_of, example_rows, row_of
from hfrecipes.serving.conversation import Conversation, first_messages
from hfrecipes.serving.schema import sample_rows
from hfrecipes.serving.views import bars, marked, view

pytest_plugins = ["servers"]
ROOT = Path(__file__).resolve().parents[2]
WICKED = "<script>alert(1)</script> <img src=x onerror=alert(2)> ${alert(3)} {{constructor}} `x`"


# --- boxes -------------------------------------------------------------------------------------------------------


def shape(task: str, reads: list[str]) -> list[tuple[str, str]]:
    return [(box.column, box.form) for box in boxes_of(registry.find(task)(), reads)]


def test_each_column_that_is_read_has_a_box_and_a_text_alone_is_enough_where_predict_takes_one():
    assert shape("text-classification", ["text"]) == [("text", "text")]
    assert shape("text-classification", ["text", "text_pair"]) == [("text", "text"), ("text_pair", "text")]
    assert shape("token-classification", ["tokens"]) == [("text", "text")]
    assert shape("question-answering", ["question", "context"]) == [("question", "text"), ("context", "text")]
    choices = [("question", "text"), ("choices", "lines")]
    assert shape("multiple-choice", ["question", "choices"]) == choices
    assert shape("translation", ["source"]) == [("source", "text")]


@pytest.mark.parametrize("task", [task for task in SHIPPED if task != "chat"])
def test_what_a_row_writes_into_the_boxes_is_read_as_the_row_again(task):
    kind = registry.find(task)
    reads = [name for name, column in kind.columns.items() if not (column.reference or column.passthrough)]
    reads = [name for name in reads if name in kind.samples[0]]
    boxes = boxes_of(kind(), reads)
    row = {name: kind.samples[0][name] for name in reads}
    texts = [box.written(row.get(box.column, next(iter(row.values())))) for box in boxes]
    expected = {"text": " ".join(row["tokens"])} if task == "token-classification" else row
    assert row_of(boxes, texts) == expected


def test_a_column_of_any_values_is_written_as_json_and_other_text_is_refused():
    box = Box("table", "json", 4)
    assert row_of([box], ['[{"a": 1}]']) == {"table": [{"a": 1}]}
    assert row_of([box], [" "]) == {"table": None}, "nothing was typed"
    for text in ("a", "[" * 10_000):
        with pytest.raises(DataError, match="table is not JSON"):
            box.read(text)


@pytest.mark.model
def test_examples_are_short_rows_of_the_run_and_sample_rows_without_it(reviews, tmp_path, monkeypatch):
    long = {"split": "test", "row": 9, "text": "好" * 500, "prediction": {}}
    own = [{"split": "test", "row": i, "text": f"我的包裹{i}在哪里？", "prediction": {}} for i in range(8)]
    lines = [{"split": "validation", "row": 0, "text": "not shown", "prediction": {}}, long, *own]
    (tmp_path / "predictions.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    monkeypatch.setattr(reviews, "folder", tmp_path)
    rows = example_rows(reviews)
    assert 2 <= len(rows) <= 4
    assert all(row["text"].startswith(("我的包裹", "好")) and len(row["text"]) <= 80 for row in rows)
    for content in ("", "{broken", '["a"]\n', '{"split": "test"}\n'):
        (tmp_path / "predictions.jsonl").write_text(content)
        assert example_rows(reviews) == sample_rows(reviews), content


def test_examples_of_dialogues_are_what_users_say_first():
    rows = rows_of(registry.find("chat"), 2)
    assert first_messages([*rows, *rows]) == ["When do you open?", "Can I renew a book?"]


# --- pictures ----------------------------------------------------------------------------------------------------

SEEN = [
    ({"text": "x"}, {"label": "b", "scores": {"a": 0.2, "b": 0.8}}, ["chosen", "80.0%", "width: 20.0%"]),
    ({"text": "x"}, {"label": [], "scores": {"a": 0.2, "b": 0.1}}, ["No label is likely enough", "20.0%"]),
    ({"text": "x"}, {"label": "a", "scores": {"a": 0.6}, "abstained": True}, ["Not sure enough to answer", "60.0%"]),
    ({"text": "x"}, {"label": 3.25}, ['class="number">3.25']),
    (
        {"text": "Ask Ana now"},
        {"tags": ["O", "B-p", "O"], "entities": [{"start": 4, "end": 7, "label": "p", "score": 0.9}]},
        ["Ask <mark", ">Ana<small>p</small></mark> now"],
    ),
    (
        {"tokens": ["Ana", "sat"]},
        {"tags": ["NOUN", "VERB"], "scores": [1.0, 1.0]},
        ["Ana<small>NOUN", "sat<small>VERB"],
    ),
    (
        {"question": "When?", "context": "At 17:40 daily."},
        {"answer": "17:40", "score": 0.5, "start": 3, "end": 8},
        ["At <mark", "17:40<small>50.0%</small></mark> daily."],
    ),
    (
        {"question": "Who?", "context": "At 17:40."},
        {"answer": "", "start": None, "end": None},
        ["The text has no answer"],
    ),
    ({"choices": ["yes", "no"]}, {"label": 1, "choice": "no", "scores": [0.25, 0.75]}, ["yes", "75.0%"]),
    ({"text": "a [MASK]"}, {"fills": [[{"token_str": "jar", "score": 0.5}]] * 2}, ["Gap 1", "Gap 2", "jar"]),
    ({"text": "a"}, {"fills": []}, ["no gap"]),
    ({"text": "The"}, {"tokens": 3, "loss": 0.5, "generated_text": " end."}, [" end."]),
    ({"text": "The"}, {"value": "red", "sure": True}, ["<b>value</b> red", "<b>sure</b> True"]),
]


@pytest.mark.parametrize(("row", "prediction", "parts"), SEEN)
def test_what_a_prediction_holds_decides_what_is_shown(row, prediction, parts):
    shown = view(row, prediction, "label")
    for part in parts:
        assert part in shown


def test_a_blank_row_is_told_as_a_sentence():
    assert "nothing to predict" in view({"text": ""}, None, "label")


def test_long_lists_of_labels_are_cut_and_overlapping_parts_shown_once():
    assert "and 8 more" in bars([(f"label{i}", 0.05) for i in range(20)], [])
    assert marked("abcdef", [(0, 4, "x"), (2, 6, "y"), (4, 6, "x")]).count("<mark") == 2


@pytest.mark.parametrize(("row", "prediction", "parts"), SEEN)
def test_whatever_comes_from_rows_and_models_is_shown_as_text(row, prediction, parts):
    def spoiled(value):
        if isinstance(value, dict):
            return {key if key in KEYS else WICKED + key: spoiled(part) for key, part in value.items()}
        if isinstance(value, list):
            return list(map(spoiled, value))
        return f"{value}{WICKED}\ud83d" if isinstance(value, str) else value

    shown = view(spoiled(row), spoiled(prediction), "label")
    assert "<script" not in shown
    assert "<img" not in shown
    assert not set("${}`") & set(shown)
    shown.encode()


KEYS = {"text", "tokens", "question", "context", "choices", "label", "scores", "tags", "entities", "start", "end"}
KEYS |= {"answer", "score", "choice", "fills", "token_str", "generated_text"}


# --- the functions of the page -----------------------------------------------------------------------------------


@pytest.mark.model
def test_the_button_shows_the_prediction_that_predict_gives(reviews):
    predict = demo._Model(reviews).predict
    picture, plain = predict("the film was lovely")
    expected = reviews.predict("the film was lovely")
    assert close(json.loads(plain), expected)
    assert f"{expected['score']:.1%}" in picture
    assert "nothing to predict" in predict(" ")[0]
    assert predict("half \ud83d <b>")[1]


@pytest.mark.model
def test_why_colours_the_words_and_is_there_where_a_task_can_be_explained(reviews, predictor_of):
    pytest.importorskip("captum")
    explain = demo._Model(reviews).explain
    shown = explain("the film was <i>lovely</i>")
    assert "rgba(" in shown
    assert "&lt;" in shown
    assert "<i>" not in shown
    assert "nothing was typed" in explain(" ")
    assert demo._Model(predictor_of("multiple-choice")).explainer is None


@pytest.mark.model
def test_a_row_that_cannot_be_read_and_a_model_that_fails_are_sentences_on_the_page(predictor_of, monkeypatch):
    choices = predictor_of("multiple-choice")
    predict = demo._Model(choices).predict
    assert "problem" in predict("Is it on?", "")[0]
    monkeypatch.setattr(choices, "predicted", lambda given: 1 / 0)
    assert "ZeroDivisionError" in predict("Is it on?", "yes\nno")[0]


@pytest.mark.model
def test_a_reply_appears_piece_by_piece_and_stops_when_nobody_waits(predictor_of):
    chat = Conversation(predictor_of("chat"))
    messages = [{"role": "user", "content": "When do you open?"}]
    pieces = list(chat.reply(messages))
    assert pieces[-1].startswith(pieces[0])
    assert pieces[-1] == chat.predictor.predict({"messages": messages})["generated_text"]

    shown = threading.Event()

    class Endless:
        def stream(self, row, show):
            while True:
                show("word ")
                shown.set()

    conversation = Conversation(Endless())
    replies = conversation.reply(messages)
    assert next(replies) == "word "
    replies.close()
    assert conversation.lock.acquire(timeout=10), "the model is free again"


def test_a_failure_in_a_dialogue_is_a_sentence():
    class Broken:
        def stream(self, row, show):
            raise DataError("found nothing to continue")

    class Failing:
        def stream(self, row, show):
            raise ZeroDivisionError

    assert list(Conversation(Broken()).reply([])) == ["(found nothing to continue)"]
    assert "ZeroDivisionError" in next(Conversation(Failing()).reply([]))


# --- the command -------------------------------------------------------------------------------------------------


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr("hfrecipes.errors.find_spec", lambda name: None)
    outcome = CliRunner().invoke(main, ["demo", "runs/none"])
    assert outcome.exit_code == 2
    assert "a demo needs gradio: pip install gradio" in outcome.stderr
    with pytest.raises(MissingPackageError):
        demo.make_demo(None)


def test_only_loopback_is_called_local():
    assert is_local("http://127.0.0.1:80")
    assert is_local("http://[::1]:80")
    assert not is_local("http://0.0.0.0:80")
    assert not is_local("http://10.0.0.2:80")


@pytest.mark.model
def test_the_demo_is_shown_on_loopback_and_shared_only_when_asked(reviews, monkeypatch):
    given = []
    monkeypatch.setenv("GRADIO_SHARE", "True")

    class Page:
        def launch(self, **keywords):
            given.append(keywords)
            return None, "", ""

    assert demo.launch(Page(), "127.0.0.1", 7860, share=False) is None
    assert given[0]["server_name"] == "127.0.0.1"
    assert given[0]["share"] is False
    assert given[0]["run_history"] is False
    page = demo.make_demo(reviews)
    assert page.analytics_enabled is False
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_prints_the_address_and_ends_by_a_signal(number, run_of, tmp_path):
    command = [sys.executable, "-m", "hfrecipes", "demo", str(run_of("text-classification")), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path)
    for line in process.stderr:
        if re.match(r"http://127\.0\.0\.1:\d+  \(this machine alone reaches it; --host changes that\)$", line):
            break
    process.send_signal(number)
    assert process.wait(60) == (143 if number == signal.SIGTERM else 130)
    assert "Traceback" not in process.stderr.read()
    assert os.listdir(tmp_path) == []


def test_an_answer_that_the_model_does_not_give_is_said_to_be_none(predictor_of):
    predictor = predictor_of("question-answering")
    rows = [dict(row) for row in predictor.recipe.samples]
    for row, prediction in zip(rows, predictor.predict(rows), strict=True):
        shown = view(row, prediction, "answer")
        assert ("The text has no answer." in shown) == (prediction["answer"] == "")
        assert ("<mark" in shown) == (prediction["answer"] != "")
