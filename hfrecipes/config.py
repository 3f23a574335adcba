"""Settings of a run: their layers, names and types, and the recipe file that repeats the run.

Layers, later ones win: the defaults of the recipe, the recipe file, keywords or `key=value`.
"""

from __future__ import annotations

import dataclasses
import os
import types
import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from . import hints
from .characters import shortened
from .errors import SHOWN, ConfigError, NotFoundError, nearest
from .masking import mask_settings
from .overrides import SHORT_FOR, as_block
from .settings import AdapterSettings, FoldSettings, ModelSettings, PushSettings
from .trainer_keywords import FIXED, value_problems
from .value_types import as_setting, as_source, fits, infinite_numbers, type_problems, with_choices
from .yaml12 import DEEPEST, LONGEST_NUMBER, MOST_KEYS, UnreadableError, dump, format_value, load

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
    columns: dict[str, str | int | list[str | int]] = field(default_factory=dict)
    """Column of the dataset for each column of the task; a position (from 0) in a file without header; for labels also
    a list of columns of 0 and 1."""
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

# Options that a keyword of TrainingArguments has the name of, and that are therefore written with their block.
WRITTEN_WITH_BLOCK = {"label_names"}
# Keywords that a layer may add to the dataset of the layer below; any other block replaces that dataset.
_LOAD_KEYWORDS = {"name", "revision", "data_dir", "data_files", "cache_dir", "trust_remote_code", "encoding", "header"}
_READING_KEYS = {"encoding", "header"}  # how files are read, whatever names them


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


def move_bare_keys_into_blocks(
    layer: Mapping[str, Any], *, options: Mapping[str, Any], training: Mapping[str, Any]
) -> dict[str, Any]:
    """Move each bare key into the block that knows it; unknown keys stay, and `resolve` reports them.

    Args:
        layer: Settings of one layer.
        options: Options of the task, by name.
        training: Keywords of TrainingArguments, by name.

    Raises:
        ConfigError: A key has two values, or one that a recipe file could not hold.

    Example:
        >>> move_bare_keys_into_blocks({"seed": 1, "x": 2}, options={}, training={"seed": int})
        {'x': 2, 'training': {'seed': 1}}
    """
    problems = []
    for key, value in layer.items():
        problems += _unwritable(key, value)
    if problems:
        raise ConfigError(problems)
    settings = {key: as_source(value) if key == "dataset" else as_setting(value) for key, value in layer.items()}
    for block, known in (("options", options), ("training", training)):
        bare = {}
        for key in list(settings):
            # A field of RunConfig keeps its name, and an old name is reported with the new one.
            is_ambiguous = key in options and key in training
            if key in known and key not in FIELDS and key not in hints.NAMES and not is_ambiguous:
                bare[key] = settings.pop(key)
        values = settings.get(block) or {}
        # A block that is not a mapping is left as it is, for `resolve` to report.
        if bare and isinstance(values, Mapping):
            problems += _given_twice(block, values, bare)
            settings[block] = {**values, **bare}
    if problems:
        raise ConfigError(problems)
    return settings


def _given_twice(block: str, values: Mapping[str, Any], bare: Mapping[str, Any]) -> list[str]:
    """Problems with keys that have a value inside their block and another one at the top."""
    problems = []
    for key, value in bare.items():
        if key in values:
            inside = f"{block}.{key}={format_value(values[key])}"
            problems.append(f"{key}: found {key}={format_value(value)} and {inside}, keep one of them")
    return problems


def _unwritable(key: Any, value: Any) -> list[str]:
    """The problem with a value that a recipe file could not hold; rows from Python are not written into one."""
    keys = 0
    rest = [(key, 0), (value, 0)]
    while rest:
        inner, depth = rest.pop()
        if depth > DEEPEST:
            return [f"{key}: found lists or blocks more than {DEEPEST} levels deep, expected fewer"]
        if isinstance(inner, str) and "\0" in inner and key in ("model", "dataset"):
            return [f"{key}: found {shortened(repr(inner), 80)}, which has a zero byte: no file has one in its name"]
        if isinstance(inner, str) and not _is_whole(inner):
            return [f"{key}: found {inner!a}, which is no UTF-8 text: type it again, or rename the file it names"]
        if isinstance(inner, int) and abs(inner) >= 10**LONGEST_NUMBER:
            return [f"{key}: found a number of more than {LONGEST_NUMBER} digits, expected a shorter one"]
        if isinstance(inner, Mapping):
            # Those of a block itself are compared with the names of settings.
            keys += len(inner) if depth and key != "dataset" else 0
            if keys > MOST_KEYS:
                return [f"{key}: found {keys} keys, expected {MOST_KEYS} at most"]
            rest += [(part, depth + 1) for part in (*inner, *inner.values())]
        elif isinstance(inner, list | tuple) and key != "dataset":
            rest += [(part, depth + 1) for part in inner]
    return []


def _is_whole(text: str) -> bool:
    """Whether a text has no half of a character, as for a byte in the name of a file that is no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def resolve(
    settings: Mapping[str, Any],
    *,
    option_types: Mapping[str, Any],
    training: Mapping[str, Any],
    columns: Mapping[str, Collection[str]] = types.MappingProxyType({}),
) -> RunConfig:
    """Check all settings before anything is loaded.

    Args:
        settings: Merged layers, with bare keys in their blocks.
        option_types: Types of the recipe's options.
        training: Types of the TrainingArguments keywords.
        columns: Columns of the task, each with other names for it.

    Raises:
        ConfigError: Names are unknown or values have the wrong type; it lists all of them.
    """
    names = _Names([*FIELDS, *option_types, *training], columns)
    blocks: dict[str, Any] = {}
    problems: list[str] = []
    for key, value in settings.items():
        if not isinstance(key, str):
            problems.append(_no_name(key))
        elif key in option_types and key in training:
            problems.append(f"{key}: write options.{key}=…, since a keyword of TrainingArguments has this name too")
        elif key not in FIELDS:
            problems.append(names.unknown(key, value) if len(problems) < SHOWN else f"unknown setting {key}")
        # null in a higher layer takes back what a lower one set.
        elif value is not None:
            blocks[key] = value
    problems += _field_problems(blocks)
    for block, kinds in (("options", option_types), ("training", training)):
        if isinstance(blocks.get(block), dict):
            blocks[block] = _without_nulls(blocks[block], kinds)
            problems += _check_block(block, blocks[block], kinds, names)
    problems += _check_tokens(blocks)
    problems += _check_sources(blocks) + _check_splits(blocks) + _check_finite(blocks) + _check_folder(blocks)
    if problems:
        raise ConfigError(problems)
    return RunConfig(**blocks)


def check_blocks(blocks: Mapping[str, Any]) -> None:
    """Check fields of `RunConfig` that are given without the others, as for an evaluation.

    Raises:
        ConfigError: One has the wrong type, or a key that is no text.
    """
    problems = _field_problems(blocks)
    if problems:
        raise ConfigError(problems)


def _field_problems(blocks: Mapping[str, Any]) -> list[str]:
    problems = []
    for key, value in blocks.items():
        problems += type_problems(key, value, FIELDS[key])
        problems += _key_problems(key, value)
    return problems


@dataclass(frozen=True)
class _Names:
    """Names of everything that can be set in a run."""

    settings: list[str]
    columns: Mapping[str, Collection[str]]

    def unknown(self, key: str, value: Any, block: str = "") -> str:
        """What to write in place of a key that does not exist."""
        if key == "output_dir":
            return f"{block}.output_dir: write output_dir={format_value(value)} at the top level, not under {block}"
        shown = f"{block}.{key}" if block else key
        return hints.sentence(key, value, known=self.settings, columns=self.columns, shown=shown)


def _no_name(key: Any, block: str = "") -> str:
    where = f"{block}: " if block else ""
    return f"{where}found {format_value(key)} as the name of a setting, expected a text"


def _key_problems(block: str, value: Any) -> list[str]:
    """Problems with keys of a block that are not texts; rows given from Python may have any."""
    if block == "dataset" or not isinstance(value, dict):
        return []
    problems = []
    for key, inner in value.items():
        if not isinstance(key, str):
            problems.append(_no_name(key, block))
        # Numbers are keys of `model.max_memory`, for GPUs, and of `options.label_names`, for ids.
        elif not block.startswith(("model", "options")):
            problems += _key_problems(f"{block}.{key}", inner)
    return problems


def _without_nulls(values: Mapping[str, Any], kinds: Mapping[str, Any]) -> dict[str, Any]:
    """The block without keys that null takes back: those for which null is no value."""
    kept = {}
    for key, value in values.items():
        if value is not None or key not in kinds or fits(None, kinds[key]):
            kept[key] = value
    return kept


def _check_block(block: str, values: Mapping[str, Any], kinds: Mapping[str, Any], names: _Names) -> list[str]:
    """Problems in the names and values of a block."""
    problems: list[str] = []
    for key, value in values.items():
        if not isinstance(key, str):
            continue
        if key in hints.NAMES or key not in kinds or (block == "training" and key == "output_dir"):
            # To look for the nearest name takes long, and further problems are only counted.
            hint = names.unknown(key, value, block) if len(problems) < SHOWN else f"unknown setting {block}.{key}"
            problems.append(hint)
        elif key in WRITTEN_WITH_BLOCK and block == "options":  # the checks of values are about TrainingArguments
            problems += type_problems(key, value, kinds[key])
        elif key in FIXED:
            problems += value_problems(key, value)
        else:
            problems += type_problems(key, value, kinds[key]) or value_problems(key, value)
    return problems


def _check_tokens(blocks: Mapping[str, Any]) -> list[str]:
    """Refuse access tokens, which would be written into recipe.yaml and the model card."""
    problems = []
    for block in ("model", "dataset", "hub"):
        for key in ("token", "use_auth_token"):
            if isinstance(blocks.get(block), dict) and key in blocks[block]:
                problems.append(
                    f"{block}.{key}: leave it out, tokens are read from the variable HF_TOKEN and never written down"
                )
    return problems


def _check_sources(blocks: Mapping[str, Any]) -> list[str]:
    """Problems in the keys of the model and the dataset that their types alone do not show."""
    problems = []
    model = blocks.get("model")
    if isinstance(model, dict) and not isinstance(model.get("path"), str):
        problems.append("model: found keywords without a name; add model.path=<hub id or folder>")
    dataset = blocks.get("dataset")
    if isinstance(dataset, dict) and isinstance(dataset.get("path"), str):
        further = [split for split in SPLITS if split in dataset]
        if further:
            problems.append(
                f"dataset.{further[0]}: found another source too; name that one by its split: "
                f"dataset.train={dataset['path']} dataset.{further[0]}={format_value(dataset[further[0]])}"
            )
    for block in ("model", "dataset"):
        revision = blocks[block].get("revision") if isinstance(blocks.get(block), dict) else None
        if isinstance(revision, int | float):
            problems.append(f"{block}.revision: found a number, expected a text; put it in quotes: '\"{revision}\"'")
    return problems


def _check_folder(blocks: Mapping[str, Any]) -> list[str]:
    """Refuse an output folder that no system can make."""
    if "\0" in str(blocks.get("output_dir", "")):
        return ["output_dir: found a name with the character of code 0, which no folder can have: choose another name"]
    return []


def _check_finite(blocks: Mapping[str, Any]) -> list[str]:
    """Refuse NaN and infinite numbers in all blocks; rows may have them."""
    problems = []
    for block, value in blocks.items():
        if block in ("options", "training") and isinstance(value, dict):
            for key, inner in value.items():
                # A number itself is compared with the range of its keyword.
                problems += infinite_numbers(key, inner) if isinstance(inner, dict | list) else []
        elif block != "dataset":
            problems += infinite_numbers(block, value)
    return problems


def _check_splits(blocks: Mapping[str, Any]) -> list[str]:
    """Problems of the settings that have a key for each split."""
    problems = []
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


_KEEP_KEYS = ("lora", "early_stopping", "hub", "folds")


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
    if isinstance(below, str | int) and not isinstance(below, bool) and key in SHORT_FOR:
        below = {SHORT_FOR[key]: below}
    # Turned on again, or pushed to another repository, a block keeps what it says: its rank, or that it is private.
    if key in _KEEP_KEYS and isinstance(below, Mapping):
        block = as_block(key, above)
        above = above if block is None else block
    if not isinstance(below, Mapping) or not isinstance(above, Mapping) or key not in FIELDS:
        return above
    # Files by split replace the dataset of the layer below: train of one and test of another would not belong together.
    if key == "dataset" and not set(above) <= ({*_LOAD_KEYWORDS} if "path" in below else _READING_KEYS):
        return above
    return {**below, **above}


# --- recipe files ------------------------------------------------------------------------------------------------

_NAMED, _LARGEST = 2, 10 * 2**20  # levels whose keys are names of settings, the top and blocks; bytes of the file


def recipe_file_text(path: str | Path) -> str:
    """The text of a recipe file.

    Raises:
        NotFoundError: There is no such file.
        ConfigError: It is no text in UTF-8, or too large for settings.
    """
    try:
        if os.path.getsize(path) > _LARGEST:
            raise ConfigError(f"{path} has {os.path.getsize(path)} bytes: expected a recipe file, which is smaller")
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise NotFoundError(f"cannot read the recipe file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a UTF-8 text file: save it as UTF-8") from error


def read_recipe_file(path: str | Path) -> dict[str, Any]:
    """Read the settings from a recipe file.

    Raises:
        NotFoundError: There is no such file.
        ConfigError: The file is not a YAML mapping with a task.
    """
    path = Path(path)
    text = recipe_file_text(path)
    try:
        content = load(text, named=_NAMED)
    except UnreadableError as error:
        raise ConfigError(f"{path} line {error.line}: {error.problem}") from error
    if not isinstance(content, dict) or not isinstance(content.get("task"), str):
        raise ConfigError(f"{path} names no task: a recipe file is `key: value` lines, one of them `task: <name>`")
    return content


def read_config(path: Path) -> RunConfig:
    """Read the settings of a run from its file; settings that only a later release knows are ignored."""
    return RunConfig(**{key: value for key, value in read_recipe_file(path).items() if key in FIELDS})


def recipe_text(config: RunConfig) -> str:
    """Text of the recipe file that repeats the run."""
    return "# Repeat this run:  hfrecipes run recipe.yaml output_dir=<another folder>\n" + to_yaml(config)


def to_yaml(config: RunConfig) -> str:
    """The settings as the text of a recipe file, without those that are not set, and with secrets masked."""
    empty: tuple[Any, ...] = (None, {}, [], False)
    values = {}
    for key, value in mask_settings(dataclasses.asdict(config)).items():
        # early_stopping is true by default, so false says something.
        if value not in empty or (key == "early_stopping" and value is False):
            values[key] = value
    return dump(values)
