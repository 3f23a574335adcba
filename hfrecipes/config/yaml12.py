"""Read and write YAML 1.2 as plain values: in YAML 1.1, which PyYAML follows, 5e-5 is a string and `no` is false.

PyYAML parses the syntax; the values are built here, of texts, numbers, true, false, null, lists and blocks alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import yaml

from ..errors import ConfigError

MOST_KEYS = 10_000  # of a document
DEEPEST = 30  # lists and blocks inside each other
LONGEST_NUMBER = 250  # characters; the largest float has 309 digits, of which 250 are left to a number in hexadecimal

_BLANKS = " \t\r\n"  # of YAML; Python strips others too, such as the one that keeps words together
_NULLS = {"", "~", "null", "Null", "NULL"}
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
# PyYAML ends a line at these, as YAML 1.1 does, and would make a space of the first inside quotes.
_OLD_LINE_ENDS = re.compile("[\x85\u2028\u2029]")


class UnreadableError(ConfigError):
    """A document that is no YAML, or not one of plain values.

    Attributes:
        problem: What is wrong, without the line.
        line: Number of the line, from 1.
    """

    def __init__(self, problem: str, line: int) -> None:
        self.problem = problem
        self.line = line
        super().__init__(problem)


class RefusedError(UnreadableError):
    """A document that is certainly meant as YAML, and that no setting can be."""


# --- reading -----------------------------------------------------------------------------------------------------


def load(text: str, *, named: int = 0) -> Any:
    """Read a document.

    Args:
        text: The document.
        named: Levels of blocks, from the outside, whose keys must be texts.

    Raises:
        UnreadableError: The text is not YAML, or has tags, anchors, duplicate keys, or more keys or levels than
            settings ever have.
    """
    old = _OLD_LINE_ENDS.search(text)
    if old is not None:
        escape = f"\\u{ord(old[0]):04x}"
        raise UnreadableError(
            f"found the character U+{ord(old[0]):04X}: write it as {escape} in double quotes", _line(text, old.start())
        )
    try:
        return _Builder(text, named).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = f"not valid YAML ({error.problem}): fix it, or put a text with : # or brackets in quotes"
        raise UnreadableError(problem, mark.line + 1 if mark else 1) from error
    except yaml.reader.ReaderError as error:
        problem = f"found the character U+{error.character:04X}, not valid YAML: delete it"
        raise UnreadableError(problem, _line(text, error.position)) from error


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


class _Builder:
    """Builds the values of a document from the events of its parser, and stops at the first that settings never have.

    The parser keeps its own stack, so that however deep a document is, it is refused here and not by Python.
    """

    def __init__(self, text: str, named: int) -> None:
        self._events = yaml.parse(text, Loader=yaml.SafeLoader)
        self._named = named
        self._keys = 0

    def document(self) -> Any:
        """The value of the only document; None for an empty one."""
        content = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise UnreadableError("found a second document: delete one of them", _number(event))
                content = self._value(next(self._events), 0)
        return content

    def _value(self, event: Any, depth: int) -> Any:
        """The value that starts with this event, `depth` lists and blocks below the top."""
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            kind = "alias *" if isinstance(event, yaml.AliasEvent) else "anchor &"
            problem = f"the {kind}{event.anchor} is not read: write its values out, or put a text in quotes"
            raise UnreadableError(problem, _number(event))
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            raise UnreadableError(f"the tag {tag} is not read: leave it out, or put a text in quotes", _number(event))
        if depth > DEEPEST:
            raise RefusedError(f"found lists or blocks more than {DEEPEST} levels deep: delete them", _number(event))
        if isinstance(event, yaml.MappingStartEvent):
            return self._block(depth)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(depth)
        # A text in quotes, or below | or >, is not looked at.
        return _plain(event.value, _number(event)) if event.implicit[0] else event.value

    def _list(self, depth: int) -> list[Any]:
        items = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(event, depth + 1))
        return items

    def _block(self, depth: int) -> dict[Any, Any]:
        values: dict[Any, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, depth)
            if key in values:
                raise RefusedError(f"duplicate key {key!r}: keep one of them", _number(event))
            values[key] = self._value(next(self._events), depth + 1)
        return values

    def _key(self, event: Any, depth: int) -> Any:
        self._keys += 1
        if self._keys > MOST_KEYS:
            raise RefusedError(f"found more than {MOST_KEYS} keys, expected the settings of a run", _number(event))
        if not isinstance(event, yaml.ScalarEvent):
            problem = "found a list or a block as the name of a setting, expected a text: delete it"
            raise RefusedError(problem, _number(event))
        key = self._value(event, depth + 1)
        if not isinstance(key, str) and depth < self._named:
            problem = (
                f"found {format_value(key)} as the name of a setting, expected a text: delete it, or put it in quotes"
            )
            raise RefusedError(problem, _number(event))
        return key


def _number(event: Any) -> int:
    """Number of the line of an event."""
    return int(event.start_mark.line) + 1


def _plain(text: str, line: int = 1) -> Any:
    """The value of a text without quotes.

    Raises:
        RefusedError: It is a number too long for any setting.
    """
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    read = _reader_of(text)
    if read is not None and len(text) > LONGEST_NUMBER:
        raise RefusedError(f"found a number of {len(text)} digits: shorten it, or put a text in quotes", line)
    return text if read is None else read(text)


def _reader_of(text: str) -> Callable[[str], Any] | None:
    """What reads the text as a number; None where it is none."""
    if _INTEGER.fullmatch(text):
        # A leading zero means octal in YAML 1.1 and nothing in 1.2, where octal numbers start with 0o.
        return _based if text[:2] in ("0o", "0x") else int
    if _FLOAT.fullmatch(text):
        return float
    return _not_finite if _NOT_FINITE.fullmatch(text) else None


def _based(text: str) -> int:
    return int(text, 0)


def _not_finite(text: str) -> float:
    return float(text.replace(".", "", 1))


def parse_value(text: str) -> Any:
    """The value that `text` means in YAML 1.2; a text that is not a single value is returned as it is.

    Raises:
        RefusedError: It has duplicate keys, or a number or levels that no setting has.

    Example:
        >>> parse_value("5e-5"), parse_value("no"), parse_value("[a, 1]"), parse_value("- #1: ")
        (5e-05, 'no', ['a', 1], '- #1: ')
    """
    start = text.lstrip(_BLANKS)[:1]
    # Without brackets or quotes there is one plain value: the prefix "summarize: " of T5 is no block, "|" no text to
    # come, and "#1" no comment.
    if start not in ("[", "{", '"', "'"):
        value = _plain(text.strip(_BLANKS))
        return text if isinstance(value, str) else value
    try:
        return load(text)
    except RefusedError:
        raise
    except UnreadableError:
        return text


# --- writing -----------------------------------------------------------------------------------------------------


class _Dumper(yaml.SafeDumper):
    """Quotes every string that either version of YAML would read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        """Always: a list that two settings share is written twice, as aliases are not read."""
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    # Only double quotes have escapes, without which these would be read as blanks.
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if _OLD_LINE_ENDS.search(text) else None)


_Dumper.add_representer(str, _represent_text)
# The dumper keeps the scalars of YAML 1.1 and learns those of 1.2, so that it quotes for both.
_Dumper.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(rf"^(?:{_INTEGER.pattern})$"), list("-+0123456789"))
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(rf"^(?:{_FLOAT.pattern})$"), list("-+.0123456789"))


def dump(values: Any) -> str:
    """Write a document that means the same in YAML 1.1 and 1.2."""
    text: str = yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


def typed_text(text: str) -> str:
    """How a text is typed on a command line, where null and true are no texts, and a shell takes quotes away.

    Example:
        >>> print(typed_text("-"), typed_text("null"), typed_text("no label"))
        - "'null'" "no label"
    """
    value = parse_value(text)
    is_plain = value == text or (type(value) is int and str(value) == text)
    return text if is_plain and " " not in text else f'"{format_value(text)}"'


def format_value(value: Any) -> str:
    """The text that `parse_value` reads as `value`."""
    if isinstance(value, dict | list | str | int | float | bool | None):
        # With the usual width of 80, a long value would be written on several lines.
        text: str = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, allow_unicode=True, width=1 << 20)
        return text.removesuffix("\n").removesuffix("\n...")
    return f"<{type(value).__name__}>"
