"""Before any row is read, try the optimizer and the learning rate schedule on one weight."""

from __future__ import annotations

import copy
import inspect
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, MissingPackageError, nearest

if TYPE_CHECKING:
    import torch
    from transformers import TrainingArguments

_STEPS = 100  # of the trial
_BUILT_FOR_A_MODEL = ("galore", "apollo", "lomo", "adalomo")  # optimizers that look at the layers of the model
# Optimizers of bitsandbytes, by the beginning of their names; all of them need a GPU.
_OF_BITSANDBYTES = ("adamw_bnb_8bit", "adamw_8bit", "paged_", "lion_", "ademamix", "rmsprop_bnb")
_OF_ADAM = {"adam_beta1": 0.5, "adam_beta2": 0.5, "adam_epsilon": 0.5}  # another value of each, for comparison
_FROM_THE_TRAINER = ("optimizer", "num_warmup_steps", "num_training_steps", "last_epoch")


def try_optimization(arguments: TrainingArguments, defaults: dict[str, Any]) -> None:
    """Make optimizer and schedule, and take some steps.

    Args:
        arguments: Arguments of the run.
        defaults: Values that the user does not have to give.

    Raises:
        ConfigError: A keyword is missing, unknown, or without effect.
        MissingPackageError: The optimizer needs a package.
    """
    _check_gpu(arguments)
    if arguments.optim.startswith(_BUILT_FOR_A_MODEL):
        _check_targets(arguments)
    else:
        _check_effects(arguments)
        _make_optimizer(arguments)
    _try_schedule(arguments, defaults)


def _check_gpu(arguments: TrainingArguments) -> None:
    """Refuse an optimizer of bitsandbytes on a CPU, which they are not made for.

    Raises:
        ConfigError: There is no GPU, or it is not used.
    """
    name = arguments.optim.value
    if name.startswith(_OF_BITSANDBYTES) and arguments.device.type not in ("cuda", "xpu"):
        raise ConfigError(
            f"optim={name}: found no GPU, which it needs; optim=adafactor takes little memory on a CPU too"
        )


def _keywords(arguments: TrainingArguments) -> tuple[Any, dict[str, Any]]:
    """Class and keywords of the optimizer.

    Raises:
        ConfigError: `optim_args` cannot be read.
        MissingPackageError: A package is missing.
    """
    from transformers import Trainer

    name = arguments.optim.value
    try:
        kind, keywords = Trainer.get_optimizer_cls_and_kwargs(arguments)
    except ImportError as error:
        raise MissingPackageError(f"optim={name}: {' '.join(str(error).split())}") from error
    except (ValueError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        if "install" in reason or "import" in reason:
            raise MissingPackageError(f"optim={name}: {reason}") from error
        raise ConfigError(
            f"optim_args: found {arguments.optim_args} for optim={name}, expected name=number pairs such as "
            f"'momentum=0.9,nesterov=true' ({reason})"
        ) from error
    return kind, keywords


def _check_targets(arguments: TrainingArguments) -> None:
    """Check an optimizer that is made for the layers of a model, as far as it can be without one.

    Raises:
        ConfigError: It is not said which layers.
        MissingPackageError: A package is missing.
    """
    name, has_targets = arguments.optim.value, arguments.optim_target_modules is not None
    if name.endswith("lomo") and has_targets:
        raise ConfigError(f"optim_target_modules: leave it out, optim={name} does not use it")
    try:
        _keywords(arguments)
    except ConfigError:
        # Without a model it cannot be made: what counts is that the package is there.
        if not has_targets and not name.endswith("lomo"):
            raise ConfigError(f"optim={name}: add optim_target_modules=all-linear, or names of layers") from None


def check_layers(model: Any, arguments: TrainingArguments) -> None:
    """Refuse names for an optimizer that works on chosen layers, where no linear layer of the model has them.

    Args:
        model: The model to be trained.
        arguments: Arguments of the run.

    Raises:
        ConfigError: There is such a name.
    """
    import torch
    from transformers.trainer_utils import check_target_module_exists

    given = arguments.optim_target_modules
    if given is None or (isinstance(given, str) and given.replace("_", "-") == "all-linear"):
        return
    linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    last_names = sorted({name.rpartition(".")[2] for name in linear})
    for entry in [given] if isinstance(given, str) else given:
        # In a list, a part of a name is enough; a text alone is a regular expression for whole names.
        wanted = entry if isinstance(given, str) else [entry]
        if not any(check_target_module_exists(wanted, name) for name in linear):
            hint = nearest(entry, last_names)
            if entry in last_names:
                hint = f" in full: add [ ] for a part of the names, optim_target_modules='[{entry}]'"
            raise ConfigError(
                f"optim_target_modules: no linear layer of this model is called {entry}{hint}; there are "
                f"{', '.join(last_names)}"
            )


def _make_optimizer(arguments: TrainingArguments) -> None:
    import torch

    kind, keywords = _keywords(arguments)
    try:
        kind([torch.nn.Parameter(torch.zeros(1))], **keywords)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(f"optim={arguments.optim.value}: {' '.join(str(error).split())}") from error


def _check_effects(arguments: TrainingArguments) -> None:
    """Refuse keywords of an optimizer that this one does not use.

    Raises:
        ConfigError: There is one.
    """
    problems = []
    if arguments.optim_target_modules is not None:
        problems.append("optim_target_modules")
    for name, other in _OF_ADAM.items():
        is_given = getattr(arguments, name) != type(arguments).__dataclass_fields__[name].default
        if is_given and not _differs(arguments, name, other):
            problems.append(name)
    if problems:
        raise ConfigError([f"{name}: leave it out, optim={arguments.optim.value} does not use it" for name in problems])
    pairs = (arguments.optim_args or "").replace(" ", "").split(",")
    for pair in filter(None, pairs):
        rest = ",".join(part for part in pairs if part != pair)
        if not _differs(arguments, "optim_args", rest or None):
            raise ConfigError(f"optim_args: leave {pair} out, optim={arguments.optim.value} does not use it")


def _differs(arguments: TrainingArguments, name: str, value: Any) -> bool:
    """Whether another value of an argument makes another optimizer."""
    other = copy.copy(arguments)
    setattr(other, name, value)
    return repr(_keywords(arguments)) != repr(_keywords(other))


# --- the learning rate -------------------------------------------------------------------------------------------


def _try_schedule(arguments: TrainingArguments, defaults: dict[str, Any]) -> None:
    import torch

    name = arguments.lr_scheduler_type.value
    accepted, required, warms_up = _schedule_keywords(name)
    _check_schedule_keywords(name, arguments.lr_scheduler_kwargs or {}, accepted, required)
    if arguments.warmup_steps and not warms_up and arguments.warmup_steps != defaults.get("warmup_steps"):
        instead = "; lr_scheduler_type=constant_with_warmup does" if name == "constant" else ""
        raise ConfigError(f"warmup_steps: leave it out, lr_scheduler_type={name} does not warm up{instead}")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=arguments.learning_rate)
    try:
        highest = _take_steps(arguments, optimizer)
    except (TypeError, ValueError, ArithmeticError) as error:
        reason = " ".join(str(error).split())
        if not accepted:
            raise ConfigError(f"lr_scheduler_type={name}: {reason}") from error
        example = next((keyword for keyword in accepted if keyword in reason), accepted[0])
        raise ConfigError(
            f"lr_scheduler_type={name}: {reason}; lr_scheduler_kwargs takes {', '.join(accepted)}, as in "
            f"lr_scheduler_kwargs.{example}=<number>"
        ) from error
    if highest > arguments.learning_rate * (1 + 1e-6):  # rounding apart
        raise ConfigError(
            f"lr_scheduler_kwargs: the learning rate would rise to {highest:.3g}, expected learning_rate="
            f"{arguments.learning_rate:g} at most"
        )


def _check_schedule_keywords(name: str, given: Any, accepted: list[str], required: list[str]) -> None:
    """Refuse keywords that a schedule lacks, or does not have.

    Raises:
        ConfigError: There is one.
    """
    if not isinstance(given, dict):
        raise ConfigError(f"lr_scheduler_kwargs: found {given}, expected a block of keys")
    for keyword, value in given.items():
        if isinstance(value, int | float) and value < 0:
            raise ConfigError(f"lr_scheduler_kwargs.{keyword}: found {value}, expected 0 or more")
    missing = [f"lr_scheduler_kwargs.{keyword}=<number>" for keyword in required if keyword not in given]
    if missing:
        raise ConfigError(f"lr_scheduler_type={name}: add {' and '.join(missing)}")
    unknown = [keyword for keyword in given if keyword not in accepted]
    if unknown:
        takes = f"it takes {', '.join(accepted)}" if accepted else "it takes none"
        hint = nearest(unknown[0], accepted)
        raise ConfigError(f"lr_scheduler_kwargs: lr_scheduler_type={name} has no {', '.join(unknown)}{hint}; {takes}")


def _schedule_keywords(name: str) -> tuple[list[str], list[str], bool]:
    """Keywords that a schedule takes, those that it needs, and whether it warms up."""
    import torch
    from transformers.optimization import TYPE_TO_SCHEDULER_FUNCTION

    parameters = dict(inspect.signature(TYPE_TO_SCHEDULER_FUNCTION[name]).parameters)
    warms_up = "num_warmup_steps" in parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        # The function passes its keywords on to the class of what it returns.
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        parameters = dict(inspect.signature(type(TYPE_TO_SCHEDULER_FUNCTION[name](optimizer))).parameters)
    accepted, required = [], []
    for keyword, parameter in parameters.items():
        if keyword not in _FROM_THE_TRAINER:
            accepted.append(keyword)
            if parameter.default is parameter.empty:
                required.append(keyword)
    return accepted, required, warms_up


def _take_steps(arguments: TrainingArguments, optimizer: torch.optim.Optimizer) -> float:
    """Let the schedule compute the learning rate of some steps, which is where it reads most of its keywords.

    Returns:
        The highest one.
    """
    import torch
    from transformers import get_scheduler

    schedule = get_scheduler(
        arguments.lr_scheduler_type,
        optimizer,
        num_warmup_steps=arguments.get_warmup_steps(_STEPS),
        num_training_steps=_STEPS,
        scheduler_specific_kwargs=arguments.lr_scheduler_kwargs,
    )
    if not isinstance(schedule, torch.optim.lr_scheduler.LambdaLR):
        return float(arguments.learning_rate)
    highest: float = arguments.learning_rate
    for _ in range(_STEPS):
        optimizer.step()
        schedule.step()
        highest = max(highest, *map(float, schedule.get_last_lr()))
    return highest
