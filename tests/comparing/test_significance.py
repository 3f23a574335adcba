"""Tests and adjustments equal a reference; the Pareto front is what comparing all pairs gives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from hfrecipes.comparing.cost import Latency, distinct, pareto_front
from hfrecipes.comparing.significance import bootstrap_test, holm, mcnemar
from hfrecipes.evaluation import scoring
from hfrecipes.evaluation.scoring import Score


def test_mcnemar_is_the_exact_binomial_test_of_the_rows_that_one_model_alone_has_right():
    generator = np.random.default_rng(0)
    for _ in range(300):
        rows = int(generator.integers(1, 400))
        right, other = generator.random((2, rows)) < generator.random((2, 1))
        first, second = int((right & ~other).sum()), int((~right & other).sum())
        expected = stats.binomtest(first, first + second).pvalue if first + second else 1.0
        assert mcnemar(right, other) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_of_many_rows_is_near_its_approximation():
    right, other = np.zeros((2, 5000), dtype=bool)
    right[:1050] = other[1050:2000] = True
    approximation = stats.chi2.sf((abs(1050 - 950) - 1) ** 2 / 2000, 1)
    assert mcnemar(right, other) == pytest.approx(approximation, rel=0.02)


def reference_holm(values: list[float]) -> list[float]:
    """Written down as the paper has it: step by step, from the smallest on."""
    order = np.argsort(values, kind="stable")
    adjusted = np.empty(len(values))
    for rank, index in enumerate(order):
        steps = [(len(values) - earlier) * values[order[earlier]] for earlier in range(rank + 1)]
        adjusted[index] = min(1.0, max(steps))
    return list(adjusted)


def test_holm_equals_the_reference():
    generator = np.random.default_rng(1)
    for _ in range(300):
        values = list(np.round(generator.random(int(generator.integers(1, 12))) ** 3, 3))
        assert holm(values) == pytest.approx(reference_holm(values))


def test_what_was_not_tested_does_not_count_as_a_test():
    assert holm([0.01, math.nan, 0.02])[::2] == [0.02, 0.02]
    assert math.isnan(holm([0.01, math.nan])[1])
    assert holm([]) == []


def test_the_bootstrap_test_is_significant_where_its_interval_leaves_out_zero():
    generator, units = np.random.default_rng(2), np.arange(80)
    outcomes = set()
    for _ in range(60):
        first, second = generator.random((2, 80)) < [[0.85], [0.7]]
        measures = [lambda weights, right=right: {"f1": (weights * right).mean(1)} for right in (first, second)]
        difference = scoring.paired_differences(*measures, units, 0)["f1"]
        is_outside = difference.low > 0 or difference.high < 0
        assert (bootstrap_test(difference, units) < 0.05) == is_outside
        outcomes.add(is_outside)
    assert outcomes == {True, False}


def test_the_bootstrap_test_rejects_equal_models_as_rarely_as_it_says():
    generator, units, rejected = np.random.default_rng(3), np.arange(100), 0
    for _ in range(300):
        first, second = generator.random((2, 100)) < 0.8
        measures = [lambda weights, right=right: {"f1": (weights * right).mean(1)} for right in (first, second)]
        rejected += bootstrap_test(scoring.paired_differences(*measures, units, 0)["f1"], units) < 0.05
    assert rejected <= 0.08 * 300


def test_a_difference_without_spread_is_no_surer_than_tossed_coins():
    assert bootstrap_test(Score(1.0, 1.0, 1.0), np.arange(5)) == 2**-4
    assert bootstrap_test(Score(0.0, 0.0, 0.0), np.arange(5)) == 1.0
    assert math.isnan(bootstrap_test(Score(0.5, math.nan, math.nan), np.zeros(3, dtype=int)))


def test_the_pareto_front_equals_the_comparison_of_all_pairs():
    generator = np.random.default_rng(4)
    for _ in range(300):
        # Few values, so that many are equal.
        points = [tuple(map(int, point)) for point in generator.integers(0, 6, (int(generator.integers(1, 12)), 2))]
        expected = []
        for quality, cost in points:
            beaten_by = [
                (more, less)
                for more, less in points
                if (more > quality and less <= cost) or (more >= quality and less < cost)
            ]
            expected.append(not beaten_by)
        assert pareto_front(points) == expected


def test_times_that_cannot_be_told_apart_are_the_same_number():
    times = {"slow": Latency(9.0, 8.5, 9.5), "a": Latency(5.1, 4.8, 5.3), "b": Latency(5.0, 4.9, 5.2)}
    assert distinct(times) == {"slow": 9.0, "a": 5.0, "b": 5.0}
    # A chain of overlaps does not make the first and the last one equal.
    chain = {"a": Latency(1, 0.9, 1.1), "b": Latency(1.1, 1.0, 1.2), "c": Latency(1.2, 1.15, 1.3)}
    assert distinct(chain) == {"a": 1, "b": 1, "c": 1.2}


def test_times_that_vary_much_are_known():
    assert Latency.of([1.0, 1.02, 1.05, 1.01, 9.0]).is_steady, "one slow round in five does no harm"
    assert not Latency.of([1.0, 1.6, 1.1, 2.0, 1.0]).is_steady
