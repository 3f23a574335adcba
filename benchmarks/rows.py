"""Rows that are made up: as long as those of known datasets, with something to learn in them, the same for a seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Row = dict[str, Any]

TYPES = ("PER", "LOC", "ORG")
_ONSETS = ("b", "br", "d", "dr", "f", "g", "k", "kl", "l", "m", "n", "p", "pr", "r", "s", "st", "t", "tr", "v", "z")
_VOWELS = ("a", "e", "i", "o", "u")
_CODAS = ("", "l", "n", "r", "s")
# Words at the start of a vocabulary that the jobs give a meaning of their own.
_CLUES, _NAMES = 24, 600


def made_up_words(number: int, seed: int = 0) -> list[str]:
    """Different words of two or three syllables, for models without a vocabulary of their own."""
    generator = np.random.default_rng(seed)
    words: dict[str, None] = {}
    while len(words) < number:
        syllables = []
        for _ in range(generator.integers(2, 4)):
            syllables.append("".join(generator.choice(part) for part in (_ONSETS, _VOWELS, _CODAS)))
        words["".join(syllables)] = None
    return list(words)


def lengths(number: int, mean: float, generator: np.random.Generator, *, longest: int, spread: float = 0.55) -> Any:
    """Numbers of words: log-normal around the mean, as in most datasets of texts."""
    drawn = generator.lognormal(np.log(mean) - spread**2 / 2, spread, number)
    return np.clip(np.round(drawn), 3, longest).astype(int)


def _text(words: Sequence[str], length: int, generator: np.random.Generator) -> list[str]:
    """Words as often as in a language: few of them often, most of them seldom."""
    ranks = (len(words) ** generator.random(length)).astype(int) - 1
    return [words[rank] for rank in ranks]


def classification(words: Sequence[str], number: int, seed: int, *, mean: float = 21, labels: int = 2) -> list[Row]:
    """Texts with words of their label, and some of another one; by default as long as those of SST-2."""
    generator = np.random.default_rng([seed, 1])
    clues, plain = np.array_split(words[:_CLUES], labels), words[_CLUES:]
    rows = []
    for length in lengths(number, mean, generator, longest=int(5 * mean)):
        label = int(generator.integers(labels))
        text = _text(plain, length, generator)
        for place in generator.choice(length, max(1, length // 4), replace=False):
            # One clue of six is wrong, so that no model gets all of the texts right.
            meant = label if generator.random() < 5 / 6 else generator.integers(labels)
            text[place] = str(generator.choice(clues[meant]))
        rows.append({"text": " ".join(text), "label": label})
    return rows


def entities(words: Sequence[str], number: int, seed: int, *, mean: float = 16) -> list[Row]:
    """Words with tags: names of one or two words, whose kind the word before them tells."""
    generator = np.random.default_rng([seed, 2])
    clues, names, plain = np.array_split(words[:_CLUES], len(TYPES)), words[_CLUES:_NAMES], words[_NAMES:]
    rows = []
    for length in lengths(number, mean, generator, longest=100):
        tokens = _text(plain, length, generator)
        tags = ["O"] * length
        for start in range(0, length - 2, 6):
            kind = int(generator.integers(len(TYPES)))
            size = int(generator.integers(1, 3))
            tokens[start] = str(generator.choice(clues[kind]))
            for place in range(start + 1, min(start + 1 + size, length)):
                tokens[place] = str(generator.choice(names))
                tags[place] = f"{'B' if place == start + 1 else 'I'}-{TYPES[kind]}"
        rows.append({"tokens": tokens, "tags": tags})
    return rows


def questions(words: Sequence[str], number: int, seed: int, *, mean: float = 175) -> list[Row]:
    """Texts, and the question which words follow one of theirs."""
    generator = np.random.default_rng([seed, 3])
    clues, names, plain = words[:_CLUES], words[_CLUES:_NAMES], words[_NAMES:]
    rows = []
    for row, length in enumerate(lengths(number, mean, generator, longest=700, spread=0.4)):
        text = _text(plain, length, generator)
        start = int(generator.integers(length - 2))
        clue, answer = str(generator.choice(clues)), str(generator.choice(names))
        text[start : start + 2] = [clue, answer]
        begin = len(" ".join(text[: start + 1])) + 1
        answers = {"text": [answer], "answer_start": [begin]}
        context = " ".join(text)
        rows.append({"id": str(row), "question": f"{clue} ?", "context": context, "answers": answers})
    return rows


def summaries(words: Sequence[str], number: int, seed: int, *, mean: float = 120) -> list[Row]:
    """Texts with a few words that matter, and these words as the summary."""
    generator = np.random.default_rng([seed, 4])
    names, plain = words[:_NAMES], words[_NAMES:]
    rows = []
    for length in lengths(number, mean, generator, longest=400, spread=0.4):
        text = _text(plain, length, generator)
        places = sorted(generator.choice(length, max(2, length // 15), replace=False))
        for place in places:
            text[place] = str(generator.choice(names))
        rows.append({"document": " ".join(text), "summary": " ".join(text[place] for place in places)})
    return rows


def stories(words: Sequence[str], number: int, seed: int, *, mean: float = 180) -> list[Row]:
    """Texts in which each word tells much of the next one."""
    generator = np.random.default_rng([seed, 5])
    # The same successors for all seeds: they are the language, and the rows are drawn from it.
    followers = np.random.default_rng(5).integers(len(words), size=(len(words), 4))
    rows = []
    for length in lengths(number, mean, generator, longest=1500, spread=0.8):
        word, text = int(generator.integers(len(words))), []
        for step in generator.integers(4, size=length):
            text.append(words[word])
            word = int(followers[word, step])
        rows.append({"text": " ".join(text)})
    return rows
