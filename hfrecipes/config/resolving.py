"""Settings checked before anything is loaded: unknown names, wrong types, senseless values, all at once."""

from __future__ import annotations

import types
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import SHOWN, ConfigError, nearest
from . import hints
from .run_config import FIELDS, SPLITS, TEST_SET, WRITTEN_WITH_BLOCK, RunConfig
from .trainer_keywords import FIXED, value_problems
from .value_types import fits, infinite_numbers, type_problems
from .yaml12 import format_value


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
    if isinstance(blocks.get("tests"), dict):
        blocks["tests"] = {name: source for name, source in blocks["tests"].items() if source is not None}
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
        if key == "tests" and not isinstance(value, dict):  # a file, or rows
            problems.append(f"tests: found {type(value).__name__}, expected a name for each set: tests.<name>=<file>")
            continue
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
    return f"{where}found {format_value(key)} as the name of a setting, expected a text: delete it, or put it in quotes"


def _key_problems(block: str, value: Any) -> list[str]:
    """Problems with keys of a block that are not texts; rows given from Python may have any."""
    if block == "dataset" or block.startswith(TEST_SET) or not isinstance(value, dict):
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
    if isinstance(model, dict) and isinstance(model.get("path"), list):
        problems.append(
            'model: found a list with keywords beside it; give them to each model: model="[{path: a, …}, b]"'
        )
    elif isinstance(model, dict) and not isinstance(model.get("path"), str):
        problems.append("model: found keywords without a name; add model.path=<hub id or folder>")
    dataset = blocks.get("dataset")
    if isinstance(dataset, dict) and not all(str(key).strip() for key in dataset):
        problems.append("dataset: found a split without a name, expected train, validation or test")
    if isinstance(dataset, dict) and isinstance(dataset.get("path"), str):
        further = [split for split in SPLITS if split in dataset]
        if further:
            problems.append(
                f"dataset.{further[0]}: found a dataset without a split next to it; name its split too: "
                f"dataset.train={dataset['path']} dataset.{further[0]}={format_value(dataset[further[0]])}"
            )
    tests = blocks.get("tests")
    if isinstance(tests, dict) and not all(str(name).strip() for name in tests):
        problems.append("tests: found a set without a name, expected one: tests.<name>=<file>")
    for block in ("model", "dataset"):
        revision = blocks[block].get("revision") if isinstance(blocks.get(block), dict) else None
        if isinstance(revision, int | float):
            problems.append(f"{block}.revision: found a number, expected a text; put it in quotes: '\"{revision}\"'")
    return problems


def _check_folder(blocks: Mapping[str, Any]) -> list[str]:
    """Refuse an output folder that no system can make, or that has no name."""
    folder = blocks.get("output_dir")
    if folder is not None and not str(folder).strip():
        return ["output_dir: found an empty name, expected the name of a folder; leave it out for one in runs/"]
    if "\0" in str(folder):
        return ["output_dir: found a name with a zero byte, which no folder can have: choose another name"]
    return []


def _check_finite(blocks: Mapping[str, Any]) -> list[str]:
    """Refuse NaN and infinite numbers in all blocks; rows may have them."""
    problems = []
    for block, value in blocks.items():
        if block in ("options", "training") and isinstance(value, dict):
            for key, inner in value.items():
                # A number itself is compared with the range of its keyword.
                problems += infinite_numbers(key, inner) if isinstance(inner, dict | list) else []
        elif block not in ("dataset", "tests"):
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
    if isinstance(blocks.get("splits"), dict):
        problems += _check_shares(blocks["splits"], has_folds=blocks.get("folds") is not None)
    limit = blocks.get("limit")
    limits = list(limit.values()) if isinstance(limit, dict) else [limit]
    for number in limits:
        if isinstance(number, int) and number < 1:
            problems.append(f"limit: found {number}, expected 1 row or more")
    return problems


def _check_shares(splits: Mapping[str, Any], *, has_folds: bool) -> list[str]:
    """Problems of the splits that are a share of train."""
    shares = {split: share for split, share in splits.items() if isinstance(share, int | float)}
    problems = []
    for split, share in shares.items():
        if split == "train":
            problems.append(f"splits.train: found {share}, expected the name of a split; limit.train takes fewer rows")
        elif isinstance(share, bool) or not 0 < share < 1:
            problems.append(f"splits.{split}: found {share}, expected a share of train, such as 0.2, or a split's name")
    if not problems and sum(shares.values()) >= 1:
        problems.append(f"splits: found shares of {sum(shares.values()):g} together, expected less than 1")
    if has_folds and "test" in shares:
        problems.append("splits.test: with folds each row of train is scored once: leave out one of the two")
    return problems
