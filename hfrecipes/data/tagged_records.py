"""Records between tags: `<doc>`, with a text between tags for each column, as LCSTS is published."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .batches import in_batches
from .opening import SourceFile

_BATCH = 10_000  # records
_START = re.compile(r"\s*<doc\b[^>]*>\s*", re.IGNORECASE)
_END = re.compile(r"\s*</doc>\s*", re.IGNORECASE)
_COLUMN = re.compile(r"<(\w+)>(.*?)</\1>", re.DOTALL)


def are_records(start: str) -> bool:
    """Whether a file begins with a record and one of its columns.

    Args:
        start: The first characters that are not blank, and those after them.
    """
    first, _, rest = start.partition("\n")
    return _START.fullmatch(first) is not None and re.match(r"\s*<\w+>", rest) is not None and "<seg" not in start


def batches(source: SourceFile) -> Iterator[list[dict[str, str]]]:
    """The records, with the texts of their columns."""
    return in_batches(_records(source), _BATCH)


def _records(source: SourceFile) -> Iterator[dict[str, str]]:
    lines: list[str] = []
    for line in source.lines():
        if _END.fullmatch(line):
            columns = _COLUMN.findall("".join(lines))
            yield {name: text.strip() for name, text in columns}
            lines = []
        elif not _START.fullmatch(line):
            lines.append(line)
