"""Values of settings: plain ones from what Python callers give, whether they are of a type, and the type in words."""

from __future__ import annotations

import math
import numbers
import os
import types
import typing
from collections.abc import Mapping
from enum import Enum
from typing import Any

from .yaml12 import format_value

SHOWN = 200  # characters of a wrong value that an error repeats
_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    type(None): "null",
    Any: "anything",
}
_MANY: dict[Any, str] = {int: "whole numbers", float: "numbers", str: "texts"}


def as_setting(value: Any) -> Any:
    """The value as a recipe file can hold it: paths, enumerations, tuples, numbers and arrays of NumPy, however deep.

    Example:
        >>> import pathlib, numpy
        >>> as_setting({"seed": numpy.int64(3), "names": ("a", pathlib.Path("b"))})
        {'seed': 3, 'names': ['a', 'b']}
    """
    if isinstance(value, dict):
        return {key: as_setting(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return list(map(as_setting, value))
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Enum):
        return value.value
    if type(value).__name__ == "ClassLabel":  # of `datasets`, which is not imported for it
        return list(value.names)
    # Numbers, texts and arrays of NumPy, some of which are subclasses of Python's types that YAML does not write.
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, str):
        return str(value)
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else value


def as_source(dataset: Any) -> Any:
    """A dataset with paths as texts, and a tuple as a list; rows stay as they are."""
    if isinstance(dataset, dict):
        return {key: as_source(part) for key, part in dataset.items()}
    if isinstance(dataset, os.PathLike):
        return os.fspath(dataset)
    return list(dataset) if isinstance(dataset, tuple) else dataset


def fits(value: Any, kind: Any) -> bool:
    """Whether `value` is of the annotated type `kind`; an int also fits where a float is expected."""
    origin = typing.get_origin(kind)
    if kind is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, member) for member in typing.get_args(kind))
    if origin is typing.Literal:
        return value in typing.get_args(kind)
    if origin is not None:
        if not isinstance(value, origin):
            return False
        # For dict[str, int] and list[int] alike, the last argument is the type of what is inside.
        inside = value.values() if isinstance(value, dict) else value
        return all(fits(entry, typing.get_args(kind)[-1]) for entry in inside)
    # bool is a subclass of int in Python, but seed=true is a mistake.
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, int | float)
    # Annotations that are not classes, such as callables, are left to the library that reads the value.
    return not isinstance(kind, type) or isinstance(value, kind)


def type_problems(key: str, value: Any, kind: Any) -> list[str]:
    """The problem with a value that is not of the type; empty where it is."""
    if fits(value, kind):
        return []
    shown = format_value(value)
    if len(shown) > SHOWN:
        shown = f"{shown[:SHOWN]}…"
    texts = _as_texts(value)
    hint = f'; quotes make it a text: {key}="{format_value(texts)}"' if fits(texts, kind) and len(shown) < SHOWN else ""
    return [f"{key}: found {shown} ({type(value).__name__}), expected {describe_type(kind)}{hint}"]


def _as_texts(value: Any) -> Any:
    """The value as it would be with quotes around what YAML reads as null, true or false, or a number."""
    if isinstance(value, list):
        return list(map(_as_texts, value))
    # In blocks, such as `columns`, whole numbers are positions and ids.
    if isinstance(value, dict):
        return {key: inner if type(inner) in (int, list) else _as_texts(inner) for key, inner in value.items()}
    return format_value(value) if value is None or isinstance(value, bool | int | float) else value


def with_choices(kind: Any) -> Any:
    """The values of an enumeration where a keyword takes one or a text, so that a wrong text is found by its type."""
    for member in typing.get_args(kind):
        if isinstance(member, type) and issubclass(member, Enum) and issubclass(member, str):
            return typing.Literal[tuple(choice.value for choice in member)]
    return kind


def infinite_numbers(key: str, value: Any) -> list[str]:
    """Problems with NaN and infinite numbers in a value, however deep inside lists and blocks.

    Example:
        >>> infinite_numbers("lora", {"alpha_pattern": {"query": float("nan")}})
        ['lora.alpha_pattern.query: found .nan, expected a finite number']
    """
    if isinstance(value, float) and not math.isfinite(value):
        return [f"{key}: found {format_value(value)}, expected a finite number"]
    problems = []
    if isinstance(value, dict):
        for name, inner in value.items():
            problems += infinite_numbers(f"{key}.{name}", inner)
    elif isinstance(value, list):
        for inner in value:
            problems += infinite_numbers(key, inner)
    return problems


def describe_type(kind: Any) -> str:
    """Describe a type for people who do not write Python.

    Example:
        >>> describe_type(float | None)
        'number or null'
    """
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(describe_type, typing.get_args(kind)))
    if origin is typing.Literal:
        return " or ".join(str(value).lower() if value is False else str(value) for value in typing.get_args(kind))
    if origin in (list, tuple):
        return f"list of {_MANY[typing.get_args(kind)[0]]}" if typing.get_args(kind)[0] in _MANY else "list"
    if origin in (dict, Mapping) or kind is dict:
        return "block of keys"
    return _WORDS.get(kind, getattr(kind, "__name__", str(kind)))
