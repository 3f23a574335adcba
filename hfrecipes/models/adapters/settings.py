"""Which adapters are trained: a method of PEFT and the keywords of its config, checked before anything is loaded."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from typing import Any

from ...config.blocks import PROMPTS, AdapterSettings
from ...config.trainer_keywords import Range
from ...config.value_types import type_problems, with_choices
from ...errors import ConfigError, nearest
from ...recipe import Recipe

# Task types for which PEFT implements these methods.
_PROMPT_TASK_TYPES = ("SEQ_CLS", "CAUSAL_LM", "SEQ_2_SEQ_LM")
_UNSUPPORTED = {
    "ADALORA": "its ranks follow a schedule that the Trainer does not call",
    "BEFT": "it cannot be merged into layers without biases",
    "LILY": "it cannot be merged",
    "MULTITASK_PROMPT_TUNING": "it needs the number of a task with each row",
    "P_TUNING": "its checkpoints do not contain the network that computes its tokens, so a resumed run would differ",
    "POLY": "it needs the number of a task with each row",
    "SHADOW": "it replaces the forward of the model",
    "TRAINABLE_TOKENS": "it trains single tokens and no layer",
    "XLORA": "it combines adapters that were trained before",
}
# Keywords of the configs that are filled in here, or that would not survive saving and merging.
_RESERVED = frozenset(
    [
        "task_type",
        "inference_mode",
        "base_model_name_or_path",
        "auto_mapping",
        "peft_version",
        "runtime_config",
        "megatron_config",
        "megatron_core",
        "layer_replication",
        "prefix_projection",
        "token_dim",
        "num_layers",
        "num_attention_heads",
        "num_transformer_submodules",
    ]
)
# First weights that PEFT computes from rows, in a step of its own; without it, they are those of plain LoRA.
_FROM_ROWS = ("eva", "corda", "lora_ga")
# Numbers of the configs; PEFT itself looks at few of them.
_NOT_NEGATIVE, _POSITIVE = Range(0), Range(0, above=True)
_RANGES = {
    "lora_alpha": _POSITIVE,
    "alpha": _POSITIVE,
    "num_virtual_tokens": Range(1),
    "rank_pattern": _POSITIVE,
    "alpha_pattern": _POSITIVE,
}
_DROPOUT = Range(0, 1, below=True)
# Keywords that PEFT reads as regular expressions; of patterns, the keys of a block are.
_EXPRESSIONS = (
    "target_modules",
    "exclude_modules",
    "feedforward_modules",
    "layers_pattern",
    "rank_pattern",
    "alpha_pattern",
)

_TASK_TYPES = {
    "AutoModelForSequenceClassification": "SEQ_CLS",
    "AutoModelForTokenClassification": "TOKEN_CLS",
    "AutoModelForSeq2SeqLM": "SEQ_2_SEQ_LM",
    "AutoModelForCausalLM": "CAUSAL_LM",
}


def task_type(recipe: type[Recipe] | Recipe) -> str | None:
    """The task type of PEFT for a task; None for tasks without one, and for those where the class of PEFT has an error.

    Its class for question answering drops the token types during training.
    """
    return _TASK_TYPES.get(recipe.auto_model)


def problems(settings: AdapterSettings | None, recipe: type[Recipe]) -> list[str]:
    """Sentences on a method that does not suit the task, and on keywords that its config does not accept."""
    # Importing PEFT takes seconds, and with the defaults there is nothing to check.
    if settings is None or settings == AdapterSettings.of(True):
        return []
    method, configs = settings.method, _config_classes()
    if method not in configs:
        why = f"; {_UNSUPPORTED[method]}" if method in _UNSUPPORTED else nearest(method, configs)
        return [f"lora.peft_type: found {method}, expected one of {', '.join(configs)}{why}"]
    if settings.is_prompt_learning and task_type(recipe) not in _PROMPT_TASK_TYPES:
        return [_prompt_problem(settings, recipe)]
    types = typing.get_type_hints(configs[method])
    known = [f"lora.{name}" for name in types]
    sentences = []
    for key, value in settings.keywords.items():
        if key not in types:
            sentences.append(f"unknown setting lora.{key}{nearest(f'lora.{key}', known)}")
        elif key in _RESERVED:
            sentences.append(f"lora.{key}: leave it out, it is filled in or does not go with what is saved")
        elif key == "init_lora_weights" and str(value).startswith(_FROM_ROWS):
            sentences.append(f"lora.{key}: {value} needs a pass over the rows before training, which is not made here")
        # Types with Literal are unions with values that PEFT itself checks, and names best.
        elif "Literal" not in str(types[key]):
            sentences += type_problems(f"lora.{key}", value, with_choices(types[key]))
            sentences += _number_problems(key, value) + _expression_problems(key, value)
        else:
            sentences += _expression_problems(key, value)
    return sentences


def _prompt_problem(settings: AdapterSettings, recipe: type[Recipe] | Recipe) -> str:
    return (
        f"lora.peft_type: {settings.method} does not fit {recipe.task}; use LORA, IA3 or another method that is merged"
    )


def refuse_prompt_learning(settings: AdapterSettings, recipe: Recipe) -> None:
    """Refuse virtual tokens for a head that does not take them, where the model has decided which head it is.

    Raises:
        ConfigError: It does not.
    """
    if task_type(recipe) not in _PROMPT_TASK_TYPES:
        raise ConfigError(_prompt_problem(settings, recipe))


def _number_problems(key: str, value: Any) -> list[str]:
    """Numbers out of range, alone or in a list or block; NaN and infinite numbers were refused before."""
    expected, sentences = range_of(key), []
    for number in _inner(value):
        if isinstance(number, int | float):
            sentences += expected.problems(f"lora.{key}", number)
    return sentences


def range_of(key: str) -> Range:
    """Numbers that a keyword of PEFT accepts."""
    return _DROPOUT if key.endswith("dropout") else _RANGES.get(key, _NOT_NEGATIVE)


def _expression_problems(key: str, value: Any) -> list[str]:
    """Patterns that are not regular expressions, which PEFT would only find while it looks for layers."""
    sentences = []
    # The names in a list of target_modules are compared as they are.
    is_names = isinstance(value, list) and key != "layers_pattern"
    for pattern in value if isinstance(value, dict) else _inner(value):
        if key not in _EXPRESSIONS or is_names or not isinstance(pattern, str):
            continue
        try:
            re.compile(pattern)
        except re.error as error:
            sentences.append(
                f"lora.{key}: found {pattern}, expected names of layers in a list, or a regular expression ({error})"
            )
    return sentences


def _inner(value: Any) -> Iterator[Any]:
    """The value, or those in a list or block of them."""
    if isinstance(value, dict | list):
        yield from value.values() if isinstance(value, dict) else value
    else:
        yield value


def keyword_types(method: str) -> dict[str, Any]:
    """Keywords that can be given for a method of PEFT, with their types."""
    types = typing.get_type_hints(_config_classes()[method])
    return {name: kind for name, kind in types.items() if name not in _RESERVED}


def methods() -> list[str]:
    """Names of the methods of PEFT that can be trained, saved and loaded here."""
    return list(_config_classes())


def _config_classes() -> dict[str, type]:
    """Config class of each method that can be trained, saved and loaded here, by the name of the method."""
    from peft import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING

    classes = {}
    for peft_type, config_class in PEFT_TYPE_TO_CONFIG_MAPPING.items():
        name = str(peft_type.value)
        is_merged = name not in _UNSUPPORTED and hasattr(PEFT_TYPE_TO_TUNER_MAPPING[name], "merge_and_unload")
        if is_merged or name in PROMPTS:
            classes[name] = config_class
    return classes
