"""Texts with placeholders in place of identifiers, and where their characters were before."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .kinds import KINDS
from .settings import RedactSettings


class Edit(NamedTuple):
    """Characters of a text that are replaced, end exclusive."""

    start: int
    end: int
    kind: str
    """Name of what is recognised: of a pattern, or a label of the run that recognises names."""

    @property
    def placeholder(self) -> str:
        """What is written instead: brackets, which all usual tokenizers know, around a plain word."""
        return placeholder_of(self.kind)


def placeholder_of(kind: str) -> str:
    """What is written for a kind, or for a label of the run that recognises names."""
    return f"[{kind.upper()}]"


Edits = Callable[[str], Sequence[Edit]]
FindNames = Callable[[Sequence[str]], list[list[Edit]]]


@dataclass
class Redactor:
    """Recognises what the settings name."""

    settings: RedactSettings
    find_names: FindNames | None = None
    """Finds names in texts, by another run."""
    _names: dict[str, list[Edit]] = field(default_factory=dict)

    def read(self, texts: Iterable[str]) -> None:
        """Find the names of many texts at once, which is faster than one text after the other."""
        if self.find_names is not None:
            distinct = list(dict.fromkeys(text for text in texts if text.strip()))
            self._names = dict(zip(distinct, self.find_names(distinct), strict=True))

    def edits(self, text: str) -> list[Edit]:
        """What is to be replaced in a text, in its order; parts that overlap are one."""
        edits = []
        for name, kind in KINDS.items():
            if name in self.settings.kinds:
                edits += [Edit(*span, name) for span in kind.find(text, self.settings.regions)]
        if self.find_names is not None and text.strip():
            if text not in self._names:
                self.read([text])
            edits += self._names[text]
        return _joined(self._outside_placeholders(text, edits))

    def _outside_placeholders(self, text: str, edits: Sequence[Edit]) -> list[Edit]:
        """The edits that are not inside a placeholder, so that rows which were redacted before stay as they are."""
        kinds = [*self.settings.kinds, *self.settings.labels]
        if "[" not in text:
            return list(edits)
        written = "|".join(re.escape(placeholder_of(kind)) for kind in kinds)
        spans = [match.span() for match in re.finditer(written, text)]
        kept = []
        for edit in edits:
            if not any(start <= edit.start and edit.end <= end for start, end in spans):
                kept.append(edit)
        return kept


def _joined(edits: Sequence[Edit]) -> list[Edit]:
    """The edits in order; those that overlap are one, of the kind that comes first in `edits`."""
    joined: list[tuple[int, Edit]] = []
    for rank, edit in sorted(enumerate(edits), key=lambda item: item[1][:2]):
        if joined and edit.start < joined[-1][1].end:
            first_rank, first = joined.pop()
            kind = first.kind if first_rank < rank else edit.kind
            edit, rank = Edit(first.start, max(first.end, edit.end), kind), min(rank, first_rank)
        joined.append((rank, edit))
    return [edit for _, edit in joined]


def replaced(text: str, edits: Sequence[Edit]) -> str:
    """The text with a placeholder for each edit.

    Example:
        >>> replaced("Call 555-0100.", [Edit(5, 13, "phone")])
        'Call [PHONE].'
    """
    parts, end = [], 0
    for edit in edits:
        parts += [text[end : edit.start], edit.placeholder]
        end = edit.end
    return "".join([*parts, text[end:]])


def moved(edits: Sequence[Edit], start: int, end: int) -> tuple[int, int]:
    """Where characters of a text are once it is redacted; a part of what is replaced becomes the whole placeholder.

    Example:
        >>> moved([Edit(5, 13, "phone")], 9, 13)
        (5, 12)
    """
    spans = [(edit.start, edit.end, len(edit.placeholder)) for edit in edits]
    return _shifted(spans, start, is_end=False), _shifted(spans, end, is_end=True)


def moved_back(edits: Sequence[Edit], start: int, end: int) -> tuple[int, int]:
    """Where characters of a redacted text were before; a part of a placeholder stands for all that it replaces.

    Example:
        >>> moved_back([Edit(5, 13, "phone")], 6, 11)
        (5, 13)
    """
    spans, shift = [], 0
    for edit in edits:
        first = edit.start + shift
        spans.append((first, first + len(edit.placeholder), edit.end - edit.start))
        shift += len(edit.placeholder) - (edit.end - edit.start)
    return _shifted(spans, start, is_end=False), _shifted(spans, end, is_end=True)


def _shifted(spans: Sequence[tuple[int, int, int]], position: int, *, is_end: bool) -> int:
    """A position once the characters between first and last of each span are replaced by others, of this length."""
    shift = 0
    for first, last, length in spans:
        if position <= first:
            break
        if position < last:
            return first + shift + (length if is_end else 0)
        shift += length - (last - first)
    return position + shift
