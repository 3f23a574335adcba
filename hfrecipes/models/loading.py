"""Tokenizer and model with the head of the task, loaded and fitted to each other."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

from ..config import RunConfig
from ..errors import ConfigError, MissingPackageError, ModelError, nearest
from ..log import log
from ..recipe import SHORTEST, Recipe
from .directory import (
    CONFIG,
    PADDING,
    SHARED_KEYWORDS,
    TUNED,
    as_model_error,
    check_folder,
    is_adapter,
    name_and_keywords,
    quiet,
)
from .regularization import dropout_settings

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


# Position ids of these start behind the padding id, so they read that many tokens less than they have positions.
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
# Keywords of a model's config that the labels decide, and what to do in place of giving one.
_OF_LABELS = {
    "id2label": "write the names themselves as labels into the data",
    "label2id": "write the names themselves as labels into the data",
    "num_labels": "they are counted in the training rows",
    "problem_type": "options.problem_type says what kind they are",
}
_BEGINNINGS = ("bos_token_id", "decoder_start_token_id", "forced_bos_token_id")  # settings that say where a text begins


def load_tokenizer(
    config: RunConfig, padding_side: str | None = None
) -> tuple[PreTrainedTokenizerBase, PretrainedConfig]:
    """Tokenizer and config of the run's model.

    Args:
        config: Settings.
        padding_side: As `Recipe.padding_side`.

    Raises:
        ModelError: The folder holds no model, or the Hub could not give one.
    """
    from transformers import AutoConfig, AutoTokenizer

    path, keywords = name_and_keywords(config)
    shared = {key: value for key, value in keywords.items() if key in SHARED_KEYWORDS}
    check_folder(path)
    with as_model_error(path):
        model_config = AutoConfig.from_pretrained(os.path.join(path, CONFIG) if is_adapter(path) else path, **shared)
        tokenizer = AutoTokenizer.from_pretrained(path, **shared)
    tokenizer.padding_side = padding_side or tokenizer.padding_side
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return tokenizer, model_config


def longest_input(tokenizer: PreTrainedTokenizerBase, model_config: PretrainedConfig) -> int | None:
    """Tokens that the model reads at most, special ones included; None where it has no limit."""
    limits = [tokenizer.model_max_length] if tokenizer.model_max_length < 1e9 else []
    positions = getattr(model_config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        shift = (model_config.pad_token_id or 0) + 1 if model_config.model_type in _SHIFTED_POSITIONS else 0
        limits.append(positions - shift)
    return min(limits, default=None)


def fit_length(recipe: Recipe, model_config: PretrainedConfig, taken: int = 0) -> None:
    """Bring the recipe's `max_length` down to what the model reads, less `taken` tokens that adapters put in front.

    Raises:
        ConfigError: Those leave no room.
    """
    limit = longest_input(recipe.tokenizer, model_config)
    if limit and taken > limit - SHORTEST:
        raise ConfigError(f"lora.num_virtual_tokens: {taken} of {limit} tokens that the model reads leave no room")
    if limit and recipe.max_length > limit - taken:
        about = f" beside {taken} virtual tokens" if taken else ""
        log(f"max_length: {limit - taken}, the most that the model reads{about} ({recipe.max_length} was wanted)")
        recipe.max_length = limit - taken


def checkpoint_labels(labels: list[str], model_config: PretrainedConfig) -> list[str]:
    """The labels in the order of the checkpoint's own head where it knows the same ones: the head keeps its sense."""
    own = getattr(model_config, "id2label", None) or {}
    return [own[place] for place in sorted(own)] if set(own.values()) == set(labels) else labels


class LoadedModel(NamedTuple):
    """A model with the task's head, and what of it the checkpoint did not bring."""

    model: PreTrainedModel
    fresh: list[str]
    """Modules that are new."""
    fresh_tokens: list[int]
    """Tokens that only the tokenizer knows, whose embeddings were drawn."""


def load_model(config: RunConfig, recipe: Recipe) -> LoadedModel:
    """The model with the task's head, in float32 unless the settings say otherwise.

    Raises:
        ModelError: It could not be loaded.
    """
    import torch
    import transformers

    path, keywords = name_and_keywords(config)
    auto = getattr(transformers, recipe.auto_model)
    settings = {"dtype": torch.float32, "ignore_mismatched_sizes": True, **recipe.model_settings(), **keywords}
    if is_quantized(config.model):
        settings["quantization_config"] = _quantization(keywords["quantization_config"])
    if recipe.dropout is not None:
        with as_model_error(path):
            own = transformers.AutoConfig.from_pretrained(
                path, **{key: value for key, value in keywords.items() if key in SHARED_KEYWORDS}
            )
        settings |= dropout_settings(recipe.dropout, own)
    with as_model_error(path), quiet():
        model, report = auto.from_pretrained(path, output_loading_info=True, **settings)
    _check_found(model, report, path)
    model.config.pad_token_id = recipe.tokenizer.pad_token_id
    for key in (TUNED, PADDING):  # of the run that the model comes from
        vars(model.config).pop(key, None)
    _settle_generation(model, recipe)
    fresh_tokens = fit_vocabulary(model, recipe.tokenizer)
    if fresh_tokens:
        log(f"embeddings: {len(fresh_tokens)} drawn for tokens that the model lacks")
    fresh = fresh_modules(model, report)
    if fresh:
        log(f"new, trained from scratch: {', '.join(fresh)}")
    return LoadedModel(model, fresh, fresh_tokens)


def label_problems(config: RunConfig) -> list[str]:
    """Sentences on keywords of the model that would give its labels other names, or another number, than the data."""
    given = config.model if isinstance(config.model, dict) else {}
    return [
        f"model.{key}: leave it out, labels come from the data: {instead}"
        for key, instead in _OF_LABELS.items()
        if key in given
    ]


def is_quantized(model: str | dict[str, Any] | None) -> bool:
    """Whether the weights are to be loaded in 4 or 8 bits; `model` as `RunConfig.model`."""
    return isinstance(model, dict) and bool(model.get("quantization_config"))


def quantization_problems(config: RunConfig) -> list[str]:
    """Sentences on why this machine, or these settings, cannot train a quantized model.

    Raises:
        MissingPackageError: Only a package lacks.
    """
    if not is_quantized(config.model):
        return []
    import torch

    _, keywords = name_and_keywords(config)
    _quantization(keywords["quantization_config"])
    found = []
    if not config.lora:
        found.append("model.quantization_config: weights of a few bits cannot be trained themselves: add lora=true")
    if not (torch.cuda.is_available() or torch.xpu.is_available()):
        found.append(
            "model.quantization_config: found no GPU, which it needs: leave it out, and lora=true trains on a CPU too"
        )
    if not found and find_spec("bitsandbytes") is None:
        raise MissingPackageError("model.quantization_config needs bitsandbytes: pip install 'hfrecipes[quantization]'")
    return found


def _quantization(given: Any) -> Any:
    """The keywords as transformers takes them; bitsandbytes computes in bfloat16 unless told otherwise.

    Raises:
        ConfigError: A keyword, or its value, is none.
    """
    from transformers import BitsAndBytesConfig

    if not isinstance(given, dict) or given.get("quant_method", "bitsandbytes") != "bitsandbytes":
        return given
    known = BitsAndBytesConfig(load_in_4bit=True).to_dict()
    unknown = [f"unknown key {key}{nearest(key, known)}" for key in given if key not in known]
    if unknown or not (given.get("load_in_4bit") or given.get("load_in_8bit")):
        raise ConfigError(f"model.quantization_config: {'; '.join(unknown) or 'add load_in_4bit=true'}")
    try:
        return BitsAndBytesConfig(**{"bnb_4bit_compute_dtype": "bfloat16", **given})
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"model.quantization_config: {' '.join(str(error).split())}") from error


def _check_found(model: PreTrainedModel, report: Mapping[str, Any], path: str) -> None:
    """Refuse a model of which transformers found nothing under the names that it looks for.

    Some classes, as that of Llama for question answering, name the body otherwise than the checkpoint does: it would be
    drawn at random, without an error.

    Raises:
        ModelError: The embeddings are not from the checkpoint.
    """
    missing, table = set(report["missing_keys"]), input_embeddings(model)
    if table is None:
        is_new = {name for name, _ in model.named_parameters()} <= missing
    else:
        is_new = any(weights is table.weight and name in missing for name, weights in model.named_parameters())
    if is_new:
        raise ModelError(
            f"{type(model).__name__} does not find the weights of {path} under the names that it looks for, and would "
            "start from nothing: use a model of another type for this task"
        )


def input_embeddings(model: PreTrainedModel) -> Any:
    """The table of the tokens' embeddings; None for a model that has none, as CANINE, which hashes characters."""
    try:
        return model.get_input_embeddings()
    except NotImplementedError:
        return None


def _settle_generation(model: PreTrainedModel, recipe: Recipe) -> None:
    """Have the model generate as the recipe says, here and wherever it is loaded; refused now, not on saving.

    Of the base's own settings only those stay that say where a text begins: others, as `num_return_sequences` or
    `suppress_tokens`, would change texts without being seen.

    Raises:
        ConfigError: The settings contradict each other.
    """
    from transformers import GenerationConfig

    settings = recipe.generation()
    if not settings:
        return
    base = model.generation_config
    kept = {name: getattr(base, name) for name in _BEGINNINGS}
    if base.bad_words_ids == [[recipe.tokenizer.pad_token_id]]:  # Marian would write its padding
        kept["bad_words_ids"] = base.bad_words_ids
    try:
        model.generation_config = GenerationConfig(**{**kept, **settings})
        model.generation_config.validate(strict=True)
    except ValueError as error:
        raise ConfigError(f"generation: {' '.join(str(error).split())[:300]}") from error
    left_out = _left_out(base, model.generation_config)
    if left_out:
        log(f"generation: the options decide; of the base model's own settings {', '.join(left_out)} are left out")


def _left_out(base: Any, settled: Any) -> list[str]:
    """Settings of the base model that are not those of transformers and were not taken over; token ids aside."""
    defaults = base._get_default_generation_params()
    kept = {*_BEGINNINGS, "pad_token_id", "eos_token_id", "transformers_version"}
    left_out = []
    for name, value in base.to_diff_dict().items():
        is_set = value is not False and value != defaults.get(name) and not name.startswith("_")
        if is_set and name not in kept and value != getattr(settled, name, None):
            left_out.append(f"{name}={value}")
    return left_out


def fit_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Give tokens that were added to the tokenizer alone an embedding; gives those tokens."""
    table = input_embeddings(model)
    known = len(tokenizer) if table is None else table.weight.shape[0]
    if len(tokenizer) > known:
        with quiet():
            model.resize_token_embeddings(len(tokenizer))
    return list(range(known, len(tokenizer)))


def fresh_modules(model: PreTrainedModel, report: dict[str, Any]) -> list[str]:
    """Modules that the checkpoint did not bring, by their name below the model."""
    missing = [*report["missing_keys"], *(entry[0] for entry in report.get("mismatched_keys", ()))]
    prefix = model.base_model_prefix + "."
    return sorted({key.removeprefix(prefix).split(".")[0] for key in missing})
