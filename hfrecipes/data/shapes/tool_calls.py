"""Calls of tools in the shapes in which data gives them, and the schemas of the tools."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..kinds import Keys, as_json


def without_gaps(cell: Any, feature: Any) -> Any:
    """The cell without the keys that a table filled in, as None, because other rows have them.

    Args:
        cell: Any value.
        feature: Type of its column in `datasets`; JSON keeps the keys of each row.

    Example:
        >>> without_gaps({"town": "Rome", "day": None}, {"town": "string", "day": "string"})
        {'town': 'Rome'}
    """
    return _without_nulls(cell, feature) if _has_all_keys(cell, feature) else cell


def _has_all_keys(cell: Any, feature: Any) -> bool:
    """Whether each dict in the cell has the keys of the type, all of them and no others, as in a table."""
    if isinstance(feature, Keys):
        return False
    if isinstance(feature, Mapping) and isinstance(cell, Mapping):
        return set(cell) == set(feature) and all(_has_all_keys(cell[key], inner) for key, inner in feature.items())
    if hasattr(feature, "feature") and isinstance(cell, list):
        return all(_has_all_keys(item, feature.feature) for item in cell)
    return True


def _without_nulls(cell: Any, feature: Any) -> Any:
    if isinstance(feature, Mapping) and isinstance(cell, Mapping):
        return {key: _without_nulls(cell[key], inner) for key, inner in feature.items() if cell[key] is not None}
    if hasattr(feature, "feature") and isinstance(cell, list):
        return [_without_nulls(item, feature.feature) for item in cell]
    return cell


def parsed(value: Any) -> Any:
    """The list or dict that a text contains as JSON; any other value as it is."""
    if not isinstance(value, str):
        return value
    try:
        content = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return content if isinstance(content, list | dict) else value


def tool_calls(value: Any) -> Any:
    """Calls in the form of OpenAI; what cannot be read stays as it is, for the checks to name.

    Arguments are JSON, as they are there, because tables would fill in missing keys and round numbers.

    Args:
        value: A call, a list of calls, or either as JSON. The name of a call and its arguments may be in `function`.

    Example:
        >>> tool_calls({"name": "look", "arguments": {"town": "Rome"}})
        [{'type': 'function', 'function': {'name': 'look', 'arguments': '{"town": "Rome"}'}}]
    """
    calls = parsed(value)
    if isinstance(calls, Mapping):
        calls = [calls]
    return list(map(_call, calls)) if isinstance(calls, list) else calls


def _call(call: Any) -> Any:
    if not isinstance(call, Mapping):
        return call
    function = call.get("function", call)
    if not isinstance(function, Mapping) or "name" not in function:
        return call
    # `parameters` is what Llama 3 calls the arguments.
    arguments = function.get("arguments", function.get("parameters"))
    if arguments is None or arguments == "":
        arguments = {}
    if not isinstance(arguments, str):
        arguments = as_json(arguments)
    others = {"type": "function"}
    for key, inner in call.items():
        if inner is not None and key not in ("function", "name", "arguments", "parameters"):
            others[key] = inner
    return {**others, "function": {"name": function["name"], "arguments": arguments}}


def are_calls(value: Any) -> bool:
    """Whether `tool_calls` could read all of the calls."""
    if not isinstance(value, list):
        return False
    for call in value:
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            return False
        if not isinstance(parsed(function.get("arguments")), Mapping):
            return False
    return True


def schemas(cell: Any) -> str | None:
    """Schemas of tools as JSON; None for no tools, and what cannot be read as it is.

    Example:
        >>> schemas([{"name": "look"}])
        '[{"type": "function", "function": {"name": "look"}}]'
    """
    tools = parsed(cell)
    if isinstance(tools, Mapping):
        tools = [tools]
    if isinstance(tools, list):
        return as_json(list(map(_schema, tools))) if tools else None
    # An empty cell of a DataFrame is NaN, which alone differs from itself.
    return None if tools is None or tools != tools or not str(tools).strip() else str(tools)


def _schema(tool: Any) -> Any:
    tool = parsed(tool)
    if isinstance(tool, Mapping) and "name" in tool and "function" not in tool:
        return {"type": "function", "function": dict(tool)}
    return tool


def are_schemas(cell: str) -> bool:
    """Whether `schemas` could read all of the tools."""
    tools = parsed(cell)
    return isinstance(tools, list) and all(isinstance(tool, Mapping) for tool in tools)


def as_text(calls: list[Any]) -> str:
    """Calls as a model writes them that has no form of its own: a line of JSON for each."""
    lines = []
    for call in calls:
        function = call["function"]
        lines.append(as_json({"name": function["name"], "arguments": parsed(function["arguments"])}))
    return "\n".join(lines)
