"""A plain Trainer from a plan: model, arguments, scores, early stopping."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ..config import RunConfig
from ..data import checks
from ..data.features import encode, for_model, say_lengths
from ..data.prepare import untested
from ..errors import ConfigError, MissingPackageError
from ..evaluation import generation, inference
from ..evaluation.inference import in_row_order, tuned
from ..hub.card import few_examples
from ..log import log
from ..models import adapters, hardware, heads, regularization
from ..models.directory import name_and_keywords
from ..models.hardware import machine
from ..models.loading import is_quantized, load_model
from ..models.padding import check as padding_check
from ..models.padding import precision_of
from ..recipe import Recipe
from . import divergence, order
from .arguments import make_arguments
from .plan import Plan, load_tokenizer

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import EvalPrediction, Trainer, TrainerCallback, TrainingArguments


def score_in_training(
    trainer: Trainer, recipe: Recipe, rows: Dataset, references: list[Any], encoded: Dataset, result: EvalPrediction
) -> dict[str, float]:
    """`compute_metrics` of the Trainer: the scores of its validation rows."""
    seen = trainer.callback_handler.eval_dataloader.dataset
    if getattr(seen, "_fingerprint", None) != getattr(trainer.eval_dataset, "_fingerprint", ""):
        log("these are not the validation rows of this Trainer: only the loss is computed")
        loss = trainer.compute_loss_func.take_mean()
        return {} if loss is None else {"loss": loss}
    outputs = in_row_order(trainer, seen, result.predictions)
    predictions, _, _ = tuned(recipe, outputs, rows, encoded, references)
    loss = trainer.compute_loss_func.take_mean()
    found = {**({} if loss is None else {"loss": loss}), **recipe.score(predictions, references)}
    # Labels one by one only at the end, but for the one that picks the checkpoint.
    best = str(trainer.args.metric_for_best_model).removeprefix("eval_")
    return {name: value for name, value in found.items() if "[" not in name or name == best}


def attach_scores(trainer: Trainer, recipe: Recipe, rows: Dataset, references: list[Any], encoded: Dataset) -> None:
    """Have the Trainer score its validation rows as everything else here is scored."""
    trainer.compute_metrics = partial(score_in_training, trainer, recipe, rows, references, encoded)


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
        log(note)
    load_tokenizer(plan.config, plan.recipe)
    with arguments.main_process_first():
        encoded = encode(plan.recipe, plan.data, plan.references)
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
    features = [for_model(recipe, rows, answers=True) for rows in encoded.values()]
    collator = partial(inference.collator, recipe, trainer.model)
    with precision_of(trainer):
        trainer.data_collator = padding_check(trainer.model, recipe, collator, features)
        recipe.check_model(trainer.model)
    generation.look_at_padding(trainer, recipe, plan.data.splits["train"])
    return trainer


def _load_network(plan: Plan, seed: int) -> Any:
    """The model with its head, what is not trained frozen, adapters put in."""
    import transformers

    config, recipe = plan.config, plan.recipe
    transformers.set_seed(seed)  # the new head is drawn while the model loads
    loaded = load_model(config, recipe)
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

    if is_quantized(config.model) or network.dtype in (torch.float16, torch.bfloat16):
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
    shown = {split: for_model(recipe, rows, answers=True) for split, rows in encoded.items()}
    with _as_missing_package():
        trainer: Trainer = getattr(transformers, recipe.trainer)(
            network,
            arguments,
            data_collator=inference.collator(recipe, network),
            train_dataset=shown["train"],
            eval_dataset=shown.get("validation"),
            processing_class=recipe.tokenizer,
            preprocess_logits_for_metrics=recipe.preprocess_logits,
            compute_loss_func=divergence.WatchedLoss(_loss(recipe, arguments)),
            callbacks=[_epoch_teller(recipe), *_early_stopping(plan.config, arguments)],
        )
        trainer.get_optimizer_cls_and_kwargs(arguments, network)
    recipe.seed = arguments.seed
    if "validation" in encoded:
        rows, references = plan.data.splits["validation"], plan.references["validation"]
        attach_scores(trainer, recipe, rows, references, encoded["validation"])
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
        log("early stopping: off, as load_best_model_at_end is, or nothing is evaluated or saved on the way")
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
    number = hardware.parameters(network)
    name, _ = name_and_keywords(config)
    log(f"model: {name}, {number['total']:,} parameters, {number['trained']:,} of them trained ({number['share']:.1%})")


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
