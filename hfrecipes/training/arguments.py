"""TrainingArguments from the settings, and what cannot be asked of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import RunConfig
from ..errors import ConfigError
from ..evaluation import scoring
from ..log import log
from ..models import hardware
from ..models.hardware import one_gpu
from ..recipe import Recipe, arguments_name

if TYPE_CHECKING:
    from transformers import TrainingArguments


def _refuse(config: RunConfig, recipe: Recipe) -> None:
    """Refuse arguments that would make scores or losses wrong, or that the task has options for.

    Raises:
        ConfigError: One is given.
    """
    if config.training.get("dataloader_persistent_workers"):
        raise ConfigError("dataloader_persistent_workers: leave it out, the order of evaluated rows would be lost")
    if config.training.get("average_tokens_across_devices") is False:
        raise ConfigError("average_tokens_across_devices: leave it out, losses are of the whole batch of all processes")
    for name in ("batch_eval_metrics", "prediction_loss_only"):
        if config.training.get(name):
            raise ConfigError(f"{name}: leave it out, scores are of all predictions of a split")
    if config.training.get("dataloader_drop_last"):
        raise ConfigError(
            "dataloader_drop_last: leave it out, it would drop rows of validation and test too; a smaller last batch "
            "weighs what its rows weigh"
        )
    for name, instead in recipe.refused.items():
        if name in config.training:
            raise ConfigError(f"{name}: leave it out, {instead}, which is saved with the model")


def _look_for_the_better(arguments: TrainingArguments) -> None:
    """Have a scheduler that follows the metric know which way is better: on its own it takes all for losses."""
    kind = getattr(arguments.lr_scheduler_type, "value", arguments.lr_scheduler_type)
    given = arguments.lr_scheduler_kwargs or {}
    if kind in ("reduce_lr_on_plateau", "greedy") and "mode" not in given:
        mode = "max" if arguments.greater_is_better else "min"
        arguments.lr_scheduler_kwargs = {**given, "mode": mode}
        log(f"learning rate: {kind} follows {arguments.metric_for_best_model}, mode={mode}")


def make_arguments(config: RunConfig, recipe: Recipe, path: Path, *, has_validation: bool) -> TrainingArguments:
    """TrainingArguments of the settings, of what this machine is good at, and of what goes together.

    Raises:
        ConfigError: Values that TrainingArguments refuses, or processes that did not join.
    """
    import transformers

    machine, sentence = hardware.machine_arguments(config.training)
    if sentence:
        log(sentence)
    chosen = {**machine, **config.training, "output_dir": str(path), "remove_unused_columns": False}
    chosen["label_names"] = ["labels"]  # else each head has its own
    chosen["logging_nan_inf_filter"] = False  # it would hide that training has diverged
    if recipe.trainer == "Seq2SeqTrainer":
        chosen["predict_with_generate"] = True
    chosen["eval_do_concat_batches"] = False  # predict.in_row_order does it, without padding
    _refuse(config, recipe)
    if not has_validation:
        chosen["eval_strategy"] = "no"
    rhythm = chosen["eval_strategy"] if has_validation else "epoch"
    chosen.setdefault("save_strategy", rhythm)
    if rhythm == "steps" and "eval_steps" in chosen:
        chosen.setdefault("save_steps", chosen["eval_steps"])
    if has_validation and chosen["eval_strategy"] != "no":
        chosen.setdefault("load_best_model_at_end", chosen["save_strategy"] != "no")
        if "metric_for_best_model" not in chosen:
            chosen["metric_for_best_model"], chosen["greater_is_better"] = recipe.best_metric
        elif chosen["metric_for_best_model"].removeprefix("eval_") in scoring.LOW:
            chosen.setdefault("greater_is_better", False)
    try:
        arguments: TrainingArguments = getattr(transformers, arguments_name(type(recipe)))(**chosen)
    except (TypeError, ValueError, KeyError) as error:
        raise ConfigError(f"training: {' '.join(str(error).split())}") from error
    one_gpu(arguments)
    _look_for_the_better(arguments)
    rare = (
        arguments.eval_strategy == arguments.save_strategy == "steps" and arguments.save_steps != arguments.eval_steps
    )
    if rare and arguments.load_best_model_at_end:
        log(f"checkpoints: the best one is kept only if it is saved: save_steps={arguments.eval_steps:g} saves each")
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if arguments.world_size != processes:
        raise ConfigError(f"{processes} processes were started and {arguments.world_size} joined: start with torchrun")
    return arguments
