"""Shared by the tasks that read a text and write another one: features, generation, decoding, metrics of lengths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..collate import pad_rows, padder
from ..errors import ConfigError
from ..losses import cross_entropy, token_loss
from ..models.tokenizing import read, tokenize
from ..recipe import IGNORED, Batch, Recipe, Row, Writer, input_columns, reference_columns
from ._references import references_of
from ._tokens import NEUTRAL_GENERATION, end_of, text_of

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

# Columns of summaries, for the task that reads texts of any kind.
SUMMARIES = tuple({"input": name, "output": "summary"} for name in ("content", "document", "article"))
DEFAULTS: dict[str, Any] = {"per_device_train_batch_size": 8, "per_device_eval_batch_size": 16}


def check_options(recipe: Any) -> None:
    """Refuse options that no text can be generated with.

    Raises:
        ConfigError: One is below 1.
    """
    for name in ("max_target_length", "num_beams"):
        if getattr(recipe, name) < 1:
            raise ConfigError(f"{name}: {getattr(recipe, name)}, expected 1 or more")


# --- features and batches ----------------------------------------------------------------------------------------


def encode(recipe: Any, batch: Batch, source: str, target: str) -> Batch:
    """Tokens of the texts to read after their prefix, and `labels`, the tokens of the texts to write.

    Args:
        recipe: The task, with its tokenizer.
        batch: Rows.
        source: Column of the texts to read.
        target: Column of the texts to write; rows to predict do not have it.
    """
    prefix = recipe.prefix or ""
    features = tokenize(recipe, [f"{prefix}{text}" for text in batch[source]])
    if target not in batch:
        return features
    more = batch.get("references") or [None] * len(batch[target])
    texts = []
    for text, further in zip(batch[target], more, strict=True):
        texts.append(references_of(text, further)[0])
    labels, truncated = _labels(recipe, texts)
    return {**features, "labels": labels, "over_max_target_length": truncated}


def _labels(recipe: Any, texts: list[str]) -> tuple[list[list[int]], list[bool]]:
    """Ids of the texts to write, and whether `max_target_length` truncated each."""
    limit, end = recipe.max_target_length, end_of(recipe)
    labels = read(recipe, texts, is_target=True, return_attention_mask=False, verbose=False)["input_ids"]
    truncated = []
    for index, ids in enumerate(labels):
        truncated.append(len(ids) > limit)
        if not truncated[index]:
            continue
        # The tokenizer truncates it, not a slice: special tokens such as a language code stay, also after the text. But
        # not the end of the text, or the model would learn to stop there.
        tokens = read(
            recipe, [texts[index]], is_target=True, truncation=True, max_length=limit, return_attention_mask=False
        )
        labels[index] = [token for token in tokens["input_ids"][0] if token != end]
    return labels, truncated


def collator(recipe: Recipe, model: PreTrainedModel) -> Callable[[list[Row]], Any]:
    """Function that pads both texts, and gives the decoder the shifted labels as its input."""
    side = recipe.tokenizer.padding_side
    return partial(_collate, pad=padder(recipe), side=side, shifter=_shifter(model), config=model.config)


def _shifter(model: PreTrainedModel) -> Any:
    """The model without its weights, for worker processes: shifting labels takes its class and config only."""
    whole = model.get_base_model() if hasattr(model, "get_base_model") else model  # the model inside the adapters
    empty = object.__new__(type(whole))
    vars(empty)["config"] = whole.config
    return empty


def _collate(
    features: list[Row],
    pad: Callable[[list[Row]], Any],
    side: str,
    shifter: Any,
    config: PretrainedConfig,
) -> Any:
    inputs = []
    for row in features:
        inputs.append({name: values for name, values in row.items() if name != "labels"})
    batch = pad(inputs)
    if "labels" not in features[0]:
        return batch
    batch["labels"] = pad_rows([row["labels"] for row in features], IGNORED, side=side)
    if hasattr(shifter, "prepare_decoder_input_ids_from_labels"):
        batch["decoder_input_ids"] = shifter.prepare_decoder_input_ids_from_labels(labels=batch["labels"])
    else:
        # Some models shift labels in their forward only, but the Trainer takes the labels out of its inputs.
        shifted = batch["labels"].roll(1, dims=1)
        shifted[:, 0] = config.decoder_start_token_id
        batch["decoder_input_ids"] = shifted.masked_fill(shifted == IGNORED, config.pad_token_id)
    return batch


def loss(recipe: Recipe, label_smoothing: float = 0.0) -> Callable[..., Any]:
    """Cross entropy over the tokens of the texts to write."""
    return partial(token_loss, item_loss=partial(cross_entropy, label_smoothing=label_smoothing))


# --- what the model decides --------------------------------------------------------------------------------------


def fit_target_length(recipe: Any, model_config: PretrainedConfig) -> list[str]:
    """Reduce `max_target_length` to what the decoder has positions for."""
    positions = getattr(model_config, "max_position_embeddings", None)
    if not isinstance(positions, int) or recipe.max_target_length < positions:
        return []
    recipe.max_target_length = positions - 1  # the decoder starts from a token that counts too
    return [f"max_target_length: {positions - 1}, the maximum of the model"]


def infer_prefix(recipe: Any, model_config: PretrainedConfig, task: str) -> list[str]:
    """Set the prefix that the model was trained with for this task, as T5 was, unless the option is given.

    Args:
        recipe: The task.
        model_config: Of the model.
        task: Name of the task in the config of the model.
    """
    by_task: dict[str, Any] = getattr(model_config, "task_specific_params", None) or {}
    prefix = (by_task.get(task) or {}).get("prefix")
    if recipe.prefix is not None or not prefix:
        return []
    recipe.prefix = str(prefix)
    return [f"prefix: {recipe.prefix!r}, because the model was trained with it; options.prefix changes it"]


class Seq2SeqWriter(Writer):
    """Generates texts with an encoder and a decoder; the Trainer does so during evaluation.

    Args:
        recipe: The task, with `max_target_length` and `num_beams`.
    """

    # These would generate texts for the scores in another way than the saved model does.
    refused: Mapping[str, str] = {
        "generation_max_length": "the option is max_target_length",
        "generation_num_beams": "the option is num_beams",
        "generation_config": "the options are max_target_length and num_beams",
    }

    def __init__(self, recipe: Any) -> None:
        self.recipe = recipe

    def canary(self, prefix: str, secret: str) -> Row:
        """A text to read, and the secret to write."""
        source, target = input_columns(self.recipe)[0], reference_columns(self.recipe)[0]
        return {source: prefix, target: secret}

    def generation(self) -> dict[str, Any]:
        """Length and number of beams."""
        recipe = self.recipe
        # No end is forced at the limit: it would hide that a text is incomplete.
        return {
            "max_length": recipe.max_target_length + 1,  # the token that the decoder starts from counts too
            "num_beams": recipe.num_beams,
            **NEUTRAL_GENERATION,
            "early_stopping": recipe.num_beams > 1,
            "pad_token_id": recipe.tokenizer.pad_token_id,
            "eos_token_id": end_of(recipe),
        }


# --- predictions and scores --------------------------------------------------------------------------------------


def decode(recipe: Any, outputs: Any, name: str) -> list[Row]:
    """Generated ids to predictions: the text, its number of `tokens`, and whether it stops `at_limit` without an end.

    Args:
        recipe: The task, with its tokenizer.
        outputs: Ids of each row.
        name: Key of the text in the predictions.
    """
    end, padding = end_of(recipe), recipe.tokenizer.pad_token_id
    predictions = []
    for row in outputs:
        ids = np.asarray(row)[1:]  # the first token is given to the decoder, not generated
        ids = ids[(ids >= 0) & (ids != padding)]
        at_limit = len(ids) >= recipe.max_target_length and end not in ids
        predictions.append({name: text_of(recipe, ids).strip(), "tokens": len(ids), "at_limit": at_limit})
    return predictions


def lengths(predictions: list[Row]) -> dict[str, np.ndarray]:
    """Metrics of the length of each text, (rows,) each; empty for predictions that do not tell it, as of a baseline."""
    tokens, at_limit = [], []
    for prediction in predictions:
        if "tokens" not in prediction:
            return {}
        tokens.append(float(prediction["tokens"]))
        at_limit.append(float(prediction["at_limit"]))
    if not predictions:
        return {}
    return {"generated_tokens": np.array(tokens), "at_limit": np.array(at_limit)}


def best_of(agreement: Callable[[str, str], float], texts: list[str], references: list[list[str]]) -> np.ndarray:
    """Agreement of each text with the reference that it agrees with most, in percent, (rows,).

    Args:
        agreement: Function of a text and a reference, 0 to 1.
        texts: Generated texts, one per row.
        references: References of each row.
    """
    best = []
    for text, several in zip(texts, references, strict=True):
        best.append(max(agreement(text, reference) for reference in several))
    return 100 * np.array(best)


def means(values: dict[str, np.ndarray], weights: np.ndarray) -> dict[str, np.ndarray]:
    """Weighted mean of each metric, (resamples,).

    Args:
        values: Metric -> its value in each row, (rows,).
        weights: How often each row counts, (resamples, rows).
    """
    weights = weights.astype(np.float64)
    return {name: weights @ column / weights.sum(1) for name, column in values.items()}
