"""A plain Trainer from a plan: model, arguments, scores, early stopping."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import adapters, checks, divergence, heads, neighbours, order, predict, regularization, scoring, writing
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
    limits += [
        *plan.data.notes.values(),
        *untested(plan.data),
        *say_lengths(encoded, plan.data, plan.recipe),
        *few_examples(plan.recipe),
    ]
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
    recipe = plan.recipe
    trainer = assemble(plan, _load_network(plan, arguments.seed), arguments, encoded)
    if recipe.layerwise_lr_decay is not None:
        trainer.optimizer = regularization.layerwise_optimizer(trainer, recipe.layerwise_lr_decay)
    divergence.watch(trainer, _rows_of_features(plan, encoded["train"]))
    features = [predict.for_model(recipe, rows, answers=True) for rows in encoded.values()]
    collator = partial(predict.collator, recipe, trainer.model)
    with neighbours.precision_of(trainer):
        trainer.data_collator = neighbours.check(trainer.model, recipe, collator, features)
        recipe.check_model(trainer.model)
    writing.look_at_padding(trainer, recipe, plan.data.splits["train"])
    return trainer


def _load_network(plan: Plan, seed: int) -> Any:
    """The model with its head, what is not trained frozen, adapters put in."""
    import transformers

    config, recipe = plan.config, plan.recipe
    transformers.set_seed(seed)  # the new head is drawn while the model loads
    loaded = model_module.load_model(config, recipe)
    network = loaded.model
    heads.compute_in_float32(network)
    if recipe.number_scale is not None:
        _refuse_half_precision(network, config)
        recipe.number_scale = heads.learn_numbers(network, *recipe.number_scale, loaded.fresh)
    if recipe.freeze is not None:
        regularization.freeze(network, recipe.freeze, loaded.fresh)
    if config.lora:
        network = adapters.add(loaded, recipe, config.lora)
    _say_size(network, config)
    return network


def _refuse_half_precision(network: Any, config: RunConfig) -> None:
    """Refuse weights that would round numbers: plain transformers loads all of them in the precision of the body."""
    import torch

    if model_module.is_quantized(config.model) or network.dtype in (torch.float16, torch.bfloat16):
        raise ConfigError(
            "model: weights in half precision or less would round the numbers that are learnt: leave dtype "
            "and quantization_config out"
        )
    for name in ("bf16_full_eval", "fp16_full_eval"):
        if config.training.get(name):
            raise ConfigError(f"{name}: leave it out, it would round the numbers that are learnt")


def _rows_of_features(plan: Plan, features: Dataset) -> list[int]:
    """Number of the row of train that each feature comes from; nothing where a feature holds several rows."""
    numbers = plan.data.places["train"]
    if "row" in features.column_names:
        return [numbers[row] for row in features["row"]]
    return numbers if len(features) == len(numbers) else []


def assemble(plan: Plan, network: Any, arguments: TrainingArguments, encoded: Mapping[str, Dataset]) -> Trainer:
    """A Trainer of a model and of rows, that scores validation as all else is scored."""
    import transformers

    recipe = plan.recipe
    logging.getLogger("transformers.trainer").addFilter(_not_on_shared_weights)
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
            compute_loss_func=divergence.WatchedLoss(_loss(recipe, arguments)),
            callbacks=[_epoch_teller(recipe), *_early_stopping(plan.config, arguments)],
        )
        trainer.get_optimizer_cls_and_kwargs(arguments, network)
    recipe.seed = arguments.seed
    if "validation" in encoded:
        rows, references = plan.data.splits["validation"], plan.golds["validation"]
        predict.attach_scores(trainer, recipe, rows, references, encoded["validation"])
    return trainer


def _loss(recipe: Recipe, arguments: TrainingArguments) -> Callable[..., Any]:
    """The loss of the task; of numbers in the unit that they are learnt in."""
    loss = recipe.loss_function(arguments.label_smoothing_factor)
    if recipe.number_scale is None:
        return loss
    _, unit = recipe.number_scale
    return heads.in_units(loss, unit)


def _early_stopping(config: RunConfig, arguments: TrainingArguments) -> list[TrainerCallback]:
    import transformers

    wanted = config.early_stopping
    if wanted and arguments.load_best_model_at_end:
        keywords = wanted if isinstance(wanted, dict) else {"early_stopping_patience": PATIENCE}
        return [transformers.EarlyStoppingCallback(**keywords)]
    if isinstance(wanted, dict):
        say("early stopping: off, as load_best_model_at_end is, or nothing is evaluated or saved on the way")
    return []


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
    import transformers

    class TellEpoch(transformers.TrainerCallback):  # type: ignore[misc]
        def on_epoch_begin(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
            recipe.epoch = int((state.epoch or 0) + 1e-6)
            order.start_epoch(keywords["train_dataloader"].batch_sampler, args, recipe.epoch)

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
        say(f"learning rate: {kind} follows {arguments.metric_for_best_model}, mode={mode}")


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
        say(f"checkpoints: the best one is kept only if it is saved: save_steps={arguments.eval_steps:g} saves each")
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if arguments.world_size != processes:
        raise ConfigError(f"{processes} processes were started and {arguments.world_size} joined: start with torchrun")
    return arguments
