"""What the tasks share that read a text and write another: encoding, generating, decoding."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ConfigError
from ..recipe import Batch, Recipe, Row
from ._loss import token_loss

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

# What every one of them trains with.
DEFAULTS: dict[str, Any] = {
    "learning_rate": 5e-5,
    "num_train_epochs": 3,
    "per_device_train_batch_size": 8,
    "per_device_eval_batch_size": 16,
    "warmup_steps": 0.1,
    "weight_decay": 0.01,
    "predict_with_generate": True,
}


def check(recipe: Any) -> None:
    """Refuse options that no text can be generated with.

    Raises:
        ConfigError: One is below 1.
    """
    for name in ("max_target_length", "num_beams"):
        if getattr(recipe, name) < 1:
            raise ConfigError(f"{name}: {getattr(recipe, name)}, expected 1 or more")


def encode(recipe: Any, sources: list[str], targets: list[Any] | None) -> Batch:
    """Tokens of the texts to read behind their prefix, of those to write as `labels`; `cut` where either was cut."""
    sources = [f"{recipe.prefix or ''}{text}" for text in sources]
    features: Batch = recipe.tokenize(sources, max_length=recipe.max_length)
    if targets is not None:
        most = recipe.max_target_length
        written = recipe.tokenizer(text_target=targets, truncation=True, max_length=most, return_attention_mask=False)
        features["labels"] = written["input_ids"]
        over = [bool(one.overflowing) for one in written.encodings or []] or [False] * len(targets)
        features["cut"] = list(map(max, features["cut"], over))
    return features


def collator(recipe: Recipe, model: PreTrainedModel) -> Callable[[list[Row]], Any]:
    """Pads both texts, and gives the decoder what it is to go on from."""
    from transformers import DataCollatorForSeq2Seq

    return partial(_collate, pad=DataCollatorForSeq2Seq(recipe.tokenizer, model=model), model=model)


def _collate(features: list[Row], pad: Callable[[list[Row]], Any], model: PreTrainedModel) -> Any:
    # Where there are no labels it gives None for them, which the Trainer takes for labels.
    batch = {name: value for name, value in pad(features).items() if value is not None}
    if "labels" in batch and "decoder_input_ids" not in batch:  # some models make them in their forward alone
        start, filler = model.config.decoder_start_token_id, model.config.pad_token_id
        shifted = batch["labels"].roll(1, dims=1)
        shifted[:, 0] = start
        batch["decoder_input_ids"] = shifted.masked_fill(shifted == -100, filler)
    return batch


def loss_function(recipe: Recipe) -> Callable[..., Any] | None:
    """Cross entropy over the tokens of the texts to write."""
    return token_loss


def generation(recipe: Any) -> dict[str, Any]:
    """Length and beams, that evaluation, prediction and the saved model share."""
    return {
        "max_length": recipe.max_target_length + 1,  # and the token that the decoder starts from
        "max_new_tokens": None,
        "min_length": 0,
        "num_beams": recipe.num_beams,
        "do_sample": False,
        "early_stopping": recipe.num_beams > 1,
        "length_penalty": 1.0,
        "no_repeat_ngram_size": 0,
        "pad_token_id": recipe.tokenizer.pad_token_id,
        "eos_token_id": recipe.tokenizer.eos_token_id,
    }


def decode(recipe: Any, outputs: Any, name: str) -> list[Row]:
    """Generated ids to texts, with their number of `tokens` and whether they end at the limit."""
    tokenizer, made = recipe.tokenizer, []
    for ids in outputs:
        ids = np.asarray(ids)[1:]  # the first one is given to the decoder, not written by it
        kept = ids[(ids >= 0) & (ids != tokenizer.pad_token_id)]
        text = tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False).strip()
        at_limit = len(kept) >= recipe.max_target_length and tokenizer.eos_token_id not in kept
        made.append({name: text, "tokens": len(kept), "at_limit": at_limit})
    return made


def lengths(predictions: list[Row]) -> dict[str, np.ndarray]:
    """By row, what is reported of all generated texts: tokens, and the share that ends at the limit."""
    return {
        "generated_tokens": np.array([float(one.get("tokens", 0)) for one in predictions]),
        "at_limit": np.array([float(one.get("at_limit", False)) for one in predictions]),
    }


def means(values: dict[str, np.ndarray], weights: np.ndarray) -> dict[str, np.ndarray]:
    """Weighted mean of each, (resamples,)."""
    weights = weights.astype(np.float64)
    return {name: weights @ cells / weights.sum(1) for name, cells in values.items()}


def golds(row: Row, column: str) -> list[str] | None:
    """All wanted texts of a row; None where it has none, or blanks alone."""
    wanted = row.get("references") or [row.get(column)]
    return [str(one) for one in wanted if one is not None and str(one).strip()] or None


def settle_prefix(recipe: Any, model_config: PretrainedConfig, task: str) -> list[str]:
    """Set what the model was trained to see before each text of this task, as T5 was, unless the user did."""
    known: dict[str, Any] = getattr(model_config, "task_specific_params", None) or {}
    prefix = (known.get(task) or {}).get("prefix")
    if recipe.prefix is not None or not prefix:
        return []
    recipe.prefix = str(prefix)
    return [f"prefix: {recipe.prefix!r}, as the model was trained with; options.prefix changes that"]
