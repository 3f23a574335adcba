"""How near generated texts come to the wanted ones, row by row, so that resamples need no second look at the texts.

ROUGE: Lin 2004, by the package rouge_score. BLEU: Papineni et al. 2002, and chrF: Popović 2015, by sacrebleu.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _upstream
from ._languages import script
from ._squad import CJK, mostly_cjk

ROUGE = ("rouge1", "rouge2", "rougeL", "rougeLsum")
_WORDS = re.compile(rf"[{CJK}]|[^\W_{CJK}]+")
_KANA = re.compile(r"[\u3040-\u30ff]")
_SCRIPTS = {
    "ko": re.compile(r"[\u1100-\u11ff\uac00-\ud7af]"),
    "th": re.compile(r"[\u0e00-\u0e7f]"),
    "lo": re.compile(r"[\u0e80-\u0eff]"),
    "my": re.compile(r"[\u1000-\u109f]"),
    "km": re.compile(r"[\u1780-\u17ff]"),
}
_SENTENCES = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])")
# Tokenizers of sacrebleu by script; what would need a download or another package is counted by letters.
_BY_LETTER = ("Jpan", "Hira", "Kana", "Kore", "Hang", "Thai", "Laoo", "Mymr", "Khmr", "Tibt")
_TOKENIZERS = {"Hans": "zh", "Hant": "zh", "Hani": "zh", **dict.fromkeys(_BY_LETTER, "char")}
# Tokens of F1: a number with its sign and point ("-1.5" is not "15"), a word, and any other character by itself. In
# "10-5" the sign is none of a number.
_SIGN = rf"(?<![[\p{{L}}\p{{M}}\p{{N}}]--[{CJK}]])[+−-]"
_NUMBER = rf"(?:{_SIGN})?(?:\d+(?:[.,]\d+)*|(?<!\d)\.\d+)"
_TOKENS = rf"{_NUMBER}|[\p{{L}}\p{{M}}]+|\S"
_TOKENS_BY_CHARACTER = rf"[{CJK}]|{_NUMBER}|[[\p{{L}}\p{{M}}]--[{CJK}]]+|\S"

LOOKED_AT = 2000  # texts, to see what script they are in
SCRIPTS = "ROUGE counts words of any script, Chinese and Japanese by letter; options.characters changes that"


def is_foreign(texts: list[str]) -> bool:
    """Whether most letters are beyond a to z, the only ones that ROUGE's own tokenizer knows."""
    some = texts[:: max(1, len(texts) // LOOKED_AT)]
    foreign = Counter(sign.isascii() for text in some for sign in text if sign.isalpha())
    return foreign[False] > foreign[True]


def language_of(texts: list[str]) -> str:
    """Code of the language where most texts are in a script of few or no blanks: zh, ja, ko, th, …; else empty."""
    some = texts[:: max(1, len(texts) // LOOKED_AT)]
    if mostly_cjk(some):
        return "ja" if sum(map(bool, map(_KANA.search, some))) > len(some) / 10 else "zh"
    for code, letters in _SCRIPTS.items():
        if sum(map(bool, map(letters.search, some))) > len(some) / 2:
            return code
    return ""


def bleu_tokenizer(language: str, texts: list[str]) -> str:
    """Name of sacrebleu's tokenizer for a language.

    Args:
        language: Code or English name; empty where none is known.
        texts: In that language. Where they have no blanks between words and the language has, they decide.
    """
    if language and script(language) in _TOKENIZERS:
        return _TOKENIZERS[script(language)]
    shown = language_of(texts)
    return _TOKENIZERS[script(shown)] if shown else "13a"


def as_written(text: str) -> str:
    """The text without outer blanks, and composed (NFC): é is the same however it is encoded, and ² is still not 2."""
    return unicodedata.normalize("NFC", text).strip()


def exact(text: str, reference: str) -> float:
    """1 where both are the same text as written, else 0."""
    return float(as_written(text) == as_written(reference))


def tokens(text: str, *, characters: bool) -> list[str]:
    """Words, numbers and other characters of a text, upper and lower case kept.

    Args:
        text: Any.
        characters: Whether each Chinese or Japanese character is a token of its own.

    Example:
        >>> tokens("It costs -1.5 €!", characters=False)
        ['It', 'costs', '-1.5', '€', '!']
    """
    import regex

    pattern = _TOKENS_BY_CHARACTER if characters else _TOKENS
    matches: list[str] = regex.findall(pattern, as_written(text), regex.V1)
    return matches


def token_f1(text: str, reference: str, *, characters: bool) -> float:
    """Harmonic mean of precision and recall of tokens, each as often as it stands there, 0 to 1.

    Args:
        text: Generated.
        reference: Wanted.
        characters: As `tokens` takes it.
    """
    said, wanted = tokens(text, characters=characters), tokens(reference, characters=characters)
    if not said or not wanted:
        return float(said == wanted)
    return 2 * (Counter(said) & Counter(wanted)).total() / (len(said) + len(wanted))


class _Letters:
    """Tokens for ROUGE where words are not parted by blanks: each CJK letter, and words of other scripts."""

    def tokenize(self, text: str) -> list[str]:
        """Lower-case tokens."""
        return _WORDS.findall(text.lower())


def rouge(texts: list[str], references: list[list[str]], *, letters: bool) -> dict[str, np.ndarray]:
    """F-measure of each ROUGE of each row, in percent, of its best reference.

    Args:
        texts: Generated, one a row.
        references: Wanted ones, one or more a row.
        letters: Whether words of any script are tokens, CJK letters one by one; else words of a to z, stemmed, as the
            original script has them.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(ROUGE), use_stemmer=not letters, tokenizer=_Letters() if letters else None)
    rows = [
        scorer.score_multi(list(map(by_sentence, wanted)), by_sentence(text))
        for text, wanted in zip(texts, references, strict=True)
    ]
    return {name: np.array([100 * row[name].fmeasure for row in rows]) for name in ROUGE}


def by_sentence(text: str) -> str:
    """A sentence a line, which rougeLsum compares one by one."""
    return "\n".join(sentences(text))


def sentences(text: str) -> list[str]:
    """Sentences of English, Chinese and their like, by the signs that end them."""
    return [part.strip() for part in _SENTENCES.split(text) if part.strip()]


class Corpus:
    """BLEU and chrF of a corpus, from counts that add up over its rows.

    Args:
        texts: Generated, one a row.
        references: Wanted ones, one or more a row.
        language: Language of the texts, as `de`, `zh_CN` or `Chinese`; read from the references where empty.
        names: Which of the two are computed.

    Attributes:
        signatures: Metric -> how sacrebleu describes it, without which a BLEU cannot be compared.
    """

    def __init__(
        self,
        texts: list[str],
        references: list[list[str]],
        language: str = "",
        names: Sequence[str] = ("bleu", "chrf"),
    ) -> None:
        from sacrebleu.metrics import BLEU, CHRF

        known: dict[str, Any] = {"chrf": CHRF()}
        if "bleu" in names:
            tokenizer = bleu_tokenizer(language, [wanted[0] for wanted in references if wanted])
            known["bleu"] = BLEU(tokenize=tokenizer, force=True)
        self.metrics = {name: known[name] for name in names}
        most = max(map(len, references), default=1)
        streams = [[wanted[place] if place < len(wanted) else None for wanted in references] for place in range(most)]
        self.counts = {
            name: np.array(_upstream.corpus_counts(metric, texts, streams), dtype=np.float64)
            for name, metric in self.metrics.items()
        }

    @property
    def signatures(self) -> dict[str, str]:
        """Metric -> its sacrebleu signature."""
        return {name: str(metric.get_signature()) for name, metric in self.metrics.items()}

    def measure(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Each metric, 0 to 100, of resamples that count each row so often, (resamples, rows)."""
        found = {}
        for name, counts in self.counts.items():
            metric = self.metrics[name]
            found[name] = np.array([_upstream.score_of_counts(metric, sums.tolist()) for sums in weights @ counts])
        return found
