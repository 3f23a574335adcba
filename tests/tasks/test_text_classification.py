"""What the labels decide, and what becomes of them."""

from __future__ import annotations

import datasets
import numpy as np
import pytest

from hfrecipes.evaluation.scoring import score
from hfrecipes.recipe import HIGHER, best_metric
from hfrecipes.tasks.text_classification import MULTI, REGRESSION, SINGLE, TextClassification


def studied(labels: list, **options) -> tuple[TextClassification, str]:
    recipe = TextClassification(**options)
    (said,) = recipe.infer_labels(datasets.Dataset.from_dict({"text": ["x"] * len(labels), "label": labels}))
    return recipe, said


@pytest.mark.parametrize(
    ("values", "kind", "labels"),
    [
        (["b", "a", "b"], SINGLE, ["a", "b"]),
        ([1, 0, 10, 2], SINGLE, ["0", "1", "2", "10"]),
        (["1", "0", "10", "2"], SINGLE, ["0", "1", "2", "10"]),
        ([1.0, 0.0], SINGLE, ["0", "1"]),
        ([-1, 0, 1], SINGLE, ["-1", "0", "1"]),
        ([True, False], SINGLE, ["False", "True"]),
        ([" a", "a ", "b"], SINGLE, ["a", "b"]),
        (["1", "1.0", "0"], SINGLE, ["0", "1"]),
        (["0.5", "1.5", "2.5", "3.5", "4.5", "5.5", "n/a"], REGRESSION, []),
        (["NA", "null"], SINGLE, ["NA", "null"]),
        ([0.5, 1.0, 3.8], REGRESSION, []),
        (["0.5", "1.0"], REGRESSION, []),
        ([["a"], ["b", "a"], []], MULTI, ["a", "b"]),
        ([[2], [0, 1]], MULTI, ["0", "1", "2"]),
    ],
)
def test_the_kind_of_problem_and_the_labels_are_read_from_the_rows(values, kind, labels):
    recipe, said = studied(values)
    assert (recipe.problem_type, recipe.labels) == (kind, labels)
    assert "options.problem_type changes that" in said
    assert TextClassification().infer_labels(datasets.Dataset.from_dict({"label": values[::-1]})) == [said]


def test_problem_type_overrides_what_the_labels_look_like():
    recipe, said = studied([1, 2, 5], problem_type=REGRESSION)
    assert recipe.reference({"label": 2}) == 2.0
    assert recipe.model_settings() == {"num_labels": 1, "problem_type": REGRESSION}
    assert "changes that" not in said


def test_names_that_the_dataset_gives_its_classes_keep_their_order():
    from hfrecipes.data.prepare import load_data
    from hfrecipes.training.configuration import configure

    names = ["negative", "positive"]
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names[::-1])})
    rows = datasets.Dataset.from_dict({"text": [f"t{i}" for i in range(40)], "label": [0, 1] * 20}, features=features)
    test = datasets.Dataset.from_dict({"text": ["x"], "label": [-1]}, features=features)
    config, recipe = configure("text-classification", {"dataset": {"train": rows, "test": test}})
    data, _ = load_data(config, recipe)
    assert recipe.labels == names[::-1]
    assert data.splits["train"]["label"][0] in names
    assert recipe.reference(data.splits["test"][0]) is None


def test_lists_of_class_ids_become_lists_of_names():
    from hfrecipes.data.prepare import load_data
    from hfrecipes.training.configuration import configure

    features = datasets.Features(
        {"text": datasets.Value("string"), "labels": datasets.List(datasets.ClassLabel(names=["joy", "fear"]))}
    )
    rows = datasets.Dataset.from_dict(
        {"text": [f"t{i}" for i in range(30)], "labels": [[0, 1], [1], []] * 10}, features=features
    )
    config, recipe = configure("text-classification", {"dataset": rows})
    data, _ = load_data(config, recipe)
    assert (recipe.problem_type, recipe.labels) == (MULTI, ["joy", "fear"])
    assert sorted(map(len, data.splits["train"]["label"][:]))[-1] == 2


@pytest.mark.parametrize("value", [None, "", " ", float("nan"), -1, "-1", -1.0])
def test_a_missing_label_is_no_answer(value):
    recipe, _ = studied(["a", "b"])
    assert recipe.reference({"label": value}) is None
    assert recipe.reference({}) is None


def test_minus_one_is_a_label_where_train_has_it():
    recipe, _ = studied([-1, 0, 1])
    assert recipe.reference({"label": -1}) == "-1"
    assert recipe.reference({"label": "-1.0"}) == "-1"


def test_an_unknown_label_a_vector_and_a_word_among_numbers_are_faults():
    def faults(train, values, **options):
        recipe, _ = studied(train, **options)
        rows = datasets.Dataset.from_dict({"label": values})
        return {finding.sentence: list(finding.rows) for finding in recipe.check(rows)}

    assert faults(["a", "b"], ["a", "c", "c"]) == {"label 'c' does not occur in train": [1, 2]}
    assert "vector of 0 and 1" in str(faults([[0, 1, 0], [1, 0, 0]], [[0, 1, 0]]))
    assert "vector of 0 and 1" in str(faults([[0, 1], [1, 0]], [[0, 1], [1, 0]]))
    assert "twice" in str(faults([["a"], ["b", "a"]], [["a", "a"]]))
    assert "empty cell" in str(faults([["a"], ["b", "a"]], [["a", None]]))
    assert faults([0.5, 1.5], ["0.5", "high"]) == {"label 'high' is not a number": [1]}
    assert "list" in str(faults(["a", "b"], ["a", "b"], problem_type=MULTI))
    assert faults(["a", "b"], ["a", None]) == {}


def test_one_label_gives_probabilities_that_sum_to_one():
    recipe, _ = studied(["a", "b", "c"])
    (one,) = recipe.decode(np.array([[1.0, 3.0, 2.0]]), [], None)
    assert one["label"] == "b"
    assert list(one["scores"]) == ["a", "b", "c"]
    assert sum(one["scores"].values()) == pytest.approx(1)
    assert one["score"] == one["scores"]["b"] == pytest.approx(np.exp(3) / np.exp([1, 2, 3]).sum())
    (far,) = recipe.decode(np.array([[1e4, 0.0, -1e4]]), [], None)
    assert far["score"] == 1


def test_several_labels_are_those_above_one_half():
    recipe, _ = studied([["a"], ["b"]])
    one, none = recipe.decode(np.array([[2.0, 1.0], [-1.0, -900.0]]), [], None)
    assert one["label"] == ["a", "b"]
    assert none["label"] == []
    assert one["scores"]["a"] == pytest.approx(1 / (1 + np.exp(-2)))


def test_a_number_is_the_output_itself():
    recipe, _ = studied([0.5, 1.5])
    assert recipe.decode(np.array([[2.25]]), [], None) == [{"label": 2.25}]


@pytest.mark.parametrize("labels", [["a", "b", "b"], [["a"], ["b"], ["a", "b"], ["b"]], [0.5, 1.5, 4.0]])
def test_the_baseline_sees_only_the_training_answers(labels):
    recipe, _ = studied(labels)
    train, rows = datasets.Dataset.from_dict({"label": labels}), datasets.Dataset.from_dict({"text": [""] * 5})
    made = recipe.baseline_predictions(rows, recipe.baseline(train))
    assert len(made) == 5
    expected = {SINGLE: "b", MULTI: ["b"], REGRESSION: 2.0}[recipe.problem_type]
    assert made[0]["label"] == expected


def test_what_picks_a_multi_label_checkpoint_moves_before_any_probability_passes_one_half():
    recipe, _ = studied([["a"], ["b"], ["a"]])
    assert (best_metric(recipe), recipe.metrics["lrap"]) == ("lrap", HIGHER)
    references = [["a"], ["b"], ["a"]]
    worse = recipe.decode(np.array([[-3.0, -2.0], [-2.0, -3.0], [-3.0, -2.0]]), [], None)
    better = recipe.decode(np.array([[-2.0, -3.0], [-3.0, -2.0], [-3.0, -2.0]]), [], None)
    first, second = score(recipe, worse, references), score(recipe, better, references)
    assert first["f1_micro"] == second["f1_micro"] == 0
    assert first["lrap"] < second["lrap"]
