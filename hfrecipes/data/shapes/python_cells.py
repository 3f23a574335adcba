"""Cells as Python, numpy and torch print values: b'…' for bytes, np.int64(1), tensor(0), and lists without commas."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from typing import Any

_QUOTED = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_MODULE = r"(?:np\.|numpy\.|torch\.)"
_BYTES = re.compile(rf"(?:{_MODULE}bytes_\()?(?P<literal>b{_QUOTED})\)?", re.DOTALL)
_UNICODE = re.compile(rf"u{_QUOTED}|{_MODULE}?str_\((?P<literal>{_QUOTED})\)", re.DOTALL)
_SCALAR = re.compile(
    rf"(?:{_MODULE}(?:u?int|float|bool)_?\d*|{_MODULE}?tensor|{_MODULE}?array)\("
    rf"\s*(?P<value>{_NUMBER}|True|False)\s*(?:,\s*\w+=[^()]*)?\)|np\.(?P<bool>True|False)_"
)
# Lists with blanks between their entries, as numpy prints them.
_ENTRY = rf"(?:{_QUOTED}|{_NUMBER}|True|False|nan)"
_WITHOUT_COMMAS = re.compile(rf"\[\s*(?:{_ENTRY}(?:\s+{_ENTRY})*)?\s*\]", re.DOTALL)
# Python would join neighbouring texts into a single one.
_JOINED = re.compile(r"""["']\s+["']""")
_WRAPPERS = {"array", "tensor", "str_", "bytes_", "int32", "int64", "float32", "float64", "bool_"}
_MISSING = {"nan": None, "NaN": None, "NaT": None}


def printed_value(text: str) -> str | None:
    r"""The text or number inside what Python printed of bytes or of a value of numpy or torch; None for a plain text.

    Example:
        >>> printed_value("b'caf\\xc3\\xa9'"), printed_value("np.int64(1)"), printed_value("tensor(0.5)")
        ('café', '1', '0.5')
        >>> printed_value("b'ad' is a bytes literal") is None
        True
    """
    text = text.strip()
    if match := _BYTES.fullmatch(text):
        return _decoded(match["literal"])
    if match := _UNICODE.fullmatch(text):
        content = _literal(match["literal"] or text)
        return content if isinstance(content, str) else None
    match = _SCALAR.fullmatch(text)
    return (match["value"] or match["bool"]).rstrip(".") if match else None


def _decoded(literal: str) -> str | None:
    content = _literal(literal)
    try:
        return content.decode("utf-8") if isinstance(content, bytes) else None
    except UnicodeDecodeError:
        return None


def _literal(text: str) -> Any:
    """The value that Python writes so; None where it cannot be read."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return None


def are_printed(texts: Iterable[str | None]) -> bool:
    """Whether most of the texts that are not blank are printed values."""
    printed = plain = 0
    for text in texts:
        if text is not None and text.strip():
            is_printed = printed_value(text) is not None
            printed += is_printed
            plain += not is_printed
    return printed > plain


def are_joined(text: str) -> bool:
    """Whether a list has texts with nothing but blanks between them."""
    return _JOINED.search(text) is not None


def printed_list(text: str) -> list[Any] | None:
    """The list that numpy, pandas or torch printed, missing entries as None; None for any other text.

    Example:
        >>> printed_list("['Ana' 'sat']"), printed_list("array([0, 1], dtype=int32)"), printed_list("['a', nan]")
        (['Ana', 'sat'], [0, 1], ['a', None])
        >>> printed_list("[0 1 ... 0]") is None
        True
    """
    text = text.strip()
    if _WITHOUT_COMMAS.fullmatch(text):
        entries = re.findall(_ENTRY, text, re.DOTALL)
        return [_MISSING.get(entry, _literal(entry)) for entry in entries]
    if are_joined(text):
        return None
    try:
        value = _evaluated(ast.parse(text, mode="eval").body)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    return value if isinstance(value, list) else None


def _evaluated(node: ast.expr) -> Any:
    """The value of an expression of lists, values, and what numpy and torch put around them.

    Raises:
        ValueError: It is any other expression.
    """
    if isinstance(node, ast.List | ast.Tuple):
        return list(map(_evaluated, node.elts))
    if isinstance(node, ast.Call) and node.args and _name(node.func) in _WRAPPERS:
        return _evaluated(node.args[0])
    if isinstance(node, ast.Name) and node.id in _MISSING:
        return _MISSING[node.id]
    return ast.literal_eval(node)


def _name(function: ast.expr) -> str:
    """The last part of the name of a function, without its module."""
    return str(getattr(function, "attr", None) or getattr(function, "id", ""))
