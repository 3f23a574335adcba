"""Batches of features: rows of different lengths written straight into one array for each name.

They are the tensors that the collators of transformers make, which go through lists of each row: for 32 rows of 25
tokens that takes about six times as long, for 8 rows of 512 tokens ten times.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

Row = dict[str, Any]
_KNOWN = {"input_ids", "attention_mask", "token_type_ids", "special_tokens_mask"}


def padder(recipe: Any, *, label_filler: int | None = None) -> Callable[[list[Row]], Any]:
    """Function that pads rows as the tokenizer does: to the longest of their batch, or all to `max_length`.

    Args:
        recipe: The task, with its tokenizer.
        label_filler: Label of padding, where each token has one; None where rows have one label, or several numbers.
    """
    tokenizer = recipe.tokenizer
    size = recipe.max_length if recipe.pads_to_max_length else 0
    if not set(tokenizer.model_input_names) <= _KNOWN:
        return _of_transformers(tokenizer, size, label_filler)
    fillers = {
        tokenizer.model_input_names[0]: tokenizer.pad_token_id,
        "attention_mask": 0,
        "token_type_ids": tokenizer.pad_token_type_id,
        "special_tokens_mask": 1,
    }
    if label_filler is not None:
        fillers["labels"] = label_filler
    return Padder(fillers, tokenizer.padding_side, size, "attention_mask" in tokenizer.model_input_names)


def _of_transformers(tokenizer: Any, size: int, label_filler: int | None) -> Callable[[list[Row]], Any]:
    """A collator of transformers, for tokenizers that know how to pad features of their own."""
    from transformers import DataCollatorForTokenClassification, DataCollatorWithPadding

    keywords: dict[str, Any] = {"padding": "max_length", "max_length": size} if size else {}
    kind = DataCollatorWithPadding if label_filler is None else DataCollatorForTokenClassification
    collate: Callable[[list[Row]], Any] = kind(tokenizer, **keywords)
    return collate


@dataclass(frozen=True)
class Padder:
    """Makes a batch of rows."""

    fillers: Mapping[str, int]
    """What stands in the padding, for each feature with a number per token; the first one is always there."""
    side: str
    """Where shorter rows are filled, `right` or `left`."""
    size: int
    """Tokens at least."""
    adds_mask: bool
    """Whether rows without an attention mask get one."""

    def __call__(self, rows: list[Row]) -> dict[str, torch.Tensor]:
        """One tensor for each feature."""
        import torch

        tokens = is_token([len(row[next(iter(self.fillers))]) for row in rows], self.size, self.side)
        batch = {}
        for name in rows[0]:
            cells = [row[name] for row in rows]
            filler = self.fillers.get(name)
            batch[name] = torch.tensor(cells) if filler is None else fill(tokens, cells, filler)
        if self.adds_mask and "attention_mask" not in batch:
            batch["attention_mask"] = torch.from_numpy(tokens.astype(np.int64))
        return batch


def pad_rows(rows: Sequence[Any], filler: int, size: int = 0, side: str = "right") -> torch.Tensor:
    """Rows of numbers as one tensor, (rows, tokens), as long as the longest row, `size` at least."""
    return fill(is_token(list(map(len, rows)), size, side), rows, filler)


def is_token(lengths: list[int], size: int, side: str) -> np.ndarray:
    """Whether a place in a batch holds a token, or else padding; (rows, tokens)."""
    places = np.arange(max(size, *lengths, 0))
    sizes = np.array(lengths)[:, None]
    tokens: np.ndarray = places < sizes if side == "right" else places >= len(places) - sizes
    return tokens


def fill(tokens: np.ndarray, rows: Sequence[Any], filler: int) -> torch.Tensor:
    """Numbers of rows in their places, and the filler in all others.

    Args:
        tokens: From `is_token`.
        rows: Numbers of each row, lists or arrays.
        filler: What stands in the padding.
    """
    import torch

    padded = np.full(tokens.shape, filler, dtype=np.int64)
    if isinstance(rows[0], np.ndarray):
        padded[tokens] = np.concatenate(rows)
    else:
        padded[tokens] = np.fromiter(itertools.chain.from_iterable(rows), np.int64, int(tokens.sum()))
    return torch.from_numpy(padded)
