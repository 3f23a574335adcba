"""Texts as rows of at most so many tokens: windows of one text, and blocks of all texts."""

from __future__ import annotations

from collections.abc import Sequence

from ..recipe import IGNORED, Row

Document = tuple[list[int], list[int]]  # the tokens that a text starts from, and its tokens with the end


def windows(ids: list[int], max_length: int) -> list[list[int]]:
    """Parts of at most `max_length` tokens, each of which starts with the last token of the part before.

    Example:
        >>> windows([1, 2, 3, 4, 5], 3)
        [[1, 2, 3], [3, 4, 5]]
    """
    # The first token of a part has no label, so that each token but the first is predicted exactly once.
    last = max(len(ids) - 1, 1)
    return [ids[start : start + max_length] for start in range(0, last, max_length - 1)]


def stream(documents: Sequence[Document], end: int, max_length: int) -> list[Row]:
    """All texts one after another, in blocks of `max_length`.

    Args:
        documents: Tokens of the texts.
        end: Token that ends a text.
        max_length: Tokens of a block.
    """
    ids: list[int] = []
    labels: list[int] = []
    for index, (start, tokens) in enumerate(documents):
        # A text that starts from an end starts from that of the text before.
        if index == 0 or start != [end]:
            ids += start
            labels += [IGNORED] * len(start)
        ids += tokens
        labels += tokens
    blocks = []
    for block, targets in zip(windows(ids, max_length), windows(labels, max_length), strict=True):
        blocks.append({"input_ids": block, "labels": [IGNORED, *targets[1:]]})
    return blocks
