"""The training rows that the fine-tuned model takes for most similar to some rows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.features import encode, for_batches, without_references
from ..evaluation.batching import indices_in_turn
from ..evaluation.inference import Inference, collator, in_row_order
from ..models.binding import model_inputs

if TYPE_CHECKING:
    from datasets import Dataset

NEAREST = 3  # rows that are kept of each
BLOCK = 2048  # training rows whose vectors are in memory at once
MOST = 100_000  # training rows that are compared


@dataclass(frozen=True)
class Neighbour:
    """A training row near another row."""

    index: int
    """In the training rows."""
    similarity: float
    """Cosine of the mean vectors of their tokens in the last layer, from -1 to 1."""


def nearest_rows(
    inference: Inference, train: Dataset, rows: Dataset, deadline: float, seed: int = 0
) -> tuple[list[list[Neighbour]], int]:
    """The nearest training rows of each row, the nearest first, and the number of training rows that were compared.

    They are compared in random order, block by block, so that memory does not grow with their number.

    Args:
        inference: The fine-tuned model.
        train: Training rows.
        rows: Rows to find neighbours for.
        deadline: Time of `time.monotonic` after which no other block is begun.
        seed: Seed of the order.
    """
    queries = _unit(vectors(inference, rows))
    order = np.random.default_rng(seed).permutation(len(train))[:MOST]
    indices, similarities = np.empty((len(rows), 0), dtype=int), np.empty((len(rows), 0))
    compared = 0
    while compared < len(order) and (not compared or time.monotonic() < deadline):
        block = order[compared : compared + BLOCK]
        cosines = queries @ _unit(vectors(inference, train.select(block))).T
        similarities = np.concatenate([similarities, cosines], axis=1)
        indices = np.concatenate([indices, np.tile(block, (len(rows), 1))], axis=1)
        best = np.argsort(-similarities, axis=1, kind="stable")[:, :NEAREST]
        similarities, indices = np.take_along_axis(similarities, best, 1), np.take_along_axis(indices, best, 1)
        compared += len(block)
    nearest = []
    for row_indices, row_similarities in zip(indices.tolist(), similarities.tolist(), strict=True):
        nearest.append(list(map(Neighbour, row_indices, row_similarities)))
    return nearest, compared


def vectors(inference: Inference, rows: Dataset) -> np.ndarray:
    """Mean over tokens of the last hidden layer, (rows, width); over all windows of a row that has several."""
    encoded = encode(inference.recipe, without_references(rows, inference.recipe))
    features = for_batches(inference.recipe, encoded)
    batches = inference.batches(features)
    collate = collator(inference.recipe, inference.model)
    inference.model.eval()
    sums = []
    for indices in batches:
        batch = collate([features[index] for index in indices])
        sums.append(_sums_of_tokens(inference, batch))
    summed = in_row_order(sums, indices_in_turn(batches))
    row_of_feature = np.asarray(encoded["row"][:]) if "row" in encoded.column_names else np.arange(len(encoded))
    totals = np.zeros((len(rows), summed.shape[1]))
    np.add.at(totals, row_of_feature, summed)
    # The last number counts the tokens.
    return np.asarray(totals[:, :-1] / np.maximum(totals[:, -1:], 1))


def _sums_of_tokens(inference: Inference, batch: Any) -> np.ndarray:
    """Sum of the last layer over the tokens of each feature, and their number, (features, width + 1)."""
    import torch

    model = inference.model
    inputs = {name: values.to(model.device) for name, values in model_inputs(inference.recipe, batch).items()}
    with torch.inference_mode(), inference.autocast():
        hidden = model(**inputs, output_hidden_states=True)["hidden_states"][-1].float()
    mask = inputs.get("attention_mask", torch.ones(hidden.shape[:2], device=hidden.device))
    # Models that add virtual tokens before the text return vectors for these too.
    weights = mask[:, -hidden.shape[1] :, None].float()
    summed = (hidden[:, -weights.shape[1] :] * weights).sum(1)
    array: np.ndarray = torch.cat([summed, weights.sum(1)], dim=1).cpu().numpy()
    return array


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1; a row of zeros stays one."""
    lengths: np.ndarray = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12))
