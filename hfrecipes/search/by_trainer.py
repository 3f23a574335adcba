"""`Trainer.hyperparameter_search` on what `build` returns: each of its trials starts from a model of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..models.binding import model_to_train, remember
from ..training.trainer import Job

if TYPE_CHECKING:
    from transformers import Trainer, TrainerCallback


def make_searchable(job: Job) -> None:
    """Give the Trainer what a search by its own method needs, as long as that runs.

    A `model_init` that stays would set the seed again when the Trainer trains, so that it would no longer learn what
    `run` learns.
    """
    trainer = job.trainer
    search = trainer.hyperparameter_search

    def hyperparameter_search(*arguments: Any, **keywords: Any) -> Any:
        if job.plan.recipe.layerwise_lr_decay is not None:
            raise ConfigError("layerwise_lr_decay: leave it out, a search by the Trainer makes its own optimizers")
        trainer.model_init = lambda trial: _fresh_model(job)
        writers = _writers(trainer)
        for callback in writers:
            trainer.remove_callback(callback)
        try:
            return search(*arguments, **keywords)
        finally:
            trainer.model_init = None
            for callback in writers:
                trainer.add_callback(callback)
            # The last trial has taken the model with it.
            _start_again(trainer, _fresh_model(job))

    trainer.hyperparameter_search = hyperparameter_search


def _writers(trainer: Trainer) -> list[TrainerCallback]:
    """The callbacks that add to checkpoints what a resume needs; those of trials are in other folders."""
    writers = []
    for callback in trainer.callback_handler.callbacks:
        kind = type(callback)
        if kind.__module__.startswith("hfrecipes.") and "on_save" in vars(kind):
            writers.append(callback)
    return writers


def _fresh_model(job: Job) -> Any:
    """The model as it is before training."""
    plan = job.plan
    model = model_to_train(plan.recipe, plan.config, job.trainer.args.seed)
    plan.recipe.adapt_to_model(model.config, model)
    remember(plan.recipe, model)
    return model


def _start_again(trainer: Trainer, model: Any) -> None:
    trainer.model = trainer.model_wrapped = model.to(trainer.args.device)
    trainer.optimizer = trainer.lr_scheduler = None
