"""SQuAD and CMRC scores: pure functions of answers and references, under any weights of the rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfrecipes.metrics import _squad

ANSWERS = st.lists(st.sampled_from(["the", "a", "An", "film", "Film,", "3.5", "–", "!", "电", "影。"]), max_size=4).map(
    " ".join
)
REFERENCES = st.one_of(st.just([]), st.just(_squad.NO_TEXT), st.lists(ANSWERS, min_size=1, max_size=3))
FORMS = [(False, False), (True, False), (False, True), (True, True)]


def expected_scores(answer: str, references: list, negative: bool, characters: bool) -> tuple[float, float]:
    """Exact match and F1 of a single row, written down once more."""
    if references == [None]:
        return 0.0, 0.0
    exact, f1 = _squad.exact, _squad.f1 if negative else _squad.f1_v1
    if characters:
        exact, f1 = _squad.cmrc_exact, _squad.cmrc_f1
    elif negative:
        references = [text for text in references if _squad.normalize(text)]
    references = references or [""]
    return max(exact(answer, text) for text in references), max(f1(answer, text) for text in references)


@pytest.mark.parametrize(("negative", "characters"), FORMS)
@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(ANSWERS, REFERENCES), max_size=6))
def test_agreement_is_that_of_the_best_reference(negative, characters, rows):
    answers, references = [row[0] for row in rows], [row[1] for row in rows]
    matches, overlaps = _squad.agreement(answers, references, version_2_with_negative=negative, characters=characters)
    assert matches.dtype == overlaps.dtype == np.float64
    pairs = list(zip(matches, overlaps, strict=True))
    assert pairs == [expected_scores(*row, negative, characters) for row in rows]


def test_measure_splits_the_rows_by_whether_they_have_an_answer():
    answers = ["the film", "", "a book", ""]
    references = [["film"], [], ["film", "a red book"], ["film"]]
    measure = _squad.measure(answers, references, version_2_with_negative=True, characters=False)
    result = measure(np.array([[1.0, 1, 1, 1], [0, 2, 0, 0], [2, 0, 1, 1]]))
    assert list(result) == ["exact_match", "f1", "HasAns_exact", "HasAns_f1", "NoAns_exact", "NoAns_f1"]
    assert result["exact_match"].tolist() == [50, 100, 50]
    assert result["HasAns_exact"] == pytest.approx([100 / 3, np.nan, 50], nan_ok=True)
    assert result["NoAns_f1"] == pytest.approx([100, 100, np.nan], nan_ok=True)
    assert result["f1"][0] == pytest.approx(100 * (1 + 1 + 2 / 3 + 0) / 4)


def test_without_negatives_there_are_two_scores_and_an_empty_answer_is_wrong():
    measure = _squad.measure(["", "電影"], [["film"], ["電影院"]], version_2_with_negative=False, characters=True)
    result = measure(np.ones((1, 2)))
    assert {name: values.tolist() for name, values in result.items()} == {"exact_match": [0.0], "f1": [40.0]}


def test_a_reference_without_text_matches_nothing():
    for negative, characters in FORMS:
        matches, overlaps = _squad.agreement(
            ["", "None"], [_squad.NO_TEXT] * 2, version_2_with_negative=negative, characters=characters
        )
        assert not matches.any()
        assert not overlaps.any()


def test_weights_are_the_same_as_repeated_rows():
    answers, references = ["film", "a book", ""], [["the film"], ["book shop"], []]
    options = {"version_2_with_negative": True, "characters": False}
    counts = np.array([3, 1, 2])
    weighted = _squad.measure(answers, references, **options)(counts[None].astype(float))
    rows = np.repeat(np.arange(3), counts)
    repeated = _squad.measure([answers[row] for row in rows], [references[row] for row in rows], **options)
    for name, values in repeated(np.ones((1, 6))).items():
        assert weighted[name] == pytest.approx(values), name
