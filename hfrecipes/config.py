"""Settings of a run: their layers, names and types, and the recipe file that repeats the run.

Layers, later ones win: the defaults of the recipe, the recipe file, keywords or `key=value`.
"""

from __future__ import annotations

import dataclasses
import math
import os
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from .errors import ConfigError, NotFoundError, nearest
from .settings import AdapterSettings, FoldSettings, ModelSettings, PushSettings
from .yaml12 import dump, format_value, load, parse_value

SPLITS = ("train", "validation", "test")


@dataclass(kw_only=True)
class RunConfig:
    """All settings of one run. Each block is the keyword arguments of one public Hugging Face call."""

    task: str
    """Task name, as on the Hub, or path to a .py file that defines a Recipe."""
    model: str | dict[str, Any] | None = None
    """Hub id or folder, or keywords of `from_pretrained` with the name under `path`."""
    dataset: Any = None
    """Hub id, file, folder, glob, URL, split -> file, rows from Python, or keywords of `load_dataset`."""
    output_dir: str | None = None
    """Folder that the run writes; `runs/<task>-<dataset>-<model>` if not given."""
    splits: dict[str, str | None] = field(default_factory=dict)
    """Split of the dataset to use as train, validation and test; null for none."""
    columns: dict[str, str | int] = field(default_factory=dict)
    """Column of the dataset for each column of the task; a position (from 0) in a file without header."""
    limit: int | dict[str, int] | None = None
    """Number of rows to keep of each split, drawn with the seed."""
    metrics: list[str] = field(default_factory=list)
    """Additional `evaluate` metrics to report: shipped name, Hub id, or path to a .py file."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of the task."""
    training: dict[str, Any] = field(default_factory=dict)
    """Keywords of `TrainingArguments`."""
    early_stopping: bool | dict[str, Any] = True
    """Keywords of `EarlyStoppingCallback`; false for none."""
    lora: bool | dict[str, Any] = False
    """Keywords of `LoraConfig`, or of the config of the PEFT method named under `peft_type`; true for defaults."""
    folds: int | dict[str, Any] | None = None
    """Number of folds for cross-validation, or `n_splits`, `groups` (a column: rows with equal cells stay in one fold),
    and `fold` to run only one of them."""
    seeds: list[int] = field(default_factory=list)
    """Seeds of several runs, to report mean and standard deviation of their scores."""
    hub: str | dict[str, Any] | None = None
    """Hub repository to push to, or keywords of `create_repo` and `upload_folder` with its name under `repo_id`, and
    `tag`, `model` (merged, adapter, both), `every` (save: checkpoints too), `card` (keywords of `ModelCardData`)."""

    @cached_property
    def base(self) -> ModelSettings:
        """The model that the run starts from.

        Raises:
            ConfigError: None is given.
        """
        return ModelSettings.of(self.model)

    @cached_property
    def adapter(self) -> AdapterSettings | None:
        """The adapters that are trained; None for none."""
        return AdapterSettings.of(self.lora)

    @cached_property
    def push(self) -> PushSettings | None:
        """Where the run is pushed to; None for nowhere."""
        return PushSettings.of(self.hub)

    @cached_property
    def cross_validation(self) -> FoldSettings | None:
        """The folds of train; None for none."""
        return FoldSettings.of(self.folds)


FIELDS: dict[str, Any] = typing.get_type_hints(RunConfig)

# Arguments of older transformers releases and of other tools, with what to write instead. The arguments of the Trainer
# that push to the Hub or resume are here too: hfrecipes does both itself.
_OLD_NAMES: dict[str, str] = {
    "evaluation_strategy": "eval_strategy={value}",
    "warmup_ratio": "warmup_steps={value} (below 1 it is a share of all steps)",
    "group_by_length": "train_sampling_strategy=group_by_length (it is the default; random turns it off)",
    "no_cuda": "use_cpu={value}",
    "overwrite_output_dir": "another output_dir, or delete the folder: no run is ever overwritten",
    "torch_dtype": "bf16=true or fp16=true for mixed precision, or model.dtype={value} for the weights",
    "fp16_backend": "fp16=true",
    "fp16_opt_level": "fp16=true",
    "half_precision_backend": "fp16=true",
    "tokenizer": "model={value}: the tokenizer comes with the model",
    "per_gpu_train_batch_size": "per_device_train_batch_size={value}",
    "per_gpu_eval_batch_size": "per_device_eval_batch_size={value}",
    "logging_dir": "report_to=tensorboard, with the folder in the variable TENSORBOARD_LOGGING_DIR",
    "save_safetensors": "nothing: weights are always saved as safetensors",
    "include_inputs_for_metrics": "include_for_metrics=[inputs]",
    "use_ipex": "nothing: transformers has removed it",
    "adafactor": "optim=adafactor",
    "push_to_hub": "hub=<user>/<name>",
    "push_to_hub_model_id": "hub={value}",
    "push_to_hub_organization": "hub={value}/<name>",
    "push_to_hub_token": "nothing here: the token is read from the variable HF_TOKEN",
    "hub_model_id": "hub={value}",
    "hub_strategy": "hub.repo_id=<user>/<name> hub.every=save",
    "hub_always_push": "hub.repo_id=<user>/<name> hub.every=save",
    "hub_revision": "hub.repo_id=<user>/<name> hub.revision={value}",
    "hub_token": "nothing here: the token is read from the variable HF_TOKEN",
    "hub_private_repo": "hub.repo_id=<user>/<name> hub.private={value}",
    "resume_from_checkpoint": "nothing: the same command again resumes the run",
    "model_name_or_path": "model={value}",
    "dataset_name": "dataset={value}",
    "train_file": "dataset.train={value}",
    "validation_file": "dataset.validation={value}",
    "test_file": "dataset.test={value}",
    "max_seq_length": "max_length={value}",
    "lr": "learning_rate={value}",
    "epochs": "num_train_epochs={value}",
    "num_epochs": "num_train_epochs={value}",
    "batch_size": "per_device_train_batch_size={value}",
}

# Exclusive lower bounds of numbers that the libraries accept silently, or refuse only after all rows were read.
_LOWER_BOUNDS = {
    "learning_rate": 0,
    "num_train_epochs": 0,
    "per_device_train_batch_size": 0,
    "per_device_eval_batch_size": 0,
    "gradient_accumulation_steps": 0,
    "seed": -1,
    "max_length": 3,
    "neftune_noise_alpha": 0,
}
# Keywords that a layer may add to the dataset of the layer below; any other block replaces that dataset.
_LOAD_KEYWORDS = {"name", "revision", "data_dir", "data_files", "cache_dir", "trust_remote_code"}


def training_types(arguments: str = "TrainingArguments") -> dict[str, Any]:
    """Names and types of the keywords of a TrainingArguments class, given by its name in transformers."""
    import transformers

    cls = getattr(transformers, arguments)
    # The annotations are strings, which get_type_hints turns into types.
    hints = typing.get_type_hints(cls)
    return {argument.name: hints[argument.name] for argument in dataclasses.fields(cls) if argument.init}


def move_bare_keys_into_blocks(
    layer: Mapping[str, Any], *, options: Mapping[str, Any], training: Mapping[str, Any]
) -> dict[str, Any]:
    """Move each bare key into the block that knows it; unknown keys stay, and `resolve` reports them.

    Args:
        layer: Settings of one layer.
        options: Options of the task, by name.
        training: Keywords of TrainingArguments, by name.

    Example:
        >>> move_bare_keys_into_blocks({"seed": 1, "x": 2}, options={}, training={"seed": int})
        {'x': 2, 'training': {'seed': 1}}
    """
    settings = {key: _paths_as_text(value) for key, value in layer.items()}
    for block, known in (("options", options), ("training", training)):
        bare = {}
        for key in list(settings):
            # A field of RunConfig keeps its name, and an old name is reported with the new one.
            if key in known and key not in FIELDS and key not in _OLD_NAMES:
                bare[key] = settings.pop(key)
        values = settings.get(block) or {}
        # A block that is not a mapping is left as it is, for `resolve` to report.
        if bare and isinstance(values, Mapping):
            settings[block] = {**values, **bare}
    return settings


def resolve(settings: Mapping[str, Any], *, option_types: Mapping[str, Any], training: Mapping[str, Any]) -> RunConfig:
    """Check all settings before anything is loaded.

    Args:
        settings: Merged layers, with bare keys in their blocks.
        option_types: Types of the recipe's options.
        training: Types of the TrainingArguments keywords.

    Raises:
        ConfigError: Names are unknown or values have the wrong type; it lists all of them.
    """
    known = [*FIELDS, *option_types, *training]
    blocks: dict[str, Any] = {}
    problems: list[str] = []
    for key, value in settings.items():
        if key not in FIELDS:
            problems.append(_unknown(key, value, known))
        # null in a higher layer takes back what a lower one set.
        elif value is not None:
            blocks[key] = value
    for key, value in blocks.items():
        problems += type_problems(key, value, FIELDS[key])
    problems += _check_block("options", blocks.get("options"), option_types)
    problems += _check_block("training", blocks.get("training"), training)
    problems += _check_tokens(blocks)
    problems += _check_shapes(blocks)
    if problems:
        raise ConfigError(problems)
    return RunConfig(**blocks)


def _paths_as_text(value: Any) -> Any:
    """The value with each path, also inside blocks, as a string, which a recipe file can hold."""
    if isinstance(value, dict):
        return {key: _paths_as_text(inner) for key, inner in value.items()}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value


def _unknown(key: str, value: Any, known: Iterable[str]) -> str:
    """What to write in place of a key that does not exist."""
    if key in _OLD_NAMES:
        return f"{key} is not a setting; write {_OLD_NAMES[key].format(value=format_value(value))}"
    if key == "output_dir":
        return f"training.output_dir: write output_dir={format_value(value)} at the top level, not under training"
    return f"unknown setting {key}{nearest(key, known)}"


def _check_block(block: str, values: Any, known: Mapping[str, Any]) -> list[str]:
    """Problems in the names and values of a block; the type of the block itself is checked elsewhere."""
    if not isinstance(values, dict):
        return []
    problems = []
    for key, value in values.items():
        if key in _OLD_NAMES or key not in known or (block == "training" and key == "output_dir"):
            sentence = _unknown(key, value, known)
            # The sentence on a bare key becomes one on a key in this block.
            problems.append(sentence.replace("unknown setting ", f"unknown setting {block}."))
        elif wrong_type := type_problems(key, value, known[key]):
            problems += wrong_type
        # Not `value <= bound`: NaN is not above the bound either.
        elif key in _LOWER_BOUNDS and isinstance(value, int | float) and not value > _LOWER_BOUNDS[key]:
            problems.append(f"{key}: found {format_value(value)}, expected a number above {_LOWER_BOUNDS[key]}")
        elif isinstance(value, float) and not math.isfinite(value):
            problems.append(f"{key}: found {format_value(value)}, expected a finite number")
    return problems


def _check_tokens(blocks: Mapping[str, Any]) -> list[str]:
    """Refuse access tokens, which would be written into recipe.yaml and the model card."""
    problems = []
    for block in ("model", "dataset", "hub"):
        if isinstance(blocks.get(block), dict) and "token" in blocks[block]:
            problems.append(
                f"{block}.token: leave it out, tokens are read from the variable HF_TOKEN and never written down"
            )
    return problems


def _check_shapes(blocks: Mapping[str, Any]) -> list[str]:
    """Problems in the keys of a block that its type alone does not show."""
    problems = []
    model = blocks.get("model")
    if isinstance(model, dict) and not isinstance(model.get("path"), str):
        problems.append("model: found keywords without a name; add model.path=<hub id or folder>")
    for block in ("splits", "limit"):
        if not isinstance(blocks.get(block), dict):
            continue
        for split in blocks[block]:
            if split not in SPLITS:
                problems.append(
                    f"{block}: unknown split {split}{nearest(str(split), SPLITS)}; a run has train, validation and test"
                )
    limit = blocks.get("limit")
    limits = list(limit.values()) if isinstance(limit, dict) else [limit]
    for number in limits:
        if isinstance(number, int) and number < 1:
            problems.append(f"limit: found {number}, expected 1 row or more")
    return problems


def _fits(value: Any, kind: Any) -> bool:
    """Whether `value` is of the annotated type `kind`; an int also fits where a float is expected."""
    origin = typing.get_origin(kind)
    if kind is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, member) for member in typing.get_args(kind))
    if origin is typing.Literal:
        return value in typing.get_args(kind)
    if origin is not None:
        if not isinstance(value, origin):
            return False
        # For dict[str, int] and list[int] alike, the last argument is the type of what is inside.
        inside = value.values() if isinstance(value, dict) else value
        return all(_fits(entry, typing.get_args(kind)[-1]) for entry in inside)
    # bool is a subclass of int in Python, but seed=true is a mistake.
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, int | float)
    # Annotations that are not classes, such as callables, are left to the library that reads the value.
    return not isinstance(kind, type) or isinstance(value, kind)


def type_problems(key: str, value: Any, kind: Any) -> list[str]:
    """The problem with a value that is not of the type; empty where it is."""
    if _fits(value, kind):
        return []
    return [f"{key}: found {format_value(value)} ({type(value).__name__}), expected {describe_type(kind)}"]


def describe_type(kind: Any) -> str:
    """Describe a type for people who do not write Python.

    Example:
        >>> describe_type(float | None)
        'number or null'
    """
    words = {bool: "true or false", int: "whole number", float: "number", str: "text", type(None): "null"}
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(describe_type, typing.get_args(kind)))
    if origin is typing.Literal:
        return " or ".join(map(str, typing.get_args(kind)))
    if origin is list:
        return "list"
    if origin is dict or kind is dict:
        return "block of keys"
    return words.get(kind, getattr(kind, "__name__", str(kind)))


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Merge layers of settings: later ones win, and blocks are merged key by key.

    Example:
        >>> merge({"training": {"seed": 1, "bf16": True}}, {"training": {"seed": 2}})
        {'training': {'seed': 2, 'bf16': True}}
        >>> merge({"dataset": "me/texts"}, {"dataset": {"revision": "v2"}})
        {'dataset': {'path': 'me/texts', 'revision': 'v2'}}
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            merged[key] = _merge_value(key, merged.get(key), value)
    return merged


def _merge_value(key: str, below: Any, above: Any) -> Any:
    """The value of one key, from a lower layer and the layer above it."""
    # A name is short for its block, so that a higher layer may add a revision to it.
    if key in ("model", "dataset") and isinstance(below, str):
        below = {"path": below}
    if not isinstance(below, Mapping) or not isinstance(above, Mapping) or key not in FIELDS:
        return above
    # Files by split replace the dataset of the layer below: train of one and test of another would not belong together.
    if key == "dataset" and ("path" not in below or not set(above) <= _LOAD_KEYWORDS):
        return above
    return {**below, **above}


# --- recipe files and key=value ----------------------------------------------------------------------------------


# The key that a block's bare value is short for: model=x means model.path=x.
_SHORT_FOR = {"model": "path", "dataset": "path", "hub": "repo_id", "folds": "n_splits"}


def parse_overrides(words: Iterable[str]) -> dict[str, Any]:
    """Read `key=value` words; a dot reaches into a block.

    Example:
        >>> parse_overrides(["seed=1", "training.learning_rate=3e-5"])
        {'seed': 1, 'training': {'learning_rate': 3e-05}}

    Raises:
        ConfigError: A word is not `key=value`, or a block and a bare value share a name.
    """
    settings: dict[str, Any] = {}
    problems = []
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key or key.startswith("-"):
            problems.append(f"found {word!r}, expected key=value")
            continue
        *blocks, last = key.strip().split(".")
        values = settings
        for block in blocks:
            values = values.setdefault(block, {})
            if not isinstance(values, dict):
                hint = f"; write its value as {block}.{_SHORT_FOR[block]}=…" if block in _SHORT_FOR else ""
                problems.append(f"{key}: {block} already has a value; give the block or its keys, not both{hint}")
                values = {}  # go on, to find all problems at once
        if isinstance(values.get(last), dict):
            problems.append(f"{key}: its keys already have values; give the block or its keys, not both")
        values[last] = parse_value(text)
    if problems:
        raise ConfigError(problems)
    return settings


def read_recipe_file(path: str | Path) -> dict[str, Any]:
    """Read the settings from a recipe file.

    Raises:
        NotFoundError: There is no such file.
        ConfigError: The file is not a YAML mapping with a task.
    """
    path = Path(path)
    try:
        content = load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise NotFoundError(f"cannot read the recipe file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a UTF-8 text file: save it as UTF-8") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not isinstance(content.get("task"), str):
        raise ConfigError(f"{path} names no task: a recipe file is `key: value` lines, one of them `task: <name>`")
    return content


def read_config(path: Path) -> RunConfig:
    """Read the settings of a run from its file; settings that only a later release knows are ignored."""
    return RunConfig(**{key: value for key, value in read_recipe_file(path).items() if key in FIELDS})


def write_recipe_file(config: RunConfig, path: Path) -> None:
    """Write the recipe file that repeats the run."""
    head = f"# Repeat this run:  hfrecipes run {path.name} output_dir=<another folder>\n"
    path.write_text(head + to_yaml(config), encoding="utf-8")


def to_yaml(config: RunConfig) -> str:
    """The settings as the text of a recipe file, without those that are not set."""
    empty: tuple[Any, ...] = (None, {}, [], False)
    values = {}
    for key, value in dataclasses.asdict(config).items():
        # early_stopping is true by default, so false says something.
        if value not in empty or (key == "early_stopping" and value is False):
            values[key] = value
    return dump(values)
