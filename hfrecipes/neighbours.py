"""See that what a model gives for a row does not depend on the rows beside it in a batch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from .errors import ModelError
from .heads import outputs
from .model import rounding
from .recipe import Recipe, Row
from .say import say

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, Trainer

OTHER_SIDE = {"left": "right", "right": "left"}


def precision_of(trainer: Trainer) -> AbstractContextManager[Any]:
    """What to try a model in: float32, but for flash attention, which takes half precision alone."""
    is_flash = "flash" in str(getattr(trainer.model.config, "_attn_implementation", ""))
    return trainer.accelerator.autocast() if is_flash else nullcontext()


def check(model: PreTrainedModel, recipe: Recipe, collate: Callable[[list[Row]], Any], encoded: list[Dataset]) -> None:
    """Refuse a model that reads the padding which a longer row brings; try the other side of padding first.

    Heads that read the last token, and models that mix all tokens or know no attention mask, give a short row another
    output beside a long one, in training and in every score.

    Args:
        model: As it is to be trained.
        recipe: The task, with its tokenizer.
        collate: Makes batches.
        encoded: Features of each split, as the model gets them.

    Raises:
        ModelError: The model cannot read the longest row, or its output for a row depends on the rows beside it.
    """
    pair = _shortest_and_longest(encoded)
    if pair is None:
        return
    side, limit = recipe.tokenizer.padding_side, rounding(model)
    depends = _difference(model, collate, *pair)
    if depends <= limit:
        return
    if recipe.padding_side is None:
        recipe.tokenizer.padding_side = OTHER_SIDE[side]
        if _difference(model, collate, *pair) <= limit:
            say(f"padding: on the {OTHER_SIDE[side]}, as this model reads padding on the {side}")
            return
        recipe.tokenizer.padding_side = side
    raise ModelError(
        f"a model of type {model.config.model_type} gives a row another output beside a longer one (they differ by "
        f"{depends:.0%} of the largest): it reads the padding, so that scores would depend on the batch. "
        "Use a model of another type"
    )


def _shortest_and_longest(encoded: list[Dataset]) -> tuple[Row, Row] | None:
    """Features of most different length; None where all have one, or are packed, which `check_model` looks at."""
    import numpy as np

    ends: list[tuple[int, Row]] = []
    for features in encoded:
        lengths = np.asarray(features["length"])
        for index in (int(lengths.argmin()), int(lengths.argmax())):
            ends.append((int(lengths[index]), features[index]))
    (least, short), (most, long) = min(ends, key=lambda end: end[0]), max(ends, key=lambda end: end[0])
    if least == most or "position_ids" in short or "position_ids" in long:
        return None
    names = short.keys() & long.keys()  # rows without references have no labels
    return {name: short[name] for name in names}, {name: long[name] for name in names}


def _difference(model: PreTrainedModel, collate: Callable[[list[Row]], Any], short: Row, long: Row) -> float:
    """How far the outputs of a row change beside a longer one, as a share of the largest of them."""
    alone = outputs(model, collate([short]))
    beside = outputs(model, collate([short, long]))
    largest = max(float(values.abs().max()) for values in alone.values())
    worst = 0.0
    for name, values in alone.items():
        size = len(values[0])
        # Where outputs are of tokens, those of the short row stand at one end of the padded ones.
        ends = (beside[name][0][:size], beside[name][0][-size:])
        worst = max(worst, min(float((end - values[0]).abs().max()) for end in ends))
    return worst / max(largest, 1e-6)
