"""Scores of answers to questions, by the definitions of SQuAD and of CMRC 2018.

SQuAD: Rajpurkar et al. 2016 (v1.1) and 2018 (v2.0). CMRC 2018 (Cui et al. 2019) counts characters instead of words.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from ..recipe import Measure

_ARTICLES = re.compile(r"\b(a|an|the)\b")
# Tables for `str.translate` that delete ASCII's punctuation, and the punctuation that the script of CMRC 2018 deletes.
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_NO_CMRC_PUNCTUATION = str.maketrans("", "", "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
CJK = r"\u3400-\u4dbf\u4e00-\u9fff\u3040-\u30ff\uf900-\ufaff"
_IS_CJK = re.compile(f"[{CJK}]")
_SEGMENTS = re.compile(rf"[{CJK}]|\d+(?:[.,]\d+)*|[^\W\d{CJK}]+|[^\w\s]")

# Reference of a question that has an answer without a text: no prediction matches it.
NO_TEXT: list[str | None] = [None]


# --- one answer and one reference ------------------------------------------------------------------------------------


def normalize(text: str) -> str:
    """Lower case, without punctuation, articles and superfluous blanks.

    Example:
        >>> normalize("The  Eiffel Tower!")
        'eiffel tower'
    """
    # In the order of the official script: "a." has lost its point before articles are looked for.
    kept = text.lower().translate(_NO_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", kept).split())


def exact(answer: str, reference: str) -> float:
    """1 if both are the same after `normalize`, else 0."""
    return float(normalize(answer) == normalize(reference))


def f1(answer: str, reference: str) -> float:
    """Harmonic mean of precision and recall of words, 0 to 1, by SQuAD 2.0: 1 if neither has a word."""
    if not normalize(answer) and not normalize(reference):
        return 1.0
    return f1_v1(answer, reference)


def f1_v1(answer: str, reference: str) -> float:
    """The same by SQuAD 1.1: 0 if neither has a word."""
    answer_words, reference_words = normalize(answer).split(), normalize(reference).split()
    if not answer_words or not reference_words:
        return 0.0
    shared = sum((Counter(answer_words) & Counter(reference_words)).values())
    return 2 * shared / (len(answer_words) + len(reference_words))


def is_cjk(text: str) -> bool:
    """Whether the text has Chinese or Japanese characters."""
    return bool(_IS_CJK.search(text))


def mostly_cjk(texts: Sequence[str]) -> bool:
    """Whether more than half of the texts have Chinese or Japanese characters."""
    return sum(map(is_cjk, texts)) > len(texts) / 2


def cmrc_exact(answer: str, reference: str) -> float:
    """1 if both are the same without punctuation, else 0."""
    return float(_without_cmrc_punctuation(answer) == _without_cmrc_punctuation(reference))


def cmrc_f1(answer: str, reference: str) -> float:
    """F1 of the longest run of segments that both share; a segment is a CJK character, or a word of another script."""
    # CMRC 2018 has no questions without answer; such a question scores 1 for an empty answer, as in SQuAD 2.0.
    if not reference:
        return float(not answer)
    answer_segments, reference_segments = segments(answer), segments(reference)
    shared = _longest_common_run(answer_segments, reference_segments)
    if not shared:
        return 0.0
    return 2 * shared / (len(answer_segments) + len(reference_segments))


def segments(text: str) -> list[str]:
    """Chinese and Japanese characters, and words of other scripts, without the punctuation that CMRC 2018 removes.

    Example:
        >>> segments("北京 2008年, OK？")
        ['北', '京', '2008', '年', ',', 'ok']
    """
    return _SEGMENTS.findall(_without_cmrc_punctuation(text))


def _without_cmrc_punctuation(text: str) -> str:
    return text.lower().strip().translate(_NO_CMRC_PUNCTUATION)


def _longest_common_run(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest run of consecutive items that both sequences have."""
    longest = 0
    # Length of the common run that ends at each item of `second`; it starts with a 0, where nothing has been read.
    run_lengths = [0] * (len(second) + 1)
    for first_item in first:
        previous, run_lengths = run_lengths, [0]
        for index, second_item in enumerate(second):
            run_lengths.append(previous[index] + 1 if first_item == second_item else 0)
        longest = max(longest, *run_lengths)
    return longest


# --- all rows --------------------------------------------------------------------------------------------------------


def agreement(
    answers: Sequence[str],
    references: Sequence[Sequence[str | None]],
    *,
    version_2_with_negative: bool | None,
    characters: bool | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Exact match and F1 of each row with the reference that agrees best, 0 to 1, (rows,) each.

    Args:
        answers: Predicted text of each row, empty for no answer.
        references: Texts of each row: none for a question without answer, `NO_TEXT` where nothing can match.
        version_2_with_negative: Whether questions may have no answer, as in SQuAD 2.0.
        characters: Whether characters are counted, as in CMRC 2018, instead of words.
    """
    exact_rule, f1_rule = _rules(version_2_with_negative, characters)
    matches, overlaps = np.zeros(len(answers)), np.zeros(len(answers))
    for row, (answer, texts) in enumerate(zip(answers, references, strict=True)):
        if texts == NO_TEXT:
            continue
        candidates = [text or "" for text in texts]
        if version_2_with_negative and not characters:
            # The script of SQuAD 2.0 ignores references without a word, such as punctuation alone.
            candidates = list(filter(normalize, candidates))
        # The reference of a question without answer is the empty text.
        candidates = candidates or [""]
        matches[row] = max(exact_rule(answer, text) for text in candidates)
        overlaps[row] = max(f1_rule(answer, text) for text in candidates)
    return matches, overlaps


def _rules(
    version_2_with_negative: bool | None, characters: bool | None
) -> tuple[Callable[[str, str], float], Callable[[str, str], float]]:
    """The functions that compute exact match and F1 of an answer and a reference."""
    if characters:
        return cmrc_exact, cmrc_f1
    if version_2_with_negative:
        return exact, f1
    return exact, f1_v1


def measure(
    answers: Sequence[str],
    references: Sequence[Sequence[str | None]],
    *,
    version_2_with_negative: bool | None,
    characters: bool | None,
) -> Measure:
    """Exact match and F1 in percent, 0 to 100, as the official scripts of SQuAD and CMRC 2018 compute them.

    Args:
        answers: As `agreement` takes them.
        references: As `agreement` takes them.
        version_2_with_negative: Whether the questions with an answer (`HasAns_`) and those without (`NoAns_`) are also
            scored by themselves.
        characters: As `agreement` takes it.

    Returns:
        A function of weights (resamples, rows) that computes each metric, (resamples,).
    """
    matches, overlaps = agreement(
        answers, references, version_2_with_negative=version_2_with_negative, characters=characters
    )
    return measure_agreement(matches, overlaps, references, version_2_with_negative)


def measure_agreement(
    matches: np.ndarray,
    overlaps: np.ndarray,
    references: Sequence[Sequence[str | None]],
    version_2_with_negative: bool | None,
) -> Measure:
    """As `measure`, from what `agreement` gave."""
    parts = {"": np.ones(len(references), dtype=bool)}
    if version_2_with_negative:
        has_answer = np.array([bool(texts) for texts in references], dtype=bool)
        parts |= {"HasAns_": has_answer, "NoAns_": ~has_answer}
    return partial(_scores, matches, overlaps, parts)


def _scores(
    matches: np.ndarray, overlaps: np.ndarray, parts: dict[str, np.ndarray], weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Exact match and F1 of each part of the rows, by the names that the official scripts print."""
    scores = {}
    for prefix, rows in parts.items():
        scores[f"{prefix}exact" if prefix else "exact_match"] = _mean_percent(matches, weights * rows)
        scores[f"{prefix}f1"] = _mean_percent(overlaps, weights * rows)
    return scores


def _mean_percent(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean in percent; NaN for a resample without any row of this part."""
    total = weights.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(100 * (weights @ values) / np.where(total > 0, total, np.nan))
