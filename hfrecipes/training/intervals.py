"""When a run evaluates, saves and logs, and by which score its best checkpoint is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..log import log
from ..recipe import Recipe, best_metric, metric_named

if TYPE_CHECKING:
    from transformers import TrainingArguments

_STRATEGIES = {"eval_steps": "eval_strategy", "save_steps": "save_strategy", "logging_steps": "logging_strategy"}
FOLLOW_METRIC = ("reduce_lr_on_plateau", "greedy")  # schedules that look at a score
_DEFAULT_STEPS = 500  # of transformers


def with_strategies(layer: Mapping[str, Any]) -> dict[str, Any]:
    """`training` of a layer of settings, with the strategies that its steps ask for.

    The default strategy is by epoch, which would ignore them.

    Returns:
        The block under its name; nothing where the layer has none.

    Example:
        >>> with_strategies({"training": {"logging_steps": 5}})
        {'training': {'logging_steps': 5, 'logging_strategy': 'steps'}}
    """
    given = layer.get("training")
    if not isinstance(given, Mapping):
        return {}
    decided = dict(given)
    for steps, strategy in _STRATEGIES.items():
        if given.get(steps) is not None and strategy not in given:
            decided[strategy] = "steps"
            log(f"{steps}={given[steps]}: {strategy}=steps, since it is by epoch otherwise")
    saves = given.get("save_steps") if decided.get("save_strategy") == "steps" else None
    follows = not {"eval_steps", "eval_strategy"} & set(given) and given.get("load_best_model_at_end") is not False
    if saves is not None and follows:
        # The best checkpoint is found among those that were evaluated when they were saved.
        decided |= {"eval_strategy": "steps", "eval_steps": saves}
        log(f"save_steps={saves}: eval_steps={saves} too, so that each checkpoint has a score")
    return {"training": decided}


def log_intervals(training: Mapping[str, Any]) -> None:
    """Print when the model is evaluated and saved where that is not after each epoch."""
    if training["eval_strategy"] == "steps":
        every = training.get("eval_steps") or training.get("logging_steps", _DEFAULT_STEPS)
        log(f"evaluation: {_every(every)}")
    if training["eval_strategy"] == "no":
        log("evaluation: only after training (eval_strategy=no), so the last weights are kept")
    if training.get("save_strategy") == "no":
        log("checkpoints: none (save_strategy=no), so an interrupted run starts from the beginning")
    elif training.get("save_only_model"):
        log("checkpoints: weights alone (save_only_model=true), so an interrupted run starts from the beginning")


def _every(steps: float) -> str:
    return f"each {steps:.0%} of the steps" if steps < 1 else f"every {steps:g} steps"


def no_evaluation(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords where nothing is evaluated during training.

    Raises:
        ConfigError: The settings ask for what only an evaluation tells.
    """
    if chosen.get("load_best_model_at_end"):
        raise ConfigError(
            "load_best_model_at_end: nothing is evaluated during training, so that no checkpoint is the best: leave "
            "it out, or evaluate validation rows with eval_strategy=epoch"
        )
    schedule = chosen.get("lr_scheduler_type")
    if schedule in FOLLOW_METRIC:
        raise ConfigError(
            f"lr_scheduler_type: {schedule} follows a score of validation, and nothing is evaluated during training: "
            "choose another one, or evaluate with eval_strategy=epoch"
        )
    save_strategy = chosen.get("save_strategy", "epoch")
    if save_strategy == "best":
        raise ConfigError("save_strategy: found best, but nothing is evaluated during training; write epoch or steps")
    return {"eval_strategy": "no", "eval_on_start": False, "save_strategy": save_strategy}


def evaluation(chosen: Mapping[str, Any], recipe: Recipe) -> dict[str, Any]:
    """Keywords on when the model is evaluated and saved, and by which metric its best checkpoint is chosen."""
    strategy = chosen["eval_strategy"]
    if strategy == "no":
        return no_evaluation(chosen)
    decided: dict[str, Any] = {"save_strategy": chosen.get("save_strategy", strategy)}
    if strategy == "steps" and "eval_steps" in chosen:
        decided["save_steps"] = chosen.get("save_steps", chosen["eval_steps"])
    decided["load_best_model_at_end"] = chosen.get("load_best_model_at_end", decided["save_strategy"] != "no")
    decided["metric_for_best_model"] = chosen.get("metric_for_best_model", best_metric(recipe))
    decided["greater_is_better"] = chosen.get("greater_is_better")
    if decided["greater_is_better"] is None:
        decided["greater_is_better"] = is_greater_better(decided["metric_for_best_model"], recipe)
    _check_best(chosen, decided)
    if decided["load_best_model_at_end"] and chosen.get("save_total_limit") == 1:
        # The Trainer keeps the best and the last one; with 1 it deletes the last one before the model is saved.
        decided["save_total_limit"] = 2
    return decided


def _check_best(chosen: Mapping[str, Any], decided: Mapping[str, Any]) -> None:
    """Refuse checkpoints that are saved at other times than evaluations where the best one is to be chosen.

    Raises:
        ConfigError: They are.
    """
    saves, evaluates = decided["save_strategy"], chosen["eval_strategy"]
    if not decided["load_best_model_at_end"] or saves == "best":
        return
    if saves != evaluates:
        raise ConfigError(
            f"save_strategy: found {saves} with eval_strategy={evaluates}, so that the best checkpoint could not be "
            f"kept: write save_strategy={evaluates}, or load_best_model_at_end=false"
        )
    steps, every = decided.get("save_steps"), chosen.get("eval_steps")
    if evaluates == "steps" and steps and every and (steps % every if min(steps, every) >= 1 else steps != every):
        raise ConfigError(
            f"save_steps: found {steps:g} with eval_steps={every:g}, so that a checkpoint may be saved without its "
            f"score: write save_steps={every:g}, or a multiple, or load_best_model_at_end=false"
        )


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


def warn_of_rare_checkpoints(arguments: TrainingArguments) -> None:
    """Print that the best checkpoint may not be saved, where fewer are saved than evaluated."""
    both_by_steps = arguments.eval_strategy == arguments.save_strategy == "steps"
    if both_by_steps and arguments.save_steps != arguments.eval_steps and arguments.load_best_model_at_end:
        log(f"checkpoints: the best one is kept only if it is saved: save_steps={arguments.eval_steps:g} saves each")
