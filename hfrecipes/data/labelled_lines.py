"""Lines of a label and a text, as fastText, TREC and benchmarks of sentences are published."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..log import log
from .batches import in_batches
from .opening import SourceFile

_BATCH = 10_000  # lines
_LOOKED_AT = 1_000  # lines that tell how the file is written
_FASTTEXT = "__label__"
# Labels before a text, or after it, with a comma between them in some files.
_BEFORE = re.compile(rf"\s*((?:{_FASTTEXT}\S+[\s,]+)+)(.*)", re.DOTALL)
_AFTER = re.compile(rf"(.*?)((?:[\s,]+{_FASTTEXT}\S+)+)\s*", re.DOTALL)
_TREC = re.compile(r"\s*([A-Z]{2,}:[a-z]\w*)\s+(\S.*)", re.DOTALL)
_NUMBER = re.compile(r"\s*(-?\d)\s+(\S.*)", re.DOTALL)
_ROWS_PER_LABEL = 4  # fewer are hardly labels: numbers may number the lines


@dataclass(frozen=True)
class LabelledLines:
    """A file with labels and a text on each line."""

    source: SourceFile
    pattern: re.Pattern[str]
    """Pattern of a line."""

    def batches(self) -> Iterator[dict[str, list[Any]]]:
        """Texts and labels; lists of labels where a line has several."""
        example = next(self._parts())
        log(
            f"{self.source.path}: each line is read as a label and a text, such as {' '.join(example[1])!r} and "
            f"{example[0][:60]!r}"
        )
        several = any(len(labels) > 1 for _, labels in self._parts())
        for batch in in_batches(self._parts(), _BATCH):
            texts = [text for text, _ in batch]
            cells: list[Any] = [labels if several else (labels or [""])[0] for _, labels in batch]
            yield {"text": texts, "label": cells}

    def _parts(self) -> Iterator[tuple[str, list[str]]]:
        """Text and labels of each line that is not blank."""
        for line in self.source.filled_lines():
            yield _split(line, self.pattern)


def _split(line: str, pattern: re.Pattern[str]) -> tuple[str, list[str]]:
    """Text and labels of a line; no label of one that is written in another way."""
    match = pattern.fullmatch(line)
    if match is None:
        return line.strip(), []
    labels, text = match.groups() if pattern is not _AFTER else reversed(match.groups())
    names = [label.strip(", \t") for label in labels.split(_FASTTEXT)]
    return text.strip(), list(filter(None, names))


def labelled_lines(source: SourceFile, *, any_label: bool) -> LabelledLines | None:
    """How to read a file with a label on each line; None for any other file.

    Args:
        source: The file.
        any_label: Whether labels without a mark count too: those of TREC, and single digits.
    """
    lines = list(itertools.islice(source.filled_lines(), _LOOKED_AT))
    for pattern in (_BEFORE, _AFTER):
        if lines and all(map(pattern.fullmatch, lines)):
            return LabelledLines(source, pattern)
    for pattern in (_TREC, _NUMBER) if any_label else ():
        matches = [pattern.fullmatch(line) for line in lines]
        labels = {match[1] for match in matches if match}
        # Prose may begin with a number, and a list of it with another one on each line.
        fewest = _ROWS_PER_LABEL if pattern is _NUMBER else 1
        if lines and all(matches) and len(labels) > 1 and fewest * len(labels) <= len(lines):
            return LabelledLines(source, pattern)
    return None
