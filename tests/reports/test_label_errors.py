"""Likely label errors are those of cleanlab, which tests alone import."""

from __future__ import annotations

import numpy as np
import pytest

from hfrecipes.reports.label_errors import confident_joint, likely_errors, quality


def noisy_case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of which a fifth is drawn at random, and probabilities of a model that is more or less sure."""
    generator = np.random.default_rng(seed)
    labels, rows = int(generator.integers(2, 8)), int(generator.integers(20, 300))
    real = generator.integers(0, labels, rows)
    shares = generator.dirichlet(np.ones(labels) * generator.choice([0.3, 1, 3]), rows)
    shares[np.arange(rows), real] += generator.uniform(0, 3)
    shares /= shares.sum(axis=1, keepdims=True)
    given = np.where(generator.random(rows) < 0.2, generator.integers(0, labels, rows), real)
    given[:labels] = np.arange(labels)
    return given, shares


@pytest.mark.parametrize("seed", range(60))
def test_likely_errors_are_those_of_cleanlab(seed):
    cleanlab = pytest.importorskip("cleanlab.filter")
    from cleanlab.count import compute_confident_joint
    from cleanlab.rank import get_label_quality_scores

    labels, shares = noisy_case(seed)
    assert np.array_equal(confident_joint(labels, shares), compute_confident_joint(labels, shares))
    for filter_by, is_strict in (("prune_by_noise_rate", False), ("both", True)):
        expected = cleanlab.find_label_issues(labels, shares, filter_by=filter_by, n_jobs=1)
        assert np.array_equal(likely_errors(labels, shares, is_strict=is_strict), expected), filter_by
    assert quality(labels, shares) == pytest.approx(get_label_quality_scores(labels, shares))


def test_flipped_labels_are_found_among_clear_ones():
    labels = np.array([0, 1] * 50)
    shares = np.where(labels[:, None] == [0, 1], 0.9, 0.1)
    shares += np.random.default_rng(0).uniform(0, 0.02, shares.shape)
    given = labels.copy()
    given[[3, 40]] = 1 - given[[3, 40]]
    assert np.flatnonzero(likely_errors(given, shares)).tolist() == [3, 40]


def test_a_label_without_rows_is_no_error_of_the_others():
    labels = np.array([0, 1] * 10)
    shares = np.column_stack([np.where(labels == 0, 0.8, 0.1), np.where(labels == 1, 0.8, 0.1), np.full(20, 0.1)])
    assert not likely_errors(labels, shares).any()
