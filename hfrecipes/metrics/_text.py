"""Scores of generated texts against their references, row by row, so that resamples need not compare the texts again.

ROUGE: Lin 2004, by the package rouge_score. BLEU: Papineni et al. 2002, and chrF: Popović 2015, by sacrebleu.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from .. import _upstream
from ._languages import script
from ._squad import CJK, mostly_cjk

ROUGE = ("rouge1", "rouge2", "rougeL", "rougeLsum")
_WORDS = re.compile(rf"[{CJK}]|[^\W_{CJK}]+")
_KANA = re.compile(r"[\u3040-\u30ff]")
# Other scripts whose words are not, or not all, separated by blanks.
_SCRIPTS = {
    "ko": re.compile(r"[\u1100-\u11ff\uac00-\ud7af]"),
    "th": re.compile(r"[\u0e00-\u0e7f]"),
    "lo": re.compile(r"[\u0e80-\u0eff]"),
    "my": re.compile(r"[\u1000-\u109f]"),
    "km": re.compile(r"[\u1780-\u17ff]"),
}
_SENTENCES = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])")
# Tokenizers of sacrebleu by script. Characters are counted for scripts whose tokenizer needs a download or a package.
_BY_CHARACTER = ("Jpan", "Hira", "Kana", "Kore", "Hang", "Thai", "Laoo", "Mymr", "Khmr", "Tibt")
_TOKENIZERS = {"Hans": "zh", "Hant": "zh", "Hani": "zh", **dict.fromkeys(_BY_CHARACTER, "char")}
# Tokens of F1: a number with its minus and decimal point ("-1.5" is not "15"), a word, and any other character by
# itself. In "10-5" the minus belongs to no number.
_SIGN = rf"(?<![[\p{{L}}\p{{M}}\p{{N}}]--[{CJK}]])[+−-]"
_NUMBER = rf"(?:{_SIGN})?(?:\d+(?:[.,]\d+)*|(?<!\d)\.\d+)"
_TOKENS = rf"{_NUMBER}|[\p{{L}}\p{{M}}]+|\S"
_TOKENS_BY_CHARACTER = rf"[{CJK}]|{_NUMBER}|[[\p{{L}}\p{{M}}]--[{CJK}]]+|\S"

SAMPLED_TEXTS = 2000  # texts that are read at most to find out their script
ANY_SCRIPT_NOTE = "ROUGE counts words of any script, Chinese and Japanese by character; options.characters changes that"


# --- scripts and languages -------------------------------------------------------------------------------------------


def is_foreign(texts: list[str]) -> bool:
    """Whether most letters are beyond a to z, the only ones that ROUGE's tokenizer knows."""
    ascii_letters = other_letters = 0
    for text in _sample(texts):
        for character in text:
            if character.isalpha():
                ascii_letters += character.isascii()
                other_letters += not character.isascii()
    return other_letters > ascii_letters


def language_of(texts: list[str]) -> str:
    """Code of the language if most texts are in a script with few or no blanks: zh, ja, ko, th, …; else empty."""
    sample = _sample(texts)
    if mostly_cjk(sample):
        # Japanese mixes kana with the characters that Chinese has, but short texts may have none.
        return "ja" if _count_matches(_KANA, sample) > len(sample) / 10 else "zh"
    for code, characters in _SCRIPTS.items():
        if _count_matches(characters, sample) > len(sample) / 2:
            return code
    return ""


def _sample(texts: list[str]) -> list[str]:
    """Texts at equal distances, `SAMPLED_TEXTS` of them or a few more."""
    return texts[:: max(1, len(texts) // SAMPLED_TEXTS)]


def _count_matches(pattern: re.Pattern[str], texts: list[str]) -> int:
    """Number of texts that have a match."""
    return sum(bool(pattern.search(text)) for text in texts)


def bleu_tokenizer(language: str, texts: list[str]) -> str:
    """Name of sacrebleu's tokenizer for a language.

    Args:
        language: Code or English name; empty if unknown.
        texts: In that language. If they have no blanks between words although the language has, the texts decide.
    """
    if language and script(language) in _TOKENIZERS:
        return _TOKENIZERS[script(language)]
    detected = language_of(texts)
    return _TOKENIZERS[script(detected)] if detected else "13a"


# --- exact match and F1 ----------------------------------------------------------------------------------------------


def compose(text: str) -> str:
    """The text without outer blanks, and composed (NFC): é is the same however it is encoded, and ² is still not 2."""
    return unicodedata.normalize("NFC", text).strip()


def exact(text: str, reference: str) -> float:
    """1 if both are the same text as written, else 0."""
    return float(compose(text) == compose(reference))


def tokens(text: str, *, characters: bool) -> list[str]:
    """Words, numbers and other characters of a text, upper and lower case kept.

    Args:
        text: Any text.
        characters: Whether each Chinese or Japanese character is a token by itself.

    Example:
        >>> tokens("It costs -1.5 €!", characters=False)
        ['It', 'costs', '-1.5', '€', '!']
    """
    import regex

    pattern = _TOKENS_BY_CHARACTER if characters else _TOKENS
    matches: list[str] = regex.findall(pattern, compose(text), regex.V1)
    return matches


def token_f1(text: str, reference: str, *, characters: bool) -> float:
    """Harmonic mean of precision and recall of tokens, repeated tokens counted as often as they occur, 0 to 1.

    Args:
        text: Generated text.
        reference: Reference text.
        characters: As `tokens` takes it.
    """
    text_tokens, reference_tokens = tokens(text, characters=characters), tokens(reference, characters=characters)
    if not text_tokens or not reference_tokens:
        return float(text_tokens == reference_tokens)
    shared = (Counter(text_tokens) & Counter(reference_tokens)).total()
    return 2 * shared / (len(text_tokens) + len(reference_tokens))


# --- ROUGE -----------------------------------------------------------------------------------------------------------


class _AnyScript:
    """Tokens for ROUGE in any script: each CJK character, and words of other scripts."""

    def tokenize(self, text: str) -> list[str]:
        """Lower-case tokens."""
        return _WORDS.findall(text.lower())


def rouge(texts: list[str], references: list[list[str]], *, letters: bool) -> dict[str, np.ndarray]:
    """F-measure of each ROUGE of each row, in percent, with its best reference.

    Args:
        texts: Generated text of each row.
        references: One or more references of each row.
        letters: Whether tokens are words of any script and single CJK characters; else they are words of a to z,
            stemmed, as in the original script.
    """
    from rouge_score.rouge_scorer import RougeScorer

    tokenizer = _AnyScript() if letters else None
    # The stemmer knows English alone.
    scorer = RougeScorer(list(ROUGE), use_stemmer=not letters, tokenizer=tokenizer)
    scores = np.zeros((len(ROUGE), len(texts)))
    for row, (text, row_references) in enumerate(zip(texts, references, strict=True)):
        row_scores = scorer.score_multi(list(map(by_sentence, row_references)), by_sentence(text))
        for index, name in enumerate(ROUGE):
            scores[index, row] = 100 * row_scores[name].fmeasure
    return dict(zip(ROUGE, scores, strict=True))


def by_sentence(text: str) -> str:
    """One sentence per line, the form in which rougeLsum compares texts."""
    return "\n".join(sentences(text))


def sentences(text: str) -> list[str]:
    """Sentences of English, Chinese and languages that end them with the same characters.

    Example:
        >>> sentences("It rains. 下雨了。Really?")
        ['It rains.', '下雨了。', 'Really?']
    """
    return list(filter(None, map(str.strip, _SENTENCES.split(text))))


# --- BLEU and chrF ---------------------------------------------------------------------------------------------------


class Corpus:
    """BLEU and chrF of a corpus, from counts that add up over its rows.

    Args:
        texts: Generated text of each row.
        references: One or more references of each row.
        language: Language of the texts, as `de`, `zh_CN` or `Chinese`; detected from the references if empty.
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
            first_references = [row_references[0] for row_references in references if row_references]
            # `force` silences a warning about texts that look tokenized.
            known["bleu"] = BLEU(tokenize=bleu_tokenizer(language, first_references), force=True)
        self.metrics: dict[str, Any] = {}
        self.counts: dict[str, np.ndarray] = {}
        # sacrebleu takes the first references of all rows, then the second ones, and so on; None for rows with fewer.
        streams = list(zip_longest(*references))
        for name in names:
            self.metrics[name] = known[name]
            # Counts, since resamples need them, and not scores.
            self.counts[name] = np.array(_upstream.corpus_counts(known[name], texts, streams), dtype=np.float64)

    @property
    def signatures(self) -> dict[str, str]:
        """Metric -> its sacrebleu signature."""
        return {name: str(metric.get_signature()) for name, metric in self.metrics.items()}

    def measure(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Each metric, 0 to 100, of resamples that draw each row as often as the weights say, (resamples, rows)."""
        scores = {}
        for name, counts in self.counts.items():
            metric = self.metrics[name]
            scores[name] = np.array([_upstream.score_of_counts(metric, sums.tolist()) for sums in weights @ counts])
        return scores
