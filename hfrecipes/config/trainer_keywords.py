"""What hfrecipes does with each keyword of TrainingArguments: used as in transformers, checked, or refused.

Each keyword is in exactly one of `WORKS` (trainer_descriptions.py), `FIXED` and `NOT_HERE`, or among the names of
hints; a test fails where a release of transformers adds one. docs/all-settings.md shows them.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import nearest
from .value_types import with_choices
from .yaml12 import format_value

_ALL_ROWS = "scores are over all predictions of a split"
_ROW_ORDER = "the order of evaluated rows would be lost"
_WHOLE = (
    "a model is scored and saved whole, and its weights would be in parts; torchrun starts several processes, each "
    "with a whole model, and lora=true takes less memory"
)
_OWN_LOSS = "the loss of a task is computed from logits, which its fused loss does not give"
# Keywords with one possible value, and why; any other value is refused.
FIXED: dict[str, tuple[Any, str]] = {
    "do_train": (True, "a run trains; `hfrecipes evaluate` and `hfrecipes predict` do not"),
    "do_eval": (True, "a run always scores its rows; eval_strategy=no does so only after training"),
    "do_predict": (True, "a run always predicts its rows"),
    "predict_with_generate": (True, "the scores of the task are those of generated texts"),
    "remove_unused_columns": (False, "the task says which features a batch has"),
    "label_names": (
        ["labels"],
        "the task says what a batch calls its labels; options.label_names gives ids their names",
    ),
    "length_column_name": ("length", "the lengths of rows are in a feature of that name"),
    "logging_nan_inf_filter": (False, "it would hide that training has diverged"),
    "average_tokens_across_devices": (True, "losses are of the whole batch of all processes"),
    "eval_do_concat_batches": (False, "predictions are put in the order of the rows first"),
    "batch_eval_metrics": (False, _ALL_ROWS),
    "prediction_loss_only": (False, _ALL_ROWS),
    "include_for_metrics": ([], "metrics are computed from predictions and references"),
    "dataloader_persistent_workers": (False, _ROW_ORDER),
    "dataloader_in_order": (True, _ROW_ORDER),
    "dataloader_drop_last": (
        False,
        "it would drop rows of validation and test too; a smaller last batch weighs what its rows weigh",
    ),
    "use_liger_kernel": (False, _OWN_LOSS),
    "liger_kernel_config": (None, _OWN_LOSS),
    "debug": ("", "a run stops at the first loss that is not finite, and prints its rows"),
    "fsdp": (None, _WHOLE),
    "fsdp_config": (None, _WHOLE),
    "deepspeed": (None, _WHOLE),
    "parallelism_config": (None, _WHOLE),
    "local_rank": (-1, "torchrun sets it"),
    "sortish_sampler": (False, "transformers ignores it; train_sampling_strategy=group_by_length is the default"),
}

# Keywords of the tasks that write, which have options for them.
NOT_HERE = {
    "generation_max_length": "options of the task say how long texts are",
    "generation_num_beams": "num_beams is an option of the task",
    "generation_config": "options of the task set it, and it is saved with the model",
}


def table() -> str:
    """Keywords that are not used as in transformers, as a table in Markdown."""
    lines = ["| keyword | value | why |", "|---|---|---|"]
    for key, (value, why) in FIXED.items():
        lines.append(f"| `{key}` | {format_value(value)} | {why} |")
    for key, why in NOT_HERE.items():
        lines.append(f"| `{key}` | | {why} |")
    return "\n".join(lines)


# --- values ------------------------------------------------------------------------------------------------------


LARGEST = 2**31 - 1
"""Largest number of a keyword without a range of its own: the libraries count in 32 or 64 bits."""


@dataclass(frozen=True)
class Range:
    """Numbers that a keyword accepts."""

    low: float
    high: float = LARGEST
    above: bool = False
    """Whether `low` itself is out of range."""
    below: bool = False
    """Whether `high` itself is out of range."""
    excluded: float | None = None
    """A number inside the range that is out of it all the same."""
    whole_above: float | None = None
    """Above this number, only whole ones are in range."""

    def holds(self, number: float) -> bool:
        """Whether the number is in range; NaN is not."""
        if number == self.excluded or (self.whole_above is not None and number > self.whole_above and number % 1):
            return False
        enough = number > self.low if self.above else number >= self.low
        return enough and (number < self.high if self.below else number <= self.high)

    def __str__(self) -> str:
        beside = "" if self.excluded is None else f", not {self.excluded:g}"
        if self.whole_above is not None:
            beside += f", whole numbers above {self.whole_above:g}"
        if self.high == LARGEST:
            return (f"a number above {self.low:g}" if self.above else f"{self.low:g} or more") + beside
        if self.above:
            return f"a number above {self.low:g} and {'below' if self.below else 'at most'} {self.high:.0f}{beside}"
        return f"a number from {self.low:g} to {'below ' if self.below else ''}{self.high:.0f}{beside}"

    def problems(self, key: str, number: float) -> list[str]:
        """The sentence on a number that is out of range; none where it is in it.

        Example:
            >>> Range(1).problems("seed", 0), Range(1).problems("seed", 1)
            (['seed: found 0, expected 1 or more'], [])
        """
        if self.holds(number):
            return []
        expected = f"{LARGEST} or less" if number > self.high == LARGEST else str(self)
        return [f"{key}: found {format_value(number)}, expected {expected}"]


_ANY, _POSITIVE, _NOT_NEGATIVE, _COUNT = Range(-LARGEST), Range(0, above=True), Range(0), Range(1)
SEEDS = Range(0, 2**32 - 1)
"""Seeds that NumPy, Python and torch all accept."""
# Every keyword that is a number, and the options of that form that all tasks have; a test compares the names with
# those of TrainingArguments.
RANGES = {
    "max_length": Range(3, above=True),
    "max_steps": Range(-1, excluded=0),
    "learning_rate": _POSITIVE,
    "num_train_epochs": _POSITIVE,
    "per_device_train_batch_size": _POSITIVE,
    "per_device_eval_batch_size": _POSITIVE,
    "gradient_accumulation_steps": _POSITIVE,
    "neftune_noise_alpha": _POSITIVE,
    "eval_steps": _POSITIVE,
    "save_steps": _POSITIVE,
    "logging_steps": _POSITIVE,
    "ddp_timeout": _POSITIVE,
    "ddp_bucket_cap_mb": _POSITIVE,
    "weight_decay": _NOT_NEGATIVE,
    "adam_epsilon": _NOT_NEGATIVE,
    "max_grad_norm": _NOT_NEGATIVE,
    # As a share of all steps, 1.0 is refused too, which YAML and JSON do not tell from 1.
    "warmup_steps": Range(0, whole_above=1),
    "eval_delay": _NOT_NEGATIVE,
    "dataloader_num_workers": _NOT_NEGATIVE,
    "dataloader_prefetch_factor": _COUNT,
    "save_total_limit": _COUNT,
    "torch_empty_cache_steps": _COUNT,
    "eval_accumulation_steps": _COUNT,
    "adam_beta1": Range(0, 1, below=True),
    "adam_beta2": Range(0, 1, below=True),
    "label_smoothing_factor": Range(0, 1, below=True),
    "seed": SEEDS,
    "data_seed": SEEDS,
}
_HINTS = {"save_total_limit": "; null keeps every checkpoint"}
# Keywords that are texts, with their values.
CHOICES = {
    "train_sampling_strategy": ("random", "sequential", "group_by_length", "batch_rebalance"),
    "include_num_input_tokens_seen": ("all", "non_padding", "no"),
    "dataloader_multiprocessing_context": ("fork", "spawn", "forkserver"),
    "log_level": ("passive", "detail", "debug", "info", "warning", "error", "critical"),
    "log_level_replica": ("passive", "detail", "debug", "info", "warning", "error", "critical"),
    "torch_compile_mode": ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"),
    "ddp_backend": ("nccl", "gloo", "mpi", "xccl", "hccl", "cncl", "mccl"),
}
ACCELERATOR_KEYS = ("non_blocking", "gradient_accumulation_kwargs", "use_configured_state")


def value_problems(key: str, value: Any) -> list[str]:
    """What is wrong with a value of the right type: out of range, no choice of this keyword, or refused."""
    if key in FIXED:
        fixed, why = FIXED[key]
        # Whatever is off is off: null, false, an empty text.
        return [] if value == fixed or not (value or fixed) else [f"{key}: leave it out, {why}"]
    if isinstance(value, bool):
        return []
    if isinstance(value, int | float):
        return _number_problems(key, value)
    if key in CHOICES and isinstance(value, str) and value not in CHOICES[key]:
        return [f"{key}: found {value}{nearest(value, CHOICES[key])}, expected {' or '.join(CHOICES[key])}"]
    if key == "accelerator_config":
        return _accelerator_problems(value)
    return []


def accepted(training: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of a run that was trained, without those that a new one would refuse, which no longer matter."""
    kept = {}
    for key, value in training.items():
        if not value_problems(key, value):
            kept[key] = value
    return kept


def _number_problems(key: str, value: float) -> list[str]:
    problem = f"{key}: found {format_value(value)}, expected"
    # -1 is the default of transformers, and means that epochs decide.
    if key == "max_steps" and (value < -1 or value == 0):
        return [f"{problem} a number above 0; leave it out to train for num_train_epochs"]
    if key == "warmup_steps" and isinstance(value, float) and (value == 1 or (value > 1 and not value.is_integer())):
        return [f"{problem} a share of all steps below 1, such as 0.1, or a whole number of steps, such as 1 (not 1.0)"]
    if math.isinf(value) or (math.isnan(value) and key not in RANGES):
        return [f"{problem} a finite number"]
    return [f"{sentence}{_HINTS.get(key, '')}" for sentence in RANGES.get(key, _ANY).problems(key, value)]


def _accelerator_problems(value: Any) -> list[str]:
    """Problems of `accelerator_config`, of which most keys would change which rows a process gets."""
    if value is None:
        return []
    if not isinstance(value, Mapping):
        return [
            f"accelerator_config: found {format_value(value)}, expected its keys, such as {ACCELERATOR_KEYS[0]}=true"
        ]
    problems = []
    for key in value:
        if key not in ACCELERATOR_KEYS:
            problems.append(f"accelerator_config.{key}: leave it out, the order of rows is part of a run")
    if "num_steps" in (value.get("gradient_accumulation_kwargs") or {}):
        problems.append("accelerator_config: leave num_steps out; gradient_accumulation_steps sets it")
    return problems


# --- what has no effect ------------------------------------------------------------------------------------------

_TRACKIO = "report_to=trackio"
# Keyword without effect -> what is missing.
_NEEDS = {
    "run_name": "report_to=<tracker>",
    "project": _TRACKIO,
    "trackio_space_id": _TRACKIO,
    "trackio_bucket_id": _TRACKIO,
    "trackio_static_space_id": _TRACKIO,
    "activation_checkpointing_kwargs": "activation_checkpointing=true",
    "gradient_checkpointing_kwargs": "activation_checkpointing=true",
    "eval_delay": "eval_strategy=epoch",
    "metric_for_best_model": "eval_strategy=epoch",
    "greater_is_better": "eval_strategy=epoch",
    "eval_steps": "eval_strategy=steps",
    "save_steps": "save_strategy=steps",
    "logging_steps": "logging_strategy=steps",
}


def without_effect(given: Mapping[str, Any], training: Mapping[str, Any]) -> list[str]:
    """Sentences on keywords that are given and that nothing uses.

    Args:
        given: Keywords that the user gave.
        training: All keywords of the run.

    Example:
        >>> without_effect({"run_name": "a"}, {"run_name": "a", "report_to": "none"})
        ['run_name: without effect; report_to=<tracker> would use it']
    """
    sentences = []
    for key, needed in _NEEDS.items():
        if given.get(key) is not None and not _is_met(needed, training):
            sentences.append(f"{key}: without effect; {needed} would use it")
    if "num_train_epochs" in given and training.get("max_steps", -1) > 0:
        sentences.append(f"num_train_epochs: without effect; training ends after max_steps={training['max_steps']}")
    return sentences


def _is_met(needed: str, training: Mapping[str, Any]) -> bool:
    """Whether the settings have what a keyword needs."""
    key, _, value = needed.partition("=")
    actual = training.get(key)
    if key == "report_to":
        trackers = [actual] if isinstance(actual, str) else actual or ["none"]
        return "all" in trackers or (value in trackers if value == "trackio" else trackers not in (["none"], []))
    if key == "activation_checkpointing":
        return bool(actual or training.get("gradient_checkpointing"))
    if value == "steps":
        return str(actual) == value
    return actual not in (None, False, "no", "")


def training_types(arguments: str = "TrainingArguments") -> dict[str, Any]:
    """Names and types of the keywords of a TrainingArguments class, given by its name in transformers."""
    import transformers

    cls = getattr(transformers, arguments)
    # The annotations are strings, which get_type_hints turns into types.
    annotated = typing.get_type_hints(cls)
    kinds = {}
    for argument in dataclasses.fields(cls):
        if argument.init:
            kinds[argument.name] = with_choices(annotated[argument.name])
    # The annotation says text, and the Trainer asks for true.
    kinds["fsdp"] = bool | str | None
    return kinds
