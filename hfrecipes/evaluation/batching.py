"""Which features share a batch in evaluation and prediction: the same ones while a model is trained and ever after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Limits:
    """How large a batch may be."""

    rows: int
    """As many rows as this fit, however long they are."""
    tokens: int = 0
    """As many tokens as this fit in any case, padding counted."""
    shares_tokens: bool = True
    """Whether a batch of short rows has more of them, as many as have the tokens of the longest rows."""
    by_length: bool = True
    """Whether rows of similar length share a batch; else they stay in their order, and each batch has `rows`."""


def batches_of(features: Dataset, limits: Limits, processes: int = 1) -> list[list[int]]:
    """Indices of the features of each batch; longest first, so that memory that is too small is noticed at once.

    Args:
        features: With `length`, the number of tokens of each.
        limits: How large a batch may be.
        processes: Number of processes that share the batches. Those that they compute at the same time follow each
            other and have the same size, so the last ones may be filled with features that are in a batch already.
    """
    if len(features) == 1:  # as for each text that is served alone
        return [[0]] * processes
    if not limits.by_length:
        return _cut(list(range(len(features))), [limits.rows] * len(features), processes)
    lengths = np.maximum(np.asarray(features["length"][:]), 1)
    order = np.argsort(-lengths, kind="stable")
    fitting = np.full(len(features), limits.rows)
    if limits.shares_tokens and len(features):
        tokens = limits.rows * int(lengths.max())
        if limits.tokens > tokens:
            tokens = max(tokens, limits.tokens // _texts_of_a_row(features))
        fitting = np.maximum(tokens // lengths[order], 1)
    return _cut(order.tolist(), fitting.tolist(), processes)


def indices_in_turn(batches: Sequence[Sequence[int]]) -> list[int]:
    """Index of the feature that each output belongs to, where outputs come batch after batch."""
    return list(chain.from_iterable(batches))


def _cut(order: list[int], fitting: Sequence[int], processes: int) -> list[list[int]]:
    """The order in batches; `fitting` says how many features fit into a batch that begins at each of them."""
    batches, start = [], 0
    while start < len(order):
        together = order[start : start + fitting[start] * processes]
        start += len(together)
        size = -(-len(together) // processes)
        filled = together + together[:1] * (size * processes - len(together))
        batches += [filled[first : first + size] for first in range(0, len(filled), size)]
    return batches


def _texts_of_a_row(features: Dataset) -> int:
    """Number of texts that a row has at most, as one for each choice."""
    first = features[0].get("input_ids")
    if not first or not isinstance(first[0], list):
        return 1
    return max(map(len, features["input_ids"][:]))
