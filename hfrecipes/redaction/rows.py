"""Rows with placeholders: which cells of a row are texts, and how words and spans stay right."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from .redactor import Edit, Edits, moved, moved_back, replaced

# Keys of turns and of descriptions of tools, whose values are no texts of people.
_NAMES = frozenset({"role", "from", "type", "id", "tool_call_id", "enum", "required"})
# Inside the arguments of a call: whatever keys they have, their values are those of people.
_NONE: frozenset[str] = frozenset()


def redacted(cell: Any, edits: Edits, *, reads_json: bool = False, names: frozenset[str] = _NAMES) -> Any:
    """A cell with placeholders in all texts in it, however deep; numbers that are to be replaced become texts.

    Args:
        cell: A text, or lists and objects with texts.
        edits: What is replaced in a text.
        reads_json: Whether texts that are objects in JSON, such as the arguments of a call, stay valid ones.
        names: Keys whose values stay; where there are none, keys are texts too.
    """
    if isinstance(cell, str):
        changed = _redacted_json(cell, edits) if reads_json else ""
        return changed or replaced(cell, edits(cell))
    if isinstance(cell, list):
        return [redacted(item, edits, reads_json=reads_json, names=names) for item in cell]
    if isinstance(cell, Mapping):
        changed_items = {}
        for key, item in cell.items():
            inside = {"arguments": _NONE, "function": names | {"name"}}.get(key, names) if names else _NONE
            value = item if key in names else redacted(item, edits, reads_json=reads_json, names=inside)
            changed_items[key if names else replaced(key, edits(key))] = value
        return changed_items
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        number = edits(str(cell))
        return replaced(str(cell), number) if number else cell
    return cell


def _redacted_json(text: str, edits: Edits) -> str:
    """An object or a list in JSON with placeholders in it; empty for any other text, and where nothing is replaced."""
    if not text.lstrip().startswith(("{", "[")):
        return ""
    try:
        value = json.loads(text)
    except ValueError:
        return ""
    changed = redacted(value, edits, reads_json=True, names=_NONE)
    return "" if changed == value else json.dumps(changed, ensure_ascii=False)


def redacted_cells(
    row: Mapping[str, Any], columns: Collection[str], edits: Edits, *, reads_json: bool = False
) -> dict[str, Any]:
    """A row with placeholders in the cells of these columns; arguments as for `redacted`."""
    cells = dict(row)
    for name in columns:
        if name in cells:
            cells[name] = redacted(cells[name], edits, reads_json=reads_json)
    return cells


# --- words -------------------------------------------------------------------------------------------------------


def joined_words(words: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """Words as a text, and first character and end of each in it; single characters, as of Chinese, without spaces.

    Example:
        >>> joined_words(["call", "me"]), joined_words(["张", "三"])
        (('call me', [(0, 4), (5, 7)]), ('张三', [(0, 1), (1, 2)]))
    """
    separator = "" if all(len(word) == 1 for word in words) else " "
    spans, start = [], 0
    for word in words:
        spans.append((start, start + len(word)))
        start += len(word) + len(separator)
    return separator.join(words), spans


def edits_of_words(edits: Sequence[Edit], spans: Sequence[tuple[int, int]]) -> list[list[Edit]]:
    """The edits of a text as edits inside each of its words: a number of three words becomes three placeholders.

    Args:
        edits: Of the text.
        spans: First character and end of each word.
    """
    by_word = []
    for start, end in spans:
        inside = []
        for edit in edits:
            first, last = max(edit.start, start), min(edit.end, end)
            if first < last:
                inside.append(Edit(first - start, last - start, edit.kind))
        by_word.append(inside)
    return by_word


def gaps_between(spans: Sequence[tuple[int, int]], length: int) -> list[tuple[int, int]]:
    """What lies before, between and after words: first characters and ends.

    Args:
        spans: First character and end of each word.
        length: Number of characters of the text.

    Example:
        >>> gaps_between([(1, 3), (3, 5)], 9)
        [(0, 1), (5, 9)]
    """
    borders = [0, *[position for span in spans for position in span], length]
    return [(start, end) for start, end in zip(borders[::2], borders[1::2], strict=True) if start < end]


# --- answers -----------------------------------------------------------------------------------------------------


def redacted_answer(answer: str, span: tuple[int, int] | None, context: str, edits: Edits) -> tuple[str, int | None]:
    """An answer and its first character in a redacted context; what is partly replaced becomes the whole placeholder.

    Args:
        answer: Its text.
        span: Its first character and end in the context, None where it does not occur there.
        context: The text that it is from.
        edits: What is replaced in a text.
    """
    if span is None:
        return replaced(answer, edits(answer)), None
    of_context = edits(context)
    start, end = moved(of_context, *span)
    return replaced(context, of_context)[start:end], start


def restored_span(context: str, edits: Edits, start: int, end: int) -> tuple[str, int, int]:
    """Text, first character and end, in the context that was given, of a span of the redacted one."""
    start, end = moved_back(edits(context), start, end)
    return context[start:end], start, end
