"""Whether a value is of an annotated type, and the type in words."""

from __future__ import annotations

import types
import typing
from typing import Any

from .yaml12 import format_value

SHOWN = 200  # characters of a wrong value that an error repeats


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
