"""Make the output for a row independent of the other rows in its batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .. import _upstream
from ..errors import ModelError
from ..log import log
from ..recipe import Recipe, Row
from .hardware import rounding_tolerance
from .heads import UnreadableError, compute_logits, scale_of

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from transformers import PreTrainedModel


Collate = Callable[[list[Row]], Any]
OTHER_SIDE = {"left": "right", "right": "left"}


def choose_collator(
    model: PreTrainedModel, recipe: Recipe, collator: Callable[[], Collate], encoded: list[Dataset]
) -> Collate:
    """The collator with which the output for a row does not depend on the other rows of its batch.

    Heads that read the last token, and models that mix all tokens or ignore the attention mask, read the padding that
    a longer row brings. For these, padding on the other side is tried, and then the same padding for all rows.

    Args:
        model: The model that is to be trained.
        recipe: The task, with its tokenizer; what is changed for the model is set here.
        collator: Makes a collator that follows the recipe and its tokenizer as they are at the time of the call.
        encoded: Features of each split.

    Raises:
        ModelError: The model cannot read the longest row, or its output depends on the batch with any padding, or on
            chance.
    """
    rows = _rows_to_try(encoded)
    collate = collator()
    if not rows:
        return collate
    limit = rounding_tolerance(model)
    try:
        difference = _difference(model, recipe, collate, rows)
    except UnreadableError:
        difference = float("inf")  # Funnel, for one, cannot read a row of three tokens
    if difference <= limit:
        return collate
    # Tasks with a label for each token need the padding on a certain side.
    if recipe.padding_side is None and difference < float("inf"):
        side = recipe.tokenizer.padding_side
        recipe.tokenizer.padding_side = OTHER_SIDE[side]
        collate = collator()
        if _difference(model, recipe, collate, rows) <= limit:
            _upstream.remember_padding_side(recipe.tokenizer)
            log(
                f"padding: on the {OTHER_SIDE[side]}, because the output of this model depends on padding on the {side}"
            )
            return collate
        recipe.tokenizer.padding_side = side
    recipe.pads_to_max_length = True
    collate = collator()
    if _difference(model, recipe, collate, rows) <= limit:
        # Saved with the model, so that it is padded in the same way after it is loaded.
        log(
            f"padding: all rows to max_length={recipe.max_length}, because the output of this model depends on "
            "padding; a lower max_length is faster"
        )
        return collate
    raise ModelError(
        f"a model of type {model.config.model_type} gives a row a different output next to a longer row (they "
        f"differ by {difference:.0%} of the largest), so scores would depend on the batch: use a model of "
        "another type"
    )


def _rows_to_try(encoded: list[Dataset]) -> list[Row]:
    """Features of several lengths, the shortest first and the longest last; none where texts are packed into blocks.

    Whether packed texts see each other is tested by `Recipe.adapt_to_model`.
    """
    import numpy as np

    by_length: dict[int, tuple[int, int]] = {}  # split and index of a feature
    for split, features in enumerate(encoded):
        different, indices = np.unique(np.asarray(features["length"][:]), return_index=True)
        for length, index in zip(different.tolist(), indices.tolist(), strict=True):
            by_length.setdefault(length, (split, index))
    lengths = sorted(by_length)
    # Neighbouring ones too: a model that pools two tokens into one reads even lengths in another way than odd ones.
    middle = len(lengths) // 2
    chosen = {*lengths[:2], *lengths[middle : middle + 2], *lengths[-2:]}
    rows = []
    for length in sorted(chosen):
        split, index = by_length[length]
        rows.append(encoded[split][index])
    if any("position_ids" in row for row in rows):
        return []
    # They may come from different splits, and rows without references have no labels.
    names = set.intersection(*map(set, rows))
    shared = []
    for row in rows:
        shared.append({name: row[name] for name in names})
    return shared


def _difference(model: PreTrainedModel, recipe: Recipe, collate: Collate, rows: list[Row]) -> float:
    """How much the outputs for a row change next to the longest row, as a share of the largest output.

    Raises:
        ModelError: The outputs are not finite, or random.
    """
    *shorter, longest = rows
    _refuse_random(model, recipe, collate([longest]))
    worst = 0.0
    for row in shorter:
        alone = compute_logits(model, collate([row]))
        together = compute_logits(model, collate([row, longest]))
        # The worst of several outputs, such as start and end of an answer.
        for name, values in alone.items():
            difference = _smallest_difference(values[0], together[name][0])
            worst = max(worst, difference / max(scale_of(values, recipe.number_scale), 1e-6))
    return worst


def _refuse_random(model: PreTrainedModel, recipe: Recipe, batch: Any) -> None:
    """Refuse a model that draws random numbers in evaluation too, as attention by random hashes does.

    Raises:
        ModelError: Its outputs are not finite, or others each time.
    """
    again = compute_logits(model, batch)
    for name, values in compute_logits(model, batch).items():
        if not bool(values.isfinite().all()):
            raise ModelError(
                f"a model of type {model.config.model_type} gives {name} that are not finite before any training: its "
                "weights are damaged or incomplete; download it again, or use another model"
            )
        difference = float((values - again[name]).abs().max())
        if difference > rounding_tolerance(model) * max(scale_of(values, recipe.number_scale), 1e-6):
            raise ModelError(
                f"a model of type {model.config.model_type} gives a row another output each time that it reads it, "
                "because it draws random numbers in evaluation too, so scores would depend on chance: use a model of "
                "another type"
            )


def _smallest_difference(alone: torch.Tensor, padded: torch.Tensor) -> float:
    """Largest difference between the outputs of a row alone and padded."""
    size = len(alone)
    # Outputs for tokens are at one end of those of the padded row, depending on the side of the padding.
    at_start = float((padded[:size] - alone).abs().max())
    at_end = float((padded[-size:] - alone).abs().max())
    return min(at_start, at_end)
