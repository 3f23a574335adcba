"""Connects a recipe and its model, for training and for loading: tokenizer, lengths, labels and what was learned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config.blocks import ModelSettings
from ..config.run_config import RunConfig
from ..errors import ConfigError, ModelError
from ..log import log
from ..recipe import DISTANCE, TEACHER, Recipe, loss_features
from . import adapters, distances, heads, integrity, learning_rates, lengths, loading, regularization
from .directory import as_model_error, is_adapter, quiet
from .hardware import count_parameters
from .output_fields import with_fields

if TYPE_CHECKING:
    from transformers import PretrainedConfig

LEARNED = "hfrecipes"  # key in config.json of what the recipe learned, so that it is copied with the model


# --- the tokenizer, before rows are encoded ----------------------------------------------------------------------


def bind_tokenizer(recipe: Recipe, config: RunConfig) -> None:
    """Give the recipe the tokenizer of the model to train, and let it adapt to that model."""
    recipe.tokenizer, model_config = loading.load_tokenizer(config, recipe)
    recipe.texts_of_model = loading.load_texts(config.base, recipe.reads_files)
    if recipe.labels:
        recipe.labels = loading.in_checkpoint_order(recipe.labels, model_config)
    limits = lengths.limit_max_length(recipe, model_config, _virtual_tokens(config))
    rate = learning_rates.explained(config, recipe.defaults.get("learning_rate"), model_config)
    for sentence in filter(None, [rate, *limits, *recipe.adapt_to_model(model_config)]):
        log(sentence)


def bind_trained_tokenizer(recipe: Recipe, config: RunConfig) -> PretrainedConfig:
    """Give the recipe the tokenizer of its own trained model, and what it learned from its training rows.

    Returns:
        The config of the model.
    """
    recipe.tokenizer, model_config = loading.load_tokenizer(config, recipe)
    restore(recipe, model_config)
    # What this decides was printed when the model was trained.
    lengths.limit_max_length(recipe, model_config, _virtual_tokens(config))
    recipe.adapt_to_model(model_config)
    return model_config


def _virtual_tokens(config: RunConfig) -> int:
    """Number of virtual tokens that adapters put before each text, which leave less room for it."""
    return 0 if config.adapter is None else config.adapter.virtual_tokens


# --- what is saved with the model --------------------------------------------------------------------------------


def remember(recipe: Recipe, model: Any) -> None:
    """Put what the recipe learned into the config of the model, so that it is saved with the model."""
    learned = {
        "labels": recipe.labels,
        "calibration": recipe.calibration,
        "not_averaged": recipe.not_averaged,
        "pads_to_max_length": recipe.pads_to_max_length,
        "learned": recipe.learned,
    }
    kept = {name: value for name, value in learned.items() if value or name == "labels"}
    setattr(model.config, LEARNED, kept)


def restore(recipe: Recipe, model_config: PretrainedConfig) -> None:
    """Give the recipe what it learned when its model was trained.

    Raises:
        ModelError: The config of the model holds something else in its place.
    """
    learned = getattr(model_config, LEARNED, {})
    try:
        recipe.labels = list(learned["labels"])
        recipe.calibration = dict(learned.get("calibration", {}))
        recipe.not_averaged = list(learned.get("not_averaged", []))
        recipe.pads_to_max_length = bool(learned.get("pads_to_max_length", False))
        recipe.learned = dict(learned.get("learned", {}))
        _check_calibration(recipe.calibration)
        _check_head(recipe, model_config)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        file = f"{model_config.name_or_path}/config.json"
        missing = "labels is missing" if isinstance(error, KeyError) else error
        raise ModelError(
            f"{file}: the block {LEARNED} is not what the run saved ({missing}): put the right file back"
        ) from error


def _check_calibration(calibration: Mapping[str, Any]) -> None:
    for name, value in calibration.items():
        # Logits are divided by the temperature.
        is_number = (
            isinstance(value, int | float)
            and math.isfinite(value)
            and (value > 0 or not name.startswith("temperature"))
        )
        if not is_number:
            raise ValueError(f"{name} of its calibration is {value!r}")


def _check_head(recipe: Recipe, model_config: PretrainedConfig) -> None:
    """Compare the labels with those of the head, by which plain transformers names what it predicts."""
    for name, value in recipe.model_settings().items():
        there = getattr(model_config, name, None)
        if there != value:
            raise ValueError(f"with it, {name} is {value}, and the config has {there}")


# --- the model ---------------------------------------------------------------------------------------------------


def model_to_train(recipe: Recipe, config: RunConfig, seed: int) -> Any:
    """The model with its head, with frozen parts and adapters as the settings ask.

    Raises:
        ConfigError: Settings that do not fit the model.
        ModelError: It could not be loaded.
    """
    import transformers

    transformers.set_seed(seed)  # the new head is drawn while the model loads
    loaded = loading.load_model(config, recipe)
    model = loaded.model
    vars(model.config).pop(LEARNED, None)  # of the run that the model comes from
    heads.compute_in_float32(model)
    if recipe.number_scale is not None:
        _refuse_half_precision(model, config)
        mean, deviation = recipe.number_scale
        recipe.number_scale = heads.learn_numbers(model, mean, heads.unit_of(deviation), loaded.fresh)
    if recipe.freeze is not None:
        regularization.freeze(model, recipe.freeze, loaded.fresh, len(loaded.fresh_tokens))
    if config.adapter is not None:
        model = adapters.add(loaded, recipe, config.adapter)
    _log_size(model, config)
    names = loss_features(recipe)
    return _pass_by(model, names if config.distillation is None else (*names, TEACHER))


def trained_model(recipe: Recipe, config: RunConfig, base: ModelSettings, folder: Path) -> Any:
    """The model of a run that was saved, an adapter merged into its base.

    Args:
        recipe: The task, with the tokenizer of the run.
        config: Settings of the run, with the folder as its model.
        base: What the run started from, to which an adapter is added again.
        folder: Folder of the model, or of the adapter.

    Raises:
        ModelError: It could not be loaded.
    """
    model = adapters.load(base, recipe, folder) if is_adapter(folder) else _whole_model(recipe, config, base)
    integrity.check_finite(model, str(folder))
    model.config.pad_token_id = recipe.tokenizer.pad_token_id
    heads.compute_in_float32(model)
    if DISTANCE in recipe.learned:
        distances.attach(model, distances.read(folder))
    return pass_loss_features(recipe, model)


def _whole_model(recipe: Recipe, config: RunConfig, base: ModelSettings) -> Any:
    import torch
    import transformers

    # What was too large for float32 in training stays in 16 bits.
    dtype = torch.bfloat16 if base.is_quantized else torch.float32
    name, keywords = config.base.path, config.base.loading_keywords
    with as_model_error(name), quiet():
        model, report = recipe.load_model(name, dtype=dtype, ignore_mismatched_sizes=True, **keywords)
    integrity.check_complete(report, name)
    table = loading.input_embeddings(model)
    if table is not None:
        integrity.check_token_ids(recipe.tokenizer, table.weight.shape[0], name, may_be_added=False)
    # The weights of the body were saved in the precision of training.
    if "dtype" in base.keywords:
        saved = transformers.AutoConfig.from_pretrained(name, **keywords)
        heads.convert_body(model, saved.dtype)
    return model


def _refuse_half_precision(model: Any, config: RunConfig) -> None:
    """Refuse weights that would round numbers: plain transformers loads all of them in the precision of the body."""
    import torch

    if config.base.is_quantized or model.dtype in (torch.float16, torch.bfloat16):
        raise ConfigError(
            "model: weights in half precision or less would round the numbers that are learnt: leave dtype "
            "and quantization_config out"
        )
    for name in ("bf16_full_eval", "fp16_full_eval"):
        if config.training.get(name):
            raise ConfigError(f"{name}: leave it out, it would round the numbers that are learnt")


def _log_size(model: Any, config: RunConfig) -> None:
    number = count_parameters(model)
    trained = f"{number['trained']:,} of them trained ({number['share']:.1%})"
    log(f"model: {config.base.path}, {number['total']:,} parameters, {trained}")


# --- what the loss needs in addition -----------------------------------------------------------------------------


def pass_loss_features(recipe: Recipe, model: Any) -> Any:
    """Make the model accept the `batch_features` for the loss in a batch, and return it among its outputs.

    The Trainer gives a batch to the model and the outputs to the loss. With this, the loss finds a mask by its name,
    and the model itself never sees it.
    """
    return _pass_by(model, loss_features(recipe))


def _pass_by(model: Any, names: tuple[str, ...]) -> Any:
    """As `pass_loss_features`, for features of these names."""
    if names:
        passed = _PassedBy(names)
        model.register_forward_pre_hook(passed.take, with_kwargs=True)
        model.register_forward_hook(passed.give_back)
    return model


def model_inputs(recipe: Recipe, batch: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a batch that any model of transformers takes."""
    left_out = {"labels", TEACHER, *loss_features(recipe)}
    return {name: values for name, values in batch.items() if name not in left_out}


class _PassedBy:
    """Holds a part of a batch while the model computes its outputs."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.held: dict[str, Any] = {}

    def take(self, model: Any, args: tuple[Any, ...], batch: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Forward pre-hook: keep what is not for the model."""
        taken = {name: batch[name] for name in self.names if name in batch}
        if taken:  # a model copied with its hooks has several of them; the first one takes everything
            self.held = taken
        return args, {name: values for name, values in batch.items() if name not in taken}

    def give_back(self, model: Any, args: tuple[Any, ...], outputs: Any) -> Any:
        """Forward hook: add it to the outputs."""
        if not self.held:
            return outputs
        wider = with_fields(outputs.__class__, tuple(self.held))(**outputs, **self.held)
        self.held = {}
        return wider
