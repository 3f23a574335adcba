"""A plain Trainer from a plan: model, arguments, scores, early stopping."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import adapters, checks, predict, regularization, scoring
from . import model as model_module
from .card import few_examples
from .config import RunConfig
from .errors import ConfigError, MissingPackageError
from .model import one_gpu
from .plan import Plan, encode, load_tokenizer, machine, say_lengths, untested
from .recipe import Recipe, arguments_name
from .say import say

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import Trainer, TrainerCallback, TrainingArguments

PATIENCE = 2


@dataclass
class Job(Plan):
    """A run that is ready to train."""

    encoded: dict[str, Dataset]
    trainer: Trainer


def make_job(plan: Plan) -> Job:
    """Encode the rows, load the model, and make the Trainer."""
    arguments = make_arguments(plan.config, plan.recipe, plan.path, has_validation="validation" in plan.data.splits)
    limits = checks.repeated(plan.data, plan.recipe)
    for note in limits:
        say(note)
    load_tokenizer(plan.config, plan.recipe)
    with arguments.main_process_first():
        encoded = encode(plan.recipe, plan.data, plan.golds)
    limits += [*untested(plan.data), *say_lengths(encoded, plan.data, plan.recipe), *few_examples(plan.recipe)]
    about = {**plan.about, "machine": machine(), "limits": limits}
    trainer = make_trainer(plan, arguments, encoded)
    return Job(**{**vars(plan), "about": about}, encoded=encoded, trainer=trainer)


def wait_for_all() -> None:
    """Until the slowest of several processes is here too."""
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


def make_trainer(plan: Plan, arguments: TrainingArguments, encoded: Mapping[str, Dataset]) -> Trainer:
    """A plain Trainer, with scores and early stopping where there is validation."""
    import transformers

    config, recipe = plan.config, plan.recipe
    logging.getLogger("transformers.trainer").addFilter(_not_on_shared_weights)
    transformers.set_seed(arguments.seed)  # the new head is drawn while the model loads
    network, fresh = model_module.load_model(config, recipe)
    if recipe.freeze is not None:
        regularization.freeze(network, recipe.freeze, fresh)
    if config.lora:
        network = adapters.add(network, fresh, recipe, config.lora)
    _say_size(network, config)
    keywords = (
        config.early_stopping if isinstance(config.early_stopping, dict) else {"early_stopping_patience": PATIENCE}
    )
    stops = bool(config.early_stopping) and arguments.load_best_model_at_end
    if isinstance(config.early_stopping, dict) and not stops:
        say("early stopping: off, as load_best_model_at_end is, or nothing is evaluated or saved on the way")
    shown = {split: predict.for_model(recipe, rows, answers=True) for split, rows in encoded.items()}
    with _as_missing_package():
        trainer: Trainer = getattr(transformers, recipe.trainer)(
            network,
            arguments,
            data_collator=predict.collator(recipe, network),
            train_dataset=shown["train"],
            eval_dataset=shown.get("validation"),
            processing_class=recipe.tokenizer,
            preprocess_logits_for_metrics=recipe.reduce,
            compute_loss_func=recipe.loss_function(arguments.label_smoothing_factor),
            callbacks=[_epoch_teller(recipe), *([transformers.EarlyStoppingCallback(**keywords)] if stops else [])],
        )
        trainer.get_optimizer_cls_and_kwargs(arguments, network)
    if recipe.layerwise_lr_decay is not None:
        trainer.optimizer = regularization.layerwise_optimizer(trainer, recipe.layerwise_lr_decay)
    recipe.seed = arguments.seed
    if "validation" in encoded:
        rows, references = plan.data.splits["validation"], plan.golds["validation"]
        predict.attach_scores(trainer, recipe, rows, references, encoded["validation"])
    with trainer.accelerator.autocast():
        recipe.check_model(trainer.model)
    return trainer


@contextlib.contextmanager
def _as_missing_package() -> Iterator[None]:
    """Say which package lacks, as one that `report_to` names."""
    try:
        yield
    except (ImportError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "installed" not in str(error):
            raise
        raise MissingPackageError(" ".join(str(error).split())) from error


def _say_size(network: Any, config: RunConfig) -> None:
    number = model_module.parameters(network)
    name, _ = model_module.name_and_keywords(config)
    say(f"model: {name}, {number['total']:,} parameters, {number['trained']:,} of them trained ({number['share']:.1%})")


def _not_on_shared_weights(record: logging.LogRecord) -> bool:
    """Whether to say it: weights that are stored once and used twice look missing to the Trainer, and are not."""
    return not record.getMessage().startswith("There were missing keys in the checkpoint model loaded")


def _epoch_teller(recipe: Recipe) -> TrainerCallback:
    """Tells recipe and sampler the epoch before the first batch of it is made, after a resume too."""
    import torch
    import transformers

    class TellEpoch(transformers.TrainerCallback):  # type: ignore[misc]
        def on_epoch_begin(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
            recipe.epoch = int((state.epoch or 0) + 1e-6)
            batches = keywords["train_dataloader"].batch_sampler
            while hasattr(batches, "batch_sampler"):  # several processes wrap it
                batches = batches.batch_sampler
            sampler = getattr(batches, "sampler", None)
            if isinstance(sampler, transformers.trainer_pt_utils.LengthGroupedSampler):
                # Else the order depends on all that was drawn before, and a resume in a later epoch gets another one.
                sampler.generator = torch.Generator().manual_seed(args.seed + recipe.epoch)

    return TellEpoch()


def _refuse(config: RunConfig, recipe: Recipe) -> None:
    """Refuse arguments that would make scores or losses wrong, or that the task has options for.

    Raises:
        ConfigError: One is given.
    """
    if config.training.get("dataloader_persistent_workers"):
        raise ConfigError("dataloader_persistent_workers: leave it out, the order of evaluated rows would be lost")
    if config.training.get("average_tokens_across_devices") is False:
        raise ConfigError("average_tokens_across_devices: leave it out, losses are of the whole batch of all processes")
    for name, instead in recipe.refused.items():
        if name in config.training:
            raise ConfigError(f"{name}: leave it out, {instead}, which is saved with the model")


def make_arguments(config: RunConfig, recipe: Recipe, path: Path, *, has_validation: bool) -> TrainingArguments:
    """TrainingArguments of the settings, of what this machine is good at, and of what goes together.

    Raises:
        ConfigError: Values that TrainingArguments refuses, or processes that did not join.
    """
    import transformers

    machine, sentence = model_module.machine_arguments(config.training)
    if sentence:
        say(sentence)
    chosen = {**machine, **config.training, "output_dir": str(path), "remove_unused_columns": False}
    chosen["label_names"] = ["labels"]  # else each head has its own
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
    rare = (
        arguments.eval_strategy == arguments.save_strategy == "steps" and arguments.save_steps != arguments.eval_steps
    )
    if rare and arguments.load_best_model_at_end:
        say(f"checkpoints: the best one is kept only if it is saved: save_steps={arguments.eval_steps:g} saves each")
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if arguments.world_size != processes:
        raise ConfigError(f"{processes} processes were started and {arguments.world_size} joined: start with torchrun")
    return arguments
