"""Texts to tokens, for the `encode` of tasks: truncated, or in overlapping windows."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence, Sized
from typing import Any

from ..errors import ModelError
from ..recipe import Batch, Recipe, Row
from . import special_tokens


def read(
    recipe: Recipe,
    texts: list[str],
    pairs: list[str] | None = None,
    *,
    is_target: bool = False,
    meant: Collection[str] = (),
    **keywords: Any,
) -> Any:
    """What the tokenizer returns for texts, in which special tokens that are written out are text.

    Args:
        recipe: The task, with its tokenizer.
        texts: One per row.
        pairs: Second texts.
        is_target: Whether the model is to write the texts, in the language that the tokenizer has for that.
        meant: Special tokens that are to be read as such.
        **keywords: Of the call of the tokenizer.
    """
    tokenizer = recipe.tokenizer
    if special_tokens.written_in(recipe, [*texts, *(pairs or ())], meant):
        tokenizer = special_tokens.reader(recipe, meant)
        keywords["split_special_tokens"] = tokenizer.is_fast
    if is_target:
        return tokenizer(text_target=texts, **keywords)
    return tokenizer(texts, pairs, **keywords)


def tokenize(
    recipe: Recipe,
    texts: list[str],
    pairs: Sequence[str | None] | None = None,
    *,
    max_length: int | None = None,
    truncation: bool | str = True,
) -> Batch:
    """Ids of each text or pair, their number, and whether `max_length` truncated it.

    There is no attention mask: padding adds it. Token types are given only where there is a second text.

    Args:
        recipe: The task, with its tokenizer.
        texts: One per row.
        pairs: Second texts; a missing or blank one is an empty text.
        max_length: Tokens kept of each text or pair; the option of the recipe by default.
        truncation: As the tokenizer takes it.

    Returns:
        `input_ids`, `length`, `over_max_length`, and `token_type_ids` for pairs.
    """
    limit = recipe.max_length if max_length is None else max_length
    tokens = _truncated(recipe, texts, pairs, limit, truncation)
    lengths = [len(ids) for ids in tokens["input_ids"]]
    truncated = [length >= limit for length in lengths]
    if tokens.encodings is not None:
        # A text of exactly `max_length` tokens is whole; only a fast tokenizer can tell.
        for index, encoding in enumerate(tokens.encodings):
            truncated[index] = truncated[index] and bool(encoding.overflowing)
    return {**tokens, "length": lengths, "over_max_length": truncated}


def _truncated(
    recipe: Recipe, texts: list[str], pairs: Sequence[str | None] | None, limit: int, truncation: bool | str
) -> Any:
    """What the tokenizer returns for texts of at most that many tokens."""
    seconds = None
    if pairs is not None:
        seconds = [second if second and second.strip() else "" for second in pairs]
    return read(
        recipe,
        texts,
        seconds,
        truncation=truncation,
        max_length=limit,
        return_attention_mask=False,
        return_token_type_ids=_has_types(recipe, seconds),
    )


def tokens_in_text(recipe: Recipe, text: str, pair: str | None) -> tuple[Row, list[tuple[int | None, int, int]]]:
    """Features of one text or pair as `tokenize` makes them, and where each token stands.

    Returns:
        The features; for each token the index of its text, None for a special token, its first character and its end.

    Raises:
        ModelError: The tokenizer does not know the characters of its tokens.
    """
    require_fast_tokenizer(recipe)
    tokens = _truncated(recipe, [text], None if pair is None else [pair], recipe.max_length, truncation=True)
    encoding = tokens.encodings[0]
    places = []
    for index, (start, end) in zip(encoding.sequence_ids, encoding.offsets, strict=True):
        places.append((index, start, end))
    return {name: values[0] for name, values in tokens.items()}, places


def windows(
    recipe: Recipe,
    texts: list[str],
    pairs: list[str] | None = None,
    *,
    stride: int,
    truncation: bool | str = True,
    meant: Collection[str] = (),
) -> Any:
    """Tokens of each text or pair in overlapping windows of `max_length`, with the characters of each token.

    Args:
        recipe: The task, with its tokenizer.
        texts: One per row.
        pairs: Second texts.
        stride: Tokens that neighbouring windows share.
        truncation: Which text continues in the next window, as the tokenizer takes it.
        meant: Special tokens that are to be read as such where they are written in a text.

    Raises:
        ModelError: The tokenizer does not know the characters of its tokens.
    """
    require_fast_tokenizer(recipe)
    recipe.tokenizer.truncation_side = "right"  # windows are read from left to right
    return read(
        recipe,
        texts,
        pairs,
        truncation=truncation,
        meant=meant,
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
    """Whether token types say more than zeros would, which a model takes where there are none."""
    if "token_type_ids" not in recipe.tokenizer.model_input_names:
        return False
    # XLNet, for one, has a type of its own for the token that a text is classified by.
    return pairs is not None or any(recipe.tokenizer("a")["token_type_ids"])


def separate_pairs(recipe: Recipe) -> list[str]:
    """Make the tokenizer put a token between two texts where it would glue them together.

    Tokenizers of decoders that put nothing around a text put nothing between two texts either. The tokenizer is
    saved like this, so that pairs are read in the same way by plain transformers.

    Returns:
        A sentence, where something was changed.

    Raises:
        ModelError: It has no token for that.
    """
    tokenizer = recipe.tokenizer
    if not tokenizer.is_fast:
        return []
    texts = tokenizer("a", "a").sequence_ids()
    last, first = texts.index(0) + texts.count(0) - 1, texts.index(1)
    separator = tokenizer.sep_token or tokenizer.eos_token
    if first - last > 1:
        return []
    if separator is None:
        raise ModelError(
            f"{type(tokenizer).__name__} glues two texts together, and has no token to put between them: set sep_token "
            "or eos_token in tokenizer_config.json"
        )
    number = tokenizer.convert_tokens_to_ids(separator)
    tokenizer.backend_tokenizer.post_processor = special_tokens.with_separator(
        tokenizer.backend_tokenizer, separator, number
    )
    return [f"pairs of texts: {separator} is put between them, because the tokenizer would put nothing there"]


def show_labels(recipe: Recipe, features: Row) -> str:
    """An encoded text, with the tokens to train on between ⟦ and ⟧; empty if labels are not tokens."""
    if recipe.auto_model != "AutoModelForCausalLM" or not isinstance(features.get("labels"), Sized):
        return ""
    parts = []
    pairs = zip(features["labels"], features["input_ids"], strict=True)
    for is_learnt, run in itertools.groupby(pairs, key=lambda pair: pair[0] >= 0):
        text = recipe.tokenizer.decode([token for _, token in run], clean_up_tokenization_spaces=False)
        parts.append(f"⟦{text}⟧" if is_learnt else text)
    return "".join(parts)
