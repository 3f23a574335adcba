"""Texts as rows of at most so many tokens: windows of one text, blocks of all texts, and packed texts."""

from __future__ import annotations

import bisect
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


def packed(documents: Sequence[Document], max_length: int) -> list[Row]:
    """Texts in as few blocks of `max_length` as possible, with position ids that tell them apart."""
    pieces = []
    for start, tokens in documents:
        for ids in windows([*start, *tokens], max_length):
            position_ids = list(range(len(ids)))
            pieces.append({"input_ids": ids, "labels": [IGNORED, *ids[1:]], "position_ids": position_ids})
    return pack(pieces, max_length)


def pack(features: Sequence[Row], max_length: int) -> list[Row]:
    """Features one after another in rows of at most `max_length` tokens, so that little padding is needed.

    Their `position_ids` start at 0 again with each feature, which is how models tell packed texts apart.

    Example:
        >>> feature = {"input_ids": [5, 6], "position_ids": [0, 1]}
        >>> pack([feature, feature, feature], 4)[0]
        {'input_ids': [5, 6, 5, 6], 'position_ids': [0, 1, 0, 1]}
    """
    rows: list[list[Row]] = []
    # Tokens left and index of each row that is not full, the fullest row first.
    open_rows: list[tuple[int, int]] = []
    # Best fit decreasing: the longest feature first, each into the fullest row that it fits into.
    for feature in sorted(features, key=lambda row: len(row["input_ids"]), reverse=True):
        size = len(feature["input_ids"])
        fit = bisect.bisect_left(open_rows, (size, 0))
        if fit < len(open_rows):
            left, index = open_rows.pop(fit)
        else:
            left, index = max_length, len(rows)
            rows.append([])
        rows[index].append(feature)
        if left > size:
            bisect.insort(open_rows, (left - size, index))
    return [concatenate(row) for row in rows]


def concatenate(features: Sequence[Row]) -> Row:
    """One feature of several, one after another."""
    joined: Row = {name: [] for name in features[0]}
    for feature in features:
        for name, tokens in joined.items():
            tokens += feature[name]
    return joined
