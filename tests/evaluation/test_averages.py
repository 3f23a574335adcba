"""Macro scores of all splits are means over the same labels, and what is left out is printed."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
from rows import opinions

import hfrecipes
from hfrecipes.evaluation.averages import leave_out, left_out_here
from hfrecipes.evaluation.scoring import score
from hfrecipes.registry import find

LABELS = ["a", "b", "c", "d"]


def recipe_for(kind: str):
    if kind == "several":
        recipe = find("text-classification")(problem_type="multi_label_classification")
    elif kind == "tags":
        recipe = find("token-classification")(scheme="none")
    else:
        recipe = find("text-classification")(problem_type="single_label_classification")
    recipe.labels = list(LABELS)
    return recipe


def test_a_label_that_a_split_lacks_is_left_out_of_all_and_named():
    recipe = recipe_for("single")
    references = {"train": LABELS, "validation": ["a", "b", "c", "d"], "test": ["a", "b", None, "b"]}
    (sentence,) = leave_out(recipe, references)
    assert recipe.not_averaged == ["c", "d"]
    assert sentence == (
        "macro scores of all splits are means over the 2 of 4 labels that validation and test have; "
        "left out: c (not in test), d (not in test)"
    )
    assert left_out_here(recipe, ["a", "d"]) == ["macro scores leave out d, as those of the run do"]
    assert not left_out_here(recipe, ["a", "new"])


def test_nothing_is_left_out_where_all_splits_have_all_labels():
    recipe = recipe_for("single")
    assert not leave_out(recipe, {"train": LABELS, "validation": LABELS, "test": [*LABELS, "new"]})
    assert recipe.not_averaged == []


def test_nothing_is_left_out_where_no_label_would_remain():
    recipe = recipe_for("single")
    (sentence,) = leave_out(recipe, {"validation": ["a", "b"], "test": ["c", "d"]})
    assert sentence.startswith("no label occurs in all splits")
    assert recipe.not_averaged == []


def test_types_of_entity_count_whatever_their_tags():
    recipe = find("token-classification")(scheme="BIOES")
    recipe.labels = ["O", "S-x", "B-x", "E-x", "S-y"]
    references = {"validation": [["S-x", "O", "S-y"]], "test": [["B-x", "E-x", "O"]]}
    assert "left out: y (not in test)" in leave_out(recipe, references)[0]
    assert recipe.not_averaged == ["y"]


@pytest.mark.parametrize("seed", range(4))
def test_macro_scores_are_those_of_scikit_learn_for_the_labels_that_are_kept(seed):
    generator = np.random.default_rng(seed)
    recipe = recipe_for("single")
    recipe.not_averaged = ["d"]
    references = generator.choice(["a", "b", "c"], 40).tolist()
    predictions = recipe.decode(generator.normal(size=(40, 4)), [], None)
    given = [prediction["label"] for prediction in predictions]
    expected = sklearn.metrics.f1_score(references, given, average="macro", labels=["a", "b", "c"], zero_division=0)
    assert score(recipe, predictions, references)["f1_macro"] == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
def test_a_perfect_model_has_a_perfect_macro_score_in_each_split(seed):
    for kind in ("single", "several", "tags"):
        recipe = recipe_for(kind)
        drawn = np.random.default_rng(seed).choice(["a", "b", "c"], 12).tolist()
        references = drawn if kind == "single" else [[name] for name in drawn]
        leave_out(recipe, {"validation": [*references, *references[:1]], "test": references})
        key = "tags" if kind == "tags" else "label"
        scores = dict.fromkeys(LABELS, 0.0)
        predictions = [{key: reference, "scores": scores} for reference in references]
        assert score(recipe, predictions, references)["f1_macro"] == 1.0


def test_a_run_prints_it_and_keeps_it_for_other_rows(tiny_bert, tmp_path, caplog):
    rows = opinions(60)
    third = [{"text": "the train was late", "label": "late"} for _ in range(8)]
    dataset = {"train": rows[:30] + third, "validation": rows[30:40] + third[:4], "test": rows[40:]}
    settings = {"model": tiny_bert, "dataset": dataset, "output_dir": tmp_path / "run", "max_steps": 2, "bf16": False}
    hfrecipes.run("text-classification", **settings)
    sentence = (
        "macro scores of all splits are means over the 2 of 3 labels that validation and test have; "
        "left out: late (not in test)"
    )
    assert sentence in caplog.text
    assert sentence in (tmp_path / "run" / "README.md").read_text()
    found = hfrecipes.load(tmp_path / "run").evaluate(rows[:10] + third)
    assert "macro scores leave out late, as those of the run do" in found.notes
