"""Texts that are nearly equal: MinHash and locality-sensitive hashing propose pairs, which are then compared exactly.

Two texts are nearly equal if they share 80 % of their pieces of four characters (Jaccard similarity; Broder 1997).
Characters serve all languages, those without blanks too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

SIMILAR = 0.8  # share of pieces that two texts have in common
PIECE = 4  # characters
LONGEST = 2000  # characters of a text that are compared
# With 21 bands of 6 hashes, 99.8 % of pairs with a similarity of 0.8 share a band, and 1.5 % of those with 0.3.
_BANDS, _IN_BAND = 21, 6
_HASHES = _BANDS * _IN_BAND
_DOUBT = 0.12  # three standard deviations of a similarity that is estimated from that many hashes
_CHARACTERS = 100_000  # of the texts that are hashed at once: with more, the arrays leave the cache of the processor
_PAIRS = 100_000  # pairs whose hashes are compared at once

Numbers = NDArray[np.uint64]


def similar_pairs(texts: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of indices of texts that are nearly equal; of many that are alike, only neighbours.

    Args:
        texts: Different texts, normalized.
    """
    if len(texts) < 2:
        return []
    cut = [text[:LONGEST] for text in texts]
    hashes = np.concatenate(list(_min_hashes(cut)))
    pieces: dict[int, set[str]] = {}
    pairs = []
    for first, second in _candidates(hashes).tolist():
        for index in (first, second):
            if index not in pieces:
                pieces[index] = _pieces(cut[index])
        if _similarity(pieces[first], pieces[second]) >= SIMILAR:
            pairs.append((first, second))
    return pairs


def similarity(first: str, second: str) -> float:
    """Share of the pieces of two texts that both have, from 0 to 1.

    Example:
        >>> similarity("the same text", "the same text"), similarity("the same text", "another")
        (1.0, 0.0)
    """
    return _similarity(_pieces(first[:LONGEST]), _pieces(second[:LONGEST]))


def _similarity(first: set[str], second: set[str]) -> float:
    common = len(first & second)
    return common / (len(first) + len(second) - common)


def _pieces(text: str) -> set[str]:
    return {text[start : start + PIECE] for start in range(max(1, len(text) - PIECE + 1))}


def _min_hashes(texts: Sequence[str]) -> Iterator[NDArray[np.uint32]]:
    """For each text the smallest hash of its pieces under each of several hash functions."""
    from rensa import RMinHash

    for chunk in _chunks(texts):
        hashes, offsets = _hashed_pieces(chunk)
        digests = RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets, num_perm=_HASHES, seed=42)
        yield np.asarray(digests.to_rows(), dtype=np.uint32)


def _chunks(texts: Sequence[str]) -> Iterator[list[str]]:
    """Lists of texts that are small enough to be hashed at once."""
    chunk: list[str] = []
    size = 0
    for text in texts:
        chunk.append(text)
        size += max(PIECE, len(text))
        if size > _CHARACTERS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _hashed_pieces(texts: Sequence[str]) -> tuple[Numbers, Numbers]:
    """A hash for each piece of all texts, one text after the other, and where each text begins and the last one ends.

    The pieces are never made: that is most of the work where each is a text of its own.
    """
    padded = [text.ljust(PIECE) for text in texts]
    characters = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    lengths = np.fromiter(map(len, padded), dtype=np.int64, count=len(padded))
    ends = np.cumsum(lengths)
    starts_piece = np.ones(len(characters), dtype=bool)
    for back in range(1, PIECE):
        starts_piece[ends - back] = False
    hashes = np.zeros(len(characters) - PIECE + 1, dtype=np.uint64)
    for position in range(PIECE):
        hashes *= np.uint64(0x9E3779B97F4A7C15)
        hashes ^= characters[position : position + len(hashes)]
        hashes ^= hashes >> np.uint64(29)
    offsets = np.concatenate([[0], np.cumsum(lengths - PIECE + 1)]).astype(np.uint64)
    return hashes[starts_piece[: len(hashes)]], offsets


def _candidates(hashes: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Pairs that share a band and whose hashes agree often enough, the smaller index first."""
    pairs = np.unique(np.concatenate(list(_neighbours(hashes))), axis=0)
    kept = []
    for start in range(0, len(pairs), _PAIRS):
        some = pairs[start : start + _PAIRS]
        agreeing = (hashes[some[:, 0]] == hashes[some[:, 1]]).mean(axis=1)
        kept.append(some[agreeing >= SIMILAR - _DOUBT])
    return np.concatenate(kept) if kept else pairs


def _neighbours(hashes: NDArray[np.uint32]) -> Iterator[NDArray[np.int64]]:
    """For each band the pairs of texts that are next, or next but one, to each other where it is equal.

    All pairs would be far too many where thousands of texts are equal in a band.
    """
    mixer = np.random.default_rng(0).integers(1, 2**63, size=_IN_BAND, dtype=np.uint64) | np.uint64(1)
    for band in range(_BANDS):
        keys = (hashes[:, band * _IN_BAND : (band + 1) * _IN_BAND].astype(np.uint64) * mixer).sum(axis=1)
        order = np.argsort(keys, kind="stable")
        for step in (1, 2):
            first, second = order[:-step], order[step:]
            is_equal = keys[first] == keys[second]
            # A stable order has the smaller index first.
            yield np.stack([first[is_equal], second[is_equal]], axis=1)
