"""The JSON schema of recipe files, by which editors complete settings, show what they do, and mark wrong ones.

`recipe.json` beside this module is what `json_schema` gives for the tasks that ship; a test compares both.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..config.run_config import FIELDS, WRITTEN_WITH_BLOCK
from ..config.trainer_descriptions import WORKS
from ..config.trainer_keywords import ACCELERATOR_KEYS, FIXED, SEEDS, Range, training_types
from ..config.yaml12 import format_value
from ..recipe import Recipe, arguments_name
from ..registry import find
from .settings import NO_DEFAULT, Setting, block_settings, members, option_settings, run_settings, training_settings

DRAFT = "http://json-schema.org/draft-07/schema#"
_WORDS: Mapping[Any, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    dict: "object",
    types.NoneType: "null",
}
# Classes of transformers; the second one has all arguments of the first.
_ARGUMENTS = ("TrainingArguments", "Seq2SeqTrainingArguments")
# Blocks whose library has more keywords than those that are described.
_OPEN = ("model", "dataset", "search")
# A list of models has one run each; a dataset may be a list of files, or of rows.
_LISTS = ("model", "dataset")
# Keys without which a block says nothing.
_REQUIRED = {"model": "path", "hub": "repo_id", "distill": "run"}


def json_schema(tasks: Iterable[str]) -> dict[str, Any]:
    """The schema of recipe files; a task in a file of its own (`task: my_task.py`) may have any options.

    Args:
        tasks: Names of the tasks whose options are in it.
    """
    recipes = {name: find(name) for name in tasks}
    properties = _properties(run_settings())
    of_file = {"type": "string", "pattern": r"\.py$"}
    properties["task"] = {"description": properties["task"]["description"], "anyOf": [{"enum": [*recipes]}, of_file]}
    underscored = [name.replace("-", "_") for name in recipes if "-" in name]
    # Found too, and not what editors should suggest.
    properties["task"]["anyOf"].append({"enum": underscored, "doNotSuggest": True})
    properties["seeds"] |= _of_seeds()
    definitions = {kind: _training(kind) for kind in _ARGUMENTS}
    for name in _bare_arguments(_ARGUMENTS[0]):
        properties[name] = {"$ref": f"#/definitions/{_ARGUMENTS[0]}/properties/{name}"}
    definitions |= {name: _of_task(name, recipe) for name, recipe in recipes.items()}
    return {
        "$schema": DRAFT,
        "title": "Recipe file of hfrecipes",
        "type": "object",
        "required": ["task"],
        "properties": properties,
        "allOf": [_if_task(name) for name in recipes],
        "definitions": definitions,
    }


def _if_task(name: str) -> dict[str, Any]:
    condition = {"required": ["task"], "properties": {"task": {"enum": sorted({name, name.replace("-", "_")})}}}
    return {"if": condition, "then": {"$ref": f"#/definitions/{name}"}}


# --- what all tasks share ----------------------------------------------------------------------------------------


def _properties(settings: Iterable[Setting]) -> dict[str, Any]:
    """The schema of each setting, as a block or value where it may be a block."""
    blocks = block_settings()
    properties = {}
    for setting in settings:
        schema = property_of(_or_null(setting))
        if setting.name in blocks:
            schema = {**_described(setting), **_with_block(setting, blocks[setting.name])}
        properties[setting.name] = schema
    return properties


def _with_block(setting: Setting, keys: Sequence[Setting]) -> dict[str, Any]:
    """The schema of a setting that is a block, or a value."""
    block = _lora(keys) if setting.name == "lora" else _block(keys, is_open=setting.name in _OPEN)
    if setting.name in _REQUIRED:
        block["required"] = [_REQUIRED[setting.name]]
    if setting.name in _LISTS:
        return {"anyOf": [block, {"type": ["string", "array", "null"]}]}
    forms = [block]
    for kind in members(setting.kind | None):
        if typing.get_origin(kind) is not dict:
            forms.append({**schema_of(kind), **_limits(setting)})
    return {"anyOf": forms}


def _block(keys: Sequence[Setting], *, is_open: bool) -> dict[str, Any]:
    """A block with these keys, and with others if it is open."""
    block = {"type": "object", "properties": {key.name: property_of(key) for key in keys}}
    return block if is_open else {**block, "additionalProperties": False}


def _lora(keys: Sequence[Setting]) -> dict[str, Any]:
    """The block of adapters: other methods of PEFT than LoRA have other keywords."""
    is_lora = {"properties": {"peft_type": {"enum": ["LORA", "lora"]}}}
    only_these = {"properties": {key.name: {} for key in keys}, "additionalProperties": False}
    block = {**_block(keys, is_open=True), "if": is_lora, "then": only_these}
    names = block["properties"]["peft_type"].pop("enum")
    small = {"enum": [name.lower() for name in names], "doNotSuggest": True}
    block["properties"]["peft_type"]["anyOf"] = [{"enum": names}, small]
    return block


def _training(arguments: str) -> dict[str, Any]:
    """The block `training`.

    Args:
        arguments: Name of the class of transformers.
    """
    properties: dict[str, Any] = {}
    for group in training_settings(arguments).values():
        properties |= {setting.name: property_of(_or_null(setting)) for setting in group}
    keys = dict.fromkeys(ACCELERATOR_KEYS, schema_of(Any))
    accelerator = {"type": ["object", "null"], "properties": keys, "additionalProperties": False}
    properties["accelerator_config"] = {"description": properties["accelerator_config"]["description"], **accelerator}
    for name in _fixed(arguments):
        value, why = FIXED[name]
        values = [value] if value is None else [value, None]
        # A line with such a value changes nothing, so that editors should not suggest it.
        properties[name] = {"description": f"{format_value(value)}: {why}.", "enum": values, "doNotSuggest": True}
    return {"type": ["object", "null"], "properties": properties, "additionalProperties": False}


def _fixed(arguments: str) -> list[str]:
    """Arguments of the Trainer with one value that a class has."""
    return [name for name in training_types(arguments) if name in FIXED]


def _bare_arguments(arguments: str) -> list[str]:
    """Arguments of the Trainer that can be written at the top of the file too."""
    return [name for name in (*WORKS, *_fixed(arguments)) if name not in WRITTEN_WITH_BLOCK]


# --- what differs between tasks ----------------------------------------------------------------------------------


def _of_task(name: str, recipe: type[Recipe]) -> dict[str, Any]:
    """Options, columns and arguments of a task, in their blocks and at the top of the file."""
    arguments = arguments_name(recipe)
    options = _properties(option_settings(recipe))
    column = schema_of(typing.get_args(FIELDS["columns"])[-1] | None)
    properties: dict[str, Any] = {
        "options": {"type": ["object", "null"], "properties": options, "additionalProperties": False},
        "columns": {"properties": dict.fromkeys(recipe.columns, column), "additionalProperties": False},
        "training": {"$ref": f"#/definitions/{arguments}"},
    }
    for argument in sorted(set(_fixed(arguments)) - set(_fixed(_ARGUMENTS[0]))):
        properties[argument] = {"$ref": f"#/definitions/{arguments}/properties/{argument}"}
    bare_arguments = _bare_arguments(arguments)
    # A name that an argument has as well is written in its block.
    for option in options:
        if option not in (*FIELDS, *bare_arguments, *WRITTEN_WITH_BLOCK):
            properties[option] = {"$ref": f"#/definitions/{name}/properties/options/properties/{option}"}
    return {"properties": properties, "propertyNames": {"enum": sorted({*FIELDS, *bare_arguments, *properties})}}


# --- one setting -------------------------------------------------------------------------------------------------


def property_of(setting: Setting) -> dict[str, Any]:
    """The schema of a setting.

    Example:
        >>> property_of(Setting("top_k", int, 5, "Number of labels."))
        {'description': 'Number of labels.', 'default': 5, 'type': 'integer'}
    """
    return {**_described(setting), **schema_of(setting.kind), **_limits(setting)}


def _or_null(setting: Setting) -> Setting:
    """The setting where null stands for its default."""
    return dataclasses.replace(setting, kind=setting.kind | None)


def _of_seeds() -> dict[str, Any]:
    """What distinguishes seeds of several runs from any list: two or more that differ."""
    return {
        "items": {"type": "integer", **_limits_of(SEEDS)},
        "uniqueItems": True,
        "not": {"type": "array", "minItems": 1, "maxItems": 1},
    }


def _limits(setting: Setting) -> dict[str, Any]:
    """The range of numbers; values of other types are in no range."""
    return {} if setting.range is None else _limits_of(setting.range)


def _limits_of(numbers: Range) -> dict[str, Any]:
    lowest = "exclusiveMinimum" if numbers.above else "minimum"
    highest = "exclusiveMaximum" if numbers.below else "maximum"
    limits: dict[str, Any] = {lowest: numbers.low, highest: numbers.high}
    if numbers.excluded is not None:
        limits["not"] = {"enum": [numbers.excluded]}
    if numbers.whole_above is not None:
        limits["anyOf"] = [{"maximum": numbers.whole_above}, {"type": "integer"}]
    return limits


def _described(setting: Setting) -> dict[str, Any]:
    described: dict[str, Any] = {"description": setting.description} if setting.description else {}
    if setting.default not in (NO_DEFAULT, None) and not setting.follows:
        described["default"] = setting.default
    return described


def schema_of(kind: Any) -> dict[str, Any]:
    """The JSON schema of a type; empty, which is any value, where only a library can tell.

    Example:
        >>> schema_of(int | None), schema_of(list[str] | None)
        ({'type': ['integer', 'null']}, {'anyOf': [{'type': 'array', 'items': {'type': 'string'}}, {'type': 'null'}]})
    """
    kinds = members(kind)
    forms = []
    for member in kinds:
        form = _form_of(member)
        forms += [form] if form not in forms else []
    if {} in forms:
        return {}
    if len(forms) == 1:
        return forms[0]
    if all(set(form) == {"type"} for form in forms):
        return {"type": [form["type"] for form in forms]}
    if len(forms) == 2 and "enum" in forms[0] and kinds[1] is types.NoneType:
        return {"enum": [*forms[0]["enum"], None]}
    return {"anyOf": forms}


def _form_of(kind: Any) -> dict[str, Any]:
    """The schema of a type that is no union."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return {"enum": [*inner]}
    if origin in (list, tuple):
        return {"type": "array", "items": schema_of(inner[0])}
    if origin in (dict, Mapping):
        values = schema_of(inner[-1])
        return {"type": "object", "additionalProperties": values} if values else {"type": "object"}
    if dataclasses.is_dataclass(kind):
        return {"type": "object"}
    return {"type": _WORDS[kind]} if kind in _WORDS else {}
