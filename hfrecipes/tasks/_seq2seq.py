"""What the tasks share that read a text and write another: encoding, generating, decoding."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ConfigError
from ..losses import cross_entropy, token_loss
from ..recipe import Batch, Recipe, Row
from ._tokens import PLAINLY, end_of, text_of

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PretrainedConfig, PreTrainedModel

# What every one of them trains with.
DEFAULTS: dict[str, Any] = {
    "learning_rate": 5e-5,
    "num_train_epochs": 3,
    "per_device_train_batch_size": 8,
    "per_device_eval_batch_size": 16,
    "warmup_steps": 0.1,
    "weight_decay": 0.01,
}
CUT_BY = {"cut": "max_length", "labels_cut": "max_target_length"}
# Would have texts generated otherwise for the scores than by the saved model.
REFUSED = {
    "generation_max_length": "the option is max_target_length",
    "generation_num_beams": "the option is num_beams",
    "generation_config": "the options are max_target_length and num_beams",
}


def check(recipe: Any) -> None:
    """Refuse options that no text can be generated with.

    Raises:
        ConfigError: One is below 1.
    """
    for name in ("max_target_length", "num_beams"):
        if getattr(recipe, name) < 1:
            raise ConfigError(f"{name}: {getattr(recipe, name)}, expected 1 or more")


def encode(recipe: Any, batch: Batch, source: str, target: str) -> Batch:
    """Tokens of the texts to read behind their prefix, and of those to write as `labels`.

    `cut` and `labels_cut` tell whether `max_length` and `max_target_length` cut something off. A text to write that was
    cut has no end: where it stops is not where it is over.
    """
    sources = [f"{recipe.prefix or ''}{text}" for text in batch[source]]
    features: Batch = recipe.tokenize(sources, max_length=recipe.max_length)
    if target not in batch:
        return features
    others = batch.get("references") or [None] * len(sources)
    texts = [wanted(*pair)[0] for pair in zip(batch[target], others, strict=True)]
    labels = recipe.tokenizer(text_target=texts, return_attention_mask=False, verbose=False)["input_ids"]
    over = [len(ids) > recipe.max_target_length for ids in labels]
    labels = [_cut(recipe, text) if is_over else ids for text, ids, is_over in zip(texts, labels, over, strict=True)]
    return {**features, "labels": labels, "labels_cut": over}


def _cut(recipe: Any, text: str) -> list[int]:
    most = recipe.max_target_length
    tokens = recipe.tokenizer(text_target=text, truncation=True, max_length=most, return_attention_mask=False)
    ids: list[int] = tokens["input_ids"]
    return [token for token in ids if token != end_of(recipe)]  # a code behind it stays: the decoder starts from that


def wanted(text: Any, others: Any) -> list[str]:
    """All texts that a row asks for, its own first, each once and without blanks; numbers are read as texts."""
    cells = [*(text if isinstance(text, list) else [text]), *(others or [])]
    return list(dict.fromkeys(str(one) for one in cells if one is not None and str(one).strip()))


def collator(recipe: Recipe, model: PreTrainedModel) -> Callable[[list[Row]], Any]:
    """Pads both texts, and gives the decoder what it is to go on from."""
    from transformers import DataCollatorForSeq2Seq

    config = model.config
    return partial(_collate, pad=DataCollatorForSeq2Seq(recipe.tokenizer, model=_shifter(model)), config=config)


def _shifter(model: PreTrainedModel) -> Any:
    """The model without its weights, which worker processes do not need: its class and config shift the labels."""
    whole = model.get_base_model() if hasattr(model, "get_base_model") else model  # adapters are around it
    empty = object.__new__(type(whole))
    vars(empty)["config"] = whole.config
    return empty


def _collate(features: list[Row], pad: Callable[[list[Row]], Any], config: PretrainedConfig) -> Any:
    # Where there are no labels it gives None for them, which the Trainer takes for labels.
    batch = {name: value for name, value in pad(features).items() if value is not None}
    if "labels" in batch and "decoder_input_ids" not in batch:  # some models make them in their forward alone
        start, filler = config.decoder_start_token_id, config.pad_token_id
        shifted = batch["labels"].roll(1, dims=1)
        shifted[:, 0] = start
        batch["decoder_input_ids"] = shifted.masked_fill(shifted == -100, filler)
    return batch


def loss_function(recipe: Recipe, label_smoothing: float = 0.0) -> Callable[..., Any]:
    """Cross entropy over the tokens of the texts to write."""
    return partial(token_loss, item_loss=partial(cross_entropy, label_smoothing=label_smoothing))


def fit_target_length(recipe: Any, model_config: PretrainedConfig) -> list[str]:
    """Bring what is written down to what the decoder has places for."""
    places = getattr(model_config, "max_position_embeddings", None)
    if not isinstance(places, int) or recipe.max_target_length < places:
        return []
    recipe.max_target_length = places - 1  # one is for the token that it starts from
    return [f"max_target_length: {places - 1}, the most that the model writes"]


def generation(recipe: Any) -> dict[str, Any]:
    """Length and beams, that evaluation, prediction and the saved model share.

    No end is forced at the limit: it would hide that a text is cut off.
    """
    return {
        "max_length": recipe.max_target_length + 1,  # and the token that the decoder starts from
        "num_beams": recipe.num_beams,
        **PLAINLY,
        "early_stopping": recipe.num_beams > 1,
        "pad_token_id": recipe.tokenizer.pad_token_id,
        "eos_token_id": end_of(recipe),
    }


def decode(recipe: Any, outputs: Any, name: str) -> list[Row]:
    """Generated ids to texts, with their number of `tokens` and whether they end at the limit."""
    tokenizer, end, made = recipe.tokenizer, end_of(recipe), []
    for ids in outputs:
        ids = np.asarray(ids)[1:]  # the first one is given to the decoder, not written by it
        kept = ids[(ids >= 0) & (ids != tokenizer.pad_token_id)]
        text = text_of(recipe, kept).strip()
        at_limit = len(kept) >= recipe.max_target_length and end not in kept
        made.append({name: text, "tokens": len(kept), "at_limit": at_limit})
    return made


def lengths(predictions: list[Row]) -> dict[str, np.ndarray]:
    """By row, what is reported of generated texts: tokens, and the share that ends at the limit; of others nothing."""
    names = {"generated_tokens": "tokens", "at_limit": "at_limit"}
    known = predictions and all("tokens" in one for one in predictions)
    return {name: np.array([float(one[key]) for one in predictions]) for name, key in names.items()} if known else {}


def means(values: dict[str, np.ndarray], weights: np.ndarray) -> dict[str, np.ndarray]:
    """Weighted mean of each, (resamples,)."""
    weights = weights.astype(np.float64)
    return {name: weights @ cells / weights.sum(1) for name, cells in values.items()}


def texts(rows: Dataset, column: str) -> list[str]:
    """All that the rows want to have written."""
    return [text for cell in rows[column] for text in wanted(cell, None)]


def infer_prefix(recipe: Any, model_config: PretrainedConfig, task: str) -> list[str]:
    """Set what the model was trained to see before each text of this task, as T5 was, unless the user did."""
    known: dict[str, Any] = getattr(model_config, "task_specific_params", None) or {}
    prefix = (known.get(task) or {}).get("prefix")
    if recipe.prefix is not None or not prefix:
        return []
    recipe.prefix = str(prefix)
    return [f"prefix: {recipe.prefix!r}, as the model was trained with; options.prefix changes that"]
