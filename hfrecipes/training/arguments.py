"""TrainingArguments from the settings: checked before any row is read, and made for the run."""

from __future__ import annotations

import atexit
import inspect
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config.run_config import RunConfig
from ..config.trainer_keywords import FIXED
from ..errors import ConfigError, MissingPackageError, nearest
from ..evaluation.holder import fixed_arguments
from ..log import log
from ..models import hardware
from ..recipe import DEFAULTS, Recipe, arguments_name
from .intervals import FOLLOW_METRIC, evaluation, log_intervals, no_evaluation, warn_of_rare_checkpoints
from .optimization import try_optimization

if TYPE_CHECKING:
    from transformers import TrainingArguments

# Variables by which `accelerate launch` asks for what the settings may not.
_LAUNCHED_WITH = {"fsdp": "ACCELERATE_USE_FSDP", "deepspeed": "ACCELERATE_USE_DEEPSPEED"}


def make_arguments(config: RunConfig, recipe: Recipe, path: Path, *, has_validation: bool) -> TrainingArguments:
    """TrainingArguments from the settings, with defaults for this machine and values that follow from others.

    Raises:
        ConfigError: Values that TrainingArguments refuses, or processes that did not join.
    """
    _, sentence = hardware.machine_arguments(config.training)
    if sentence:
        log(sentence)
    arguments = _build(config, recipe, path, has_validation=has_validation)
    hardware.limit_to_one_gpu(arguments)
    _tell_scheduler_which_is_better(arguments)
    warn_of_rare_checkpoints(arguments)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if arguments.world_size != processes:
        raise ConfigError(f"{processes} processes were started and {arguments.world_size} joined: start with torchrun")
    if processes > 1:
        _leave_group_at_exit()
    return arguments


def try_arguments(config: RunConfig, recipe: Recipe) -> None:
    """Make the arguments, the optimizer and the learning rate schedule once, before any row is read.

    Raises:
        ConfigError: A value is refused, has no effect, or lacks another one.
        MissingPackageError: Something needs a package.
    """
    _check_writer(config, recipe)
    _check_machine(config.training)
    has_validation = config.splits.get("validation", "") is not None
    # Which scores there are is known only once labels are inferred, and checked then.
    known = {"metric_for_best_model": "loss", "greater_is_better": False, **config.training}
    arguments = _build(replace(config, training=known), recipe, Path("."), has_validation=has_validation)
    _check_names(arguments)
    log_intervals({**config.training, "eval_strategy": arguments.eval_strategy.value})
    try_optimization(arguments, {**DEFAULTS, **recipe.defaults})


def _build(config: RunConfig, recipe: Recipe, path: Path, *, has_validation: bool) -> TrainingArguments:
    import transformers

    machine, _ = hardware.machine_arguments(config.training)
    # Whatever is off was taken for the value of these, and the libraries tell an empty text from false.
    fixed = {key: FIXED[key][0] for key in config.training if key in FIXED}
    chosen = {**machine, **config.training, **fixed, **fixed_arguments(recipe, path)}
    chosen |= evaluation(chosen, recipe) if has_validation else no_evaluation(chosen)
    try:
        arguments: TrainingArguments = getattr(transformers, arguments_name(recipe))(**chosen)
    except (TypeError, ValueError, KeyError, OSError) as error:
        raise ConfigError(f"training: {' '.join(str(error).split())}") from error
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


# --- what is refused ---------------------------------------------------------------------------------------------


def _check_writer(config: RunConfig, recipe: Recipe) -> None:
    """Refuse keywords that the task has options for.

    Raises:
        ConfigError: One is given.
    """
    refused: Mapping[str, str] = recipe.writer.refused if recipe.writer is not None else {}
    for name, instead in refused.items():
        if name in config.training:
            raise ConfigError(f"{name}: leave it out, {instead}, which is saved with the model")


def _check_machine(training: Mapping[str, Any]) -> None:
    """Refuse what needs a GPU or processes that are not there, and weights in parts.

    Raises:
        ConfigError: Something is missing, or the launcher asks for what is refused.
    """
    for name in ("fp16", "fp16_full_eval"):
        if training.get(name) and not hardware.has_fp16(training):
            raise ConfigError(f"{name}: found no GPU, which it needs; write {name.replace('fp', 'bf', 1)}=true")
    for name in ("dataloader_prefetch_factor", "dataloader_multiprocessing_context"):
        if training.get(name) is not None and not training.get("dataloader_num_workers"):
            raise ConfigError(f"{name}: found no workers to use it: leave it out, or add dataloader_num_workers=2")
    for name, variable in _LAUNCHED_WITH.items():
        if os.environ.get(variable, "false").lower() in ("true", "1"):
            raise ConfigError(f"{name} (by the variable {variable}): {FIXED[name][1]}; start with torchrun alone")


def _check_names(arguments: TrainingArguments) -> None:
    """Refuse names that the libraries look up only once rows are encoded and the model is loaded.

    Raises:
        ConfigError: There is no tracker, backend or keyword of that name.
    """
    from accelerate.utils import DynamoBackend
    from torch.utils.checkpoint import checkpoint
    from transformers import integrations

    if "none" in arguments.report_to:
        raise ConfigError("report_to: found none beside others, expected the names of trackers, or none alone")
    try:
        integrations.get_reporting_integration_callbacks(arguments.report_to)
    except ValueError as error:
        raise ConfigError(f"report_to: {' '.join(str(error).split())}") from error
    for name in arguments.report_to:
        is_available = getattr(integrations, f"is_{name}_available", None)
        if is_available is not None and not is_available():
            raise MissingPackageError(f"report_to={name} needs a package: pip install {name.replace('_', '-')}")
    backends = [backend.value.lower() for backend in DynamoBackend]
    if arguments.torch_compile and arguments.torch_compile_backend.lower() not in backends:
        wrong = arguments.torch_compile_backend
        raise ConfigError(
            f"torch_compile_backend: no {wrong}{nearest(wrong, backends)}; there are {', '.join(backends)}"
        )
    # The first two are for the Trainer, which gives the others to torch.
    known = {"every_n_layers", "offload", *inspect.signature(checkpoint).parameters, "preserve_rng_state"}
    known -= {"function", "args", "kwargs"}
    for name in arguments.activation_checkpointing_kwargs or {}:
        if name not in known:
            hint = nearest(name, known) or f"; there are {', '.join(sorted(known))}"
            raise ConfigError(f"activation_checkpointing_kwargs: unknown key {name}{hint}")


def _tell_scheduler_which_is_better(arguments: TrainingArguments) -> None:
    """Set the mode of a scheduler that follows the metric: by default it takes every metric for a loss."""
    kind = getattr(arguments.lr_scheduler_type, "value", arguments.lr_scheduler_type)
    given = arguments.lr_scheduler_kwargs or {}
    if kind in FOLLOW_METRIC and "mode" not in given:
        mode = "max" if arguments.greater_is_better else "min"
        arguments.lr_scheduler_kwargs = {**given, "mode": mode}
        log(f"learning rate: {kind} follows {arguments.metric_for_best_model}, mode={mode}")
