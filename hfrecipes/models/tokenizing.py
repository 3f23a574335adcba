"""Texts to tokens, for the `encode` of tasks: truncated, or in overlapping windows."""

from __future__ import annotations

import itertools
from typing import Any

from ..errors import ModelError
from ..recipe import Batch, Recipe, Row


def tokenize(
    recipe: Recipe,
    texts: list[str],
    pairs: list[str] | None = None,
    *,
    max_length: int | None = None,
    truncation: bool | str = True,
) -> Batch:
    """Ids of each text or pair, their number, and whether `max_length` truncated it.

    There is no attention mask: padding adds it. Token types are given only where there is a second text.

    Args:
        recipe: The task, with its tokenizer.
        texts: One per row.
        pairs: Second texts.
        max_length: Tokens kept of each text or pair; the option of the recipe by default.
        truncation: As the tokenizer takes it.

    Returns:
        `input_ids`, `length`, `over_max_length`, and `token_type_ids` for pairs.
    """
    limit = recipe.max_length if max_length is None else max_length
    tokens = recipe.tokenizer(
        texts,
        pairs,
        truncation=truncation,
        max_length=limit,
        return_attention_mask=False,
        return_token_type_ids=_has_types(recipe, pairs),
    )
    lengths = [len(ids) for ids in tokens["input_ids"]]
    truncated = [length >= limit for length in lengths]
    if tokens.encodings is not None:
        # A text of exactly `max_length` tokens is whole; only a fast tokenizer can tell.
        for index, encoding in enumerate(tokens.encodings):
            truncated[index] = truncated[index] and bool(encoding.overflowing)
    return {**tokens, "length": lengths, "over_max_length": truncated}


def windows(
    recipe: Recipe,
    texts: list[str],
    pairs: list[str] | None = None,
    *,
    stride: int,
    truncation: bool | str = True,
) -> Any:
    """Tokens of each text or pair in overlapping windows of `max_length`, with the characters of each token.

    Args:
        recipe: The task, with its tokenizer.
        texts: One per row.
        pairs: Second texts.
        stride: Tokens that neighbouring windows share.
        truncation: Which text continues in the next window, as the tokenizer takes it.

    Raises:
        ModelError: The tokenizer does not know the characters of its tokens.
    """
    require_fast_tokenizer(recipe)
    recipe.tokenizer.truncation_side = "right"  # windows are read from left to right
    return recipe.tokenizer(
        texts,
        pairs,
        truncation=truncation,
        max_length=recipe.max_length,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_attention_mask=False,
        return_token_type_ids=_has_types(recipe, pairs),
    )


def require_fast_tokenizer(recipe: Recipe) -> None:
    """Refuse a tokenizer that cannot tell which part of the text a token is.

    Raises:
        ModelError: It is a slow one.
    """
    if not recipe.tokenizer.is_fast:
        raise ModelError(
            f"{type(recipe.tokenizer).__name__} does not give the characters of its tokens (no offset mapping): "
            "use a model with a fast tokenizer (tokenizer.json)"
        )


def _has_types(recipe: Recipe, pairs: list[str] | None) -> bool:
    return pairs is not None and "token_type_ids" in recipe.tokenizer.model_input_names


def show_labels(recipe: Recipe, features: Row) -> str:
    """An encoded text, with the tokens to train on between ⟦ and ⟧; empty if labels are not tokens."""
    if recipe.auto_model != "AutoModelForCausalLM" or "labels" not in features:
        return ""
    parts = []
    pairs = zip(features["labels"], features["input_ids"], strict=True)
    for is_learnt, run in itertools.groupby(pairs, key=lambda pair: pair[0] >= 0):
        text = recipe.tokenizer.decode([token for _, token in run], clean_up_tokenization_spaces=False)
        parts.append(f"⟦{text}⟧" if is_learnt else text)
    return "".join(parts)
