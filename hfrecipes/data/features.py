"""Rows encoded to features, and what is printed about their lengths."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ..errors import DataError, counted
from ..log import log
from ..models import special_tokens
from ..recipe import Batch, Recipe, batch_names, reference_columns
from .cache import cache_fingerprint
from .plain import in_memory
from .progress import hide_progress_bars
from .rows import Data

if TYPE_CHECKING:
    from datasets import Dataset

LONG = 20_000  # bytes of a row: beyond it, fewer rows are encoded at once
FEW = 100  # rows in memory that are encoded as one batch
BLOCK = 5_000  # rows to predict that are encoded in memory, and not kept in a cache
OVER = "over_"  # prefix of features that tell whether an option truncated something
BEYOND = "beyond_"  # prefix of features that tell whether a reference is longer than an option lets predictions be
HIDDEN = "hidden"  # feature that tells whether a part of the row is not shown to the model
MANY_UNKNOWN = 0.05  # share of unknown tokens from which the model hardly fits the language


# --- encoding ----------------------------------------------------------------------------------------------------


def encode_splits(recipe: Recipe, data: Data) -> dict[str, Dataset]:
    """Features of the rows of each split; labels are left out unless every row has a reference.

    Raises:
        DataError: No row of a split fits into `max_length`.
    """
    encoded = {}
    for split, rows in data.splits.items():
        if any(reference is None for reference in data.references[split]):
            rows = without_references(rows, recipe)
        encoded[split] = encode(recipe, rows, training=split == "train")
        if not len(encoded[split]):
            raise DataError(
                f"{split}: no row fits into max_length={recipe.max_length}, so there is nothing to train on: "
                "increase max_length"
            )
    return encoded


def encode(recipe: Recipe, rows: Dataset, *, training: bool = False) -> Dataset:
    """Features of all rows; cached next to the rows if those come from a file."""
    if len(rows) <= FEW and not rows.cache_files:
        return _encode_at_once(rows, recipe, training)
    with hide_progress_bars(10 * len(rows)), cache_fingerprint(rows, recipe, "encode", training) as key:
        return rows.map(
            _encode_batch,
            batched=True,
            batch_size=100 if _is_long(rows) else 1000,
            with_indices=True,
            fn_kwargs={"recipe": recipe, "training": training},
            remove_columns=rows.column_names,
            new_fingerprint=key,
            desc="Encoding",
        )


def encode_to_predict(recipe: Recipe, rows: Dataset) -> Dataset:
    """Features of rows that have no references; those of a block of a file are read once, so they are not cached."""
    rows = without_references(rows, recipe)
    if len(rows) > BLOCK or _is_long(rows):
        return encode(recipe, rows)
    return _encode_at_once(rows, recipe, training=False)


def _is_long(rows: Dataset) -> bool:
    """Whether rows are so large on average that few of them are encoded at once.

    A row of text takes about ten times as long as in other work on rows, and a dialogue longer than that.
    """
    return bool(rows.data.nbytes > LONG * max(1, rows.data.num_rows))


def _encode_at_once(rows: Dataset, recipe: Recipe, training: bool) -> Dataset:
    """Features of a few rows in memory: for one text, `Dataset.map` takes as long as half of the model."""
    return in_memory(pa.table(_encode_batch(rows[:], list(range(len(rows))), recipe, training)))


def _encode_batch(batch: Batch, indices: list[int], recipe: Recipe, training: bool) -> Batch:
    """Features of a batch; `row`, where there is one, counts in all rows and not in the batch."""
    features = recipe.encode_for_training(batch) if training else recipe.encode(batch)
    if "row" not in features:
        return features
    return {**features, "row": [indices[row] for row in features["row"]]}


def without_references(rows: Dataset, recipe: Recipe) -> Dataset:
    """The rows as they are when they are to be predicted."""
    known = [name for name in reference_columns(recipe) if name in rows.column_names]
    return rows.remove_columns(known) if known else rows


def for_batches(recipe: Recipe, encoded: Dataset) -> Dataset:
    """The features that batches are made of."""
    kept = batch_names(recipe) | {"length"}
    names = [name for name in encoded.column_names if name in kept]
    return encoded.select_columns(names) if len(names) < len(encoded.column_names) else encoded


# --- lengths -----------------------------------------------------------------------------------------------------


def log_lengths(encoded: Mapping[str, Dataset], data: Data, recipe: Recipe) -> list[str]:
    """Print how long the features are, how many each split makes, and the share of texts that was truncated.

    Returns:
        Sentences on what was truncated, left out, or not shown to the model.
    """
    limits = []
    for split, features in encoded.items():
        rows = len(data.splits[split])
        log(describe_lengths(split, features, rows, recipe))
        if split == "train":
            _warn_of_unknown_tokens(features, recipe)
        special = written_special_tokens(data.splits[split], recipe)
        if special:
            log(f"{split}: {special}")
        truncated = ", ".join(_truncated_shares(features, rows, recipe))
        limits += _not_shown(split, features, rows, truncated, recipe)
    return limits


def describe_lengths(split: str, features: Dataset, rows: int, recipe: Recipe) -> str:
    """A sentence on how long the features of a split are, and how many of its rows are truncated."""
    truncated = ", ".join(_truncated_shares(features, rows, recipe)) or "none truncated"
    return f"{average_lengths(split, features, rows)}, {truncated}"


def average_lengths(split: str, features: Dataset, rows: int) -> str:
    """A sentence on how long the features of a split are."""
    lengths = np.asarray(features["length"][:])
    parts = f" in {len(features)} pieces" if len(features) != rows else ""
    return f"{split}: {counted(rows, 'row')}{parts}, {lengths.mean():.0f} tokens on average, {lengths.max()} at most"


def _not_shown(split: str, features: Dataset, rows: int, truncated: str, recipe: Recipe) -> list[str]:
    """Sentences on what the model does not see of a split; those that are new are printed."""
    limits = []
    hidden = rows_with(features, HIDDEN)
    if hidden:
        limits.append(
            f"{split}: in {hidden} of {counted(rows, 'row')} the chat template leaves out text, such as thoughts, "
            "which is not trained on"
        )
        log(limits[-1])
    if truncated:
        limits.append(f"{split}: of {counted(rows, 'row')} {truncated}")
    limits += _out_of_reach(split, features, rows, recipe)
    left_out = rows - len(np.unique(features["row"][:])) if "row" in features.column_names else 0
    if left_out:
        log(f"{split}: {counted(left_out, 'row')} left out, too long for max_length={recipe.max_length}")
        limits.append(f"{split}: {counted(left_out, 'row')} left out as too long")
    return limits


def _out_of_reach(split: str, features: Dataset, rows: int, recipe: Recipe) -> list[str]:
    """Sentences on references that no prediction can match, since an option limits its length; they are printed."""
    sentences = []
    for name in features.column_names:
        number = rows_with(features, name) if name.startswith(BEYOND) else 0
        if number:
            option = name.removeprefix(BEYOND)
            sentences.append(
                f"{split}: in {number} of {counted(rows, 'row')} the reference has more tokens than "
                f"{option}={getattr(recipe, option)}, so no prediction can match it: increase options.{option}"
            )
            log(sentences[-1])
    return sentences


def _truncated_shares(features: Dataset, rows: int, recipe: Recipe) -> list[str]:
    """For each option that truncated something, in how many rows."""
    shares = []
    for name in features.column_names:
        number = rows_with(features, name) if name.startswith(OVER) else 0
        if number:
            option = name.removeprefix(OVER)
            shares.append(f"{number} ({number / rows:.1%}) truncated at {option}={getattr(recipe, option)}")
    return shares


def truncated_share(features: Dataset, rows: int) -> float:
    """Largest share of rows that an option truncated, from 0 to 1."""
    numbers = [rows_with(features, name) for name in features.column_names if name.startswith(OVER)]
    return max(numbers, default=0) / rows


def rows_with(features: Dataset, name: str) -> int:
    """Number of rows of which a feature is true; 0 where no task gives that feature."""
    return len(rows_where(features, name))


def rows_where(features: Dataset, name: str) -> list[int]:
    """Indices of the rows of which a feature is true; none where no task gives that feature."""
    if name not in features.column_names:
        return []
    indices = np.flatnonzero(features[name][:])
    if "row" in features.column_names:
        indices = np.unique(np.asarray(features["row"][:])[indices])
    rows: list[int] = indices.tolist()
    return rows


def written_special_tokens(rows: Dataset, recipe: Recipe) -> str:
    """A sentence on special tokens that are written in the texts, since users may expect them to be read as tokens."""
    # Dialogues, which are no plain texts, are rendered by a template, and what it renders are tokens.
    columns = []
    for name, column in recipe.columns.items():
        if name in rows.column_names and column.kind in ("string", ["string"]) and not column.passthrough:
            columns.append(name)
    if not columns:
        return ""
    number, written = 0, set[str]()
    for batch in rows.select_columns(columns).iter(1000):
        # Most texts have none, which is seen faster in all of them at once.
        if not special_tokens.written_in(recipe, itertools.chain.from_iterable(map(_texts_in, batch.values()))):
            continue
        for cells in zip(*batch.values(), strict=True):
            in_row = special_tokens.written_in(recipe, _texts_in(cells))
            number += bool(in_row)
            written |= in_row
    if not number:
        return ""
    marks = ", ".join(sorted(written))
    hint = "; for pairs of texts give the second one as text_pair" if "text_pair" in recipe.columns else ""
    return f"{marks} in the texts of {counted(number, 'row')}: read as text, not as special tokens{hint}"


def _texts_in(cells: Sequence[Any]) -> Iterator[str]:
    for cell in cells:
        for text in cell if isinstance(cell, list) else [cell]:
            if isinstance(text, str):  # a label may be a number
                yield text


def unknown_share(features: Dataset, recipe: Recipe) -> float:
    """Share of unknown tokens in the first texts, from 0 to 1."""
    unknown = recipe.tokenizer.unk_token_id
    # Features of several texts, such as choices, are left out.
    texts = [np.asarray(ids).ravel() for ids in features["input_ids"][:500] if not isinstance(ids[0], list)]
    if not texts or unknown is None:
        return 0.0
    return float(np.mean(np.concatenate(texts) == unknown))


def _warn_of_unknown_tokens(features: Dataset, recipe: Recipe) -> None:
    share = unknown_share(features, recipe)
    if share > MANY_UNKNOWN:
        log(f"train: {share:.0%} of the tokens are unknown to the model: is it a model for the language of the texts?")
