"""The rows of a split as the finders read them: each column as plain texts, references, and numbers of rows."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..data.rows import Data, numbers_of
from ..recipe import Recipe, input_columns

if TYPE_CHECKING:
    from datasets import Dataset

_NO_WORD = re.compile(r"[\W_]+")
# What no word has among the characters of ASCII, for which this is three times as fast as the pattern.
_BLANKS = str.maketrans({character: " " for character in map(chr, range(128)) if not character.isalnum()})


@dataclass(frozen=True)
class Part:
    """The rows of a split."""

    split: str
    rows: Dataset
    recipe: Recipe
    numbers: Sequence[int]
    """Number of each row in the data as it was read."""
    references: Sequence[Any]
    """What the prediction of each row is scored against; empty for rows whose references cannot be read."""

    @cached_property
    def inputs(self) -> Mapping[str, list[str]]:
        """Input column -> text of each row."""
        return self._texts(input_columns(self.recipe))

    @cached_property
    def texts(self) -> Mapping[str, list[str]]:
        """Column -> text of each row, for inputs and for texts to generate, but not for labels and ids."""
        written = []
        for name, column in self.recipe.columns.items():
            if column.reference and not column.passthrough and not self.recipe.labels:
                written.append(name)
        return {**self.inputs, **self._texts(written)}

    @cached_property
    def keys(self) -> list[tuple[str, ...]]:
        """The inputs of each row without case, spaces, punctuation and forms of Unicode, which change no word."""
        return list(zip(*(map(normalized, texts) for texts in self.inputs.values()), strict=True))

    def numbered(self, indices: Sequence[int]) -> list[int]:
        """The numbers that rows have in the data as it was read."""
        return [int(self.numbers[index]) for index in indices]

    def _texts(self, columns: Sequence[str]) -> dict[str, list[str]]:
        texts = {}
        for name in columns:
            if name in self.rows.column_names:
                texts[name] = list(map(as_text, self.rows[name][:]))
        return texts


def parts_of(data: Data, recipe: Recipe) -> dict[str, Part]:
    """The rows of each split."""
    parts = {}
    for split, rows in data.splits.items():
        parts[split] = Part(split, rows, recipe, numbers_of(data, split), data.references.get(split, ()))
    return parts


def as_text(cell: Any) -> str:
    """All texts of a cell, joined by blanks; of a message of a dialogue, its content.

    Example:
        >>> as_text([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}])
        'Hi Hello'
    """
    return cell if isinstance(cell, str) else " ".join(_strings(cell))


def _strings(cell: Any) -> Iterator[str]:
    if isinstance(cell, str):
        yield cell
    elif isinstance(cell, Mapping):
        for value in [cell["content"]] if "content" in cell else cell.values():
            yield from _strings(value)
    elif isinstance(cell, list):
        for entry in cell:
            yield from _strings(entry)


def normalized(text: str) -> str:
    """The words of a text in lower case and in one form of Unicode; a text without words as it is.

    Example:
        >>> normalized("It WORKS ,  really!"), normalized(":-)")
        ('it works really', ':-)')
    """
    if text.isascii():
        words = " ".join(text.casefold().translate(_BLANKS).split())
    else:
        words = _NO_WORD.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()
    return words or " ".join(text.split())
