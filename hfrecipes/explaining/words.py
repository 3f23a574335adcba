"""Words of a text, made wide enough that no token of the model belongs to two of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

# Scripts that put no space between words: each character is a word, until a token joins several.
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"


@cache
def _pattern() -> Any:
    import regex

    letter = rf"(?:(?!{_UNSPACED})[\p{{L}}\p{{M}}\p{{N}}_])"
    # An apostrophe or hyphen inside a word belongs to it; any other sign is a word, with the marks that follow it.
    return regex.compile(rf"{letter}+(?:['’\-]{letter}+)*|(?!\s)\X")


def word_spans(text: str) -> list[tuple[int, int]]:
    """First character and end of each word of a text; signs are words of their own.

    Example:
        >>> word_spans("It's 好的!")
        [(0, 4), (5, 6), (6, 7), (7, 8)]
    """
    return [match.span() for match in _pattern().finditer(text)]


def entry_spans(entries: Sequence[str]) -> list[tuple[int, int]]:
    """The same for words that are given, which make a text with a space between them."""
    spans, start = [], 0
    for entry in entries:
        spans.append((start, start + len(entry)))
        start += len(entry) + 1
    return spans


def joined_by_tokens(words: Sequence[tuple[int, int]], tokens: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The words, with those that share a token as one.

    Args:
        words: First character and end of each word, in order.
        tokens: First character and end of each token.

    Example:
        >>> joined_by_tokens([(0, 1), (1, 2), (2, 3)], [(0, 2), (2, 3)])
        [(0, 2), (2, 3)]
    """
    starts = [start for start, _ in words]
    goes_on = [False] * len(words)  # whether a word belongs to the one before it
    for start, end in tokens:
        first = _index_at(starts, start)
        for index in range(first + 1, len(words)):
            if starts[index] >= end:
                break
            # The space before a word is often part of its token.
            goes_on[index] = goes_on[index] or words[index - 1][1] > start
    joined: list[tuple[int, int]] = []
    for (start, end), is_part in zip(words, goes_on, strict=True):
        if is_part:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _index_at(starts: Sequence[int], character: int) -> int:
    """Index of the last word that starts at a character or before it, 0 where none does."""
    return max(bisect_right(starts, character) - 1, 0)


def word_of_token(words: Sequence[tuple[int, int]], start: int, end: int) -> int | None:
    """Index of the word that a token belongs to; a token of spaces belongs to the word after it.

    Args:
        words: First character and end of each word, none of which shares a token with another.
        start: First character of the token.
        end: Its end.
    """
    for index in range(_index_at([first for first, _ in words], start), len(words)):
        if words[index][1] > start:
            return index
    return len(words) - 1 if words else None


def spans_of_cell(cell: str | Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """The text of a cell, and its words."""
    if isinstance(cell, str):
        return cell, word_spans(cell)
    return " ".join(cell), entry_spans(cell)
