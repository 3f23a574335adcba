"""Tokenizer, and model with the head of the task: loaded, and adjusted to each other."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import _upstream
from ..config.blocks import ModelSettings
from ..config.run_config import RunConfig
from ..config.yaml12 import format_value
from ..errors import ConfigError, ModelError, counted, nearest, require_packages
from ..log import log
from ..recipe import Recipe
from . import integrity, lengths
from .directory import CONFIG, as_model_error, check_folder, is_adapter, quiet
from .heads import heads
from .regularization import dropout_settings

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


# Keywords of a model's config that follow from the labels, and what to do instead of setting them.
_LABEL_KEYWORDS = {
    "id2label": "options.label_names=[…] gives ids their names",
    "label2id": "options.label_names=[…] gives ids their names",
    "num_labels": "they are counted in the training rows",
    "problem_type": "options.problem_type says what kind they are",
}
# Keywords that say where the files of a model are, and who may read them.
_WHERE = ("revision", "subfolder", "cache_dir", "local_files_only", "token")
_DTYPES = ("auto", "bfloat16", "float16", "float32")
# Generation settings of the base model that say how a text begins; they belong to its weights.
_BEGINNINGS = ("bos_token_id", "decoder_start_token_id", "forced_bos_token_id")


class LoadedModel(NamedTuple):
    """A model with the task's head, and what of it did not come from the checkpoint."""

    model: PreTrainedModel
    fresh: list[str]
    """Modules that are new."""
    fresh_tokens: list[int]
    """Ids of tokens that only the tokenizer knew, whose embeddings are random."""
    commit: str | None = None
    """Commit on the Hub that was loaded; None for a folder."""


# --- tokenizer ------------------------------------------------------------------------------------------------


def load_tokenizer(config: RunConfig, recipe: Recipe) -> tuple[PreTrainedTokenizerBase, PretrainedConfig]:
    """Tokenizer and config of the run's model.

    Args:
        config: Settings of the run.
        recipe: The task, which may need the padding on a certain side.

    Raises:
        ModelError: The folder is not a model directory, or loading from the Hub failed.
    """
    from transformers import AutoTokenizer

    settings = config.base
    path, keywords = settings.path, settings.shared_keywords
    model_config = load_config(settings)
    with as_model_error(path, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(path, **keywords)
    integrity.check_tokenizer(tokenizer, path)
    rows = getattr(model_config, "vocab_size", None)
    if isinstance(rows, int):
        integrity.check_token_ids(tokenizer, rows, path, may_be_added=True)
    tokenizer.padding_side = recipe.padding_side or tokenizer.padding_side
    names = tokenizer.model_input_names
    if "token_type_ids" in names and not _upstream.reads_token_types(recipe.auto_model, model_config):
        log(f"token types: not used, a model of type {model_config.model_type} does not tell two texts apart by them")
        _upstream.remember_input_names(tokenizer, [name for name in names if name != "token_type_ids"])
    # Decoders often have no pad token; any token serves, as padding is masked.
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return tokenizer, model_config


def load_config(settings: ModelSettings) -> PretrainedConfig:
    """Config of the model, as the keywords of the user change it.

    Args:
        settings: The model, which may be the folder of an adapter.

    Raises:
        ModelError: The folder is not a model directory, or loading from the Hub failed.
    """
    from transformers import AutoConfig

    path = settings.path
    check_folder(path)
    config_path = os.path.join(path, CONFIG) if is_adapter(path) else path
    with as_model_error(path):
        # Keywords of the user may change the config, as `attention_type` does.
        return AutoConfig.from_pretrained(config_path, **settings.loading_keywords)


def load_texts(settings: ModelSettings, names: Sequence[str]) -> dict[str, str]:
    """Texts of further files of the model by name, without those that it does not have, or the cache if offline.

    Args:
        settings: The model.
        names: Of the files.

    Raises:
        ModelError: The model is not there, or may not be read.
    """
    from transformers.utils import cached_file

    keywords = {name: value for name, value in settings.keywords.items() if name in _WHERE}
    texts = {}
    for name in names:
        with as_model_error(settings.path, name):
            file = cached_file(
                settings.path,
                name,
                **keywords,
                _raise_exceptions_for_missing_entries=False,
                _raise_exceptions_for_connection_errors=False,
            )
            if file is not None:
                texts[name] = Path(file).read_text(encoding="utf-8")
    return texts


def in_checkpoint_order(labels: list[str], model_config: PretrainedConfig) -> list[str]:
    """The labels, in the order of the checkpoint's head if it has the same ones: its weights keep their meaning."""
    known = getattr(model_config, "id2label", None) or {}
    if set(known.values()) != set(labels):
        return labels
    return [known[index] for index in sorted(known)]


# --- model -------------------------------------------------------------------------------------------------------


def load_model(config: RunConfig, recipe: Recipe) -> LoadedModel:
    """The model with the task's head, in float32 unless the settings say otherwise.

    Raises:
        ModelError: It cannot be loaded, or nothing in the checkpoint has the names that its class looks for.
        ConfigError: Dropout, quantization or generation settings do not fit the model.
    """
    settings = config.base
    path = settings.path
    keywords = _loading_keywords(settings, path, recipe)
    with as_model_error(path), quiet():
        model, report = recipe.load_model(path, **keywords)
    _refuse_unmatched(model, report, path)
    integrity.check_body(model, report, heads(model), path)
    integrity.check_finite(model, path)
    table = input_embeddings(model)
    if table is not None:
        integrity.check_token_ids(recipe.tokenizer, table.weight.shape[0], path, may_be_added=True)
    # Looked up at once: the branch may have another commit when the training is over.
    commit = _upstream.commit_of(path, settings.keywords.get("revision"), settings.keywords.get("cache_dir"))
    model.config.pad_token_id = recipe.tokenizer.pad_token_id
    # Mixtures of experts then return more than logits, and a loss of their own, which no task adds to its loss.
    if getattr(model.config, "output_router_logits", False):
        model.config.output_router_logits = False
        log("experts: the loss that balances them is not added, output_router_logits is set to false")
    lengths.fix_attention(model, recipe)
    _set_generation(model, recipe)
    fresh_tokens = add_token_embeddings(model, recipe.tokenizer)
    if fresh_tokens:
        log(f"embeddings: {counted(len(fresh_tokens), 'token')} not in the model, with random embeddings at the start")
    fresh = fresh_modules(model, report)
    if fresh:
        log(f"new, trained from scratch: {', '.join(fresh)}")
    return LoadedModel(model, fresh, fresh_tokens, commit)


def _loading_keywords(settings: ModelSettings, path: str, recipe: Recipe) -> dict[str, Any]:
    """Keywords of `from_pretrained`: defaults, then those of the task, then those of the user; later ones win."""
    import torch
    from transformers import AutoConfig

    # The head of another task may have another size: it is ignored, and a new one is made.
    keywords = {"dtype": torch.float32, "ignore_mismatched_sizes": True}
    keywords |= recipe.model_settings()
    keywords |= settings.loading_keywords
    if settings.is_quantized:
        keywords["quantization_config"] = _quantization(settings.keywords["quantization_config"])
    if recipe.dropout is not None:
        with as_model_error(path):
            model_config = AutoConfig.from_pretrained(path, **settings.shared_keywords)
        keywords |= dropout_settings(recipe.dropout, model_config)
    return keywords


def _refuse_unmatched(model: PreTrainedModel, report: Mapping[str, Any], path: str) -> None:
    """Refuse a model whose body is random because no weight in the checkpoint has the name that its class looks for.

    Some classes, such as that of Llama for question answering, name their body differently; transformers only warns.

    Raises:
        ModelError: The embeddings are not from the checkpoint.
    """
    missing = set(report["missing_keys"])
    table = input_embeddings(model)
    if table is None:
        is_random = missing.issuperset(name for name, _ in model.named_parameters())
    else:
        is_random = any(weights is table.weight and name in missing for name, weights in model.named_parameters())
    if is_random:
        raise ModelError(
            f"{type(model).__name__} does not find the weights of {path} under the names that it looks for, and would "
            "start from random weights: use a model of another type for this task"
        )


def input_embeddings(model: PreTrainedModel) -> Any:
    """The table of the tokens' embeddings; None for a model without one, such as CANINE, which hashes characters."""
    try:
        return model.get_input_embeddings()
    except NotImplementedError:
        return None


def add_token_embeddings(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Add embeddings for tokens that only the tokenizer knows.

    Returns:
        Ids of these tokens.
    """
    table = input_embeddings(model)
    if table is None:
        return []
    known = table.weight.shape[0]
    if len(tokenizer) > known:
        with quiet():
            model.resize_token_embeddings(len(tokenizer))
    return list(range(known, len(tokenizer)))


def fresh_modules(model: PreTrainedModel, report: dict[str, Any]) -> list[str]:
    """Modules that did not come from the checkpoint, by their names below the model or its base.

    Args:
        model: As it was loaded.
        report: What `from_pretrained(output_loading_info=True)` returns.
    """
    missing = set(report["missing_keys"])
    # Weights of another shape were ignored: their entries begin with the name.
    for entry in report.get("mismatched_keys", ()):
        missing.add(entry[0])
    prefix = f"{model.base_model_prefix}."
    return sorted({name.removeprefix(prefix).split(".")[0] for name in missing})


# --- settings of the model ---------------------------------------------------------------------------------------


def label_problems(config: RunConfig) -> list[str]:
    """Sentences on keywords of the model that would give labels other names, or another number, than the data."""
    if not config.model:
        return []
    keywords = config.base.keywords
    problems = []
    for key, instead in _LABEL_KEYWORDS.items():
        if key in keywords:
            problems.append(f"model.{key}: leave it out, labels come from the data: {instead}")
    return problems


def dtype_problems(config: RunConfig) -> list[str]:
    """Sentences on names that are no precision of weights, which torch would only look up once rows were read."""
    problems = []
    for key in ("dtype", "torch_dtype"):
        value = config.base.keywords.get(key) if config.model else None
        if value is not None and value not in _DTYPES:
            problems.append(f"model.{key}: found {format_value(value)}, expected {' or '.join(_DTYPES)}")
    return problems


def quantization_problems(config: RunConfig) -> list[str]:
    """Sentences on why a quantized model cannot be trained here, or with these settings.

    Raises:
        ConfigError: A keyword of the quantization is wrong.
        MissingPackageError: Only a package is missing.
    """
    if not config.model or not config.base.is_quantized:
        return []
    import torch

    _quantization(config.base.keywords["quantization_config"])
    problems = []
    if config.adapter is None:
        problems.append("model.quantization_config: quantized weights cannot be trained themselves: add lora=true")
    if not (torch.cuda.is_available() or torch.xpu.is_available()):
        problems.append(
            "model.quantization_config: found no GPU, which it needs: leave it out, and lora=true trains on a CPU too"
        )
    # Last, so that nobody installs a package that cannot be used here.
    if not problems:
        require_packages("model.quantization_config", "bitsandbytes")
    return problems


def _quantization(given: Any) -> Any:
    """The quantization config that transformers takes; bitsandbytes computes in bfloat16 by default.

    Raises:
        ConfigError: A keyword is unknown, or its value is not accepted.
    """
    from transformers import BitsAndBytesConfig

    # Other methods, such as gptq, check their keywords while the model loads.
    if not isinstance(given, dict) or given.get("quant_method", "bitsandbytes") != "bitsandbytes":
        return given
    known = BitsAndBytesConfig(load_in_4bit=True).to_dict()
    problems = [f"unknown key {key}{nearest(key, known)}" for key in given if key not in known]
    is_asked_for = given.get("load_in_4bit") or given.get("load_in_8bit")
    if problems or not is_asked_for:
        raise ConfigError(f"model.quantization_config: {'; '.join(problems) or 'add load_in_4bit=true'}")
    try:
        return BitsAndBytesConfig(**{"bnb_4bit_compute_dtype": "bfloat16", **given})
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"model.quantization_config: {' '.join(str(error).split())}") from error


# --- generation --------------------------------------------------------------------------------------------------


def _set_generation(model: PreTrainedModel, recipe: Recipe) -> None:
    """Make the model generate as the recipe says, here and wherever it is loaded.

    Of the base model's settings only those stay that say how a text begins: others, such as `num_return_sequences` or
    `suppress_tokens`, would change texts without anyone noticing. Contradictions are refused here, because
    transformers only raises when the model is saved, after training.

    Raises:
        ConfigError: The settings contradict each other.
    """
    from transformers import GenerationConfig

    if recipe.writer is None:
        return
    settings = recipe.writer.generation()
    base = model.generation_config
    kept = {name: getattr(base, name) for name in _BEGINNINGS}
    if kept["decoder_start_token_id"] is None:  # older models have it in their config alone
        kept["decoder_start_token_id"] = getattr(model.config, "decoder_start_token_id", None)
    if base.bad_words_ids == [[recipe.tokenizer.pad_token_id]]:  # without it, Marian generates padding
        kept["bad_words_ids"] = base.bad_words_ids
    # Generation fills in what is not set, so that the saved file would depend on whether anything was generated before.
    defaults = _upstream.default_generation_settings()
    if "max_new_tokens" in settings:  # with both limits, each call of generate prints a warning
        defaults["max_length"] = None
    kept = {**defaults, **{name: value for name, value in kept.items() if value is not None}}
    try:
        model.generation_config = GenerationConfig(**{**kept, **settings})
        model.generation_config.validate(strict=True)
    except ValueError as error:
        raise ConfigError(f"generation: {' '.join(str(error).split())[:300]}") from error
    left_out = _left_out(base, model.generation_config)
    if left_out:
        log(f"generation: the options of the task apply; the base model's settings {', '.join(left_out)} are not used")


def _left_out(base: Any, used: Any) -> list[str]:
    """Settings of the base model that differ from the defaults of transformers and are not used; token ids excepted.

    Args:
        base: The base model's GenerationConfig.
        used: The GenerationConfig that replaces it.
    """
    defaults = _upstream.default_generation_settings()
    ignored = {*_BEGINNINGS, "pad_token_id", "eos_token_id", "transformers_version"}
    left_out = []
    for name, value in base.to_diff_dict().items():
        is_set = value is not False and value != defaults.get(name) and not name.startswith("_")
        if is_set and name not in ignored and value != getattr(used, name, None):
            left_out.append(f"{name}={value}")
    return left_out
