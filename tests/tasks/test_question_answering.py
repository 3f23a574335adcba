"""Answers are right to the character, whatever the shape of the data; scores are those of the official scripts."""

from __future__ import annotations

import collections
import json
import math
import re
import string
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from conftest import make_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

import hfrecipes
from hfrecipes.data.shapes.answers import find_answer
from hfrecipes.errors import ConfigError, DataError
from hfrecipes.evaluation.scoring import score
from hfrecipes.metrics import _squad
from hfrecipes.tasks._answer_probabilities import RankedAnswer
from hfrecipes.tasks._spans import window_loss
from hfrecipes.tasks.question_answering import QuestionAnswering

CASES = settings(max_examples=300, deadline=None)
WORDS = ["the", "a", "An", "film", "Film,", "book", "3.5", "it's", "–", "!", "was", "great"]
ANSWER = st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join)


# --- the definitions, written down once more -------------------------------------------------------------------------


def reference_tokens(text: str) -> list[str]:
    """SQuAD: lower case, then no punctuation, then no articles, then words."""
    text = text.lower().translate(str.maketrans("", "", string.punctuation))
    return re.sub(r"\b(?:a|an|the)\b", " ", text).split()


def reference_f1(answer: str, reference: str, version: int) -> float:
    said, wanted = reference_tokens(answer), reference_tokens(reference)
    if version == 2 and not (said and wanted):
        return float(said == wanted)
    same = sum((collections.Counter(said) & collections.Counter(wanted)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(said), same / len(wanted)
    return 2 * precision * recall / (precision + recall)


def reference_scores(answers: list[str], references: list[list[str]], version: int) -> dict[str, float]:
    exact, f1 = [], []
    for answer, reference in zip(answers, references, strict=True):
        if version == 2:
            reference = [one for one in reference if reference_tokens(one)] or [""]
        exact.append(max(float(reference_tokens(answer) == reference_tokens(one)) for one in reference))
        f1.append(max(reference_f1(answer, one, version) for one in reference))
    found = {"exact_match": 100 * np.mean(exact), "f1": 100 * np.mean(f1)}
    for name, has in (("HasAns", True), ("NoAns", False)) if version == 2 else ():
        part = [place for place, reference in enumerate(references) if bool(reference) == has]
        for key, values in (("exact", exact), ("f1", f1)):
            found[f"{name}_{key}"] = 100 * np.mean([values[place] for place in part]) if part else float("nan")
    return found


def predictions_of(answers: list[str]) -> list[dict]:
    return [{"answer": answer, "best_span": answer, "null_odds": 0.0} for answer in answers]


@given(st.lists(st.tuples(ANSWER, st.lists(ANSWER, min_size=1, max_size=3)), min_size=1, max_size=6))
@CASES
def test_scores_are_those_of_squad_1(rows):
    answers, references = map(list, zip(*rows, strict=True))
    recipe = QuestionAnswering(version_2_with_negative=False)
    assert score(recipe, predictions_of(answers), references) == pytest.approx(reference_scores(answers, references, 1))


@given(st.lists(st.tuples(ANSWER, st.lists(ANSWER.filter(bool), max_size=3)), min_size=1, max_size=6))
@CASES
def test_scores_are_those_of_squad_2(rows):
    answers, references = map(list, zip(*rows, strict=True))
    recipe = QuestionAnswering(version_2_with_negative=True)
    wanted = reference_scores(answers, references, 2)
    assert score(recipe, predictions_of(answers), references) == pytest.approx(wanted, nan_ok=True)


SIGNS = "北京上海人3ab，。《》-："
TEXT = st.text(alphabet=SIGNS, min_size=1, max_size=8)


def reference_cmrc_f1(answer: str, reference: str) -> float:
    """CMRC 2018: letters of Chinese and words of other scripts; the longest run of them that both share."""
    bare = ["".join(sign for sign in text if sign not in "，。《》-：") for text in (answer, reference)]
    said, wanted = (re.findall(r"[一-龥]|\d+|[a-z]+", text) for text in bare)
    runs = [
        size
        for size in range(1, len(said) + 1)
        for start in range(len(said) - size + 1)
        if any(said[start : start + size] == wanted[other : other + size] for other in range(len(wanted) - size + 1))
    ]
    if not runs:
        return 0.0
    precision, recall = max(runs) / len(said), max(runs) / len(wanted)
    return 2 * precision * recall / (precision + recall)


@given(TEXT, TEXT)
@CASES
def test_chinese_answers_are_scored_as_cmrc_2018_does(answer, reference):
    assert _squad.cmrc_f1(answer, reference) == pytest.approx(reference_cmrc_f1(answer, reference))


@pytest.mark.parametrize(
    ("answer", "reference", "exact", "f1"),
    [
        ("《战国无双3》", "战国无双3", 1, 1),
        ("北京市", "北京", 0, 2 * 1 * (2 / 3) / (1 + 2 / 3)),
        ("Tokyo駅で", "tokyo駅", 0, 2 * 1 * (2 / 3) / (1 + 2 / 3)),
        ("3.5 km", "3.5", 0, 2 / 3),
        ("", "北京", 0, 0),
    ],
)
def test_chinese_and_japanese_are_counted_letter_by_letter(answer, reference, exact, f1):
    assert _squad.cmrc_exact(answer, reference) == exact
    assert _squad.cmrc_f1(answer, reference) == pytest.approx(f1)


def test_letters_are_counted_where_the_answers_are_chinese_and_words_elsewhere():
    for text, characters in (("北京是首都", True), ("Berlin is large", False)):
        row = {"question": "?", "context": text, "answers": {"text": [text[:2]], "answer_start": [0]}}
        recipe = QuestionAnswering()
        recipe.infer_labels(datasets.Dataset.from_list([row]))
        assert recipe.characters is characters


# --- no answer -------------------------------------------------------------------------------------------------------


def scanned_threshold(predictions: list[dict], references: list[list[str]]) -> float:
    """Best F1 that any threshold reaches, by trying all of them."""
    odds = [one["null_odds"] for one in predictions]
    best = 0.0
    for threshold in [min(odds) - 1, *odds]:
        answers = ["" if one["null_odds"] > threshold else one["best_span"] for one in predictions]
        best = max(best, reference_scores(answers, references, 2)["f1"])
    return best


# A span of signs alone counts as an answer for the threshold and as none for the score; the official script too.
ROW = st.tuples(
    ANSWER.filter(reference_tokens), st.lists(ANSWER.filter(reference_tokens), max_size=2), st.integers(-5, 5)
)


@given(st.lists(ROW, min_size=1, max_size=8, unique_by=lambda row: row[2]))
@CASES
def test_the_threshold_is_the_best_that_validation_knows(rows):
    predictions = [{"answer": answer, "best_span": answer, "null_odds": float(odds)} for answer, _, odds in rows]
    references = [reference for _, reference, _ in rows]
    recipe = QuestionAnswering(version_2_with_negative=True)
    calibration, _ = recipe.calibrate(predictions, references)
    limit = calibration["null_threshold"]
    assert all(abs(limit - one["null_odds"]) > 1e-9 for one in predictions), "rounding decides about no row"
    answers = ["" if one["null_odds"] > limit else one["best_span"] for one in predictions]
    assert reference_scores(answers, references, 2)["f1"] == pytest.approx(scanned_threshold(predictions, references))


def test_the_threshold_is_saved_with_the_model_and_used(quick, tmp_path):
    rows = {"train": sample_rows(40), "validation": sample_rows(12), "test": sample_rows(8)}
    result = hfrecipes.run("question-answering", dataset=rows, output_dir=tmp_path / "run", **quick)
    saved = json.loads((tmp_path / "run" / "config.json").read_text())["hfrecipes"]["calibration"]
    model = hfrecipes.load(tmp_path / "run")
    assert model.recipe.calibration == saved == result.predictor.recipe.calibration
    row = {name: rows["test"][0][name] for name in ("question", "context")}
    for threshold, silent in ((1e6, False), (-1e6, True)):
        model.recipe.calibration = {"null_threshold": threshold}
        assert (model.predict(row)["answer"] == "") == silent


def sample_rows(number: int) -> list[dict]:
    return [dict(QuestionAnswering.samples[place % 4]) for place in range(number)]


@given(st.lists(ROW, min_size=1, max_size=8))
@CASES
def test_calibrated_predictions_are_those_of_the_threshold_whatever_was_decided_before(rows):
    predictions = []
    for answer, _, odds in rows:
        span = {"answer": answer, "start": 3, "end": 3 + len(answer)}
        predictions.append(RankedAnswer(span, np.array([0.0, odds]), may_have_none=True))
    recipe = QuestionAnswering(version_2_with_negative=True)
    for threshold in (-2.0, 3.0, 0.0):
        calibrated = recipe.calibrated(predictions, {"null_threshold": threshold})
        for prediction, (answer, _, odds) in zip(calibrated, rows, strict=True):
            assert prediction["answer"] == ("" if odds > threshold else answer)
            no_answer = 1 / (1 + math.exp(-odds))
            score, start = (no_answer, None) if odds > threshold else (1 - no_answer, 3)
            assert (prediction["score"], prediction["start"]) == (pytest.approx(score), start)
            assert prediction["no_answer_score"] == pytest.approx(no_answer)
    assert recipe.calibrated(predictions, {}) == predictions, "without calibration the threshold is 0"


# --- answers and where they are ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("context", "text", "start", "found"),
    [
        ("the old mill", "mill", 8, (8, 12)),
        ("the old mill", "mill", 7, (8, 12)),
        ("the old mill", " mill ", 7, (8, 12)),
        ("the old\n  mill", "old mill", 5, (4, 14)),
        ("mill or mill", "mill", 7, (8, 12)),
        ("mill " * 20, "mill", -1, None),
        ("the old mill", "mill", -1, (8, 12)),
        ("the old mill", "dam", 4, None),
        ("mill" + " x" * 40 + " mill", "mill", 40, None),
        ("the old mill", "", 0, None),
        ("then the hen came", "he", -1, None),
        ("then the hen came", "hen", -1, (9, 12)),
        ("the 10km run", "10", 5, (4, 6)),
        ("北京是首都", "京", -1, (1, 2)),
        ("the old mill", "mill ", 8, (8, 12)),
        ("the old mill ", "mill ", 8, (8, 12)),
    ],
)
def test_a_wrong_start_is_corrected_only_where_the_answer_is_certain(context, text, start, found):
    assert find_answer(context, text, start) == found


def fault(rows: list[dict], **settings) -> str:
    with pytest.raises(DataError) as caught:
        hfrecipes.check("question-answering", dataset={"train": rows, "validation": rows[:2]}, **settings)
    return str(caught.value)


MILL = {"question": "what ?", "context": "the old mill", "answers": {"text": ["mill"], "answer_start": [8]}}


def row(**cells) -> dict:
    return {**MILL, **cells}


def test_an_answer_that_is_not_in_its_context_is_named_before_training():
    wrong = row(answers={"text": ["dam"], "answer_start": [4]})
    message = fault([row(), row(), wrong, row()])
    assert "the answer is not in the context" in message
    assert "in 1 row (2, counted from 0)" in message
    assert "drop_invalid=true" in message


def test_such_an_answer_is_still_scored_against(caplog):
    wrong = row(answers={"text": ["dam"], "answer_start": [4]})
    rows = {"train": [row()] * 4, "validation": [row()] * 2, "test": [wrong]}
    assert hfrecipes.check("question-answering", dataset=rows)["rows"]["test"] == 1


def test_a_corrected_start_is_printed(caplog):
    moved = row(answers={"text": ["mill"], "answer_start": [7]})
    with caplog.at_level("INFO", "hfrecipes"):
        hfrecipes.check("question-answering", dataset={"train": [moved, row(), row()], "validation": [row()]})
    assert "answer_start was wrong, and was set to where the answer is in the context in 1 row (0" in caplog.text


def test_a_question_without_answer_is_named_where_each_must_have_one():
    message = fault([row(), row(answers={"text": [], "answer_start": []})], version_2_with_negative=False)
    assert "the question has no answer: options.version_2_with_negative=true allows that" in message


ASKED = {"question": "what ?", "context": "the old mill"}
SHAPES = {
    "nested": {
        "version": "v2.0",
        "data": [
            {
                "title": "Mills",
                "paragraphs": [
                    {
                        "context": "the old mill",
                        "qas": [
                            {"id": "q1", "question": "what ?", "answers": [{"text": "mill", "answer_start": 8}]},
                            {
                                "id": "q2",
                                "question": "who ?",
                                "answers": [],
                                "is_impossible": True,
                                "plausible_answers": [{"text": "old", "answer_start": 4}],
                            },
                        ],
                    }
                ],
            }
        ],
    },
    "paragraphs": [
        {
            "context": "the old mill",
            "qas": [
                {"id": "q1", "question": "what ?", "answers": [{"text": "mill", "answer_start": 8}]},
                {"id": "q2", "question": "who ?", "answers": []},
            ],
        }
    ],
    "dicts of lists": [
        {"id": "q1", **MILL},
        {"id": "q2", **MILL, "question": "who ?", "answers": {"text": [], "answer_start": []}},
    ],
    "lists of dicts": [
        {"id": "q1", "question": "what ?", "context": "the old mill", "answers": [{"text": "mill", "answer_start": 8}]},
        {"id": "q2", "question": "who ?", "context": "the old mill", "answers": []},
    ],
    "text and start": [
        {"id": "q1", "question": "what ?", "context": "the old mill", "answer": "mill", "answer_start": 8},
        {"id": "q2", "question": "who ?", "context": "the old mill", "answer": "", "answer_start": None},
    ],
    "dicts of one answer": [
        {**ASKED, "id": "q1", "answers": {"text": "mill", "answer_start": 8}},
        {**ASKED, "id": "q2", "question": "who ?", "answers": {"text": "", "answer_start": None}},
    ],
    "lists of texts": [
        {**ASKED, "id": "q1", "answers": ["mill"]},
        {**ASKED, "id": "q2", "question": "who ?", "answers": []},
    ],
    "lists as an answer": [
        {**ASKED, "id": "q1", "answer": ["mill"]},
        {**ASKED, "id": "q2", "question": "who ?", "answer": []},
    ],
    "texts": [{**ASKED, "id": "q1", "answers": "mill"}, {**ASKED, "id": "q2", "question": "who ?", "answers": ""}],
    "json in texts": [
        {**ASKED, "id": "q1", "answers": json.dumps(MILL["answers"])},
        {**ASKED, "id": "q2", "question": "who ?", "answers": "{'text': [], 'answer_start': []}"},
    ],
    "a table's numbers": [
        {**ASKED, "id": "q1", "answer": "mill", "answer_start": "8.0"},
        {**ASKED, "id": "q2", "question": "who ?", "answer": "", "answer_start": "NA"},
    ],
    "is_impossible beside": [
        {**ASKED, "id": "q1", "answers": MILL["answers"], "is_impossible": False},
        {**ASKED, "id": "q2", "question": "who ?", "answers": MILL["answers"], "is_impossible": True},
    ],
    "nested by other names": {
        "data": [
            {
                "context_id": "c1",
                "context_text": "the old mill",
                "qas": [
                    {"query_id": "q1", "query_text": "what ?", "answers": ["mill"]},
                    {"query_id": "q2", "query_text": "who ?", "answers": []},
                ],
            }
        ]
    },
    "text alone": [
        {"id": "q1", "query": "what ?", "passage": "the old mill", "answer_text": "mill"},
        {"id": "q2", "query": "who ?", "passage": "the old mill", "answer_text": ""},
    ],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_published_shape_gives_the_same_rows(shape, tmp_path):
    from hfrecipes.config.run_config import RunConfig
    from hfrecipes.data.prepare import read_splits

    (tmp_path / "train.json").write_text(json.dumps(SHAPES[shape]))
    recipe = QuestionAnswering()
    data = read_splits(RunConfig(task=recipe.task, dataset=str(tmp_path / "train.json")), recipe)
    rows = data.splits["train"]
    assert rows["id"][:] == ["q1", "q2"]
    assert rows["question"][:] == ["what ?", "who ?"]
    assert rows["context"][:] == ["the old mill"] * 2
    assert [recipe.reference(one) for one in rows] == [["mill"], []]
    recipe.infer_labels(rows)
    assert recipe.version_2_with_negative


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ({"input_text": ["mill"], "span_start": [8]}, "found the keys input_text, span_start, expected text"),
        ({"text": [None], "answer_start": [8]}, "an answer has no text in 3 rows (0"),
        ({"text": ["  "], "answer_start": [8]}, "an answer has no text in 3 rows (0"),
        ("{'text': array(['mill'], dtype=object), 'answer_start': array([8])}", "save the rows as jsonl or parquet"),
        ([{"text": "mill", "answer_start": "eight"}], "answer_start is 'eight', expected a number"),
    ],
)
def test_answers_of_no_known_shape_are_refused_and_never_taken_for_none(answers, sentence):
    assert sentence in fault([row(answers=answers)] * 3)


def test_a_column_beside_the_context_does_not_take_its_place(tmp_path):
    from hfrecipes.config.run_config import RunConfig
    from hfrecipes.data.prepare import read_splits

    rows = [{**ASKED, "article": "a mill of the old kind", "query": "no ?", "answer": "mill", "answer_start": 8}] * 3
    recipe = QuestionAnswering()
    data = read_splits(RunConfig(task=recipe.task, dataset=rows), recipe)
    assert data.splits["train"][0]["context"] == "the old mill"
    assert data.splits["train"][0]["question"] == "what ?"


def test_columns_are_found_in_each_split_by_itself():
    rows = [{"q": "what ?", "context": "the old mill", "gold": MILL["answers"]}] * 4
    test = [{"q": "what ?", "context": "the old mill"}]
    columns = {"question": "q", "answers": "gold"}
    dataset = {"train": rows, "validation": rows[:2], "test": test}
    assert hfrecipes.check("question-answering", dataset=dataset, columns=columns)["rows"]["test"] == 1


def test_a_test_split_without_any_answer_is_not_scored_as_unanswerable(caplog):
    test = [row(answers={"text": [], "answer_start": []})] * 2
    with caplog.at_level("INFO", "hfrecipes"):
        hfrecipes.check("question-answering", dataset={"train": [row()] * 4, "validation": [row()], "test": test})
    assert "test: every answers is -1, empty or missing, so no row has a reference" in caplog.text


def test_rows_of_every_fault_are_dropped():
    lost = row(answers={"text": ["dam"], "answer_start": [4]})
    blank = row(answers={"text": [" "], "answer_start": [4]})
    found = hfrecipes.check(
        "question-answering", dataset={"train": [lost, *[row()] * 9, blank], "validation": [row()]}, drop_invalid=True
    )
    assert found["rows"]["train"] == 9


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"data": [{"paragraphs": [{"context": "the old mill"}]}]}, "expected qas among them"),
        ({"data": [{"paragraphs": ["x"]}]}, "paragraphs holds .*expected a list of objects"),
        ({"data": [{"paragraphs": None}]}, "paragraphs holds 'None', expected a list of objects"),
    ],
)
def test_nested_files_that_lack_a_part_are_refused(tmp_path, content, sentence):
    (tmp_path / "train.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=sentence):
        hfrecipes.check("question-answering", dataset=str(tmp_path / "train.json"))


@pytest.mark.parametrize(
    "answers",
    [{"text": ["mill"], "answer_start": ["8"]}, {"text": ["mill"], "answer_start": [8.0]}],
)
def test_starts_of_other_types_are_numbers_too(answers):
    dataset = {"train": [row(answers=answers)] * 3, "validation": [row()]}
    assert hfrecipes.check("question-answering", dataset=dataset)["rows"]["train"] == 3


MILLS = {"question": "what ?", "context": "a mill, the old mill"}


@pytest.mark.parametrize(
    "cells",
    [
        {"answers": {"text": ["mill"], "answer_start": ["16:20"]}},
        {"answers": {"text": ["mill"], "answer_start": "[16]"}},
        {"answers": [{"text": "mill", "answer_start": [16, 20]}]},
        {"answers": [["mill", 16]]},
        {"answers": "[('mill', 16)]"},
        {"answer": "mill", "answer_start": "(16, 20)"},
        {"answer": "mill", "answer_start": "16-20"},
        {"answer": "mill", "answer_span": [16, 20]},
        {"answer": ["mill"], "answer_start": [16]},
        {"answer": ["mill"], "answer_start": "[16]"},
    ],
)
def test_a_start_may_be_a_range_a_pair_or_a_list(cells, tmp_path):
    from hfrecipes.config.run_config import RunConfig
    from hfrecipes.data.prepare import read_splits

    (tmp_path / "train.jsonl").write_text(json.dumps({**MILLS, **cells}) + "\n")
    recipe = QuestionAnswering()
    data = read_splits(RunConfig(task=recipe.task, dataset=str(tmp_path / "train.jsonl")), recipe)
    assert data.splits["train"][0]["answers"] == {"text": ["mill"], "answer_start": [16]}


def test_starts_that_are_several_ranges_are_refused():
    assert "answer_start is '2:6|16:20', expected a number" in fault(
        [{**MILLS, "answer": "mill", "start": "2:6|16:20"}]
    )


@pytest.mark.parametrize(
    "text", ["CANNOTANSWER", "ANSWERNOTFOUND", "No Answer Present.", "[unanswerable]", "无答案", "N/A"]
)
def test_an_answer_that_means_that_there_is_none_is_named_with_the_edit(text, caplog):
    none = row(answers={"text": [text], "answer_start": [-1]})
    message = fault([row(), row(), none, row()])
    assert (
        f"the answer {text!r} is written nowhere in the context; if it means that there is no answer, give an"
        in message
    )
    assert "in 1 row (2, counted from 0)" in message
    with caplog.at_level("INFO", "hfrecipes"):
        hfrecipes.check(
            "question-answering", dataset={"train": [row()] * 4, "validation": [row()], "test": [none, row()]}
        )
    assert "test" in caplog.text
    assert f"count as wrong: the answer {text!r} is written nowhere in the context" in caplog.text


def test_such_an_answer_at_the_end_of_each_context_is_learnt_as_a_part_of_it_and_said(caplog):
    rows = [row(context="the old mill CANNOTANSWER", answers={"text": ["CANNOTANSWER"], "answer_start": [13]}), row()]
    with caplog.at_level("INFO", "hfrecipes"):
        hfrecipes.check("question-answering", dataset={"train": rows, "validation": [row()]})
    assert "the answer 'CANNOTANSWER' is learnt as a part of the context; if it means" in caplog.text


def test_a_word_that_may_mean_no_answer_is_an_answer_where_the_context_has_it(caplog):
    rows = [row(context="none of the mills", answers={"text": ["none"], "answer_start": [0]})] * 3
    with caplog.at_level("INFO", "hfrecipes"):
        hfrecipes.check("question-answering", dataset={"train": rows, "validation": rows[:1]})
    assert "means that there is no answer" not in caplog.text


def test_a_bare_question_is_refused_with_what_is_needed(quick, tmp_path):
    result = hfrecipes.run("question-answering", dataset=sample_rows(20), output_dir=tmp_path / "run", **quick)
    with pytest.raises(DataError, match="found a text, expected rows with question and context"):
        result.predict("when ?")


def test_an_answer_that_is_not_known_is_not_scored_as_none(caplog):
    from hfrecipes.data.checks import references

    rows = datasets.Dataset.from_list([row(), row(answers=None)])
    assert references(QuestionAnswering(), rows) == [["mill"], None]


def test_an_answer_that_was_looked_up_is_printed(caplog):
    rows = {"train": [row(answers=["mill"])] * 3, "validation": [row()]}
    with caplog.at_level("INFO", "hfrecipes"):
        hfrecipes.check("question-answering", dataset=rows)
    assert "answer_start is not given, and was set to the only occurrence of the answer in 3 rows" in caplog.text
    assert "was wrong" not in caplog.text


@pytest.mark.parametrize("setting", [{"max_length": 16}, {"max_answer_length": 0}, {"max_query_length": 0}])
def test_windows_and_answers_without_room_are_refused(setting):
    with pytest.raises(ConfigError, match=f"{next(iter(setting))}: .*expected"):
        QuestionAnswering(**setting)


def test_questions_on_one_text_stay_in_one_split(tmp_path):
    rows = [row(question=f"what {place} ?", context=f"text {place // 5} has the old mill") for place in range(60)]
    for one in rows:
        one["answers"] = {"text": ["mill"], "answer_start": [one["context"].index("mill")]}
    from hfrecipes.data.splits import hold_out

    assert QuestionAnswering.columns["context"].grouped
    train = datasets.Dataset.from_list(rows)
    kept, held = hold_out(train, None, train["context"][:], 0)
    assert not set(kept["context"]) & set(held["context"])
    assert len(held) == 5, "whole groups, as near to a tenth of the rows as they come"


def test_questions_on_one_text_are_resampled_together_in_a_run_and_afterwards(quick, tmp_path):
    from hfrecipes.evaluation.scoring import scores

    rows = {"train": sample_rows(20), "test": sample_rows(12)}
    settings = {**quick, "max_steps": 1, "save_strategy": "no"}
    result = hfrecipes.run("question-answering", dataset=rows, output_dir=tmp_path / "run", **settings)
    recipe = result.predictor.recipe
    predictions, references = result.predict(rows["test"]), [recipe.reference(one) for one in rows["test"]]
    groups = [one["context"] for one in rows["test"]]
    expected = scores(recipe, predictions, references, seed=42, groups=groups)["f1"].ci95
    assert len(set(groups)) < len(groups)
    assert expected != scores(recipe, predictions, references, seed=42)["f1"].ci95
    assert result.scores["test"]["f1"].ci95 == pytest.approx(expected)
    assert result.predictor.evaluate(rows["test"]).scores["f1"].ci95 == pytest.approx(expected)


# --- windows ---------------------------------------------------------------------------------------------------------


def encoded_rows(rows: list[dict], **options) -> tuple[QuestionAnswering, datasets.Dataset]:
    recipe = QuestionAnswering(version_2_with_negative=True, characters=False, **options)
    recipe.tokenizer = make_tokenizer()
    return recipe, datasets.Dataset.from_dict(recipe.encode({name: [one[name] for one in rows] for name in rows[0]}))


def reduced(recipe: QuestionAnswering, logits, encoded: datasets.Dataset) -> list[np.ndarray]:
    context = torch.tensor(encoded["context"][:])
    return [part.numpy() for part in recipe.preprocess_logits((*logits, context), None)]


def test_an_answer_whose_last_letter_has_no_token_is_trained_on():
    context = "the film was great \u200b"
    rows = [row(context=context, answers={"text": ["great \u200b"], "answer_start": [13]})]
    _, encoded = encoded_rows(rows)
    first, last = encoded[0]["labels"]
    start, end = encoded[0]["context"]
    assert first == last == end > start, "the token of 'great', not the one of no answer"


def test_targets_point_at_the_answer_and_elsewhere_at_the_first_token():
    context = "the film was great " * 10 + "the book was awful"
    start = context.index("book")
    rows = [
        row(context=context, answers={"text": ["book was"], "answer_start": [start]}),
        row(answers={"text": [], "answer_start": []}),
        row(answers={"text": ["dam"], "answer_start": [4]}),
    ]
    _, encoded = encoded_rows(rows, max_length=32, doc_stride=8)
    hits = 0
    for window in encoded:
        a, b = window["labels"]
        first, _ = window["context"]
        if window["row"] == 0 and (a, b) != (0, 0):
            assert context[window["starts"][a - first] : window["ends"][b - first]] == "book was"
            hits += 1
        if window["row"] == 1:
            assert (a, b) == (0, 0)
        if window["row"] == 2:
            assert (a, b) == (-100, -100), "left out of the loss, not taught as unanswerable"
    assert hits >= 1


def test_a_long_question_is_truncated_and_counted_and_leaves_room_for_the_context():
    _, encoded = encoded_rows([row(question="what " * 100 + "?"), row()], max_length=32)
    assert encoded["over_max_length"][-1] is False
    assert encoded["over_max_length"][0] is True
    assert all(encoded["starts"]), "each window has a part of the context"


def test_a_question_has_a_limit_of_its_own_that_is_named():
    _, encoded = encoded_rows([row(question="what " * 100 + "?"), row()], max_length=64, max_query_length=8)
    assert encoded["over_max_query_length"][:] == [True, False]
    assert "over_max_length" not in encoded.column_names
    assert len(encoded[0]["input_ids"]) == 8 + 3 + encoded[0]["context"][1] - encoded[0]["context"][0] + 1
    _, encoded = encoded_rows([row(question="what " * 100 + "?"), row()], max_length=64, max_query_length=2000)
    assert encoded["over_max_length"][:] == [True, False]


def test_answers_longer_than_predictions_can_be_are_counted_with_the_edit(tiny_bert, caplog):
    context = "the film was great and the book was awful"
    long = row(context=context, answers={"text": ["film was great and the book"], "answer_start": [4]})
    both = row(context=context, answers={"text": ["film was great and", "great"], "answer_start": [4, 13]})
    dataset = {"train": [*[long] * 3, both, row()], "validation": [row()], "test": [long, row()]}
    settings = {"dataset": dataset, "model": tiny_bert, "max_length": 48}
    with caplog.at_level("INFO", "hfrecipes"):
        hfrecipes.check("question-answering", max_answer_length=4, **settings)
    sentence = "the reference has more tokens than max_answer_length=4"
    assert (
        f"train: in 3 of 5 rows (60 %) {sentence} (rows 0, 1, 2, counted from 0), so no prediction can" in caplog.text
    )
    assert f"test: in 1 of 2 rows (50 %) {sentence} (row 0, counted from 0), so no" in caplog.text
    assert "match it: increase options.max_answer_length" in caplog.text
    assert f"validation: in 1 of 1 row (100 %) {sentence}" not in caplog.text
    caplog.clear()
    with caplog.at_level("INFO", "hfrecipes"):
        hfrecipes.check("question-answering", max_answer_length=40, **settings)
    assert "max_answer_length" not in caplog.text


def test_an_answer_longer_than_a_window_is_counted_too():
    context = "the film was great " * 30
    _, encoded = encoded_rows(
        [row(context=context, answers={"text": [context.strip()], "answer_start": [0]})], max_length=32
    )
    assert all(encoded["beyond_max_answer_length"])


def test_the_best_span_over_all_windows_is_the_answer():
    context = "the film was great " * 10 + "the book was awful"
    recipe, encoded = encoded_rows([{"question": "what ?", "context": context}], max_length=32, doc_stride=8)
    width = max(map(len, encoded["input_ids"]))
    starts, ends = torch.zeros(len(encoded), width), torch.zeros(len(encoded), width)
    wanted = (context.index("book"), context.index("book") + 4)
    for window, one in enumerate(encoded):
        for place, (a, b) in enumerate(zip(one["starts"], one["ends"], strict=True)):
            starts[window, one["context"][0] + place] = 9.0 if a == wanted[0] else 0
            ends[window, one["context"][0] + place] = 9.0 if b == wanted[1] else 0
    outputs = reduced(recipe, (starts, ends), encoded)
    (made,) = recipe.decode(outputs, [{"question": "what ?", "context": context}], encoded)
    assert (made["start"], made["end"], made["answer"]) == (*wanted, "book")
    assert made["null_odds"] == pytest.approx(-18.0)


@pytest.mark.parametrize("length", [30, 384])
def test_what_evaluation_keeps_does_not_grow_with_the_length_of_a_window(length):
    context = torch.tensor([[5, length - 2]] * 4)
    kept = QuestionAnswering().preprocess_logits((torch.randn(4, length), torch.randn(4, length), context), None)
    assert sum(part.numel() for part in kept) == 4 * 61


def test_the_answer_does_not_depend_on_the_rows_beside_it():
    generator = torch.Generator().manual_seed(1)
    alone = {"question": "what was great ?", "context": "the film was"}
    rows = [alone, {"question": "what ? " * 40, "context": "the book was awful and the film was great " * 20}]
    recipe, encoded = encoded_rows(rows, max_length=128)
    first = encoded.select([0])
    size = len(first[0]["input_ids"])
    logits = torch.randn(2, 1, size, generator=generator)
    logits[:, :, first[0]["context"][0] :] -= 20  # question and special tokens score far better than the context
    wide = torch.full((2, len(encoded), 128), 50.0)
    wide[:, 0, :size] = logits[:, 0]
    (narrow_answer,) = recipe.decode(reduced(recipe, logits, first), rows[:1], first)
    wide_answer = recipe.decode(reduced(recipe, wide, encoded), rows, encoded)[0]
    assert narrow_answer == wide_answer
    assert narrow_answer["best_span"]


def test_the_best_span_is_the_best_of_all_that_may_be():
    generator = torch.Generator().manual_seed(2)
    rows = [{"question": "what ?", "context": "the film was great and the book was awful"}]
    recipe, encoded = encoded_rows(rows, max_answer_length=4)
    for _ in range(20):
        logits = torch.randn(2, 1, len(encoded[0]["input_ids"]), generator=generator)
        (made,) = recipe.decode(reduced(recipe, logits, encoded), rows, encoded)
        first, last = encoded[0]["context"]
        spans = [(a, b) for a in range(first, last + 1) for b in range(a, min(a + 4, last + 1))]
        a, b = max(spans, key=lambda span: float(logits[0, 0, span[0]] + logits[1, 0, span[1]]))
        start, end = encoded[0]["starts"][a - first], encoded[0]["ends"][b - first]
        assert made["best_span"] == rows[0]["context"][start:end]


def test_the_loss_is_the_one_of_the_model(tiny_bert):
    from transformers import AutoModelForQuestionAnswering

    recipe, encoded = encoded_rows([row(), row(answers={"text": [], "answer_start": []}), row()])
    batch = recipe.collator(None)(
        [{key: one[key] for key in ("input_ids", "token_type_ids", "labels", "context")} for one in encoded]
    )
    labels, context = batch.pop("labels"), batch.pop("context")
    model = AutoModelForQuestionAnswering.from_pretrained(tiny_bert).eval()
    with torch.no_grad():
        outputs = model(**batch, start_positions=labels[:, 0], end_positions=labels[:, 1])
    outputs["context"] = context
    counted = int((labels != -100).sum())
    for ours in (window_loss(outputs, labels), window_loss(outputs, labels, counted)):
        assert float(ours) == pytest.approx(float(outputs["loss"]), rel=1e-5)


def test_no_answer_is_longer_than_allowed_or_reaches_into_the_question():
    generator = torch.Generator().manual_seed(0)
    rows = [{"question": "what was great ?", "context": "the film was great and the book was awful " * 4}] * 8
    recipe, encoded = encoded_rows(rows, max_length=40, max_answer_length=3)
    width = max(map(len, encoded["input_ids"]))
    logits = [torch.randn(len(encoded), width, generator=generator) for _ in range(2)]
    made = recipe.decode(reduced(recipe, logits, encoded), rows, encoded)
    for one in made:
        assert len(one["best_span"].split()) <= 3
        assert one["best_span"] in rows[0]["context"]


def test_spans_that_are_predicted_are_the_text_between_their_characters(quick, tmp_path):
    rows = {"train": sample_rows(40), "validation": sample_rows(8)}
    result = hfrecipes.run("question-answering", dataset=rows, output_dir=tmp_path / "run", **quick)
    result.predictor.recipe.calibration = {"null_threshold": 1e6}
    context = "  The  film,\twas great; the book (was) awful!  "
    for one in result.predict([{"question": "what ?", "context": context}] * 3):
        assert context[one["start"] : one["end"]] == one["answer"] != ""
        assert 0 <= one["score"] <= 1


def test_rows_in_json_are_predicted_from_standard_input_as_the_run_itself_suggests(quick, tmp_path, capsys):
    import re
    import shlex

    from click.testing import CliRunner

    from hfrecipes.cli import main

    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in sample_rows(20)))
    words = [f"{key}={value}" for key, value in quick.items()]
    made = CliRunner().invoke(main, ["run", "question-answering", "dataset=rows.jsonl", "output_dir=run", *words])
    hint = re.search(r"try it: echo (.*) \| hfrecipes (.*)", made.output)
    (text,) = shlex.split(hint[1])
    again = CliRunner().invoke(main, shlex.split(hint[2]), input=text + "\n" + text + "\n")
    assert again.exit_code == 0, again.output
    assert again.output.count('"answer"') == 2
    several = hfrecipes.load("run").predict(Path("rows.jsonl"))
    assert len(several) == 20, "the path of a file is no text"


def test_a_model_of_another_language_is_said(tiny_bert, caplog):
    row = {"question": "谁？", "context": "王小明昨天去了北京。", "answers": {"text": ["王小明"], "answer_start": [0]}}
    with caplog.at_level("INFO", "hfrecipes"):
        hfrecipes.check("question-answering", dataset={"train": [row] * 6, "validation": [row]}, model=tiny_bert)
    assert "of the tokens are unknown to the model" in caplog.text
