"""Parallel texts between tags, as IWSLT and WMT publish them: sets of segments, and talks with lines about them."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError, counted
from ..log import log
from .batches import cells_of
from .opening import SourceFile, suffix_of

if TYPE_CHECKING:
    from datasets import Dataset

_FIRST_LINES = 50
_START = re.compile(r"\s*<(\?xml|mteval|srcset|refset|tstset|doc)\b", re.IGNORECASE)
_SEGMENT = re.compile(r"<seg\b", re.IGNORECASE)
# Lines of IWSLT's training files that are about a talk and not of it.
_ABOUT = re.compile(r"\s*</?(url|keywords|speaker|talkid|title|description|reviewer|translator|doc|content)\b.*>\s*")


def refuse_segments(source: SourceFile) -> None:
    """Refuse a file of XML or SGML whose texts are in segments.

    Raises:
        DataError: With the command that writes them as lines.
    """
    if _has_segments(source):
        raise DataError(f"{source.path} {_edit(source.path)}")


def without_segments(files: Sequence[str]) -> list[str]:
    """The files of a folder without those of segments, which are printed with the command that makes lines of them."""
    kept = []
    for file in files:
        if suffix_of(file) in (".xml", ".sgm", ".sgml") and _has_segments(SourceFile(file)):
            log(f"{file} is not read: it {_edit(file)}")
        else:
            kept.append(file)
    return kept


def _has_segments(source: SourceFile) -> bool:
    lines = list(itertools.islice(source.lines(), _FIRST_LINES))
    return bool(lines) and _START.match(lines[0]) is not None and any(map(_SEGMENT.search, lines))


def _edit(file: str) -> str:
    # IWSLT16.TED.tst2013.en-de.en.xml has its language before the suffix, where files of lines have it.
    target = shlex.quote(str(PurePath(file).with_suffix("")))
    command = r"sed -n 's|.*<seg[^>]*> *\(.*[^ ]\) *</seg>.*|\1|p' " + f"{shlex.quote(file)} > {target}"
    return f"holds its texts in <seg> tags, expected a text per line: {command}"


def without_notes(rows: Dataset) -> Dataset:
    """Parallel lines without those that only describe a talk, in all languages."""
    is_note = np.ones(len(rows), dtype=bool)
    for name in rows.column_names:
        is_note &= np.array([_ABOUT.fullmatch(line) is not None for line in cells_of(rows, name)], dtype=bool)
    if not is_note.any():
        return rows
    log(f"{counted(int(is_note.sum()), 'line')} with tags such as <url> and <title> left out, which describe a text")
    return rows.select(np.flatnonzero(~is_note))
