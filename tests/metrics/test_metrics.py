"""Metrics equal the reference implementations, alone and under resampling; intervals are honest and fast."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import evaluate
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics as sklearn_metrics
from datasets import Dataset
from hypothesis import strategies as st
from random_cases import random_cases

import hfrecipes.metrics as metrics
from hfrecipes.errors import ConfigError, NotFoundError
from hfrecipes.evaluation import scoring
from hfrecipes.evaluation.scoring import score, scores, try_metrics
from hfrecipes.metrics import _weighted
from hfrecipes.recipe import best_metric
from hfrecipes.tasks.text_classification import MULTI, REGRESSION, SINGLE, TextClassification


def repeated(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.repeat(values, counts.astype(int), axis=0)


@st.composite
def single_label(draw):
    labels, rows = draw(st.integers(2, 5)), draw(st.integers(1, 12))
    ids = st.lists(st.integers(0, labels - 1), min_size=rows, max_size=rows).map(np.array)
    counts = st.lists(st.integers(0, 3), min_size=rows, max_size=rows).filter(any).map(np.array)
    return labels, draw(ids), draw(ids), draw(counts)


@random_cases(300, single_label())
def test_weighted_single_label_metrics_equal_scikit_learn(case):
    labels, predicted, reference, counts = case
    result = _weighted.single_label(predicted, reference, counts[None].astype(np.float32), labels)
    p, g = repeated(predicted, counts), repeated(reference, counts)
    expected = {"accuracy": sklearn_metrics.accuracy_score(g, p)}
    for average in ("macro", "weighted"):
        for name in ("f1", "precision", "recall"):
            score = getattr(sklearn_metrics, f"{name}_score")
            expected[f"{name}_{average}"] = score(g, p, average=average, zero_division=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected["matthews_correlation"] = sklearn_metrics.matthews_corrcoef(g, p)
    assert set(result) == set(expected)
    for name, value in expected.items():
        assert result[name][0] == pytest.approx(value, abs=1e-9), name


@st.composite
def multi_label(draw):
    labels, rows = draw(st.integers(2, 4)), draw(st.integers(1, 8))
    bits = st.lists(st.lists(st.integers(0, 1), min_size=labels, max_size=labels), min_size=rows, max_size=rows)
    scores_ = st.lists(st.lists(st.integers(0, 4), min_size=labels, max_size=labels), min_size=rows, max_size=rows)
    counts = st.lists(st.integers(0, 3), min_size=rows, max_size=rows).filter(any).map(np.array)
    return np.array(draw(bits)), np.array(draw(bits)), np.array(draw(scores_)) / 4, draw(counts)


@random_cases(300, multi_label())
def test_weighted_multi_label_metrics_equal_scikit_learn(case):
    predicted, reference, ranks, counts = case
    names = [f"l{index}" for index in range(reference.shape[1])]
    result = _weighted.multi_label(predicted, reference, ranks, counts[None], names)
    p, g, r = (repeated(values, counts) for values in (predicted, reference, ranks))
    expected = {
        "subset_accuracy": sklearn_metrics.accuracy_score(g, p),
        "lrap": sklearn_metrics.label_ranking_average_precision_score(g, r),
    }
    for name in ("f1", "precision", "recall"):
        for average in ("micro", "macro"):
            score = getattr(sklearn_metrics, f"{name}_score")
            expected[f"{name}_{average}"] = score(g, p, average=average, zero_division=0)
    each = sklearn_metrics.f1_score(g, p, average=None, zero_division=0)
    expected |= {f"f1[{name}]": value for name, value in zip(names, each, strict=True)}
    assert set(result) == set(expected)
    for name, value in expected.items():
        assert result[name][0] == pytest.approx(value, abs=1e-9), name


@st.composite
def regression(draw):
    rows = draw(st.integers(3, 10))
    numbers = st.lists(st.integers(-5, 5), min_size=rows, max_size=rows).map(lambda values: np.array(values) / 2)
    counts = st.lists(st.integers(0, 3), min_size=rows, max_size=rows).filter(lambda c: sum(c) > 2).map(np.array)
    return draw(numbers), draw(numbers), draw(counts)


@random_cases(300, regression())
def test_weighted_regression_metrics_equal_scipy(case):
    predicted, reference, counts = case
    result = _weighted.regression(predicted, reference, counts[None])
    p, g = repeated(predicted, counts), repeated(reference, counts)
    assert result["mse"][0] == pytest.approx(sklearn_metrics.mean_squared_error(g, p))
    assert result["mae"][0] == pytest.approx(sklearn_metrics.mean_absolute_error(g, p))
    for name, function in (("pearsonr", scipy.stats.pearsonr), ("spearmanr", scipy.stats.spearmanr)):
        if len(set(p)) < 2 or len(set(g)) < 2:
            assert np.isnan(result[name][0])
        else:
            assert result[name][0] == pytest.approx(function(g, p)[0], abs=1e-9)


def random_case(kind: str, rows: int, labels: int = 6) -> tuple[TextClassification, list, list]:
    generator = np.random.default_rng(rows)
    recipe = TextClassification(problem_type=kind)
    recipe.labels = [f"l{index}" for index in range(labels)]
    if kind == REGRESSION:
        reference = generator.normal(size=rows)
        return (
            recipe,
            [{"label": float(value)} for value in reference + generator.normal(size=rows)],
            reference.tolist(),
        )
    logits = generator.normal(size=(rows, labels))
    if kind == SINGLE:
        reference = (logits + generator.normal(size=logits.shape)).argmax(1)
        return recipe, recipe.decode(logits, [], None), [recipe.labels[index] for index in reference]
    reference = logits + generator.normal(size=logits.shape) > 1
    return (
        recipe,
        recipe.decode(logits, [], None),
        [[recipe.labels[i] for i in np.flatnonzero(row)] for row in reference],
    )


@pytest.mark.parametrize("kind", [SINGLE, MULTI, REGRESSION])
def test_score_and_resample_are_the_same_metrics(kind):
    recipe, predictions, references = random_case(kind, 300)
    plain = score(recipe, predictions, references)
    weighted = recipe.measure(predictions, references)(np.ones((1, 300)))
    assert set(plain) == set(weighted)
    for name, value in plain.items():
        assert weighted[name][0] == pytest.approx(value, abs=1e-9), name


@pytest.mark.parametrize("kind", [SINGLE, MULTI, REGRESSION])
def test_intervals_of_ten_thousand_rows_take_less_than_two_seconds(kind):
    recipe, predictions, references = random_case(kind, 10_000)
    score(recipe, predictions[:10], references[:10])  # imports
    from hfrecipes.evaluation.scoring import _intervals

    values = score(recipe, predictions, references)
    start = time.process_time()
    result = _intervals(recipe, recipe.measure(predictions, references), values, np.arange(10_000), 0)
    seconds = time.process_time() - start
    assert set(result) == set(values)
    assert seconds < 2


@pytest.mark.parametrize("kind", [SINGLE, MULTI, REGRESSION])
def test_intervals_hold_the_value_are_seeded_and_narrow_with_rows(kind):
    widths = []
    for rows in (60, 2000):
        recipe, predictions, references = random_case(kind, rows)
        result = scores(recipe, predictions, references, seed=1)
        assert result == scores(recipe, predictions, references, seed=1)
        best = result[best_metric(recipe)]
        assert best.low <= best.value <= best.high
        widths.append(best.high - best.low)
    assert widths[1] < widths[0] / 3


def test_the_interval_of_accuracy_agrees_with_theory():
    recipe = TextClassification(problem_type=SINGLE)
    recipe.labels = ["a", "b"]
    shares = {"a": {"a": 0.9, "b": 0.1}, "b": {"a": 0.1, "b": 0.9}}
    predictions = [
        {"label": one, "scores": shares[one]} for one in ("a" if place % 5 else "b" for place in range(1000))
    ]
    low, high = scores(recipe, predictions, ["a"] * 1000, seed=0)["accuracy"].ci95
    spread = 1.96 * (0.8 * 0.2 / 1000) ** 0.5
    assert low == pytest.approx(0.8 - spread, abs=0.005)
    assert high == pytest.approx(0.8 + spread, abs=0.005)


def test_rows_without_reference_are_not_scored():
    recipe, predictions, references = random_case(SINGLE, 100)
    assert scores(recipe, predictions, [*references[:50], *[None] * 50], seed=0) == scores(
        recipe, predictions[:50], references[:50], seed=0
    )
    assert scores(recipe, predictions, [None] * 100, seed=0) == {}


INPUTS = {
    "lrap": ([[0.1, 0.9]], [[0, 1]], None),
    "pearsonr": ([1.0, 2.0, 4.0], [1.0, 2.0, 3.0], None),
    "seqeval": ([["B-a", "I-a", "O"]], [["B-a", "O", "O"]], None),
    "spearmanr": ([1.0, 2.0, 4.0], [1.0, 2.0, 3.0], None),
}


@pytest.mark.parametrize("name", metrics.names())
def test_every_metric_that_ships_loads_by_name_and_by_path_without_a_network(name):
    predictions, references, config = INPUTS.get(name, ([0, 1, 1, 0], [0, 1, 0, 0], None))
    by_name = metrics.load(name).compute(predictions=predictions, references=references)
    path = Path(metrics.__file__).parent / f"{name}.py"
    assert (
        evaluate.load(str(path), config, keep_in_memory=True).compute(predictions=predictions, references=references)
        == by_name
    )
    assert next(iter(by_name)) == (name if name != "seqeval" else "a")


def test_metrics_take_the_options_of_the_public_modules():
    sides = {"predictions": [0, 2, 1], "references": [0, 1, 1]}
    assert metrics.load("f1").compute(**sides, average=None)["f1"].tolist() == pytest.approx([1, 2 / 3, 0])
    assert metrics.load("accuracy").compute(**sides, normalize=False) == {"accuracy": 2.0}
    sides = {"predictions": [[1, 0], [1, 1]], "references": [[1, 0], [0, 1]]}
    assert metrics.load("f1", "multilabel").compute(**sides, average="micro") == {"f1": pytest.approx(0.8)}
    result = metrics.load("pearsonr").compute(predictions=[1, 2, 4], references=[1, 2, 3], return_pvalue=True)
    assert set(result) == {"pearsonr", "p-value"}


def test_an_unknown_metric_names_those_that_ship():
    with pytest.raises(NotFoundError, match="did you mean accuracy"):
        metrics.load("acuracy")


def test_a_metric_that_does_not_fit_the_task_is_refused_before_training():
    recipe, _, references = random_case(SINGLE, 60)
    with pytest.raises(ConfigError, match="metrics: seqeval cannot score this task"):
        try_metrics(["seqeval"], recipe, Dataset.from_dict({"label": references}))


@pytest.mark.parametrize(("kind", "labels"), [(SINGLE, 2), (SINGLE, 5), (MULTI, 2), (MULTI, 5)])
def test_f1_precision_and_recall_that_were_asked_for_are_macro_whatever_the_order_of_labels(
    kind, labels, caplog, monkeypatch
):
    # Metrics that were asked for are computed anew for each resample; values are what is compared here.
    monkeypatch.setattr(scoring, "FEWER_DRAWS", 10)
    names = ["f1", "precision", "recall"]
    recipe, predictions, references = random_case(kind, 80, labels)
    result = scores(recipe, predictions, references, seed=0, others=names)
    for name in names:
        assert result[name].value == pytest.approx(result[f"{name}_macro"].value)
        assert result[name].low <= result[name].value <= result[name].high
    recipe.labels = recipe.labels[::-1]
    again = scores(recipe, predictions, references, seed=0, others=names)
    assert [again[name].value for name in names] == pytest.approx([result[name].value for name in names])
    with caplog.at_level("INFO", "hfrecipes"):
        try_metrics(["accuracy", *names], recipe, Dataset.from_dict({"label": references}))
    assert caplog.messages == ["metrics: f1, precision, recall: the mean over all labels (macro)"]


def test_a_metric_of_the_users_own_is_scored_with_its_interval(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import datasets\nimport evaluate\n\n"
        "class Mine(evaluate.Metric):\n"
        "    def _info(self):\n"
        "        kind = datasets.Value('int32')\n"
        "        return evaluate.MetricInfo(description='', citation='',\n"
        "            features=datasets.Features({'predictions': kind, 'references': kind}))\n\n"
        "    def _compute(self, predictions, references):\n"
        "        return {'share_of_first': sum(label == 0 for label in predictions) / len(predictions)}\n"
    )
    recipe, predictions, references = random_case(SINGLE, 60)
    try_metrics(["./mine.py", "mae"], recipe, Dataset.from_dict({"label": references}))
    result = scores(recipe, predictions, references, seed=0, others=["./mine.py", "mae"])
    share = sum(one["label"] == "l0" for one in predictions) / 60
    assert result["share_of_first"].value == pytest.approx(share)
    assert result["share_of_first"].low <= share <= result["share_of_first"].high
    assert "mae" in result
