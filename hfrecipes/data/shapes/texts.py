"""Texts to read and texts to write, in the cells in which data gives them: turns, sentences, objects, references."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ...errors import DataError
from ...log import log
from ...recipe import Batch
from ..kinds import as_json
from .cells import Change, first_column, first_value

# Columns whose lists are turns, which stay apart as lines; sentences and paragraphs are joined by blanks.
TURNS = (
    "dialogue",
    "dialog",
    "dialogs",
    "conversation",
    "conversations",
    "messages",
    "turns",
    "utterances",
    "chat",
    "transcript",
    "history",
)
REFERENCES, LISTS_OF_REFERENCES = "references", ("summaries", "refs")
# Keys of a turn.
_SPEAKERS = ("speaker", "role", "from", "author", "name")
_TEXTS = ("text", "content", "value", "message", "utterance", "sentence")
_PLAIN = ("string", "large_string", "null")


# --- cells -----------------------------------------------------------------------------------------------------------


def as_text(cell: Any) -> str | None:
    """A cell as it is written in a file: objects and lists as JSON, a text as it is; None for an empty cell.

    Example:
        >>> as_text({"name": "Ana", "pet": None, "known": True}), as_text(7)
        ('{"name": "Ana", "pet": null, "known": true}', '7')
    """
    if cell is None or isinstance(cell, str):
        return cell
    if isinstance(cell, dict | list | bool):
        return as_json(cell)
    return str(cell)


def joined(cell: Any, separator: str = " ") -> str | None:
    """A cell of sentences, paragraphs or turns as a single text; None for an empty cell.

    Args:
        cell: Text, or list of texts, of lists of texts, or of turns with their speakers.
        separator: Between texts; turns with their speakers are on lines of their own.

    Example:
        >>> joined(["One.", "Two."]), joined([{"speaker": "Ana", "text": "Tea?"}, {"speaker": "Bo", "text": "Yes."}])
        ('One. Two.', 'Ana: Tea?\\nBo: Yes.')
    """
    if not isinstance(cell, list):
        return as_text(cell)
    parts = []
    for item in cell:
        if isinstance(item, dict):
            separator = "\n"
            parts.append(_turn(item))
        elif item is not None:
            parts.append(joined(item) or "")
    return separator.join(parts)


def _turn(turn: Mapping[str, Any]) -> str:
    """A turn with its speaker; an object of another kind as JSON."""
    text, speaker = first_value(turn, _TEXTS), first_value(turn, _SPEAKERS)
    if not isinstance(text, str):
        return as_json(turn)
    return f"{speaker}: {text}" if speaker else text


def separator_of(name: str) -> str:
    """What is put between the texts of a list in the column of this name."""
    return "\n" if name.strip().lower() in TURNS else " "


# --- columns ---------------------------------------------------------------------------------------------------------


def lists_joiner(columns: Mapping[str, Any], names: Iterable[str]) -> Change | None:
    """What makes a text, with a line for each entry, of lists in the column with one of the names; None for texts."""
    column = first_column({name.strip().lower(): name for name in columns}, names)
    if column is None or not holds_more_than_text(columns[column], objects=False):
        return None
    log(f"{column} holds lists: each is read as one text, with a line for each entry")
    return partial(_with_lines, column=column)


def _with_lines(batch: Batch, column: str) -> Batch:
    return {**batch, column: [joined(cell, "\n") for cell in batch[column]]}


@dataclass(frozen=True)
class TextColumns:
    """Function of a batch: the texts to read and to write as texts, and the list of all references."""

    source: str
    """Column of the task for the texts to read."""
    target: str
    """Column of the task for the texts to write."""
    to_read: str | None
    """Column of the data whose cells become the texts to read; None where they are texts already."""
    to_write: str | None
    """The same for the texts to write."""
    further: Sequence[str]
    """Columns of the data with one further reference each, such as summary1, summary2."""
    lists_are_references: bool
    """Whether a list of texts in `to_write` is several references."""
    writes_json: bool
    """Whether other lists and objects are written as JSON, and not refused."""

    def __call__(self, batch: Batch) -> Batch:
        """The batch with texts in the columns of the task."""
        used = {self.to_read, self.to_write, *self.further}
        columns = {name: cells for name, cells in batch.items() if name not in used}
        if self.to_read is not None:
            separator = separator_of(self.to_read)
            columns[self.source] = [joined(cell, separator) for cell in batch[self.to_read]]
        written = [batch[name] for name in (self.to_write, *self.further) if name is not None]
        if not written:
            return columns
        references = [self._references(cells) for cells in zip(*written, strict=True)]
        columns[self.target] = [texts[0] if texts else None for texts in references]
        if self.lists_are_references or self.further:
            columns[REFERENCES] = references
        return columns

    def _references(self, cells: Iterable[Any]) -> list[str]:
        """References in the cells of a row, the one to learn first."""
        texts = []
        for cell in cells:
            several = cell if self.lists_are_references and _are_texts(cell) else [cell]
            for item in several:
                text = as_text(self._checked(item))
                if text is not None:
                    texts.append(text)
        return texts

    def _checked(self, cell: Any) -> Any:
        if isinstance(cell, dict | list) and not self.writes_json:
            raise DataError(
                f"column {self.to_write or self.target} holds {str(cell)[:60]!r}, expected a text, or a list of texts "
                "that are several references"
            )
        return cell


def _are_texts(cell: Any) -> bool:
    return isinstance(cell, list) and all(item is None or isinstance(item, str) for item in cell)


def column_normalizer(
    columns: Mapping[str, Any], source: Sequence[str], target: Sequence[str], *, writes_json: bool = False
) -> Change | None:
    """What makes texts of lists, objects and numbered columns of references; None where all cells are texts already.

    Args:
        columns: Columns of the rows, with their types of `datasets`.
        source: Names of the column of texts to read, that of the task first.
        target: Names of the column of texts to write, that of the task first.
        writes_json: Whether objects, and lists of other things than texts, are written as JSON, and not refused.
    """
    by_name = {name.strip().lower(): name for name in columns}
    to_read, to_write = first_column(by_name, source), first_column(by_name, target)
    further = [] if REFERENCES in by_name else numbered_columns(by_name, (*target, "reference", "ref"))
    if to_write is None and not further:
        # Rows may have a list of references alone, of which the first is learnt.
        to_write = first_column(by_name, (REFERENCES, *LISTS_OF_REFERENCES))
    if to_read is not None and not holds_more_than_text(columns[to_read], objects=writes_json):
        to_read = None
    if to_write is not None and not further and not holds_more_than_text(columns[to_write]):
        to_write = None
    if to_read is None and to_write is None and not further:
        return None
    are_lists = to_write is not None and _may_be_references(columns[to_write])
    return TextColumns(source[0] if source else "", target[0], to_read, to_write, further, are_lists, writes_json)


def numbered_columns(by_name: Mapping[str, str], names: Iterable[str]) -> list[str]:
    """Columns such as summary1, summary2 or reference_0, in the order of their numbers.

    Args:
        by_name: Columns by their names in lower case.
        names: Names that may have a number.
    """
    pattern = re.compile(rf"({'|'.join(map(re.escape, names))})[ _-]?(\d{{1,2}})")
    numbered = []
    for name, column in by_name.items():
        if match := pattern.fullmatch(name):
            numbered.append((int(match[2]), column))
    return [column for _, column in sorted(numbered)]


def holds_more_than_text(kind: Any, *, objects: bool = True) -> bool:
    """Whether cells of this type of `datasets` are lists or, if those count, objects, and not texts or numbers."""
    return hasattr(kind, "feature") or type(kind).__name__ == "Json" or (objects and isinstance(kind, dict))


def _may_be_references(kind: Any) -> bool:
    """Whether cells of this type may be lists of texts."""
    item = getattr(kind, "feature", None)
    return type(kind).__name__ == "Json" or getattr(item, "dtype", None) in _PLAIN
