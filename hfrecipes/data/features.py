"""Rows encoded to features, and what is printed about their lengths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError
from ..log import log
from ..recipe import Batch, Recipe
from . import sources
from .cache import cached
from .rows import Data

if TYPE_CHECKING:
    from datasets import Dataset


def encode(recipe: Recipe, data: Data, references: Mapping[str, list[Any]]) -> dict[str, Dataset]:
    """Features of the rows of each split; targets are left out unless every row has an answer."""
    encoded = {}
    for split, rows in data.splits.items():
        if any(reference is None for reference in references[split]):
            rows = rows.remove_columns([name for name in recipe.answers() if name in rows.column_names])
        encoded[split] = encode_rows(recipe, rows, training=split == "train")
        if not len(encoded[split]):
            raise DataError(
                f"{split}: of no row anything can be learnt within {recipe.max_length} tokens: raise max_length"
            )
    return encoded


def say_lengths(encoded: Mapping[str, Dataset], data: Data, recipe: Recipe) -> list[str]:
    """How long the features are, how many each split makes, and the share of texts that was cut.

    Returns:
        A sentence for each split of which something was cut, left out, or not shown to the model.
    """
    limits = []
    for split, features in encoded.items():
        rows, lengths = len(data.splits[split]), np.asarray(features["length"])
        parts = f" in {len(features)} pieces" if len(features) != rows else ""
        cut = ", ".join(_cut_shares(features, rows, recipe))
        about = f", {lengths.mean():.0f} tokens on average, {lengths.max()} at most, {cut or 'none cut'}"
        log(f"{split}: {rows} rows{parts}{about}")
        unknown = unknown_share(features, recipe.tokenizer.unk_token_id) if split == "train" else 0.0
        if unknown > 0.05:
            log(f"{split}: {unknown:.0%} of the tokens are unknown to the model: is it of the language of the texts?")
        for name, reason in recipe.hidden_by.items():
            if hidden := rows_cut(features, name):
                limits.append(f"{split}: {hidden} of {rows} rows {reason}")
                log(limits[-1])
        lost = rows - len(np.unique(features["row"])) if "row" in features.column_names else 0
        if lost:
            log(f"{split}: of {lost} rows nothing is left within {recipe.max_length} tokens; they are left out")
        limits += [f"{split}: of {rows} rows {cut}"] * bool(cut) + [
            f"{split}: {lost} rows left out as too long"
        ] * bool(lost)
    return limits


def _cut_shares(features: Dataset, rows: int, recipe: Recipe) -> list[str]:
    cut = {limit: number for name, limit in recipe.cut_by.items() if (number := rows_cut(features, name))}
    return [f"{number} ({number / rows:.1%}) cut at {limit}={getattr(recipe, limit)}" for limit, number in cut.items()]


def unknown_share(features: Dataset, unknown: int | None) -> float:
    """Share of the tokens of the first features that the model has no word for."""
    first = [np.asarray(ids).ravel() for ids in features["input_ids"][:500] if not isinstance(ids[0], list)]
    return float(np.mean(np.concatenate(first) == unknown)) if first and unknown is not None else 0.0


def rows_cut(features: Dataset, name: str) -> int:
    """Number of the rows of which something was cut off, as the feature tells; 0 where a task cuts nothing."""
    if name not in features.column_names:
        return 0
    cut = np.flatnonzero(features[name][:])
    return len(np.unique(np.asarray(features["row"][:])[cut])) if "row" in features.column_names else len(cut)


LONG = 20_000  # bytes of a row: beyond, fewer rows are encoded at once


def encode_rows(recipe: Recipe, rows: Dataset, *, training: bool = False, desc: str = "Encoding") -> Dataset:
    """Features of all rows; cached beside the rows where those come from a file."""
    is_long = rows.data.nbytes > LONG * max(1, rows.data.num_rows)
    with sources.quiet_bars(len(rows)), cached(rows, recipe, "encode", training) as key:
        return rows.map(
            _encode_batch,
            batched=True,
            batch_size=100 if is_long else 1000,
            with_indices=True,
            fn_kwargs={"recipe": recipe, "training": training},
            remove_columns=rows.column_names,
            new_fingerprint=key,
            desc=desc,
        )


def _encode_batch(batch: Batch, places: list[int], recipe: Recipe, training: bool) -> Batch:
    """Features of a batch; `row`, where there is one, counts in all rows and not in the batch."""
    features = (recipe.encode_for_training if training else recipe.encode)(batch)
    return {**features, "row": [places[place] for place in features["row"]]} if "row" in features else features


def for_model(recipe: Recipe, encoded: Dataset, *, answers: bool) -> Dataset:
    """The features that batches are made of, with or without those that come from answers alone."""
    targets = recipe.targets if answers else recipe.reduced_by
    kept = {*recipe.tokenizer.model_input_names, *targets, "length"}
    return encoded.select_columns([name for name in encoded.column_names if name in kept])
