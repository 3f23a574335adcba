"""Predictions and scores: the one way out, for evaluation and for new rows alike."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import checks, data, fingerprint, registry, scoring, sources, writing
from .config import RunConfig
from .errors import DataError, ModelError
from .recipe import Batch, Recipe, Row
from .say import say

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import EvalPrediction, PreTrainedModel, Trainer, TrainingArguments

SHORT = 2000  # rows: below, no progress bar
LONG = 20_000  # bytes of a row: beyond, fewer rows are encoded at once


# --- from rows to predictions ------------------------------------------------------------------------------------


def encode(recipe: Recipe, rows: Dataset, *, training: bool = False, desc: str = "Encoding") -> Dataset:
    """Features of all rows; cached beside the rows where those come from a file."""
    is_long = rows.data.nbytes > LONG * max(1, rows.data.num_rows)
    with sources.quiet_bars(len(rows)), fingerprint.cached(rows, recipe, "encode", training) as key:
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


def for_model(recipe: Recipe, encoded: Dataset, *, answers: bool) -> Dataset:
    """The features that batches are made of, with or without those that come from answers alone."""
    targets = recipe.targets if answers else recipe.reduced_by
    kept = {*recipe.tokenizer.model_input_names, *targets, "length"}
    return encoded.select_columns([name for name in encoded.column_names if name in kept])


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
    encoded = encode(recipe, rows.remove_columns([name for name in recipe.answers() if name in rows.column_names]))
    predictions = recipe.decode(model_outputs(trainer, recipe, encoded), rows, encoded)
    return writing.with_texts(trainer, recipe, rows, predictions, scored=scored)


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


def score_in_training(
    trainer: Trainer, recipe: Recipe, rows: Dataset, references: list[Any], encoded: Dataset, result: EvalPrediction
) -> dict[str, float]:
    """`compute_metrics` of the Trainer: the scores of its validation rows."""
    seen = trainer.callback_handler.eval_dataloader.dataset
    if getattr(seen, "_fingerprint", None) != getattr(trainer.eval_dataset, "_fingerprint", ""):
        say("these are not the validation rows of this Trainer: only the loss is computed")
        loss = trainer.compute_loss_func.take_mean()
        return {} if loss is None else {"loss": loss}
    outputs = in_row_order(trainer, seen, result.predictions)
    predictions, _, _ = tuned(recipe, outputs, rows, encoded, references)
    loss = trainer.compute_loss_func.take_mean()
    found = {**({} if loss is None else {"loss": loss}), **recipe.score(predictions, references)}
    # Labels one by one only at the end, but for the one that picks the checkpoint.
    best = str(trainer.args.metric_for_best_model).removeprefix("eval_")
    return {name: value for name, value in found.items() if "[" not in name or name == best}


def attach_scores(trainer: Trainer, recipe: Recipe, rows: Dataset, references: list[Any], encoded: Dataset) -> None:
    """Have the Trainer score its validation rows as everything else here is scored."""
    trainer.compute_metrics = partial(score_in_training, trainer, recipe, rows, references, encoded)


# --- a saved run -------------------------------------------------------------------------------------------------


class Predictor:
    """A model with the preprocessing that it was trained with.

    Attributes:
        recipe: Task with its options, tokenizer and labels.
        trainer: Plain Trainer that runs the model.
    """

    def __init__(self, recipe: Recipe, trainer: Trainer, config: RunConfig) -> None:
        self.recipe = recipe
        self.trainer = trainer
        self.config = config

    def predict(self, rows: Any) -> Any:
        """Predict rows that the model has not seen.

        Args:
            rows: A text, a list of texts, a file's path, or rows with the columns of training in any form that `run`
                takes as dataset.

        Returns:
            One prediction for a single text, else a list with one per row.

        Example:
            >>> hfrecipes.load("runs/quickstart").predict("Where is my parcel?")["label"]  # doctest: +SKIP
            'delivery'
        """
        if isinstance(rows, str) and os.path.isfile(rows):
            say(f"{rows} is a file: its rows are predicted")
            rows = Path(rows)
        if isinstance(rows, str) or self._is_row(rows):
            return self.predict([rows])[0]
        if self.recipe.text is None and isinstance(rows, list) and any(isinstance(row, str) for row in rows):
            raise DataError(f"found a bare text, expected rows with {' and '.join(self.reads)}")
        if isinstance(rows, list) and rows and all(isinstance(row, str) for row in rows):
            rows = [{self.recipe.text: row} for row in rows]
        if isinstance(rows, list) and not rows:
            return []
        header, formats = not sources.by_position(self.config.columns), self.recipe.formats
        found = sources.one_part(rows, header=header, formats=formats)
        return predict_rows(self.trainer, self.recipe, self.prepare(found, self._columns_in(found)))

    def stream(self, row: Mapping[str, Any], show: Callable[[str], None]) -> str:
        """What the model writes behind one row, shown piece by piece while it is written.

        Args:
            row: As for `predict`.
            show: Called with each piece of text.

        Returns:
            The whole text.
        """
        found = sources.one_part([dict(row)], header=True, formats=self.recipe.formats)
        rows = self.prepare(found, self._columns_in(found))
        (prompt,) = self.recipe.prompts(rows, scored=False)
        if prompt is None:
            raise DataError("found nothing to go on from, expected a turn of the user")
        (made,) = writing.generate(
            self.trainer, [prompt.input_ids], streamer=writing.Streamer(self.recipe, prompt, show)
        )
        return str(self.recipe.decode_generated(prompt, made)["generated_text"])

    @property
    def reads(self) -> list[str]:
        """Columns that the model was trained on."""
        return [name for name in self.recipe.inputs() if name in self.config.columns] or self.recipe.inputs()

    def _is_row(self, rows: Any) -> bool:
        """Whether this is one row, and not columns of cells."""
        if not isinstance(rows, Mapping) or "path" in rows:
            return False
        if any(isinstance(cell, str) for cell in rows.values()):
            return True
        lists = {
            name.lower()
            for column, facts in self.recipe.columns.items()
            if isinstance(facts.kind, list)
            for name in (column, str(self.config.columns.get(column, column)), *facts.names)
        }
        cells = [cell for name, cell in rows.items() if str(name).lower() in lists]
        if cells:
            return not len(cells[0]) or not isinstance(cells[0][0], list)
        return not all(map(sources.is_column, rows.values()))

    def _columns_in(self, rows: Dataset) -> dict[str, str]:
        """Columns of training, as far as these rows have them; others are found by the usual names."""
        given = {column: str(name) for column, name in self.config.columns.items()}
        return {column: name for column, name in given.items() if name in rows.column_names}

    def prepare(self, rows: Dataset, given: Mapping[str, str | int], *, gold: bool = False) -> Dataset:
        """The rows under the task's column names, checked.

        Args:
            rows: Raw rows.
            given: Column of the rows for columns of the task.
            gold: Whether they must have answers.

        Raises:
            DataError: A column lacks, or a row has no text.
        """
        kind, trained = type(self.recipe), set(self.config.columns)
        rows, given = data.reshape(rows, self.recipe, given)
        columns = data.find_columns(rows.column_names, kind, given, gold=gold)
        inputs = set(kind.inputs())
        if trained and inputs & set(columns) != inputs & trained:
            wanted = " and ".join(name for name in kind.columns if name in inputs & trained)
            found = " and ".join(repr(columns[name]) for name in kind.columns if name in inputs & set(columns))
            raise DataError(
                f"this model reads {wanted}; found {found}: give rows with those columns, or columns.<name>="
            )
        rows = data.rename(rows, columns, kind, "train" if gold else "test")
        if gold:
            data.check_lists(rows, columns, kind)
        empty = {} if gold else checks.empty_texts(rows, self.recipe)
        if empty:
            raise DataError("; ".join(checks.name_rows("input", *problem) for problem in empty.items()))
        return rows

    def evaluate(
        self, dataset: Any, *, splits: Mapping[str, str | None] | None = None, columns: Any = None
    ) -> Evaluation:
        """Score the model on rows with answers.

        Args:
            dataset: Anything that `run` takes; its test split is scored, else validation, else the only one.
            splits: `{"test": name}` for another split.
            columns: Columns of the dataset, as `run` takes them.
        """
        given = dict(columns or {})
        header = not sources.by_position(given or self.config.columns)
        found = sources.read(dataset, header=header, formats=self.recipe.formats)
        chosen = data.choose_splits(list(found), splits or {})
        name = chosen.get("test") or chosen.get("validation") or next(iter(found))
        rows = self.prepare(found[name], given or self._columns_in(found[name]), gold=True)
        prepared = data.Data({"test": rows}, {}, {"test": name})
        data.name_classes(prepared, type(self.recipe))
        data.drop_blind_answers(prepared, type(self.recipe))
        data.number_rows(prepared)
        checks.check(prepared, self.recipe, in_training=False)
        data.drop_groups(prepared)
        notes = list(checks.scored_as_wrong(prepared, self.recipe).values())
        for note in notes:
            say(note)
        rows = prepared.splits["test"]
        predictions = predict_rows(self.trainer, self.recipe, rows, scored=True)
        references = checks.golds(self.recipe, rows)
        scored = sum(reference is not None for reference in references)
        if not scored:
            raise DataError(f"none of {len(rows)} rows has an answer to score against")
        if scored < len(rows):
            say(f"{len(rows) - scored} of {len(rows)} rows have no answer; they are not scored")
        seed = self.config.training.get("seed", 42)
        measured = scoring.scores(self.recipe, predictions, references, seed=seed, others=self.config.metrics)
        return Evaluation(name if len(found) > 1 else "the data", scored, measured, notes)


class Evaluation:
    """Scores of one split, and sentences on labels in it that the model lacks, which count as wrong."""

    def __init__(self, split: str, rows: int, found: dict[str, dict[str, Any]], notes: list[str]) -> None:
        self.split, self.rows, self.scores, self.notes = split, rows, found, notes

    @property
    def metrics(self) -> dict[str, float]:
        """Plain values by metric."""
        return {name: entry["value"] for name, entry in self.scores.items()}

    def __repr__(self) -> str:
        shown = ", ".join(f"{name} {value:.3f}" for name, value in list(self.metrics.items())[:3])
        return f"Evaluation({self.rows} rows of {self.split}: {shown})"
