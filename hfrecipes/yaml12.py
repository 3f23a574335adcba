"""YAML 1.2 values: in YAML 1.1, which PyYAML follows, 5e-5 is a text and `no` is false."""

from __future__ import annotations

import re
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """YAML 1.2 scalars: 5e-5 is a number, and `no`, `on` and dates are texts, as labels must be."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"key {twice.pop()!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes every text that either YAML version would read as something else."""


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
_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(_tag, re.compile(_pattern), list(_first))
    _Dumper.add_implicit_resolver(_tag, re.compile(_pattern), list(_first))
# SafeLoader reads a leading zero as octal; YAML 1.2 does not.
_Loader.add_constructor(
    "tag:yaml.org,2002:int",
    lambda loader, node: int(node.value, 0) if node.value[:2] in ("0o", "0x") else int(node.value),
)


def load(text: str) -> Any:
    """Read a document.

    Raises:
        yaml.YAMLError: It is no YAML, or a key stands twice.
    """
    return yaml.load(text, Loader=_Loader)


def dump(values: Any) -> str:
    """Write a document that YAML 1.1 and 1.2 read alike."""
    text: str = yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


def parse_value(text: str) -> Any:
    """The value that `text` stands for in YAML 1.2.

    Example:
        >>> parse_value("5e-5"), parse_value("no"), parse_value("[a, 1]")
        (5e-05, 'no', ['a', 1])
    """
    try:
        value = load(text)
    except yaml.YAMLError:
        return text
    is_block = isinstance(value, dict) and not text.lstrip().startswith("{")  # as `summarize: `
    is_comment = value is None and text.lstrip().startswith("#")
    return text if is_block or is_comment else value


def format_value(value: Any) -> str:
    """The text that `parse_value` reads as `value`."""
    if isinstance(value, dict | list | str | int | float | bool | None):
        text: str = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, allow_unicode=True, width=1 << 20)
        return text.removesuffix("\n").removesuffix("\n...")
    return f"<{type(value).__name__}>"
