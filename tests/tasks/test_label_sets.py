"""Sets of labels hold the right one as often as was asked for, on rows that nothing was tuned on."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import opinions

import hfrecipes
from hfrecipes.errors import ConfigError
from hfrecipes.evaluation import scoring
from hfrecipes.recipe import IGNORED
from hfrecipes.registry import find
from hfrecipes.tasks import _label_sets

LABELS = ["a", "b", "c", "d"]


def probabilities(generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Of a model that is too sure of itself."""
    ids = generator.choice(4, size=rows, p=[0.6, 0.25, 0.1, 0.05])
    frequent = np.array([1.0, 0.5, 0.0, 0.0])
    logits = generator.normal(size=(rows, 4)) + frequent
    logits[np.arange(rows), ids] += 1.2
    odds = np.exp(3 * logits)
    return odds / odds.sum(1, keepdims=True), ids


def covered(generator, coverage: float, *, by_label: bool, rows: int = 100) -> tuple[list, list]:
    """Whether the set of each new row holds its label, and the label of each."""
    shares, ids = probabilities(generator, rows)
    numbers, _ = _label_sets.tune(shares, ids, LABELS, {"by_label": coverage} if by_label else coverage)
    shares, ids = probabilities(generator, 300)
    predictions = [{"label": LABELS[best], "scores": {}} for best in shares.argmax(1)]
    sets = [row["label_set"] for row in _label_sets.with_sets(predictions, shares, LABELS, numbers)]
    return [LABELS[index] in names for index, names in zip(ids, sets, strict=True)], ids.tolist()


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_new_rows_are_covered_as_often_as_was_asked_for(coverage):
    generator = np.random.default_rng(0)
    shares = [np.mean(covered(generator, coverage, by_label=False)[0]) for _ in range(200)]
    # The guarantee is a lower bound, and an upper one but for 1 / (rows + 1).
    assert coverage - 0.01 < np.mean(shares) < coverage + 0.02


def test_rows_of_each_label_are_covered_where_that_is_asked_for():
    generator = np.random.default_rng(1)
    for by_label in (False, True):
        right: dict[int, list] = {index: [] for index in range(4)}
        for _ in range(60):
            for is_right, index in zip(*covered(generator, 0.9, by_label=by_label, rows=300), strict=True):
                right[index].append(is_right)
        least = min(np.mean(values) for values in right.values())
        assert (least > 0.88) == by_label, "together, rare labels are covered less"


def test_too_few_rows_give_all_labels_and_say_so():
    shares = np.full((5, 4), 0.25)
    numbers, sentences = _label_sets.tune(shares, np.zeros(5, dtype=int), LABELS, 0.9)
    assert sentences == ["label sets: 5 validation rows are too few for a coverage of 0.9, so sets hold all labels"]
    (row,) = _label_sets.with_sets([{"label": "b"}], np.array([[0.1, 0.6, 0.3, 0.0]]), LABELS, numbers)
    assert row["label_set"] == ["b", "c", "a", "d"]
    _, sentences = _label_sets.tune(shares, np.zeros(5, dtype=int), LABELS, {"by_label": 0.9})
    assert sentences[1] == "label sets: too few validation rows of a, b, c, d, which are in all sets"


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_rows_of_labels_that_train_lacks_count_as_not_covered(coverage):
    generator = np.random.default_rng(3)
    shares_covered = []
    for _ in range(100):
        shares, ids = probabilities(generator, 200)
        ids[generator.random(200) < 0.08] = IGNORED
        numbers, _ = _label_sets.tune(shares, ids, LABELS, coverage)
        shares, ids = probabilities(generator, 300)
        ids[generator.random(300) < 0.08] = IGNORED
        predictions = [{"label": LABELS[best]} for best in shares.argmax(1)]
        sets = [row["label_set"] for row in _label_sets.with_sets(predictions, shares, LABELS, numbers)]
        right = [index >= 0 and LABELS[index] in names for index, names in zip(ids, sets, strict=True)]
        shares_covered.append(np.mean(right))
    assert coverage - 0.01 < np.mean(shares_covered) < coverage + 0.02


def test_a_coverage_that_labels_unknown_to_train_make_impossible_is_said():
    shares, ids = np.full((100, 4), 0.25), np.zeros(100, dtype=int)
    ids[:20] = IGNORED
    numbers, sentences = _label_sets.tune(shares, ids, LABELS, 0.9)
    assert numbers == {"least_share": 0.0}
    assert sentences == [
        "label sets: 20 of 100 validation rows have labels that train does not have, so a coverage of 0.9 cannot be "
        "promised, and sets hold all labels"
    ]


@pytest.mark.parametrize("outside", ["other", None])
def test_a_recipe_counts_unknown_labels_and_leaves_out_rows_out_of_scope(outside):
    recipe = find("text-classification")(problem_type="single_label_classification", coverage=0.8)
    recipe.labels = ["a", "b"]
    if outside is not None:
        recipe.learned = {"out_of_scope": outside}
    predictions = [{"label": "a", "score": share, "scores": {"a": share, "b": 1 - share}} for share in (0.9, 0.8) * 10]
    numbers, _ = recipe.calibrate(predictions, ["a"] * 15 + ["other"] * 5)
    assert numbers["least_share"] == (0.0 if outside is None else 0.8)


def test_a_mean_of_sets_of_one_label_has_no_interval_below_one():
    assert scoring.bounds(find("text-classification")(coverage=0.9), "set_size")[0] == 1.0


def test_the_predicted_label_is_always_in_the_set():
    (row,) = _label_sets.with_sets([{"label": "b"}], np.array([[0.4, 0.3, 0.2, 0.1]]), LABELS, {"least_share": 0.9})
    assert row["label_set"] == ["b"]


@pytest.mark.parametrize("by_label", [False, True])
def test_a_run_saves_them_and_scores_their_coverage_with_its_interval(by_label, quick, tmp_path, caplog):
    dataset = {"train": opinions(40), "validation": opinions(40, 1), "test": opinions(40, 2)}
    settings = {**quick, "dataset": dataset, "output_dir": tmp_path / "run"}
    coverage = {"by_label": 0.9} if by_label else 0.9
    result = hfrecipes.run(
        "text-classification", **settings, coverage=coverage, threshold=0.4, temperature_scaling=True
    )
    assert "label sets: labels with a probability of" in caplog.text
    scores = result.scores["test"]
    assert scores["coverage"].low <= scores["coverage"].value <= scores["coverage"].high
    assert 1 <= scores["set_size"].value <= 2
    loaded = hfrecipes.load(tmp_path / "run")
    predictions = loaded.predict([row["text"] for row in dataset["test"]])
    assert all(made["label"] in made["label_set"] for made in predictions)
    right = [row["label"] in made["label_set"] for row, made in zip(dataset["test"], predictions, strict=True)]
    assert np.mean(right) == pytest.approx(scores["coverage"].value)
    assert loaded.evaluate(dataset["test"]).metrics["coverage"] == pytest.approx(scores["coverage"].value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"coverage": 90}, "expected a share between 0 and 1, such as 0.9"),
        ({"coverage": {"by_name": 0.9}}, "expected a share between 0 and 1, such as 0.9 or {by_label: 0.9}"),
        (
            {"coverage": 0.9, "dataset": [{"text": f"t{i}", "label": i / 7} for i in range(30)]},
            "the labels are numbers",
        ),
        (
            {"coverage": 0.9, "dataset": [{"text": f"t{i}", "label": ["a", "b"][: i % 3]} for i in range(30)]},
            "one label",
        ),
    ],
)
def test_a_coverage_that_cannot_be_had_is_refused_before_training(settings, said, quick, tmp_path):
    with pytest.raises(ConfigError, match=said):
        hfrecipes.run(
            "text-classification", **{**quick, "dataset": opinions(40), "output_dir": tmp_path / "r", **settings}
        )
    assert not (tmp_path / "r").exists()
