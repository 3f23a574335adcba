"""A plain Trainer with a trained model, for users of what `hfrecipes.load` returns who ask for one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import _upstream
from ..config.run_config import RunConfig
from ..models import hardware
from ..recipe import DEFAULTS, Recipe, trainer_name, writes_in_evaluation
from .inference import collator

if TYPE_CHECKING:
    from transformers import Trainer, TrainingArguments

_KEPT = ("per_device_eval_batch_size", "bf16_full_eval", "fp16_full_eval", "seed")


def trainer_for_prediction(config: RunConfig, recipe: Recipe, model: Any) -> Trainer:
    """A Trainer with the batch size and the precision of training.

    Args:
        config: Settings of the run, with the folder of the trained model as its model.
        recipe: The task.
        model: The trained model, which is moved to the device.
    """
    import transformers

    trainer: Trainer = getattr(transformers, trainer_name(recipe))(
        model,
        _arguments(config, recipe, Path(config.base.path)),
        data_collator=collator(recipe, model),
        processing_class=recipe.tokenizer,
        preprocess_logits_for_metrics=recipe.preprocess_logits,
        compute_loss_func=recipe.loss(),
    )
    return trainer


def _arguments(config: RunConfig, recipe: Recipe, path: Path) -> TrainingArguments:
    known = {**DEFAULTS, **recipe.defaults, **config.training}
    is_plain = config.training.get("bf16") is False or config.training.get("fp16") is False
    machine, _ = hardware.machine_arguments({"bf16": False} if is_plain else {})
    chosen = {name: known[name] for name in _KEPT if name in known}
    chosen |= {**machine, **fixed_arguments(recipe, path), "report_to": "none"}
    arguments: TrainingArguments = _upstream.arguments_class(trainer_name(recipe))(
        train_sampling_strategy="group_by_length", **chosen
    )
    return hardware.limit_to_one_gpu(arguments)


def fixed_arguments(recipe: Recipe, path: Path) -> dict[str, Any]:
    """TrainingArguments that are no choice, for training and for prediction alike."""
    fixed: dict[str, Any] = {
        "output_dir": str(path),
        "remove_unused_columns": False,
        "label_names": ["labels"],  # otherwise each head has its own
        "logging_nan_inf_filter": False,  # it would hide that training has diverged
        "eval_do_concat_batches": False,  # `in_row_order` concatenates, without padding
    }
    if writes_in_evaluation(recipe):
        fixed["predict_with_generate"] = True
    return fixed
