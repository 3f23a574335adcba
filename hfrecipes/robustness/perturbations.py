"""Changes of a text that leave its meaning, and so its label, as they are."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import regex

from .substitutes import COMMON_CHINESE_NAMES, COMMON_NAMES, HOMOPHONES, NEIGHBOURS, RARE_CHINESE_NAMES, RARE_NAMES

Change = Callable[[str, np.random.Generator], str]

SHARE = 0.1  # of the words, or of the characters that have a homophone, that are changed; one at least
_WORD = regex.compile(r"\p{Latin}{4,}")
# A whole word: Mark in 3DMark is no name. Chinese characters may stand next to it without a space.
_NAME = regex.compile(r"(?<![\p{Latin}\p{N}])\p{Lu}\p{Ll}+(?![\p{Latin}\p{N}])")
_HAN = regex.compile(r"\p{Han}")
_WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
_NARROW = str.maketrans("，。！？：；（）", ",.!?:;()")


@dataclass(frozen=True)
class Perturbation:
    """A kind of change."""

    name: str
    change: Change
    """Text and random numbers to the changed text; the same text where there is nothing to change."""


def typos(text: str, random: np.random.Generator) -> str:
    """One letter in a tenth of the words swapped with the next, left out, doubled, or replaced by one beside its key.

    Example:
        >>> typos("Where is my parcel?", np.random.default_rng(0))
        'Where is my pacel?'
    """
    words = [match.span() for match in _WORD.finditer(text)]
    # From the end on, so that the positions before stay where they are.
    for index in sorted(_some(len(words), random), reverse=True):
        start, end = words[index]
        text = text[:start] + _mistyped(text[start:end], random) + text[end:]
    return text


def _mistyped(word: str, random: np.random.Generator) -> str:
    """The first and the last letter stay, as they mostly do."""
    index = int(random.integers(1, len(word) - 2))
    letter, following = word[index], word[index + 1]
    near = NEIGHBOURS.get(letter.lower(), letter)
    near = near.upper() if letter.isupper() else near
    forms = [following + letter, following, letter + letter + following, near[random.integers(len(near))] + following]
    return word[:index] + forms[random.integers(len(forms))] + word[index + 2 :]


def lower_case(text: str, _: np.random.Generator) -> str:
    """All letters in lower case."""
    return text.lower()


def upper_case(text: str, _: np.random.Generator) -> str:
    """All letters in upper case."""
    return text.upper()


def no_punctuation(text: str, _: np.random.Generator) -> str:
    """The text without punctuation; apostrophes and hyphens inside words stay."""
    kept = []
    for index, character in enumerate(text):
        is_inside = 0 < index < len(text) - 1 and text[index - 1].isalnum() and text[index + 1].isalnum()
        if not unicodedata.category(character).startswith("P") or (is_inside and character in "'’-"):
            kept.append(character)
    return "".join(kept)


def other_names(text: str, random: np.random.Generator) -> str:
    """Common first names, English and Chinese, replaced by rare ones; the same name by the same one."""
    rare = list(random.permutation(RARE_NAMES))
    replaced: dict[str, str] = {}

    def other(match: regex.Match[str]) -> str:
        name: str = match.group()
        if name not in COMMON_NAMES:
            return name
        return replaced.setdefault(name, str(rare[len(replaced) % len(rare)]))

    changed: str = _NAME.sub(other, text)
    for name in COMMON_CHINESE_NAMES:
        if name in changed:
            changed = changed.replace(name, RARE_CHINESE_NAMES[random.integers(len(RARE_CHINESE_NAMES))])
    return changed


def homophones(text: str, random: np.random.Generator) -> str:
    """Chinese characters replaced by others that sound the same and are often taken for them, as input methods do.

    Example:
        >>> homophones("我在", np.random.default_rng(0))
        '我再'
    """
    positions = [index for index, character in enumerate(text) if character in HOMOPHONES]
    characters = list(text)
    for chosen in _some(len(positions), random):
        others = HOMOPHONES[characters[positions[chosen]]]
        characters[positions[chosen]] = others[random.integers(len(others))]
    return "".join(characters)


def full_width(text: str, _: np.random.Generator) -> str:
    """Latin letters, digits and signs of a Chinese text as wide as its characters.

    Example:
        >>> full_width("我有2个iPhone", np.random.default_rng(0))
        '我有２个ｉＰｈｏｎｅ'
    """
    return text.translate(_WIDE) if _HAN.search(text) else text


def half_width(text: str, _: np.random.Generator) -> str:
    """Signs of a Chinese text as in Latin ones."""
    return text.translate(_NARROW) if _HAN.search(text) else text


def _some(number: int, random: np.random.Generator) -> list[int]:
    """Indices of a share of so many things, one at least; none of nothing."""
    if not number:
        return []
    return [int(index) for index in random.choice(number, max(1, round(SHARE * number)), replace=False)]


SUITE = (
    Perturbation("typos", typos),
    Perturbation("lower case", lower_case),
    Perturbation("upper case", upper_case),
    Perturbation("no punctuation", no_punctuation),
    Perturbation("other names", other_names),
    Perturbation("homophones", homophones),
    Perturbation("full width", full_width),
    Perturbation("half width", half_width),
)
