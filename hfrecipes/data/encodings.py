"""Tell the encoding of a text file from its bytes: UTF-8, UTF-16, and the national encodings of older corpora."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import IO

_CHUNK = 1 << 20
_SAMPLE = 1 << 16  # bytes of lines with other characters than ASCII, which tell the encoding
_ZEROS = 0.2  # share of zero bytes that text in UTF-8 never has
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# Few, since a short text fits many encodings; the first of those that fit equally well is taken.
_CANDIDATES = ("cp1252", "gb18030", "big5", "cp932", "euc_jp", "cp949", "cp1251", "koi8_r", "cp1250", "iso8859_2")
# Separators of tables end a word too.
_WORD_ENDS = re.compile(r"[\s;,|\"]+")


@dataclass(frozen=True)
class Detected:
    """An encoding other than UTF-8."""

    name: str
    shown: str
    """A word of the file as this encoding reads it, by which the reader sees whether it is right."""


def detect(file: IO[bytes]) -> Detected | None:
    """The encoding of a file; None for UTF-8, also where a few lines are broken.

    Raises:
        UnicodeDecodeError: The file is no text.
    """
    start = file.read(_CHUNK)
    for mark, name in _MARKS.items():
        if start.startswith(mark):
            return Detected(name, "")
    if b"\0" in start and (start.count(0) > _ZEROS * len(start) or not _is_utf8(start, whole=False)):
        return _wide(start)
    lines = _lines_that_are_not_utf8(start, file)
    return _national(lines) if lines else None


def _wide(start: bytes) -> Detected:
    """UTF-16 or UTF-32 without a mark, by the places of the zero bytes."""
    # A character of UTF-32 has a first byte of 0, and a second one of 16 at most.
    if not any(start[3::4]) and max(start[2::4], default=0) <= 16:
        name = "utf-32-le"
    elif not any(start[::4]) and max(start[1::4], default=0) <= 16:
        name = "utf-32-be"
    else:
        name = _utf_16(start)
    # Bytes that are no text at all, such as those of a picture, hardly ever pass.
    text = codecs.getincrementaldecoder(name)().decode(start)
    return Detected(name, _shown(text))


def _utf_16(start: bytes) -> str:
    """The byte order of UTF-16, of whose ASCII characters one half is zero, and always the same."""
    first, second = start[::2].count(0), start[1::2].count(0)
    if min(first, second) > 0.1 * max(first, second):
        zero = start.index(0)
        raise UnicodeDecodeError("utf-8", start, zero, zero + 1, "zero bytes anywhere")
    return "utf-16-le" if second > first else "utf-16-be"


def _is_utf8(chunk: bytes, *, whole: bool = True) -> bool:
    try:
        # Where a chunk is a part, its end may cut a character.
        codecs.getincrementaldecoder("utf-8")().decode(chunk, final=whole)
    except UnicodeDecodeError:
        return False
    return True


def _lines_that_are_not_utf8(start: bytes, file: IO[bytes]) -> bytes:
    """Lines with more than ASCII from the first chunk that is not UTF-8; empty if all of the file is UTF-8.

    Empty too where most of these lines are UTF-8: then the others are mistakes of a file in UTF-8.
    """
    chunk = start
    while chunk:
        # A chunk ends with its line, so that no character is cut.
        chunk += file.readline()
        if not _is_utf8(chunk):
            return _sample([*chunk.splitlines(keepends=True), *file.readlines(_CHUNK)])
        if not chunk.isascii():
            return b""
        chunk = file.read(_CHUNK)
    return b""


def _sample(lines: list[bytes]) -> bytes:
    sample, size, in_utf8 = [], 0, 0
    for line in lines:
        if not line.isascii() and size < _SAMPLE:
            sample.append(line)
            size += len(line)
            in_utf8 += _is_utf8(line)
    return b"" if in_utf8 > 0.5 * len(sample) else b"".join(sample)


def _national(lines: bytes) -> Detected:
    import charset_normalizer

    matches = charset_normalizer.from_bytes(lines, cp_isolation=list(_CANDIDATES))
    best = matches.best()
    if best is None:
        # Every byte is a character in latin-1, so that the rows can at least be looked at.
        return Detected("latin-1", _shown(lines.decode("latin-1")))
    fitting = {best.encoding, *best.could_be_from_charset}
    for match in matches:
        if (match.chaos, match.coherence) == (best.chaos, best.coherence):
            fitting.update((match.encoding, *match.could_be_from_charset))
    name = next((name for name in _CANDIDATES if name in fitting), best.encoding)
    return Detected(name, _shown(lines.decode(name, errors="replace")))


def _shown(text: str) -> str:
    """The first word that has more than ASCII."""
    for word in _WORD_ENDS.split(text):
        if not word.isascii():
            # A text without blanks, such as one in Chinese, may be long, and be more than ASCII at its end alone.
            first = next(index for index, character in enumerate(word) if not character.isascii())
            start = max(0, first - 10)
            return f", such as {word[start : start + 20]!r}"
    return ""
