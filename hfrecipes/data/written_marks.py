"""Quotes and escapes of another file format that have stayed in the texts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..recipe import Finding, Recipe

if TYPE_CHECKING:
    from datasets import Dataset

_LOOKED_AT = 1_000  # rows
_MARKS = (
    ("is between single quotes, which are trained on as part of it,", re.compile(r"\s*'.*'\s*", re.DOTALL)),
    (r"has escapes such as \u00e9 in place of characters", re.compile(r".*\\u[0-9a-fA-F]{4}.*", re.DOTALL)),
)


def written_marks(rows: Dataset, recipe: Recipe) -> Iterator[Finding]:
    """Quotes and escapes in most texts of a column; in only a few, they may be meant."""
    for column, facts in recipe.columns.items():
        is_text = facts.kind == "string" and not facts.passthrough
        if not is_text or getattr(rows.features.get(column), "dtype", None) not in ("string", "large_string"):
            continue
        texts = [text for text in rows[:_LOOKED_AT][column] if text]
        for sentence, pattern in _MARKS:
            marked = sum(pattern.fullmatch(text) is not None for text in texts)
            if marked > len(texts) / 2:
                yield Finding("note", f"{column} {sentence} in most rows: convert the file if that is not wanted")
