"""The recipe file: read from what people write, and written so that it repeats the run."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

from ..errors import ConfigError, NotFoundError
from ..masking import mask_settings
from .run_config import FIELDS, RunConfig
from .yaml12 import UnreadableError, dump, load

_NAMED, _LARGEST = 2, 10 * 2**20  # levels whose keys are names of settings, the top and blocks; bytes of the file


def recipe_file_text(path: str | Path) -> str:
    """The text of a recipe file.

    Raises:
        NotFoundError: There is no such file.
        ConfigError: It is not UTF-8 text, or too large for a recipe file.
    """
    try:
        if os.path.getsize(path) > _LARGEST:
            raise ConfigError(
                f"{path} has {os.path.getsize(path):,} bytes, expected a recipe file of {_LARGEST:,} at most: name the "
                "file with the settings, and data as dataset=<file>"
            )
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
