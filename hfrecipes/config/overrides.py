"""Settings from the `key=value` words of a command line; a dot reaches into a block."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..characters import shortened
from ..errors import ConfigError
from .yaml12 import UnreadableError, parse_value

SHORT_FOR = {
    "model": "path",
    "dataset": "path",
    "hub": "repo_id",
    "folds": "n_splits",
    "curve": "steps",
    "distill": "run",
}
"""The key that a block's bare value is short for: `model=x` means `model.path=x`."""
_SWITCHES = ("lora", "early_stopping")  # blocks that `true` turns on, with the keys that are given or without


def parse_overrides(words: Iterable[str]) -> dict[str, Any]:
    """Read `key=value` words; a dot reaches into a block.

    Example:
        >>> parse_overrides(["seed=1", "training.learning_rate=3e-5"])
        {'seed': 1, 'training': {'learning_rate': 3e-05}}

    Raises:
        ConfigError: A word is not `key=value`, or a setting is given twice.
    """
    settings: dict[str, Any] = {}
    problems = []
    words_of: dict[str, str] = {}
    for word in words:
        key, equals, text = word.partition("=")
        name = key.strip()
        if not equals or not key or key.startswith("-"):
            problems.append(f"found {word!r}, expected key=value")
        # An unset variable of the shell would otherwise mean the default, silently.
        elif not text.strip():
            problems.append(f"{key}: found no value; {key}=null is the default, and '\"\"' an empty text")
        elif name in words_of:
            problems.append(f"{name}: found {_short(words_of[name])} and {_short(word)}, keep one of them")
        else:
            try:
                problems += _insert(settings, name.split("."), parse_value(text), [*words_of.values(), word])
            except UnreadableError as error:
                problems.append(f"{key}: {error.problem}")
            words_of[name] = word
    if problems:
        raise ConfigError(problems)
    return settings


def _short(word: str) -> str:
    key = word.partition("=")[0]
    # What is printed may become part of a log.
    return f"{key}=…" if "token" in key else shortened(word, 80)


def _insert(settings: dict[str, Any], names: list[str], value: Any, words: Sequence[str]) -> list[str]:
    """Set a value inside nested blocks; the problem if a block and a bare value share a name.

    Args:
        settings: Where the value is set.
        names: The names of the blocks, and that of the setting.
        value: The value.
        words: All words up to this one, for the error.
    """
    *blocks, last = names
    values = settings
    for block in blocks:
        given = values.setdefault(block, {})
        inner = as_block(block, given)
        if inner is None or (inner is not given and last in inner):
            return [f"{'.'.join(names)}: {block} already has a value{_not_both(names, words)}"]
        values[block] = values = inner
    if last in values:
        block_of_value = as_block(last, value)
        if block_of_value is None or set(block_of_value) & set(values[last]):
            return [f"{'.'.join(names)}: its keys already have values{_not_both(names, words)}"]
        value = {**block_of_value, **values[last]}
    values[last] = value
    return []


def _not_both(names: Sequence[str], words: Sequence[str]) -> str:
    """The words that set the same block, and what to do about them."""
    rivals = [_short(word) for word in words if word.partition("=")[0].strip().split(".")[0] == names[0]]
    return f"; give the block or its keys, not both: {', '.join(rivals)}"


def as_block(name: str, value: Any) -> dict[str, Any] | None:
    """The block that a bare value is short for; None if it is not short for any."""
    if isinstance(value, dict):
        return value
    if name in SHORT_FOR and value is not None:
        return {SHORT_FOR[name]: value}
    return {} if name in _SWITCHES and value is True else None
