"""Rows of words with placeholders: the words, the text that they are from, and the spans in it."""

from __future__ import annotations

from ..data.shapes.tags import find_words
from ..recipe import Row
from ..redaction.redactor import Edit, Edits, moved, replaced
from ..redaction.rows import edits_of_words, gaps_between, joined_words, redacted_cells


def redacted_words(row: Row, edits: Edits) -> Row:
    """The row with placeholders inside its words, as many words as before.

    Args:
        row: With `tokens`, and where there is one the `text` that they are from, and its `entities`.
        edits: What is replaced in a text.
    """
    words = row.get("tokens")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return redacted_cells(row, ("tokens", "text"), edits)
    text, spans = joined_words(words)
    if isinstance(row.get("text"), str) and find_words(row["text"], words):
        text, spans = row["text"], find_words(row["text"], words)
    matches = edits(text)
    by_word = edits_of_words(matches, spans)
    changed: Row = {**row, "tokens": list(map(replaced, words, by_word))}
    if not isinstance(row.get("text"), str):
        return changed
    if row["text"] != text:  # its tokens are not of it
        return redacted_cells(changed, ("text",), edits)
    # A text may have more than its words.
    gaps = [(start, end) for start, end in gaps_between(spans, len(text)) if text[start:end].strip()]
    parts = sorted([*spans, *gaps])
    of_text: list[Edit] = []
    for (start, _), inside in zip(parts, edits_of_words(matches, parts), strict=True):
        of_text += [Edit(start + edit.start, start + edit.end, edit.kind) for edit in inside]
    changed["text"] = replaced(text, of_text)
    if row.get("entities"):
        changed["entities"] = [_moved_entity(entity, of_text) for entity in row["entities"]]
    return changed


def _moved_entity(entity: Row, edits: list[Edit]) -> Row:
    if entity.get("start") is None or entity.get("end") is None:
        return entity
    start, end = moved(edits, entity["start"], entity["end"])
    return {**entity, "start": start, "end": end}
