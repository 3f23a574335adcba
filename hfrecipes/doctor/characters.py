"""Texts that were damaged before they came here: read in a wrong encoding, written as HTML, or replaced by
placeholders such as n/a."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html import unescape
from typing import TypeVar

from ..errors import counted
from .diagnosis import Diagnosis, Grade
from .parts import Part

# The first byte of a character in UTF-8, and one that follows it, read as Latin-1 or as cp1252.
_AS_CP1252 = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_MISREAD = re.compile(f"[\u00c2-\u00f4][\u0080-\u00bf{_AS_CP1252}]+")
Mark = TypeVar("Mark")
_LOST = "\ufffd"
_ENTITY = re.compile(r"&(?:[a-zA-Z]{2,8}|#\d{2,6}|#x[0-9a-fA-F]{2,5});")
_TAG = re.compile(r"</?(?:br|p|div|span|b|i|em|strong|a|li|ul|td|tr)(?:\s[^<>]*)?/?>", re.IGNORECASE)
_NOTHING = frozenset(("-", "--", "n/a", "na", "#n/a", "tbd", "todo"))
# Blocks of letters that are common in text that was read wrongly: Latin-1 letters, punctuation, and all beyond U+0370.
_USUAL = (
    range(0xA0, 0x100),
    range(0x2010, 0x2123),
    range(0x370, 0x600),
    range(0x3000, 0xFFF0),
    range(0x1F300, 0x1FB00),
)


def damaged_texts(part: Part) -> Iterator[Diagnosis]:
    """Texts with characters that were read wrongly or lost, texts with HTML, and placeholders for missing texts."""
    for column, texts in part.texts.items():
        yield from _misread(part, column, texts)
        yield from _lost(part, column, texts)
        yield from _html(part, column, texts)
        if part.recipe.columns[column].kind == "string":
            yield from _placeholders(part, column, texts)


def _placeholders(part: Part, column: str, texts: list[str]) -> Iterator[Diagnosis]:
    rows = [index for index, text in enumerate(texts) if len(text) < 6 and text.strip().casefold() in _NOTHING]
    if rows:
        sentence = f"{column} is {texts[rows[0]].strip()!r} or similar in {counted(len(rows), 'row')}"
        edit = "delete these rows if it means that there is no text"
        why = "which is read as a text"
        yield Diagnosis("warning", "placeholder-texts", sentence, part.split, part.numbered(rows), why, edit)


def _misread(part: Part, column: str, texts: list[str]) -> Iterator[Diagnosis]:
    rows, example = _marked(texts, _first_repair)
    if example:
        sentence = f"{column} has characters of a wrong encoding in {counted(len(rows), 'row')}"
        why = f"such as {example[0]!r} for {example[1]!r}"
        edit = "export the file again as UTF-8, or repair it with the package ftfy"
        yield Diagnosis("warning", "wrong-encoding", sentence, part.split, part.numbered(rows), why, edit)


def _marked(texts: list[str], mark_of: Callable[[str], Mark | None]) -> tuple[list[int], Mark | None]:
    """Indices of the texts that have a mark, and the first mark."""
    rows: list[int] = []
    example = None
    for index, text in enumerate(texts):
        mark = mark_of(text)
        if mark is not None:
            example = example or mark
            rows.append(index)
    return rows, example


def _first_repair(text: str) -> tuple[str, str] | None:
    """The first characters that were read wrongly and what they were; None where there are none.

    Example:
        >>> _first_repair("schÃ¶n"), _first_repair("CAFÉ” schön")
        (('Ã¶', 'ö'), None)
    """
    if text.isascii():
        return None
    for match in _MISREAD.finditer(text):
        meant = _decoded(match[0])
        if meant is not None and all(map(_is_usual, meant)):
            return match[0], meant
    return None


def _is_usual(character: str) -> bool:
    return any(ord(character) in block for block in _USUAL)


def _decoded(text: str) -> str | None:
    """What the bytes of a text mean in UTF-8; None where they mean nothing."""
    codes = bytearray()
    for character in text:
        try:
            # What cp1252 leaves out is as in Latin-1.
            codes += character.encode("cp1252") if character in _AS_CP1252 else character.encode("latin-1")
        except UnicodeEncodeError:
            return None
    for end in range(len(codes), 1, -1):  # the run may end with a character that is meant
        try:
            return codes[:end].decode("utf-8")
        except UnicodeDecodeError:
            continue
    return None


def _lost(part: Part, column: str, texts: list[str]) -> Iterator[Diagnosis]:
    rows = [index for index, text in enumerate(texts) if _LOST in text]
    if rows:
        sentence = f"{column} has lost characters (U+FFFD) in {counted(len(rows), 'row')}"
        edit = "export the file again, with the encoding of its source"
        why = "which cannot be restored"
        yield Diagnosis("warning", "lost-characters", sentence, part.split, part.numbered(rows), why, edit)


def _html(part: Part, column: str, texts: list[str]) -> Iterator[Diagnosis]:
    rows, example = _marked(texts, _first_markup)
    if example:
        sentence = f"{column} has HTML such as {example} in {counted(len(rows), 'row')}"
        edit = "convert it to plain text; Python's html.unescape converts entities"
        why = "which the texts to predict may not have"
        grade: Grade = "warning" if len(rows) > len(texts) / 2 else "note"
        yield Diagnosis(grade, "html", sentence, part.split, part.numbered(rows), why, edit)


def _first_markup(text: str) -> str | None:
    """The first entity that HTML knows, or the first tag."""
    if "&" not in text and "<" not in text:
        return None
    for match in _ENTITY.finditer(text):
        if unescape(match[0]) != match[0]:
            return match[0]
    tag = _TAG.search(text)
    return tag[0] if tag else None
