"""Layers of settings: later ones win. They are the defaults of the recipe, the recipe file, keywords or `key=value`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..characters import shortened
from ..errors import ConfigError
from . import hints
from .overrides import SHORT_FOR, as_block
from .run_config import FIELDS
from .value_types import as_setting, as_source
from .yaml12 import DEEPEST, LONGEST_NUMBER, MOST_KEYS, format_value

# Keywords that a layer may add to the dataset of the layer below; any other block replaces that dataset.
_LOAD_KEYWORDS = {"name", "revision", "data_dir", "data_files", "cache_dir", "trust_remote_code", "encoding", "header"}
_READING_KEYS = {"encoding", "header"}  # how files are read, whatever names them
_ROWS = ("dataset", "tests")  # settings that may hold rows from Python
_KEEP_KEYS = ("lora", "early_stopping", "hub", "folds", "curve", "distill")


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
    settings = {key: as_source(value) if key in _ROWS else as_setting(value) for key, value in layer.items()}
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
        if isinstance(inner, str) and "\0" in inner and key in ("model", *_ROWS):
            return [
                f"{key}: found {shortened(repr(inner), 80)}, which has a zero byte, as no file name can: type it again"
            ]
        if isinstance(inner, str) and not _is_whole(inner):
            return [f"{key}: found {inner!a}, which is not valid UTF-8: type it again, or rename the file"]
        if isinstance(inner, int) and abs(inner) >= 10**LONGEST_NUMBER:
            return [f"{key}: found a number of more than {LONGEST_NUMBER} digits, expected a shorter one"]
        if isinstance(inner, Mapping):
            # Those of a block itself are compared with the names of settings.
            keys += len(inner) if depth and key not in _ROWS else 0
            if keys > MOST_KEYS:
                return [f"{key}: found {keys} keys, expected {MOST_KEYS} at most"]
            rest += [(part, depth + 1) for part in (*inner, *inner.values())]
        elif isinstance(inner, list | tuple) and key not in _ROWS:
            rest += [(part, depth + 1) for part in inner]
    return []


def _is_whole(text: str) -> bool:
    """Whether a text is valid Unicode: a file name that is not UTF-8 has lone surrogates in place of its bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


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
