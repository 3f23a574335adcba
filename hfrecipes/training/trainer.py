"""A plain Trainer from a plan: model, arguments, scores, early stopping."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import _upstream
from ..config.run_config import RunConfig, named_sets, own_splits
from ..data import packing
from ..data.features import encode_splits, for_batches, log_lengths
from ..data.prepare import check_again, log_all, no_test_split, rare_labels, redactions
from ..distilling.contract import distillable
from ..distilling.losses import with_teacher
from ..doctor.rows import examine_rows
from ..errors import ConfigError, MissingPackageError
from ..evaluation import generation, scoring
from ..evaluation.averages import leave_out, left_out_here
from ..evaluation.batching import indices_in_turn
from ..evaluation.inference import Inference, collator, in_row_order
from ..evaluation.kept import KeptOutputs
from ..garbage import collect_as_usual
from ..log import log
from ..models import heads, padding, regularization
from ..models.binding import bind_tokenizer, model_to_train, remember
from ..models.hardware import describe_machine
from ..models.precision import for_checks
from ..privacy import canaries, promise
from ..privacy.training import make_private
from ..recipe import Recipe, table_metrics, trainer_name, writes_in_evaluation
from ..run_folder import contents
from ..run_folder.progress import CHECKPOINT, write_manifest
from . import display, divergence, memory_use, order, replaying, survival
from .arguments import make_arguments
from .history import loss_keeper
from .optimization import check_layers
from .plan import Plan, with_rate

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import EvalPrediction, Trainer, TrainerCallback, TrainingArguments

PATIENCE = 2  # evaluations without improvement after which training stops


@dataclass(frozen=True)
class Job:
    """A run that is ready to train."""

    plan: Plan
    encoded: Mapping[str, Dataset]
    """Features by split, of the rows of the data alone; the Trainer may have secrets among those of train."""
    trainer: Trainer


def make_job(plan: Plan) -> Job:
    """Encode the rows, load the model, and make the Trainer."""
    plan = with_rate(plan)
    recipe, data = plan.recipe, plan.data
    arguments = make_arguments(plan.config, recipe, plan.path, has_validation="validation" in data.splits)
    bind_tokenizer(recipe, plan.config)
    plan = _checked_again(plan)
    data = plan.data
    examined = examine_rows(data, recipe, contents.seen_by_start(plan.config))
    warnings = [diagnosis.line for diagnosis in examined.diagnoses if diagnosis.grade == "warning"]
    log_all(warnings)
    planted = canaries.of_run(plan.config)
    with arguments.main_process_first():
        encoded = encode_splits(recipe, data)
        trained_on = canaries.with_canaries(plan.config, recipe, data.splits["train"], encoded)
    lengths = log_lengths(encoded, data, recipe)
    averages = leave_out(recipe, own_splits(data.references))
    for split, references in named_sets(data.references).items():
        averages += [f"{split}: {sentence}" for sentence in left_out_here(recipe, references)]
    log_all(averages)
    privacy_limits = promise.limits(plan.config, recipe, data)
    privacy_limits += canaries.sentences(planted, len(data.splits["train"]))
    log_all(privacy_limits)
    limits = [
        *privacy_limits,
        *redactions(data),
        *warnings,
        *data.notes.values(),
        *no_test_split(data),
        *lengths,
        *rare_labels(recipe),
        *averages,
    ]
    info = replace(plan.info, machine=describe_machine(), limits=limits, canaries=canaries.as_json(planted))
    plan = replace(plan, info=info, in_train=examined.in_train)
    return Job(plan, encoded, make_trainer(plan, arguments, trained_on))


def _checked_again(plan: Plan) -> Plan:
    """The plan without rows that the tokenizer of the model cannot take."""
    return replace(plan, data=check_again(plan.data, plan.recipe))


def wait_for_all() -> None:
    """Wait until all processes have reached this point."""
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


def make_trainer(plan: Plan, arguments: TrainingArguments, encoded: Mapping[str, Dataset]) -> Trainer:
    """A plain Trainer, with scores and early stopping where there is validation."""
    recipe = plan.recipe
    collect_as_usual()
    trainer = assemble(plan, model_to_train(recipe, plan.config, arguments.seed), arguments, encoded)
    if recipe.layerwise_lr_decay is not None:
        trainer.optimizer = regularization.layerwise_optimizer(trainer, recipe.layerwise_lr_decay)
    display.show_progress(trainer, table_metrics(recipe)[0])
    packed = packing.packed_rows(trainer.train_dataset)
    if packed is not None:
        in_step = arguments.train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
        log(packed.describe(recipe.max_length, in_step))
    # Which rows a private step has drawn is not kept, and secrets are no rows of the data.
    divergence.watch(trainer, [] if plan.config.privacy else _rows_of_features(plan, encoded["train"]))
    _upstream.count_weights_once(trainer)
    _upstream.keep_names_in_checkpoints(trainer)
    private = plan.config.private
    # A recording adds up the gradients of all rows of a batch.
    recorders = [] if private is not None else replaying.recorder(trainer, recipe)
    for callback in (memory_use.meter(), *recorders):
        trainer.add_callback(callback)
    survival.survive(trainer)
    if private is not None:
        make_private(trainer, private, _row_of_each(encoded["train"]))
    trainer.add_callback(_manifest_writer())  # the last one: it lists what the others save
    # Sets under `tests` decide nothing that is learnt.
    features = [for_batches(recipe, rows) for rows in own_splits(encoded).values()]
    inference = Inference.of(trainer.model, recipe, plan.config.training)
    with for_checks(trainer.model, inference.settings.precision):
        make_collator = partial(collator, recipe, trainer.model)
        trainer.data_collator = padding.choose_collator(trainer.model, recipe, make_collator, features)
        log_all(recipe.adapt_to_model(trainer.model.config, trainer.model))
    remember(recipe, trainer.model)
    generation.check_padding(inference, plan.data.splits["train"])
    return trainer


def _rows_of_features(plan: Plan, features: Dataset) -> list[int]:
    """Number of the row of train that each feature comes from; empty where a feature holds several rows."""
    numbers = plan.data.row_numbers["train"]
    if "row" in features.column_names:
        return [numbers[row] for row in features["row"][:]]
    return list(numbers) if len(features) == len(numbers) else []


def _row_of_each(features: Dataset) -> Sequence[int]:
    """Number of the row that each feature of a private training comes from."""
    return features["row"][:] if "row" in features.column_names else range(len(features))


def assemble(plan: Plan, model: Any, arguments: TrainingArguments, encoded: Mapping[str, Dataset]) -> Trainer:
    """A Trainer for a model and rows; it scores validation in the same way as all other splits."""
    import transformers

    recipe = plan.recipe
    _upstream.silence_false_alarms()
    shown = {split: for_batches(recipe, rows) for split, rows in encoded.items()}
    if packing.are_packed(shown["train"]) and plan.config.private is None:
        shown["train"] = packing.pack(shown["train"], recipe.max_length, order.seed_of(arguments))
    with _as_missing_package():
        trainer: Trainer = getattr(transformers, trainer_name(recipe))(
            model,
            arguments,
            data_collator=collator(recipe, model),
            train_dataset=shown["train"],
            eval_dataset=shown.get("validation"),
            processing_class=recipe.tokenizer,
            preprocess_logits_for_metrics=recipe.preprocess_logits,
            compute_loss_func=divergence.WatchedLoss(_loss(plan, arguments)),
            callbacks=[_epoch_teller(recipe), *_early_stopping(plan.config, arguments)],
        )
        trainer.add_callback(loss_keeper(trainer))
        _check_model(trainer, arguments)
    recipe.seed = arguments.seed
    if "validation" in encoded:
        trainer.compute_metrics = Scorer(trainer, plan, encoded["validation"])
        _load_in_batches_of_prediction(trainer.compute_metrics)
    return trainer


def _check_model(trainer: Trainer, arguments: TrainingArguments) -> None:
    """Refuse what this model cannot do, before it is trained.

    Raises:
        ConfigError: It cannot be checkpointed, or has no layers for the optimizer.
    """
    model = trainer.model
    if arguments.activation_checkpointing and not getattr(model, "supports_gradient_checkpointing", False):
        name = model.config.model_type
        raise ConfigError(f"activation_checkpointing: leave it out, models of type {name} do not support it")
    check_layers(trainer.model, arguments)
    # Optimizers that step layer by layer hook into the weights, which may happen only once.
    if str(arguments.optim.value).endswith("layerwise"):
        return
    try:
        trainer.get_optimizer_cls_and_kwargs(arguments, model)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"optim={arguments.optim.value}: {' '.join(str(error).split())}") from error


def _loss(plan: Plan, arguments: TrainingArguments) -> Callable[..., Any]:
    """The loss of the task, and that towards a teacher; for numbers, in the unit that they are learnt in."""
    recipe, distillation = plan.recipe, plan.config.distillation
    loss = recipe.loss(arguments.label_smoothing_factor)
    if distillation is not None:
        loss = with_teacher(loss, distillable(recipe), distillation)
    if recipe.number_scale is None:
        return loss
    _, unit = recipe.number_scale
    return heads.loss_in_units(loss, unit)


def _early_stopping(config: RunConfig, arguments: TrainingArguments) -> list[TrainerCallback]:
    import transformers

    wanted = config.early_stopping
    if wanted and arguments.load_best_model_at_end:
        keywords = wanted if isinstance(wanted, dict) else {"early_stopping_patience": PATIENCE}
        return [transformers.EarlyStoppingCallback(**keywords)]
    if isinstance(wanted, dict):
        log(
            "early stopping: off, because load_best_model_at_end is off, or nothing is evaluated or saved during "
            "training"
        )
    return []


@contextlib.contextmanager
def _as_missing_package() -> Iterator[None]:
    """Raise an error that names the missing package, such as one that `report_to` needs."""
    try:
        yield
    except (ImportError, RuntimeError) as error:
        if not _upstream.is_about_missing_package(error):
            raise
        raise MissingPackageError(" ".join(str(error).split())) from error


def _epoch_teller(recipe: Recipe) -> TrainerCallback:
    """Gives recipe and sampler the number of the epoch before its first batch, after a resume too."""
    import transformers

    class TellEpoch(transformers.TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            # What a resume starts from was evaluated already: again, it would count as no improvement.
            args.eval_on_start &= state.global_step == 0

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
            # The Trainer adds up fractions of epochs, whose sum may be a little too small.
            recipe.epoch = int((state.epoch or 0) + 1e-6)
            batches = keywords["train_dataloader"]
            order.start_epoch(batches.batch_sampler, args, recipe.epoch)
            packing.start_epoch(batches.dataset, recipe.epoch)

    return TellEpoch()


def _manifest_writer() -> TrainerCallback:
    """Lists the files of each checkpoint after all processes have written theirs."""
    import transformers

    class WriteManifest(transformers.TrainerCallback):  # type: ignore[misc]
        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            wait_for_all()
            if state.is_world_process_zero:
                write_manifest(Path(args.output_dir) / f"{CHECKPOINT}{state.global_step}")

    return WriteManifest()


# --- scores during training --------------------------------------------------------------------------------------


def _load_in_batches_of_prediction(scorer: Scorer) -> None:
    """Make the Trainer load its validation rows in the batches that prediction makes of them.

    In half precision, other batches give other numbers. Rows that the user gives are loaded as the Trainer does.
    """
    trainer = scorer.trainer
    load_to_evaluate, load_to_predict = trainer.get_eval_dataloader, trainer.get_test_dataloader

    def get_eval_dataloader(eval_dataset: Any = None) -> Any:
        return _load(scorer, load_to_evaluate, eval_dataset)

    def get_test_dataloader(test_dataset: Any) -> Any:
        return _load(scorer, load_to_predict, test_dataset)

    trainer.get_eval_dataloader, trainer.get_test_dataloader = get_eval_dataloader, get_test_dataloader


def _load(scorer: Scorer, load: Callable[..., Any], rows: Any) -> Any:
    from torch.utils.data import DataLoader

    trainer = scorer.trainer
    if not _upstream.are_same_rows(trainer.eval_dataset if rows is None else rows, scorer.features):
        return load(rows)
    loader = DataLoader(
        scorer.features,
        batch_sampler=scorer.batches(),
        collate_fn=trainer.data_collator,
        pin_memory=trainer.args.dataloader_pin_memory,
        **scorer.inference.settings.workers,
    )
    return trainer.accelerator.prepare(loader)


class Scorer:
    """`compute_metrics` of the Trainer: the scores of its validation rows.

    Attributes:
        kept: Outputs for them that need not be computed again.
    """

    def __init__(self, trainer: Trainer, plan: Plan, encoded: Dataset) -> None:
        self.trainer, self.recipe, self.encoded = trainer, plan.recipe, encoded
        self.training = plan.config.training
        self.features, self.kept = trainer.eval_dataset, KeptOutputs()
        self.rows, self.references = plan.data.splits["validation"], plan.data.references["validation"]

    def __call__(self, result: EvalPrediction) -> dict[str, float]:
        """The scores, calibrated as after training; with the correct loss."""
        values = {}
        mean = self.trainer.compute_loss_func.take_mean()
        if mean is not None:
            values["loss"] = mean
        evaluated = _upstream.evaluated_rows(self.trainer)
        # Rows that the user gives to `trainer.evaluate` have no references that are known here.
        if not _upstream.are_same_rows(evaluated, self.features):
            log("these are not the validation rows of this Trainer: only the loss is computed")
            return values
        outputs = in_row_order(result.predictions, indices_in_turn(self.batches()))
        if self._stay_the_same():
            state = self.trainer.state
            self.kept.keep(outputs, self.trainer.model, state.global_step, state.best_global_step)
        predictions = self.recipe.decode(outputs, self.rows, self.encoded)
        calibration, _ = self.recipe.calibrate(predictions, self.references)
        predictions = self.recipe.calibrated(predictions, calibration)
        values |= scoring.score(self.recipe, predictions, self.references)
        # Scores of single labels are computed after training, except for the one that picks the checkpoint.
        best = str(self.trainer.args.metric_for_best_model).removeprefix("eval_")
        return {name: value for name, value in values.items() if "[" not in name or name == best}

    @property
    def inference(self) -> Inference:
        """The model as it is now; it is another one once adapters are merged."""
        return Inference.of(self.trainer.model, self.recipe, self.training)

    def batches(self) -> list[list[int]]:
        """Indices of the validation features of each batch, of all processes."""
        return self.inference.batches(self.features, self.trainer.args.world_size)

    def _stay_the_same(self) -> bool:
        """Whether the same weights give the same outputs after training, in this process and in all others."""
        trainer, settings = self.trainer, self.inference.settings
        generation = getattr(trainer.model, "generation_config", None)
        draws = writes_in_evaluation(self.recipe) and bool(getattr(generation, "do_sample", False))
        is_compiled, is_alone = trainer.args.torch_compile, trainer.args.world_size == 1
        return is_alone and not (draws or is_compiled or settings.full_precision)
