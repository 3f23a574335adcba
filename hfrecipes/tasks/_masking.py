"""Masking of words, as BERT was pretrained (Devlin et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..recipe import IGNORED

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MASKED, RANDOM = 0.8, 0.1  # share of the hidden tokens that become the mask token, or a random one; others stay


def hide_words(
    ids: np.ndarray,
    words: Sequence[int],
    *,
    share: float,
    tokenizer: PreTrainedTokenizerBase,
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Mask some of the words, at least one.

    Args:
        ids: Tokens of a block.
        words: Number of the word that each token is a piece of.
        share: Share of the words that are masked.
        tokenizer: Tokenizer that made the ids.
        generator: Source of the random numbers.

    Returns:
        Ids with some words hidden, and labels: the ids before that, -100 where nothing is hidden.
    """
    special = np.isin(ids, tokenizer.all_special_ids)
    # A block may have several texts, each with a word 0, so words are numbered again.
    is_start = np.diff(np.asarray(words), prepend=-2) != 0
    word_of_token = np.cumsum(is_start) - 1
    number_of_words = word_of_token[-1] + 1 if len(word_of_token) else 0
    is_hidden_word = generator.random(number_of_words) < share
    hidden = is_hidden_word[word_of_token] & ~special
    if not hidden.any() and not special.all():
        # Otherwise many short texts would have nothing to predict, and no score.
        word = word_of_token[generator.choice(np.flatnonzero(~special))]
        hidden = (word_of_token == word) & ~special
    # Some hidden tokens stay visible, so that the model cannot rely on the mask token, which other tasks do not have.
    fate = generator.random(len(ids))
    shown = np.where(hidden & (fate < MASKED), tokenizer.mask_token_id, ids)
    random_ids = generator.integers(0, len(tokenizer), len(ids))
    shown = np.where(hidden & (fate >= 1 - RANDOM), random_ids, shown)
    return shown, np.where(hidden, ids, IGNORED)
