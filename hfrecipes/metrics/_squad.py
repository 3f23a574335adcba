"""How well an answer agrees with the gold answers, by the definitions of SQuAD and of CMRC 2018.

SQuAD: Rajpurkar et al. 2016 (v1.1) and 2018 (v2.0). CMRC 2018 (Cui et al. 2019) counts characters instead of words.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = frozenset(string.punctuation)
# Signs that CMRC 2018 leaves out.
_CMRC_SIGNS = frozenset("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
CJK = r"\u3400-\u4dbf\u4e00-\u9fff\u3040-\u30ff\uf900-\ufaff"
_IS_CJK = re.compile(f"[{CJK}]")
_SEGMENTS = re.compile(rf"[{CJK}]|\d+(?:[.,]\d+)*|[^\W\d{CJK}]+|[^\w\s]")


def normalize(text: str) -> str:
    """Lower case, without punctuation, articles and superfluous blanks."""
    kept = "".join(sign for sign in text.lower() if sign not in _PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", kept).split())


def exact(answer: str, reference: str) -> float:
    """1 where both are the same once normalized, else 0."""
    return float(normalize(answer) == normalize(reference))


def f1(answer: str, reference: str) -> float:
    """Harmonic mean of precision and recall of words, 0 to 1, by SQuAD 2.0: 1 where neither has a word."""
    said, wanted = normalize(answer).split(), normalize(reference).split()
    return f1_v1(answer, reference) if said or wanted else 1.0


def f1_v1(answer: str, reference: str) -> float:
    """The same by SQuAD 1.1: 0 where neither has a word."""
    said, wanted = normalize(answer).split(), normalize(reference).split()
    if not said or not wanted:
        return 0.0
    common = sum((Counter(said) & Counter(wanted)).values())
    return 2 * common / (len(said) + len(wanted))


def is_cjk(text: str) -> bool:
    """Whether Chinese or Japanese letters stand in it."""
    return bool(_IS_CJK.search(text))


def mostly_cjk(texts: Sequence[str]) -> bool:
    """Whether more than half of the texts have Chinese or Japanese letters."""
    return sum(map(is_cjk, texts)) > len(texts) / 2


def cmrc_exact(answer: str, reference: str) -> float:
    """1 where both are the same without signs, else 0."""
    return float(_without_signs(answer) == _without_signs(reference))


def cmrc_f1(answer: str, reference: str) -> float:
    """F1 of the longest run of segments that both share; a segment is a CJK letter, or a word of another script.

    CMRC 2018 has no questions without answer; for those, 1 where nothing is said.
    """
    if not reference:
        return float(not answer)
    said, wanted = segments(answer), segments(reference)
    shared = _longest_run(said, wanted)
    return 2 * shared / (len(said) + len(wanted)) if shared else 0.0


def segments(text: str) -> list[str]:
    """Letters of Chinese and Japanese, words of other scripts, without the signs that CMRC 2018 leaves out."""
    return _SEGMENTS.findall(_without_signs(text))


def _without_signs(text: str) -> str:
    return "".join(sign for sign in text.lower().strip() if sign not in _CMRC_SIGNS)


def _longest_run(one: Sequence[str], other: Sequence[str]) -> int:
    best, before = 0, [0] * (len(other) + 1)
    for item in one:
        now = [0]
        now += [before[place] + 1 if item == known else 0 for place, known in enumerate(other)]
        best, before = max(best, *now), now
    return best
