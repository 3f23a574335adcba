"""Every setting of a recipe file: name, type, default, range and what it does, read from the code."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .. import registry, repeats
from ..config import distillation
from ..config.blocks import CurveSettings, FoldSettings, PrivacySettings, PushSettings
from ..config.distillation import DistillSettings
from ..config.run_config import FIELDS, SPLITS, RunConfig
from ..config.search_space import COSTS, PRUNERS, SearchSettings
from ..config.trainer_descriptions import WORKS_BY_GROUP
from ..config.trainer_keywords import CHOICES, RANGES, Range, training_types
from ..config.value_types import as_setting, with_choices
from ..hub.settings import MODELS
from ..models.adapters.settings import keyword_types, methods, range_of
from ..privacy.settings import RANGES as PRIVACY
from ..recipe import DEFAULTS, SHORTEST, Recipe
from ..redaction.kinds import KINDS
from ..redaction.settings import RedactSettings
from ..training.configuration import RUN_DEFAULTS
from ..training.setting_checks import STOPPING_RANGES
from ..training.trainer import PATIENCE

NO_DEFAULT = dataclasses.MISSING


@dataclass(frozen=True)
class Setting:
    """A setting, or a key of a block of settings."""

    name: str
    """Name inside its block."""
    kind: Any
    """Type of its values. Beside them, null is the default of all but the keys of blocks."""
    default: Any
    """`NO_DEFAULT` for a setting that must be given, or whose default follows from others."""
    description: str
    """What it does, in one sentence or two."""
    range: Range | None = None
    """Numbers that it accepts."""
    follows: str = ""
    """What its default follows from, where it has no fixed one."""


_LIST_OF_KINDS: Any = list[Literal[tuple(KINDS)]]  # type: ignore[misc]
# Keys of blocks whose types are texts or lists, and that accept certain values.
_VALUES: Mapping[str, Mapping[str, Any]] = {
    "hub": {"model": Literal[MODELS], "every": Literal["save"], "visibility": Literal["public", "private"]},
    "search": {"pruner": Literal[PRUNERS] | None, "cost": Literal[COSTS] | None},
    "redact": {"kinds": _LIST_OF_KINDS},
}
# Options of all tasks that accept less than their types.
_OPTION_TYPES = {"redact": _LIST_OF_KINDS | dict[str, Any] | None}
_RANGES = {"max_length": Range(SHORTEST), "limit": Range(1), "folds": repeats.FOLDS, "curve": repeats.STEPS}
_RANGES_OF_KEYS: Mapping[str, Mapping[str, Range]] = {
    "privacy": PRIVACY,
    "folds": {"n_splits": repeats.FOLDS, "fold": Range(1)},
    "curve": {"steps": repeats.STEPS, "step": Range(1)},
    "distill": distillation.RANGES,
    "search": {"trials": Range(1)},
}
# Blocks of which any key takes null, and one where null is only how Python says that a key is left out.
_WITH_NULL, _WITHOUT_NULL = ("privacy", "search", "redact"), ("hub",)
_DATACLASSES: Mapping[str, type] = {
    "privacy": PrivacySettings,
    "folds": FoldSettings,
    "curve": CurveSettings,
    "distill": DistillSettings,
    "hub": PushSettings,
    "redact": RedactSettings,
}
# Keys that the libraries read, with what they do; those of models and datasets have more.
_MODEL = (
    Setting("path", str, NO_DEFAULT, "Hub id, folder, or `pkg://` name."),
    Setting("revision", str | None, None, "Branch, tag or commit on the Hub."),
    Setting("subfolder", str | None, None, "Folder inside the repository."),
    Setting("trust_remote_code", bool | None, False, "Whether code from the repository of the model may be run."),
    Setting("attn_implementation", str | None, None, "How attention is computed, such as sdpa or eager."),
    Setting("dtype", str | None, None, "Type of the weights, such as bfloat16."),
    Setting("quantization_config", dict | None, None, "Weights in 8 or 4 bits, such as {load_in_4bit: true}."),
    Setting("cache_dir", str | None, None, "Folder for downloads."),
)
_DATASET = (
    Setting("path", str, NO_DEFAULT, "Hub id, file, folder or URL."),
    Setting("name", str | None, None, "Configuration of a dataset on the Hub."),
    Setting("revision", str | None, None, "Branch, tag or commit on the Hub."),
    Setting("data_dir", str | None, None, "Folder inside the repository."),
    Setting("data_files", Any, None, "Files inside the repository."),
    Setting("encoding", str | None, None, "Encoding of text files, such as gb18030; by their content if null."),
    Setting("header", bool | None, None, "Whether the first line of a table has names; by its content if null."),
    *[Setting(split, Any, None, f"What {split} is read from, in place of `path`.") for split in SPLITS],
)
_EARLY_STOPPING = (
    Setting(
        "early_stopping_patience",
        int,
        1,
        f"Evaluations without improvement before training ends; {PATIENCE} without a block.",
        STOPPING_RANGES["early_stopping_patience"],
    ),
    Setting(
        "early_stopping_threshold",
        float,
        0.0,
        "What counts as an improvement at least.",
        STOPPING_RANGES["early_stopping_threshold"],
    ),
)
_LORA = {
    "peft_type": "Method of PEFT, such as LORA, DORA by `use_dora`, VERA or IA3.",
    "r": "Rank of the adapters.",
    "lora_alpha": "Factor of the adapters, in units of their rank.",
    "lora_dropout": "Probability of dropout before the adapters.",
    "target_modules": "Layers that get an adapter, by name or regular expression.",
    "modules_to_save": "Layers that are trained whole beside the adapters.",
    "use_dora": "Whether length and direction of the weights are learnt apart.",
    "use_rslora": "Whether the factor is divided by the root of the rank.",
    "bias": "Which biases are trained too.",
    "rank_pattern": "Ranks of single layers, by regular expression.",
    "alpha_pattern": "Factors of single layers, by regular expression.",
    "layers_to_transform": "Numbers of the layers that get an adapter.",
}
# What the defaults of these follow from; others are those of hfrecipes or of transformers.
_FOLLOWS = {
    "learning_rate": "the model",
    "bf16": "the machine",
    "fp16": "the machine",
    "use_cpu": "the machine",
    "dataloader_pin_memory": "the machine",
    "accelerator_config": "the machine",
    "save_strategy": "`eval_strategy`",
    "eval_steps": "`logging_steps`",
    "save_steps": "`eval_steps`",
    "load_best_model_at_end": "`eval_strategy`",
    "metric_for_best_model": "the task",
    "greater_is_better": "the metric",
    "disable_tqdm": "the log level",
}


def members(kind: Any) -> list[Any]:
    """The types of a union, null last; the type itself where it is no union.

    Example:
        >>> members(None | str | int)
        [<class 'int'>, <class 'str'>, <class 'NoneType'>]
    """
    if typing.get_origin(kind) not in (typing.Union, types.UnionType):
        return [kind]
    # Python keeps one of several equal unions, whose order is that of the first one that was made.
    return sorted(typing.get_args(kind), key=lambda member: (member is types.NoneType, str(member)))


def run_settings() -> list[Setting]:
    """The settings of a run that are no options of a task and no arguments of the Trainer."""
    texts = registry.explanations(RunConfig)
    settings = []
    for field in dataclasses.fields(RunConfig):
        kind = FIELDS[field.name]
        settings.append(Setting(field.name, kind, _default_of(field), texts[field.name], _RANGES.get(field.name)))
    return settings


def block_settings() -> dict[str, Sequence[Setting]]:
    """Block -> its keys, where these are the same for every task."""
    splits, limits = [], []
    for split in SPLITS:
        kind: Any = str | None if split == "train" else str | float | None
        drawn = "" if split == "train" else ", or the share of train to draw, such as 0.2"
        splits.append(Setting(split, kind, None, f"Split of the dataset to use as {split}{drawn}; null for none."))
        limits.append(Setting(split, int, NO_DEFAULT, f"Number of rows of {split} to keep.", Range(1)))
    blocks: dict[str, Sequence[Setting]] = {
        "model": _MODEL,
        "dataset": _DATASET,
        "splits": splits,
        "limit": limits,
        "early_stopping": _EARLY_STOPPING,
        "lora": _lora_settings(),
        "search": [setting for setting in _fields("search", SearchSettings) if setting.name != "space"],
    }
    for block, cls in _DATACLASSES.items():
        blocks[block] = _fields(block, cls)
    return blocks


def _fields(block: str, cls: type) -> list[Setting]:
    """The fields of a dataclass that a block is read into."""
    texts, kinds = registry.explanations(cls), typing.get_type_hints(cls)
    settings = []
    for field in dataclasses.fields(cls):
        kind = _VALUES.get(block, {}).get(field.name, _in_block(block, kinds[field.name]))
        # Python's None is null in recipe files.
        text = re.sub(r"\bNone\b", "null", texts[field.name])
        limits = _RANGES_OF_KEYS.get(block, {}).get(field.name)
        settings.append(Setting(field.name, kind, _default_of(field), text, limits))
    return settings


def _in_block(block: str, kind: Any) -> Any:
    """The type of a key, with null where a run accepts it."""
    if block in _WITH_NULL:
        return kind | None
    kept = [member for member in members(kind) if block not in _WITHOUT_NULL or member is not types.NoneType]
    return typing.Union[(*kept,)]


def _default_of(field: dataclasses.Field[Any]) -> Any:
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    return default if default is NO_DEFAULT else as_setting(default)


def _lora_settings() -> list[Setting]:
    """Keywords of `LoraConfig`; those without a text here have one in the documentation of PEFT."""
    kinds = keyword_types("LORA")
    del kinds["peft_type"]
    settings = [Setting("peft_type", Literal[tuple(methods())], "LORA", _LORA["peft_type"])]
    for name in [*_LORA, *sorted(set(kinds) - set(_LORA))]:
        if name in kinds:
            kind = with_choices(kinds[name])
            limits = range_of(name) if {int, float} & set(members(kind)) else None
            settings.append(Setting(name, kind, NO_DEFAULT, _LORA.get(name, ""), limits))
    return settings


def training_settings(arguments: str = "TrainingArguments") -> dict[str, list[Setting]]:
    """Group -> arguments of the Trainer that can be set.

    Args:
        arguments: Name of the class of transformers.
    """
    import transformers

    kinds = training_types(arguments)
    defaults = {field.name: _default_of(field) for field in dataclasses.fields(getattr(transformers, arguments))}
    defaults |= {**RUN_DEFAULTS, **DEFAULTS}
    groups = {}
    for group, texts in WORKS_BY_GROUP.items():
        settings = []
        for name, text in texts.items():
            kind = _with_values(kinds[name], CHOICES[name]) if name in CHOICES else kinds[name]
            follows = _FOLLOWS.get(name, "")
            settings.append(Setting(name, kind, defaults[name], text, RANGES.get(name), follows))
        groups[group] = settings
    return groups


def _with_values(kind: Any, values: Sequence[str]) -> Any:
    """The type with these texts in place of any text."""
    others = [member for member in members(kind) if member is not str]
    return typing.Union[(Literal[tuple(values)], *others)]


def option_settings(recipe: type[Recipe]) -> list[Setting]:
    """The options of a task."""
    settings = []
    for name, kind, default, text in registry.options(recipe):
        settings.append(Setting(name, _OPTION_TYPES.get(name, kind), default, text, _RANGES.get(name)))
    return settings
