"""TrainingArguments from the settings, and the arguments that are refused."""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import RunConfig
from ..errors import ConfigError
from ..evaluation.holder import fixed_arguments
from ..log import log
from ..models import hardware
from ..recipe import Recipe, arguments_name, best_metric, metric_named

if TYPE_CHECKING:
    from transformers import TrainingArguments

# Arguments that would make scores or losses wrong, each with the reason.
_REFUSED = {
    "dataloader_persistent_workers": "the order of evaluated rows would be lost",
    "batch_eval_metrics": "scores are over all predictions of a split",
    "prediction_loss_only": "scores are over all predictions of a split",
    "dataloader_drop_last": "it would drop rows of validation and test too; a smaller last batch weighs what its rows "
    "weigh",
}
_FOLLOWS_METRIC = ("reduce_lr_on_plateau", "greedy")  # schedulers that look at the metric


def make_arguments(config: RunConfig, recipe: Recipe, path: Path, *, has_validation: bool) -> TrainingArguments:
    """TrainingArguments from the settings, with defaults for this machine and values that follow from others.

    Raises:
        ConfigError: Values that TrainingArguments refuses, or processes that did not join.
    """
    import transformers

    _refuse(config, recipe)
    machine, sentence = hardware.machine_arguments(config.training)
    if sentence:
        log(sentence)
    chosen = {**machine, **config.training, **fixed_arguments(recipe, path)}
    chosen |= _evaluation(chosen, recipe) if has_validation else _no_evaluation(chosen)
    try:
        arguments: TrainingArguments = getattr(transformers, arguments_name(recipe))(**chosen)
    except (TypeError, ValueError, KeyError) as error:
        raise ConfigError(f"training: {' '.join(str(error).split())}") from error
    hardware.limit_to_one_gpu(arguments)
    _tell_scheduler_which_is_better(arguments)
    _warn_of_rare_checkpoints(arguments)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if arguments.world_size != processes:
        raise ConfigError(f"{processes} processes were started and {arguments.world_size} joined: start with torchrun")
    if processes > 1:
        _leave_group_at_exit()
    return arguments


@cache
def _leave_group_at_exit() -> None:
    """Have this process leave its group when Python ends.

    Threads of gloo that are still running then have aborted processes whose work was done. Other backends may wait for
    the other processes when a process leaves, for ever where one of them failed.
    """
    import torch
    from accelerate import PartialState

    if torch.distributed.get_backend() == "gloo":
        atexit.register(PartialState().destroy_process_group)


def _refuse(config: RunConfig, recipe: Recipe) -> None:
    """Refuse arguments that would make scores or losses wrong, or that the task has options for.

    Raises:
        ConfigError: One is given.
    """
    for name, reason in _REFUSED.items():
        if config.training.get(name):
            raise ConfigError(f"{name}: leave it out, {reason}")
    if config.training.get("average_tokens_across_devices") is False:
        raise ConfigError("average_tokens_across_devices: leave it out, losses are of the whole batch of all processes")
    refused: Mapping[str, str] = recipe.writer.refused if recipe.writer is not None else {}
    for name, instead in refused.items():
        if name in config.training:
            raise ConfigError(f"{name}: leave it out, {instead}, which is saved with the model")


# --- evaluation and checkpoints ----------------------------------------------------------------------------------


def _no_evaluation(chosen: Mapping[str, Any]) -> dict[str, Any]:
    return {"eval_strategy": "no", "save_strategy": chosen.get("save_strategy", "epoch")}


def _evaluation(chosen: Mapping[str, Any], recipe: Recipe) -> dict[str, Any]:
    """When the model is evaluated and saved, and by which metric its best checkpoint is chosen."""
    strategy = chosen["eval_strategy"]
    decided: dict[str, Any] = {"save_strategy": chosen.get("save_strategy", strategy)}
    if strategy == "steps" and "eval_steps" in chosen:
        decided["save_steps"] = chosen.get("save_steps", chosen["eval_steps"])
    if strategy == "no":
        return decided
    decided["load_best_model_at_end"] = chosen.get("load_best_model_at_end", decided["save_strategy"] != "no")
    decided["metric_for_best_model"] = chosen.get("metric_for_best_model", best_metric(recipe))
    decided["greater_is_better"] = chosen.get("greater_is_better")
    if decided["greater_is_better"] is None:
        decided["greater_is_better"] = is_greater_better(decided["metric_for_best_model"], recipe)
    return decided


def is_greater_better(name: str, recipe: Recipe) -> bool:
    """Whether higher values of a metric are better, by the recipe.

    Raises:
        ConfigError: The recipe does not say.
    """
    name = name.removeprefix("eval_")
    known = metric_named(recipe, name)
    if known is None:
        raise ConfigError(
            f"metric_for_best_model: {recipe.task} does not say whether a higher or a lower {name} is better: add "
            "greater_is_better=true or greater_is_better=false"
        )
    return known.greater_is_better


def _tell_scheduler_which_is_better(arguments: TrainingArguments) -> None:
    """Set the mode of a scheduler that follows the metric: by default it takes every metric for a loss."""
    kind = getattr(arguments.lr_scheduler_type, "value", arguments.lr_scheduler_type)
    given = arguments.lr_scheduler_kwargs or {}
    if kind in _FOLLOWS_METRIC and "mode" not in given:
        mode = "max" if arguments.greater_is_better else "min"
        arguments.lr_scheduler_kwargs = {**given, "mode": mode}
        log(f"learning rate: {kind} follows {arguments.metric_for_best_model}, mode={mode}")


def _warn_of_rare_checkpoints(arguments: TrainingArguments) -> None:
    both_by_steps = arguments.eval_strategy == arguments.save_strategy == "steps"
    if both_by_steps and arguments.save_steps != arguments.eval_steps and arguments.load_best_model_at_end:
        log(f"checkpoints: the best one is kept only if it is saved: save_steps={arguments.eval_steps:g} saves each")
