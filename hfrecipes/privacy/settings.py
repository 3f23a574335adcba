"""Settings of a private training: what is refused, since the promise could not hold, and what they change."""

from __future__ import annotations

from typing import Any

from ..config.blocks import PrivacySettings
from ..config.run_config import RunConfig
from ..config.trainer_keywords import Range
from ..config.value_types import type_problems
from ..errors import ConfigError, nearest, require_packages
from ..recipe import Recipe
from . import canaries
from .accounting import LARGEST

TASKS = ("text-classification", "token-classification", "question-answering", "text-generation", "chat")
# Training arguments of a private run, unless the user gives the same ones.
TRAINING: dict[str, Any] = {"train_sampling_strategy": "random", "max_grad_norm": 0.0}
RANGES = {
    "epsilon": Range(0, LARGEST, above=True),
    "noise_multiplier": Range(0, above=True),
    "delta": Range(0, 1, above=True, below=True),
    "max_grad_norm": Range(0, above=True),
    "canaries": Range(canaries.LEAST, canaries.MOST),
}
_OWN_BUDGET = "each of its trainings reads the same rows and spends from the same budget, which is counted for one run"
# Optimizers that change the weights while gradients are computed, before they are clipped.
_IN_BACKWARD = ("lomo", "layerwise")


def problems(config: RunConfig, kind: type[Recipe]) -> list[str]:
    """Sentences on settings with which a training cannot be private, or no secrets can be planted in train.

    Args:
        config: The settings as the user gave them.
        kind: The task.

    Raises:
        MissingPackageError: Opacus is not installed.
    """
    if config.privacy is None:
        return []
    sentences = _key_problems(config.privacy) + _canary_problems(config, kind)
    if not PrivacySettings.ask_for_noise(config.privacy):
        return sentences
    sentences += _noise_problems(config.privacy)
    if kind.task not in TASKS:
        sentences.append(f"privacy: leave it out, {kind.task} has no private training; {', '.join(TASKS)} have one")
    for name in ("search", "seeds", "folds", "curve"):
        if getattr(config, name):
            sentences.append(f"{name}: leave it out with privacy, {_OWN_BUDGET}")
    if config.distill:
        sentences.append(
            "distill: leave it out with privacy, a teacher that was trained without it would pass on what its rows say"
        )
    if config.model and config.base.is_quantized:
        sentences.append("model.quantization_config: leave it out with privacy, it was tried with whole weights alone")
    if config.adapter is not None and config.adapter.is_prompt_learning:
        sentences.append("lora.peft_type: privacy trains no virtual tokens: use lora=true")
    sentences += _option_problems(config.options, kind) + _training_problems(config.training)
    if not sentences:
        require_packages("privacy", "opacus")
    return sentences


def check_rows(config: RunConfig, recipe: Recipe) -> None:
    """Refuse labels that are numbers, once it is known what they are.

    Raises:
        ConfigError: They are.
    """
    if config.private is not None and recipe.number_scale is not None:
        raise ConfigError(
            "privacy: leave it out for labels that are numbers: their mean and deviation in train, which training "
            "starts from, would be in the weights without noise"
        )


def _key_problems(given: dict[str, Any]) -> list[str]:
    """Problems in the keys of the block and in their values."""
    sentences = []
    for key, value in given.items():
        if key not in PrivacySettings.__dataclass_fields__:
            known = list(PrivacySettings.__dataclass_fields__)
            hint = nearest(key, known) or f"; it takes {', '.join(known)}"
            sentences.append(f"unknown setting privacy.{key}{hint}")
        elif key != "canaries":
            wrong = type_problems(f"privacy.{key}", value, float)
            sentences += wrong or RANGES[key].problems(f"privacy.{key}", value)
    return sentences


def _noise_problems(given: dict[str, Any]) -> list[str]:
    """Problems in what the noise follows from."""
    if ("epsilon" in given) == ("noise_multiplier" in given):
        return ["privacy: give one of privacy.epsilon=8 and privacy.noise_multiplier=1.0"]
    return []


def _canary_problems(config: RunConfig, kind: type[Recipe]) -> list[str]:
    """Problems in the number of secrets to plant, and with what they cannot be planted."""
    number = (config.privacy or {}).get("canaries")
    if number is None:
        return []
    sentences = type_problems("privacy.canaries", number, int)
    if not sentences and not RANGES["canaries"].holds(number):
        sentences.append(
            f"privacy.canaries: found {number}, expected {canaries.LEAST} to {canaries.MOST}: they are shared out to "
            "three numbers of rows, and with fewer than three for each no interval says anything"
        )
    if kind.writer is Recipe.writer:
        sentences.append(
            f"privacy.canaries: leave it out, {kind.task} writes no text that could tell a secret; "
            f"{', '.join(canaries.TASKS)} do"
        )
    if config.curve:
        sentences.append("curve: leave it out with privacy.canaries, each part of train would have as many secrets")
    return sentences


def _option_problems(options: dict[str, Any], kind: type[Recipe]) -> list[str]:
    """Options by which rows share what is learnt from."""
    sentences = []
    if options.get("packing"):
        sentences.append("packing: leave it out with privacy, several rows would share one gradient")
    if options.get("out_of_scope_by") == "distance":
        sentences.append(
            "out_of_scope_by: leave distance out with privacy, the means of the training rows would be saved without "
            "noise"
        )
    # True where it is not given.
    if options.get("across_documents", getattr(kind, "across_documents", False)):
        sentences.append("privacy: add across_documents=false, else a piece of text holds several rows")
    return sentences


def _training_problems(training: dict[str, Any]) -> list[str]:
    """Training arguments that a private training does not have."""
    sentences = []
    strategy = training.get("train_sampling_strategy", "random")
    if strategy != "random":
        sentences.append(
            f"train_sampling_strategy: leave {strategy} out with privacy, which draws each row by itself (Poisson "
            "sampling)"
        )
    if training.get("max_grad_norm"):
        given = training["max_grad_norm"]
        sentences.append(f"max_grad_norm: write privacy.max_grad_norm={given}, the gradient of each row is clipped")
    for name in _WHY:
        if training.get(name):
            sentences.append(f"{name}: leave it out with privacy, {_WHY[name]}")
    if any(word in str(training.get("optim", "")) for word in _IN_BACKWARD):
        sentences.append(f"optim={training['optim']}: it changes weights before gradients are clipped; use adamw_torch")
    return sentences


_WHY = {
    "torch_compile": "it was tried without compiling alone",
    "fp16": "its scaled losses would change what is clipped; use bf16=true or neither",
    **dict.fromkeys(
        ("activation_checkpointing", "gradient_checkpointing"),
        "layers that are computed twice have no gradients of rows; for less memory lower per_device_train_batch_size "
        "and raise gradient_accumulation_steps",
    ),
    "auto_find_batch_size": "the budget follows from the size of a batch; write per_device_train_batch_size",
}
