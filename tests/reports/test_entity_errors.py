"""Each wrong entity, of the data or predicted, is part of exactly one error."""

from __future__ import annotations

import numpy as np
import pytest

from hfrecipes.reports.entity_errors import BOTH, BOUNDARY, MISSED, SPURIOUS, TYPE, span_errors


@pytest.mark.parametrize(
    ("reference", "prediction", "kind"),
    [
        (("person", 0, 1), ("place", 0, 1), TYPE),
        (("person", 0, 1), ("person", 0, 2), BOUNDARY),
        (("person", 0, 1), ("place", 1, 2), BOTH),
        (("person", 0, 1), None, MISSED),
        (None, ("person", 0, 1), SPURIOUS),
    ],
)
def test_each_kind_has_its_name(reference, prediction, kind):
    (error,) = span_errors(*([span] if span else [] for span in (reference, prediction)))
    assert (error.kind, error.reference, error.prediction) == (kind, reference, prediction)


def test_spans_apart_are_two_errors():
    errors = span_errors([("person", 0, 1)], [("person", 3, 4)])
    assert [error.kind for error in errors] == [MISSED, SPURIOUS]


def test_what_shares_the_most_words_is_paired():
    errors = span_errors([("person", 0, 4)], [("person", 0, 0), ("person", 1, 4)])
    assert [(error.kind, error.prediction) for error in errors] == [
        (BOUNDARY, ("person", 1, 4)),
        (SPURIOUS, ("person", 0, 0)),
    ]


def spans(generator: np.random.Generator) -> list[tuple[str, int, int]]:
    """Entities of a sentence, which do not overlap."""
    found, word = [], 0
    while word < 20:
        last = word + int(generator.integers(0, 3))
        if generator.random() < 0.6:
            found.append((str(generator.choice(["a", "b", "c"])), word, last))
        word = last + 1
    return found


@pytest.mark.parametrize("seed", range(50))
def test_errors_are_a_partition_of_what_is_wrong(seed):
    generator = np.random.default_rng(seed)
    references, predictions = spans(generator), spans(generator)
    errors = span_errors(references, predictions)
    wanted = [error.reference for error in errors if error.reference]
    given = [error.prediction for error in errors if error.prediction]
    assert sorted(wanted) == sorted(set(references) - set(predictions))
    assert sorted(given) == sorted(set(predictions) - set(references))
