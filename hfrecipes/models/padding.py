"""See that what a model gives for a row does not depend on the rows beside it in a batch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from ..log import log
from ..recipe import Recipe, Row
from .directory import PADDING
from .hardware import rounding
from .heads import outputs, scale_of

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, Trainer


Collate = Callable[[list[Row]], Any]
OTHER_SIDE = {"left": "right", "right": "left"}


def precision_of(trainer: Trainer) -> AbstractContextManager[Any]:
    """What to try a model in: float32, but for flash attention, which takes half precision alone."""
    is_flash = "flash" in str(getattr(trainer.model.config, "_attn_implementation", ""))
    return trainer.accelerator.autocast() if is_flash else nullcontext()


def check(model: PreTrainedModel, recipe: Recipe, collator: Callable[[], Collate], encoded: list[Dataset]) -> Collate:
    """What makes batches in which the output for a row does not depend on the rows beside it.

    Heads that read the last token, and models that mix all tokens or know no attention mask, read the padding that a
    longer row brings. Then the other side is tried, and at last the same padding for all rows.

    Args:
        model: As it is to be trained.
        recipe: The task, with its tokenizer.
        collator: Makes what makes batches, as the recipe says at that time.
        encoded: Features of each split, as the model gets them.

    Raises:
        ModelError: The model cannot read the longest row, or its output for a row depends on the rows beside it.
    """
    pair, collate = _shortest_and_longest(encoded), collator()
    if pair is None:
        return collate
    limit, differ = rounding(model), _difference(model, recipe, collate, *pair)
    if differ <= limit:
        return collate
    if recipe.padding_side is None:
        side = recipe.tokenizer.padding_side
        recipe.tokenizer.padding_side = OTHER_SIDE[side]
        if _difference(model, recipe, collate := collator(), *pair) <= limit:
            recipe.tokenizer.init_kwargs["padding_side"] = OTHER_SIDE[side]  # else it is not saved
            log(f"padding: on the {OTHER_SIDE[side]}, as this model reads padding on the {side}")
            return collate
        recipe.tokenizer.padding_side = side
    recipe.pads_to_max_length = True
    if _difference(model, recipe, collate := collator(), *pair) <= limit:
        setattr(model.config, PADDING, "max_length")
        log(f"padding: all rows to max_length={recipe.max_length}, as this model reads padding; a lower one is faster")
        return collate
    raise ModelError(
        f"a model of type {model.config.model_type} gives a row another output beside a longer one (they differ by "
        f"{differ:.0%} of the largest), so that scores would depend on the batch: use a model of another type"
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


def _difference(model: PreTrainedModel, recipe: Recipe, collate: Collate, short: Row, long: Row) -> float:
    """How far the outputs of a row change beside a longer one, as a share of the largest of them.

    Raises:
        ModelError: They are no numbers.
    """
    alone = outputs(model, collate([short]))
    beside = outputs(model, collate([short, long]))
    worst = 0.0
    for name, values in alone.items():
        if not bool(values.isfinite().all()):
            raise ModelError(
                f"a model of type {model.config.model_type} gives {name} that are not finite before any training: its "
                "weights are damaged, or some of them are missing in the checkpoint"
            )
        size = len(values[0])
        # Where outputs are of tokens, those of the short row stand at one end of the padded ones.
        ends = (beside[name][0][:size], beside[name][0][-size:])
        differ = min(float((end - values[0]).abs().max()) for end in ends)
        worst = max(worst, differ / max(scale_of(values, recipe.number_scale), 1e-6))
    return worst
