"""The command that a run ends with tries the model on the user's own data, and is safe to paste into a shell."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from datasets import Dataset

from hfrecipes.config.run_config import RunConfig
from hfrecipes.evaluation.first_prediction import LONGEST, own_row, prediction_command
from hfrecipes.registry import find

LONG = "The parcel came late. " * 40


def row_of(texts: list, task: str = "text-classification", column: str = "text") -> dict:
    return own_row(find(task)(), {"test": Dataset.from_dict({column: texts})}, [column])


def echoed(row: dict) -> str:
    """What the command gives to `predict`, in a plain shell."""
    command = prediction_command(RunConfig(task="text-classification"), Path("runs/a b"), row)
    assert shlex.split(command)[-3:] == ["predict", "runs/a b", "-"]
    shown = command.partition(" | hfrecipes")[0]
    return subprocess.run(["sh", "-c", shown], capture_output=True, text=True, check=True).stdout.rstrip("\n")


def test_a_short_row_of_the_test_split_is_shown_as_it_is():
    text = "包裹还没有送到，请查一下。"
    splits = {"train": Dataset.from_dict({"text": ["x"]}), "test": Dataset.from_dict({"text": [LONG, text, "ok"]})}
    assert own_row(find("text-classification")(), splits, ["text"]) == {"text": text}
    assert echoed({"text": text}) == text


def test_a_long_text_is_cut_at_a_blank():
    text = row_of([LONG])["text"]
    assert LONG.startswith(text)
    assert len(text) <= LONGEST
    assert text.endswith(("parcel", "came", "late.", "The"))


@pytest.mark.parametrize(
    "text",
    [
        'it\'s $HOME `id` "now" $(id) !!',
        "-n is no option",
        "two\nlines\tand a tab",
        "a back\\nslash \\c and \x1b[31mred",
        '{"not": "json"}',
        "a; b && c | d > e",
    ],
)
def test_no_shell_reads_the_text_as_more_than_a_text(text):
    row = row_of([text])
    shown = echoed(row)
    assert "\n" not in shown
    assert shown == (json.dumps(row) if text.startswith("{") else row["text"])
    assert row["text"].isprintable()


def test_secrets_are_masked():
    assert "hunter2" not in row_of(["see https://me:hunter2@example.org/x"])["text"]


def test_rows_of_several_columns_are_json():
    rows = Dataset.from_dict({"question": ["who is it?"], "context": [LONG]})
    row = own_row(find("question-answering")(), {"test": rows}, ["question", "context"])
    assert json.loads(echoed(row)) == row
    assert row["question"] == "who is it?"
    assert len(row["context"]) <= LONGEST


def test_a_mask_takes_the_place_of_a_word():
    recipe = find("fill-mask")()
    recipe.tokenizer = SimpleNamespace(mask_token="[MASK]")
    rows = Dataset.from_dict({"text": ["the bus was very late"]})
    assert own_row(recipe, {"test": rows}, ["text"]) == {"text": "the bus [MASK] very late"}


def test_rows_that_cannot_be_shortened_leave_the_sample():
    assert row_of([None, "", "\x00"]) == {"text": find("text-classification").samples[0]["text"]}
