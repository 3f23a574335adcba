"""How near generated texts come to the wanted ones, row by row, so that resamples need no second look at the texts.

ROUGE: Lin 2004, by the package rouge_score. BLEU: Papineni et al. 2002, and chrF: Popović 2015, by sacrebleu.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np

from ._squad import CJK, mostly_cjk

ROUGE = ("rouge1", "rouge2", "rougeL", "rougeLsum")
_WORDS = re.compile(rf"[{CJK}]|[^\W_{CJK}]+")
_KANA = re.compile(r"[\u3040-\u30ff]")
_SENTENCES = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])")
# Tokenizers of sacrebleu by language; what would need a download or another package is counted by letters.
_UNSPACED = ("ja", "jpn", "ko", "kor", "th", "tha", "my", "mya", "km", "khm", "lo", "lao")
_BY_LANGUAGE = {**dict.fromkeys(("zh", "zho", "cmn", "yue"), "zh"), **dict.fromkeys(_UNSPACED, "char")}


LOOKED_AT = 2000  # texts, to see what script they are in
SCRIPTS = "ROUGE counts words of any script, Chinese and Japanese by letter; options.characters changes that"


def is_foreign(texts: list[str]) -> bool:
    """Whether most letters are beyond a to z, the only ones that ROUGE's own tokenizer knows."""
    some = texts[:: max(1, len(texts) // LOOKED_AT)]
    foreign = Counter(sign.isascii() for text in some for sign in text if sign.isalpha())
    return foreign[False] > foreign[True]


def language_of(texts: list[str]) -> str:
    """Code of the language where the texts have no blanks between words: ja, zh; else empty."""
    if not mostly_cjk(texts):
        return ""
    return "ja" if any(_KANA.search(text) for text in texts) else "zh"


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
        language: Language of the texts, as `de` or `zh_CN`; English where empty.

    Attributes:
        signatures: Metric -> how sacrebleu describes it, without which a BLEU cannot be compared.
    """

    def __init__(self, texts: list[str], references: list[list[str]], language: str = "") -> None:
        from sacrebleu.metrics import BLEU, CHRF

        tokenizer = _BY_LANGUAGE.get(re.split(r"[_-]", language.lower())[0], "13a")
        self.metrics: dict[str, Any] = {"bleu": BLEU(tokenize=tokenizer, force=True), "chrf": CHRF()}
        most = max(map(len, references), default=1)
        streams = [[wanted[place] if place < len(wanted) else None for wanted in references] for place in range(most)]
        self.counts = {
            name: np.array(metric._extract_corpus_statistics(texts, streams), dtype=np.float64)
            for name, metric in self.metrics.items()
        }

    @property
    def signatures(self) -> dict[str, str]:
        """Metric -> its sacrebleu signature."""
        return {name: str(metric.get_signature()) for name, metric in self.metrics.items()}

    def measure(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """BLEU and chrF, 0 to 100, of resamples that count each row so often, (resamples, rows)."""
        found = {}
        for name, counts in self.counts.items():
            score = self.metrics[name]._compute_score_from_stats
            found[name] = np.array([score(sums.tolist()).score for sums in weights @ counts])
        return found
