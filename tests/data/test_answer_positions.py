"""Questions whose answers are given by positions of tokens or characters become spans of the text that is read."""

from __future__ import annotations

import pytest

import hfrecipes
from hfrecipes.data.prepare import load_data
from hfrecipes.errors import DataError
from hfrecipes.training.configuration import configure

TOKENS = ["<P>", "The", "oars", "are", "in", "the", "shed", "</P>"]


def answered(rows: list[dict]) -> list[dict]:
    config, recipe = configure("question-answering", {"dataset": {"train": rows, "validation": rows}})
    return load_data(config, recipe)[0].splits["train"].to_list()


def simplified(number: int, yes_no: str = "NONE", spans: tuple = ((4, 7),)) -> dict:
    answers = [{"start_token": start, "end_token": end} for start, end in spans]
    annotation = {"yes_no_answer": yes_no, "short_answers": answers}
    return {"document_text": " ".join(TOKENS), "question_text": f"where {number}?", "annotations": [annotation]}


def full(number: int) -> dict:
    answers = [{"start_token": [4], "end_token": [7], "text": ["in the shed"]}]
    document = {"tokens": {"token": TOKENS, "is_html": [token.startswith("<") for token in TOKENS]}}
    annotations = {"yes_no_answer": [-1], "short_answers": answers}
    return {"document": document, "question": {"text": f"where {number}?"}, "annotations": annotations}


def newsqa(number: int) -> dict:
    questions = [{"q": f"where {number}?", "consensus": {"s": 13, "e": 25}}]
    return {"text": "The oars are in the shed .", "questions": questions, "storyId": str(number)}


def ranges(number: int) -> dict:
    return {"story_text": "The oars are in the shed .", "question": f"where {number}?", "answer_token_ranges": "3:6"}


@pytest.mark.parametrize("shape", [simplified, full, newsqa, ranges])
def test_the_answer_is_where_the_positions_say(shape):
    row = answered([shape(number) for number in range(6)])[0]
    assert row["context"].startswith("The oars are in the shed")
    assert row["answers"] == {"text": ["in the shed"], "answer_start": [13]}


def test_questions_answered_by_yes_or_no_are_counted_and_dropped_on_request():
    rows = [simplified(number) for number in range(8)] + [simplified(9, "YES", ())]
    with pytest.raises(DataError, match=r"answers is missing in 1 row \(8"):
        hfrecipes.check("question-answering", dataset={"train": rows, "validation": rows[:3]})
    kept = hfrecipes.check("question-answering", dataset={"train": rows, "validation": rows[:3]}, drop_invalid=True)
    assert kept["rows"]["train"] == 8


def test_a_question_without_short_answer_has_none():
    rows = [simplified(number, "NONE", () if number % 2 else ((4, 7),)) for number in range(8)]
    assert answered(rows)[1]["answers"] == {"text": [], "answer_start": []}


def test_a_question_that_annotators_found_bad_is_not_one_without_answer():
    rows = [newsqa(number) for number in range(6)]
    rows[1]["questions"][0]["consensus"] = {"badQuestion": True}
    rows[2]["questions"][0]["consensus"] = {"noAnswer": True}
    with pytest.raises(DataError, match=r"answers is missing in 1 row \(1"):
        hfrecipes.check("question-answering", dataset={"train": rows, "validation": rows[3:]})
