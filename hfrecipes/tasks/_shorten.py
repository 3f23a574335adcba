"""Texts shortened to a number of tokens, for tasks whose second text must stay whole."""

from __future__ import annotations

from typing import Literal

from ..models.tokenizing import read
from ..recipe import Recipe


def shorten(recipe: Recipe, text: str, most: int, *, keep: Literal["start", "end"]) -> str:
    """The start or the end of a text, as much of it as makes that many tokens.

    Args:
        recipe: The task, with its tokenizer.
        text: Text of any length.
        most: Tokens that are kept, special ones not counted; none for 0 or less.
        keep: Which end of the text is kept.
    """
    # A token has at least one byte, so a text of few bytes need not be tokenized.
    if len(text.encode()) <= most:
        return text
    # A slow tokenizer does not know which characters its tokens come from; the whole text is truncated later.
    if not recipe.tokenizer.is_fast:
        return text
    (offsets,) = read(recipe, [text], add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    if len(offsets) <= most:
        return text
    if most <= 0:
        return ""
    if keep == "end":
        start, _ = offsets[-most]
        return text[start:]
    _, end = offsets[most - 1]
    return text[:end]
