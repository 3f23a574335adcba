"""How many tokens a model reads: at most, in multiples, or exactly so many."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, ModelError
from ..log import log
from ..recipe import SHORTEST, Recipe

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase


# Position ids of these model types start after the padding id, so they read that many tokens fewer than they have
# positions.
_SHIFTED_POSITIONS = frozenset(
    [
        "roberta",
        "xlm-roberta",
        "xlm-roberta-xl",
        "camembert",
        "mpnet",
        "longformer",
        "data2vec-text",
        "xmod",
        "roberta-prelayernorm",
        "esm",
        "ibert",
        "lilt",
        "luke",
        "markuplm",
    ]
)


def longest_input(tokenizer: PreTrainedTokenizerBase, model_config: PretrainedConfig) -> int | None:
    """Maximum number of tokens of the model, including special tokens; None if it has no limit."""
    limits = []
    # Without a limit in its files, a tokenizer gives 1e30.
    if tokenizer.model_max_length < 1e9:
        limits.append(tokenizer.model_max_length)
    positions = getattr(model_config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        if model_config.model_type in _SHIFTED_POSITIONS:
            positions -= (model_config.pad_token_id or 0) + 1
        limits.append(positions)
    if model_config.model_type == "canine":  # its table of positions has as many entries as one of its characters
        limits.append(model_config.num_hash_buckets)
    return min(limits, default=None)


def limit_max_length(recipe: Recipe, model_config: PretrainedConfig, taken: int = 0) -> list[str]:
    """Lower the recipe's `max_length` to the maximum of the model, and to a length that it reads.

    Args:
        recipe: The task, with its tokenizer.
        model_config: Config of the model.
        taken: Number of virtual tokens that an adapter puts before each text.

    Returns:
        One sentence for each decision.

    Raises:
        ConfigError: The virtual tokens leave no room for a text, or the model reads no rows that are so short.
        ModelError: The model leaves no room for a text.
    """
    limit = longest_input(recipe.tokenizer, model_config)
    sentences = _limit(recipe, limit, taken) if limit else []
    return sentences + _fit_fixed_length(recipe, model_config)


def _limit(recipe: Recipe, limit: int, taken: int) -> list[str]:
    if limit < SHORTEST:
        raise ModelError(
            f"this model reads {limit} tokens at most, as max_position_embeddings in its config.json or "
            f"model_max_length in its tokenizer_config.json says, expected {SHORTEST} or more: use another model, or "
            "the right file"
        )
    if taken > limit - SHORTEST:
        raise ConfigError(
            f"lora.num_virtual_tokens: {taken} virtual tokens leave no room for a text in the {limit} tokens "
            "of the model: use fewer"
        )
    requested, recipe.max_length = recipe.max_length, min(recipe.max_length, limit - taken)
    if requested == recipe.max_length:
        return []
    beside = f" with {taken} virtual tokens" if taken else ""
    return [f"max_length: {recipe.max_length}, the maximum of the model{beside} ({requested} was requested)"]


# --- models that do not read rows of any length ------------------------------------------------------------------


def _fit_fixed_length(recipe: Recipe, model_config: PretrainedConfig) -> list[str]:
    """Pad all rows to one length where the model reads no other one, or reads short rows in another way.

    Raises:
        ConfigError: That length is larger than `max_length`.
    """
    sentences = []
    if has_sparse_attention(model_config) and recipe.max_length > sparse_minimum(model_config):
        recipe.pads_to_max_length = True
        reason = "because shorter ones would get another attention"
        sentences.append(f"padding: all rows to max_length={recipe.max_length}, {reason}")
    kind = model_config.model_type
    if kind == "nystromformer" and model_config.num_landmarks != model_config.segment_means_seq_len:
        landmarks = model_config.num_landmarks
        raise ConfigError(
            f"model: this nystromformer attends to {landmarks} landmarks in rows of exactly "
            f"{model_config.segment_means_seq_len} tokens, without a mask for padding: set "
            f"model.segment_means_seq_len={landmarks} for full attention, or use a model of another type"
        )
    length, is_multiple = _length_read(model_config)
    if length is None:
        return sentences
    expected = f"a multiple of {length}" if is_multiple else str(length)
    if recipe.max_length < length:
        raise ConfigError(
            f"max_length: {recipe.max_length}, but a model of type {kind} is trained on rows of {expected} tokens "
            f"alone: set max_length={length}, or use a model of another type"
        )
    fitting = recipe.max_length // length * length if is_multiple else length
    if fitting != recipe.max_length:
        reason = f"because a model of type {kind} is trained on rows of {expected} tokens alone"
        sentences.append(f"max_length: {fitting}, {reason}")
    recipe.max_length, recipe.pads_to_max_length = fitting, True
    return sentences


def _length_read(config: Any) -> tuple[int | None, bool]:
    """Number of tokens of a row that a model is trained on, and whether multiples of it do; None for any number."""
    if config.model_type != "reformer":
        return None, False
    if config.axial_pos_embds:
        return math.prod(config.axial_pos_shape), False
    # The length of each kind of attention's chunks is in the config as `local_attn_chunk_length`.
    lengths = [getattr(config, f"{kind}_attn_chunk_length") for kind in sorted(set(config.attn_layers))]
    return math.lcm(*lengths), True


def has_sparse_attention(config: Any) -> bool:
    """Whether a model attends to blocks of tokens, and permanently changes to full attention at the first short row."""
    return config.model_type in ("big_bird", "bigbird_pegasus") and config.attention_type == "block_sparse"


def sparse_minimum(config: Any) -> int:
    """Number of tokens that a row must exceed for sparse attention."""
    minimum: int = (5 + 2 * config.num_random_blocks) * config.block_size
    return minimum


def fix_attention(model: Any, recipe: Recipe) -> None:
    """Give a model full attention from the start where no row is long enough for sparse attention."""
    if not has_sparse_attention(model.config) or recipe.pads_to_max_length:
        return
    for module in model.modules():
        if hasattr(module, "set_attention_type"):
            module.set_attention_type("original_full")  # of all layers in it
            break
    model.config.attention_type = "original_full"
    log(f"attention: full, because sparse attention needs rows of more than {sparse_minimum(model.config)} tokens")
