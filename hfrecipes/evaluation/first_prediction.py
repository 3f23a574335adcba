"""The command that tries a new model: on a short row of the user's own data, safe to paste into a shell."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config.run_config import RunConfig
from ..masking import mask_text
from ..recipe import Recipe, Row
from ..recipe import example as sample_row
from ..trust import code_in

if TYPE_CHECKING:
    from datasets import Dataset

LONGEST = 80  # characters of a text
WORDS = 12  # of a list of words
_LOOKED_AT = 200  # rows


def own_row(recipe: Recipe, splits: Mapping[str, Dataset], columns: Sequence[str]) -> Row:
    """A short row of test, or else of validation or train; a sample row where none can be shortened.

    Args:
        recipe: The task, with its tokenizer.
        splits: Rows by split.
        columns: Columns that the model reads.
    """
    rows = next(splits[split] for split in ("test", "validation", "train") if split in splits)
    known = [name for name in columns if name in rows.column_names]
    shortest: Row = {}
    for row in rows.select(range(min(len(rows), _LOOKED_AT))).select_columns(known) if known else ():
        if not all(row.values()):
            continue
        short = {name: _shortened(cell) for name, cell in row.items()}
        if None not in short.values() and (not shortest or _length(short) < _length(shortest)):
            shortest = short
        # A row that needs no shortening is a better example than the shortest row of all.
        if short == row and _length(row) <= LONGEST:
            shortest = row
            break
    sample = sample_row(recipe, columns)
    masked = _with_mask(recipe, shortest) if shortest else None
    return sample if masked is None else masked


def _shortened(cell: Any) -> Any:
    """A text on one line, cut at a blank, or a list of such texts; None for anything else."""
    if isinstance(cell, list):
        texts = [_shortened(entry) for entry in cell[:WORDS]]
        return texts if all(isinstance(text, str) for text in texts) else None
    if not isinstance(cell, str):
        return None
    # A shell may read what follows a backslash, or begins with a hyphen, as more than a text.
    plain = cell.replace("\\", " ").lstrip("- \t\r\n")
    text = " ".join("".join(sign if sign.isprintable() else " " for sign in plain).split())
    if len(text) <= LONGEST:
        return mask_text(text) or None
    head = text[:LONGEST]
    words, blank, _ = head.rpartition(" ")
    return mask_text(words if blank and len(words) > LONGEST // 2 else head)


def _length(row: Mapping[str, Any]) -> int:
    return len(json.dumps(list(row.values()), ensure_ascii=False))


def _with_mask(recipe: Recipe, row: Row) -> Row | None:
    """The row with a mask token in place of a word where the task fills masks; None where it has no word for it."""
    shown = recipe.card.example or {}
    masked = dict(row)
    for name, cell in shown.items():
        if isinstance(cell, str) and "{mask}" in cell and name in row:
            words = row[name].split()
            if len(words) < 3:
                return None
            words[len(words) // 2] = recipe.tokenizer.mask_token
            masked[name] = " ".join(words)
    return masked


def prediction_command(config: RunConfig, path: Path, row: Row) -> str:
    """A command that tries the model: with a line of text if that is all that it reads, else with a row in JSON.

    Args:
        config: Settings of the model.
        path: Its folder.
        row: With the columns that it reads.
    """
    folder = shlex.quote(str(path))
    # The same code runs again; this time the saved run names it, not the user.
    trusted = " --trust" if code_in(vars(config)) else ""
    if "messages" in row:
        return f"hfrecipes chat {folder}{trusted}"
    return f"echo {shlex.quote(_line(row))} | hfrecipes predict {folder} -{trusted}"


def _line(row: Row) -> str:
    """What standard input takes for the row: a text alone, or JSON."""
    first, *others = row.values()
    # Token classification reads a list of words; a text is split at its spaces.
    text: str = " ".join(first) if isinstance(first, list) else first
    return json.dumps(row, ensure_ascii=False) if others or text.startswith("{") else text
