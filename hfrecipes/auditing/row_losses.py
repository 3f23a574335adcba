"""The loss of each row by itself, as its task is trained with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.features import encode, for_batches
from ..errors import ConfigError
from ..evaluation.inference import Inference, collator
from ..memory.shortage import as_memory_error
from ..privacy.gradients import row_losses
from ..privacy.sampling import ROW, FeaturesByRow, collate_rows
from ..recipe import IGNORED

if TYPE_CHECKING:
    from datasets import Dataset


def losses_of(inference: Inference, rows: Dataset, *, summed: bool = False) -> np.ndarray:
    """Mean loss of each row over its own tokens, or windows, (rows,); NaN for a row of which nothing can be learnt.

    Args:
        inference: The model.
        rows: Rows with references, under the column names of the task.
        summed: Whether the loss is the sum over the tokens, by which texts of different lengths can be compared.

    Raises:
        ConfigError: Rows of the task have no loss of their own.
        OutOfMemoryError: A batch does not fit into memory.
    """
    recipe = inference.recipe
    encoded = encode(recipe, rows)
    if "labels" not in encoded.column_names:
        raise ConfigError(
            f"{recipe.task} cannot be audited: its rows have no labels, and an audit compares the losses of rows; give "
            "a run of another task"
        )
    owners = np.asarray(encoded["row"][:]) if "row" in encoded.column_names else np.arange(len(encoded))
    features = FeaturesByRow(for_batches(recipe, encoded), owners)
    # A row of which nothing fits has no features.
    numbers, lengths = np.unique(owners), np.zeros(len(rows))
    np.maximum.at(lengths, owners, np.asarray(encoded["length"][:]))
    losses = np.full(len(rows), np.nan)
    collate = collate_rows(collator(recipe, inference.model))
    # Where a batch names the tokens whose logits it needs, each row has those of the rows beside it too.
    size = 1 if "logits_to_keep" in recipe.batch_features else inference.settings.batch_size
    inference.model.eval()
    by_length = np.argsort(-lengths[numbers], kind="stable")
    with as_memory_error(
        "computing the losses of rows", "lower per_device_eval_batch_size in the recipe.yaml of the run"
    ):
        for start in range(0, len(by_length), size):
            chosen = by_length[start : start + size]
            losses[numbers[chosen]] = _of_batch(inference, collate([features[index] for index in chosen]))
    if summed:
        learnt = [np.count_nonzero(np.asarray(labels) != IGNORED) for labels in encoded["labels"][:]]
        losses *= np.bincount(owners, learnt, minlength=len(rows))
    return losses


def _of_batch(inference: Inference, batch: dict[str, Any]) -> list[float]:
    """The losses of the rows of a batch, NaN for one without labels."""
    import torch

    model = inference.model
    batch = {name: values.to(model.device) for name, values in batch.items()}
    labels, rows = batch["labels"], batch[ROW]
    with torch.inference_mode(), inference.autocast():
        losses = row_losses(model, inference.recipe.loss(), batch)
    values = []
    for row, loss in zip(rows.unique(), losses, strict=True):
        is_known = bool((labels[rows == row] != IGNORED).any())
        values.append(float(loss) if is_known else np.nan)
    return values
