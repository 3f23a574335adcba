"""Read and write YAML 1.2: in YAML 1.1, which PyYAML follows, 5e-5 is a string and `no` is false."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

LARGEST = 100_000  # values of a document


class _Loader(yaml.SafeLoader):
    """Reads scalars as in YAML 1.2: 5e-5 is a number, and `no`, `on` and dates are strings, as labels must be."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        # PyYAML keeps the last of two equal keys without a warning.
        known = set()
        for key in keys:
            # PyYAML has its own words for keys such as lists.
            if not isinstance(key, Hashable):
                continue
            if key in known:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key!r}", node.start_mark)
            known.add(key)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes every string that either version of YAML would read as something else."""


# Tag, pattern and possible first characters of each kind of scalar; strings are all that match none.
_SCALARS = [
    ("tag:yaml.org,2002:bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("tag:yaml.org,2002:null", r"^(?:null|Null|NULL|~|)$", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:int", r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        "-+.0123456789",
    ),
    ("tag:yaml.org,2002:merge", r"^(?:<<)$", "<"),
]
# The loader forgets the scalars of YAML 1.1. The dumper keeps them and learns those of 1.2, so it quotes for both.
_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(_tag, re.compile(_pattern), list(_first))
    _Dumper.add_implicit_resolver(_tag, re.compile(_pattern), list(_first))


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    # A leading zero means octal in YAML 1.1 and nothing in 1.2, where octal numbers start with 0o.
    if node.value[:2] in ("0o", "0x"):
        return int(node.value, 0)
    return int(node.value)


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)


def load(text: str) -> Any:
    """Read a document.

    Raises:
        yaml.YAMLError: The text is not YAML, a mapping has a duplicate key, or aliases repeat too much.
    """
    try:
        content = yaml.load(text, Loader=_Loader)
        _check_size(content, {})
    # What PyYAML itself raises for tags that do not fit their value, for numbers of too many digits, and for nesting.
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise yaml.YAMLError(str(error) or type(error).__name__) from error
    return content


def _check_size(value: Any, known: dict[int, int]) -> int:
    """Number of values, those behind an alias counted each time, as whoever copies the blocks would meet them.

    Raises:
        yaml.YAMLError: There are more than a recipe file ever has.
    """
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = LARGEST + 1  # a block inside itself
        size = 1
        for inner in value.values() if isinstance(value, dict) else value:
            size += _check_size(inner, known)
        known[id(value)] = size
    if known[id(value)] > LARGEST:
        raise yaml.YAMLError(f"its aliases repeat more than {LARGEST} values: write the values out")
    return known[id(value)]


def dump(values: Any) -> str:
    """Write a document that means the same in YAML 1.1 and 1.2."""
    text: str = yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


def parse_value(text: str) -> Any:
    """The value that `text` means in YAML 1.2; a text that is not a single value is returned as it is.

    Example:
        >>> parse_value("5e-5"), parse_value("no"), parse_value("[a, 1]"), parse_value("-")
        (5e-05, 'no', ['a', 1], '-')
    """
    try:
        value = load(text)
    except yaml.YAMLError:
        return text
    # The prefix "summarize: " of T5 would be a mapping, the label "-" a list, and the label "#1" a comment.
    is_block = isinstance(value, dict | list) and not text.lstrip().startswith(("{", "["))
    is_comment = value is None and text.lstrip().startswith("#")
    return text if is_block or is_comment else value


def format_value(value: Any) -> str:
    """The text that `parse_value` reads as `value`."""
    if isinstance(value, dict | list | str | int | float | bool | None):
        # With the usual width of 80, a long value would be written on several lines.
        text: str = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, allow_unicode=True, width=1 << 20)
        return text.removesuffix("\n").removesuffix("\n...")
    return f"<{type(value).__name__}>"
