"""Entity scores are those of seqeval, whatever the tags, and under any weights of the rows."""

from __future__ import annotations

import warnings
from itertools import chain

import numpy as np
import pytest
import seqeval.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.scheme import IOB1, IOB2, IOBES

from hfrecipes.metrics import _entities

CASES = settings(max_examples=100, deadline=None)
SCHEMES = {"BIO": ("BI", IOB2), "IOB1": ("BI", IOB1), "BIOES": ("BIES", IOBES), "BMES": ("BIES", IOBES)}


def sentences(prefixes: str):
    """Rows of predicted and reference tags of the same words; many of them break the scheme."""
    tag = st.sampled_from(["O", *(f"{prefix}-{kind}" for prefix in prefixes for kind in ("x", "y"))])
    row = st.lists(st.tuples(tag, tag), min_size=1, max_size=6)
    return st.lists(row, min_size=1, max_size=4)


def sides(rows: list) -> tuple[list[list[str]], list[list[str]]]:
    return [[pair[0] for pair in row] for row in rows], [[pair[1] for pair in row] for row in rows]


def repeated(rows: list, counts: list[int]) -> list:
    return [row for row, count in zip(rows, counts, strict=True) for _ in range(count)]


@pytest.mark.parametrize("scheme", SCHEMES)
@CASES
@given(st.data())
def test_entity_scores_are_those_of_seqeval_under_any_weights(scheme, data):
    prefixes, seqeval_scheme = SCHEMES[scheme]
    predicted, references = sides(data.draw(sentences(prefixes)))
    counts = data.draw(st.lists(st.integers(0, 2), min_size=len(references), max_size=len(references)).filter(any))
    result = _entities.measure_entities(predicted, references, ["x", "y"], scheme)(np.array([counts], float))
    p, g = repeated(predicted, counts), repeated(references, counts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("precision", "recall", "f1"):
            score = getattr(seqeval.metrics, f"{name}_score")
            assert result[name][0] == pytest.approx(score(g, p, zero_division=0)), name
            strict = score(g, p, mode="strict", scheme=seqeval_scheme, zero_division=0)
            assert result[f"{name}_strict"][0] == pytest.approx(strict), name
            by_type = score(g, p, average=None, zero_division=0)
            present = sorted({kind for tags in (*p, *g) for kind, _, _ in _entities.entities_in(tags)})
            for kind, value in zip(present, np.atleast_1d(by_type), strict=False):
                assert result[f"{name}[{kind}]"][0] == pytest.approx(value), (name, kind)
        assert result["accuracy"][0] == pytest.approx(seqeval.metrics.accuracy_score(g, p))


def test_types_that_train_does_not_have_are_listed_last():
    measure = _entities.measure_entities([["B-z", "B-b"]], [["B-y", "B-a"]], ["x"], "BIO")
    names = [name for name in measure(np.ones((1, 1))) if name.startswith("f1[")]
    assert names == ["f1[x]", "f1[a]", "f1[y]", "f1[b]", "f1[z]"]


def test_tags_without_a_scheme_are_scored_word_by_word():
    from sklearn.metrics import f1_score, precision_score, recall_score

    predicted = [["N", "V", "N"], ["V", "V"]]
    references = [["N", "N", "V"], ["V", "Q"]]
    result = _entities.measure_tags(predicted, references, ["N", "V"])(np.ones((1, 2)))
    flat_predicted, flat_references = list(chain(*predicted)), list(chain(*references))
    assert result["accuracy"][0] == pytest.approx(2 / 5)
    assert "f1" not in result
    scorers = {"f1": f1_score, "precision": precision_score, "recall": recall_score}
    for name, score in scorers.items():
        values = score(flat_references, flat_predicted, labels=["N", "V", "Q"], average=None, zero_division=0)
        for tag, value in zip("NVQ", values, strict=True):
            assert result[f"{name}[{tag}]"][0] == pytest.approx(value)
    f1_macro = f1_score(flat_references, flat_predicted, average="macro", zero_division=0)
    assert result["f1_macro"][0] == pytest.approx(f1_macro)


def test_a_resample_without_a_word_has_an_accuracy_of_zero():
    result = _entities.measure_tags([[], ["N"]], [[], ["N"]], ["N"])(np.array([[2.0, 0.0], [0.0, 2.0]]))
    assert result["accuracy"].tolist() == [0.0, 1.0]


def test_strict_entities_must_follow_the_scheme_to_the_letter():
    tags = ["I-x", "O", "B-x", "I-x", "I-y"]
    assert _entities.entities_in(tags) == [("x", 0, 0), ("x", 2, 3), ("y", 4, 4)]
    assert _entities.strict_entities([tags], "BIO") == [{("x", 2, 3)}]
