"""Outputs of a model for encoded rows, in the order of the rows, and the predictions made of them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import registry
from ..data.features import encode_rows, for_model
from ..errors import ModelError
from ..recipe import Recipe, Row
from . import generation

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, Trainer, TrainingArguments


SHORT = 2000  # rows: below, no progress bar


def collator(recipe: Recipe, model: PreTrainedModel) -> Any:
    """The recipe's collator, given only what is for the model; workers of a DataLoader can be sent it."""
    kept = {*recipe.tokenizer.model_input_names, *recipe.targets}
    return Collator(type(recipe).__module__, registry.file_of(type(recipe)), recipe.collator(model), kept)


@dataclass
class Collator:
    """Makes batches of those features that are for the model."""

    module: str
    """Name of the task's module."""
    file: Path | None
    """File of the module, where it cannot be imported by name."""
    collate: Callable[[list[Row]], Any]
    kept: set[str]

    def __call__(self, features: list[Row]) -> Any:
        """The batch."""
        return self.collate([{key: row[key] for key in row if key in self.kept} for row in features])

    def __reduce__(self) -> Any:
        # A worker calls the function before it reads the rest, which may hold classes of the module.
        return _empty_collator, (self.module, self.file), vars(self)


def _empty_collator(module: str, file: Path | None) -> Collator:
    if file is not None and module not in sys.modules:
        registry.import_file(file, module)
    return Collator.__new__(Collator)


def in_row_order(trainer: Trainer, encoded: Dataset, batches: Any) -> Any:
    """Outputs of batches to one for each feature, in their order: the Trainer groups by length in evaluation too.

    An array where all have one size, else a list: padding them all to the longest costs memory, and much time.
    """
    if isinstance(batches[0], tuple):
        return tuple(in_row_order(trainer, encoded, part) for part in zip(*batches, strict=True))
    are_alike = len({batch.shape[1:] for batch in batches}) == 1
    outputs = np.concatenate(batches) if are_alike else [row for batch in batches for row in batch]
    outputs = _without_padding(trainer.args, outputs, len(encoded))
    sampler = trainer._get_eval_sampler(encoded)
    if sampler is None:
        return outputs
    order = np.argsort(list(sampler))
    return outputs[order] if isinstance(outputs, np.ndarray) else [outputs[place] for place in order]


def _without_padding(arguments: TrainingArguments, outputs: Any, rows: int) -> Any:
    """The outputs without those that fill the last batch with rows of the first, where several processes share it.

    Raises:
        ModelError: There is not one output for each row.
    """
    together = arguments.eval_batch_size * arguments.world_size
    filled = -(-rows // together) * together if arguments.world_size > 1 else rows
    if len(outputs) not in (rows, filled):
        raise ModelError(
            f"the model gave {len(outputs)} outputs for {rows} rows, expected one for each: leave "
            "num_return_sequences of its generation_config at 1"
        )
    return outputs[:rows]


def predict_rows(trainer: Trainer, recipe: Recipe, rows: Dataset, *, scored: bool = False) -> list[Row]:
    """One prediction per row, in their order.

    Args:
        trainer: That runs the model.
        recipe: The task.
        rows: Raw rows.
        scored: Whether they are rows with answers to be scored; texts are then written for some of them only.
    """
    encoded = encode_rows(recipe, rows.remove_columns([name for name in recipe.answers() if name in rows.column_names]))
    predictions = recipe.decode(model_outputs(trainer, recipe, encoded), rows, encoded)
    return generation.with_texts(trainer, recipe, rows, predictions, scored=scored)


def model_outputs(trainer: Trainer, recipe: Recipe, encoded: Dataset) -> Any:
    """What `reduce` keeps of each feature, in their order; the answers are kept from the model."""
    encoded = for_model(recipe, encoded, answers=False)
    score, trainer.compute_metrics = trainer.compute_metrics, None
    try:
        with _bar_only_if_long(trainer, len(encoded)):
            return in_row_order(trainer, encoded, trainer.predict(encoded).predictions)
    finally:
        trainer.compute_metrics = score


def tuned(
    recipe: Recipe, outputs: Any, rows: Dataset, encoded: Dataset, references: list[Any]
) -> tuple[list[Row], list[Row], list[str]]:
    """Predictions of the validation rows after what these decide was settled, those before, and sentences on it."""
    recipe.tuned = {}
    before = recipe.decode(outputs, rows, encoded)
    sentences = recipe.tune(before, references)
    return (recipe.decode(outputs, rows, encoded) if recipe.tuned else before), before, sentences


def untuned(recipe: Recipe, outputs: Any, rows: Dataset, encoded: Dataset) -> list[Row]:
    """Predictions as they would be without what validation decided."""
    kept, recipe.tuned = recipe.tuned, {}
    try:
        return recipe.decode(outputs, rows, encoded)
    finally:
        recipe.tuned = kept


@contextlib.contextmanager
def _bar_only_if_long(trainer: Trainer, rows: int) -> Iterator[None]:
    from transformers.trainer_callback import ProgressCallback

    bar = trainer.pop_callback(ProgressCallback) if rows < SHORT else None
    try:
        yield
    finally:
        if bar is not None:
            trainer.add_callback(bar)
