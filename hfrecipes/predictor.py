"""A saved run, on this machine or on the Hub: loaded to predict and to evaluate, or merged."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .config import RunConfig, check_blocks
from .data import checks, sources
from .data.columns import as_spelled, check_lists, find_columns, normalize_columns, rename, without_rejected
from .data.indicators import Columns
from .data.raw_cells import plain_cells
from .data.rows import Data, drop_empty_references, drop_helper_columns, name_classes, number_rows
from .data.splits import choose_splits, task_groups
from .data.task_cells import with_task_cells
from .errors import DataError, ModelError, NotFoundError, OutputError, counted
from .evaluation import generation, inference
from .evaluation.averages import left_out_here
from .evaluation.evaluate import Predicted, score_split
from .evaluation.holder import trainer_for_prediction
from .evaluation.inference import Inference
from .evaluation.scoring import Scores
from .hub.names import hub_id_or_none, model_path
from .log import log
from .models import adapters
from .models.binding import bind_trained_tokenizer, trained_model
from .models.directory import ADAPTER, is_adapter, save
from .models.integrity import check_unchanged
from .recipe import Finding, Recipe, Row, file_formats, input_columns, text_column
from .run_folder import claim, contents, manifest, writing
from .run_folder.contents import RunInfo
from .run_folder.history import read_history
from .saved_run import find_run, settings_of
from .settings import ModelSettings

if TYPE_CHECKING:
    import pandas as pd
    from datasets import Dataset
    from transformers import Trainer


@dataclass(frozen=True)
class Evaluation:
    """Scores of one split.

    Attributes:
        split: Name of the split, or `the data` where it has one part.
        rows: Number of rows with a reference.
        scores: Metric -> score, with its interval and its baseline.
        notes: Sentences on the rows: labels that the model does not know, rows that it was trained on.
    """

    split: str
    rows: int
    scores: Scores
    notes: list[str]

    @property
    def metrics(self) -> dict[str, float]:
        """Plain values by metric."""
        return {name: entry.value for name, entry in self.scores.items()}

    def __repr__(self) -> str:
        shown = ", ".join(f"{name} {value:.3f}" for name, value in list(self.metrics.items())[:3])
        return f"Evaluation({counted(self.rows, 'row')} of {self.split}: {shown})"


class Predictor:
    """A model with the preprocessing that it was trained with.

    Attributes:
        recipe: Task with its options, tokenizer and labels.
        trainer: Plain Trainer that holds the model.
        config: Settings of the run.
    """

    def __init__(self, recipe: Recipe, trainer: Trainer, config: RunConfig, folder: Path | None = None) -> None:
        self.recipe = recipe
        self.trainer = trainer
        self.config = config
        self._folder = folder

    # --- predict -------------------------------------------------------------------------------------------------

    def predict(self, rows: Any = None, *, file: str | os.PathLike[str] | None = None) -> Any:
        """Predict rows that the model has not seen.

        Args:
            rows: A text, a list of texts, a `pathlib.Path`, or rows with the columns of training in any form that `run`
                takes as dataset. A text is never the name of a file.
            file: File of rows, in place of `rows`.

        Returns:
            One prediction for a single text, else a list with one per row.

        Raises:
            DataError: The rows do not have the input columns of the model.

        Example:
            >>> hfrecipes.load("runs/quickstart").predict("Where is my parcel?")["label"]  # doctest: +SKIP
            'delivery'
        """
        if (rows is None) == (file is None):
            raise DataError("found no rows, or a file beside them: expected a text, a list of texts or rows, or file=")
        rows = Path(file) if file is not None else _as_list(rows)
        if isinstance(rows, str) or self._is_row(rows):
            return self.predict([rows])[0]
        if isinstance(rows, list) and not rows:
            return []
        prepared = self._prepared(self._as_rows(rows))
        return self._predictions(prepared, scored=False)

    def stream(self, row: Mapping[str, Any], show: Callable[[str], None]) -> str:
        """The text that the model generates for one row, shown piece by piece.

        Args:
            row: As for `predict`.
            show: Called with each piece of text.

        Returns:
            The whole text.

        Raises:
            DataError: The row has nothing that the model could continue.
        """
        if not isinstance(row, Mapping):
            raise DataError(f"found {type(row).__name__}, expected a row with {' and '.join(self.reads)}")
        writer = self.recipe.writer
        prompts = writer.prompts(self._prepared([dict(row)]), scored=False) if writer is not None else [None]
        if writer is None or prompts[0] is None:
            raise DataError("found nothing to continue, expected a row that ends with a turn of the user")
        streamer = generation.Streamer(writer, prompts[0], show)
        (generated,) = generation.generate(self._inference(), [prompts[0].input_ids], streamer=streamer)
        return str(writer.decode(prompts[0], generated)["generated_text"])

    @property
    def history(self) -> pd.DataFrame:
        """Losses, learning rates and scores of the training by step, as `Result.history`.

        Raises:
            NotFoundError: The model comes from elsewhere than the folder of its run.
        """
        return read_history(self._folder or Path()).frame()

    @property
    def reads(self) -> list[str]:
        """Columns that the model was trained on."""
        inputs = input_columns(self.recipe)
        return [name for name in inputs if name in self.config.columns] or inputs

    def _predictions(self, rows: Dataset, *, scored: bool) -> list[Row]:
        """One prediction per row, with the texts that the model writes for rows, or for those that are scored."""
        ready = self._inference()
        predictions = inference.predict_rows(ready, rows)
        return generation.add_texts(ready, rows, predictions, scored=scored)

    def _inference(self) -> Inference:
        return Inference.of(self.trainer.model, self.recipe, self.config.training)

    def _as_rows(self, rows: Any) -> Any:
        """Bare texts as rows of the column that they belong to; anything else as it is.

        Raises:
            DataError: A text alone is not enough for the task.
        """
        if not isinstance(rows, list) or not any(isinstance(row, str) for row in rows):
            return rows
        column = text_column(self.recipe)
        if column is None:
            raise DataError(f"found a text, expected rows with {' and '.join(self.reads)}")
        if not all(isinstance(row, str) for row in rows):
            return rows
        return [{column: text} for text in rows]

    def _is_row(self, rows: Any) -> bool:
        """Whether this is one row, and not columns of cells."""
        if not isinstance(rows, Mapping) or ("path" in rows and not self._names_inputs(rows)):
            return False
        if any(isinstance(cell, str) for cell in rows.values()):
            return True
        of_lists: set[str] = set()
        for column, facts in self.recipe.columns.items():
            if isinstance(facts.kind, list):
                names = (column, str(self.config.columns.get(column, column)), *facts.names)
                of_lists.update(name.lower() for name in names)
        cells = [cell for name, cell in rows.items() if str(name).lower() in of_lists]
        if cells:
            return not len(cells[0]) or not isinstance(cells[0][0], list)
        return not all(sources.is_column(cell) for cell in rows.values())

    def _names_inputs(self, names: Iterable[Any]) -> bool:
        """Whether one of the names is that of a column that the model reads."""
        known: set[str] = set()
        for column in input_columns(self.recipe):
            known |= {column, str(self.config.columns.get(column, column)), *self.recipe.columns[column].names}
        return any(str(name).lower() in map(str.lower, known) for name in names)

    # --- rows ----------------------------------------------------------------------------------------------------

    def _prepared(self, rows: Any) -> Dataset:
        """Rows to predict from any source, under the column names of the task, checked."""
        header = sources.header_of(self.config.columns)
        raw = sources.read_single_split(rows, header=header, formats=file_formats(self.recipe))
        raw = plain_cells(raw, self.config.columns)
        prepared = self._in_columns(raw, self._known_columns(raw), needs_reference=False)
        empty = checks.empty_texts(prepared, self.recipe)
        if empty:
            problems = [Finding("error", sentence, indices) for sentence, indices in empty.items()]
            raise DataError("; ".join(checks.about_rows("input", problem) for problem in problems))
        return prepared

    def _known_columns(self, rows: Dataset) -> dict[str, str | int | list[str | int]]:
        """Columns of training, as far as these rows have them; others are found by their usual names."""
        known: dict[str, str | int | list[str | int]] = {}
        for column, name in self.config.columns.items():
            names: list[str | int] = []
            for wanted in name if isinstance(name, list) else [name]:
                names.append(as_spelled(str(wanted), rows.column_names))
            if set(names) <= set(rows.column_names):
                known[column] = names if isinstance(name, list) else names[0]
        return known

    def _in_columns(self, rows: Dataset, named: Columns, *, needs_reference: bool) -> Dataset:
        """The rows under the column names of the task.

        Raises:
            DataError: They do not have the columns that the model was trained on.
        """
        kind, trained = type(self.recipe), set(self.config.columns)
        rows, given = normalize_columns(rows, self.recipe, named)
        columns = find_columns(rows.column_names, kind, given, needs_reference=needs_reference)
        inputs = set(input_columns(kind))
        if trained and inputs & set(columns) != inputs & trained:
            wanted = " and ".join(name for name in kind.columns if name in inputs & trained)
            present = " and ".join(repr(columns[name]) for name in kind.columns if name in inputs & set(columns))
            raise DataError(
                f"this model needs {wanted}; found {present}: give rows with those columns, or columns.<name>="
            )
        rows = rename(rows, columns, kind, "train" if needs_reference else "test")
        if needs_reference:
            check_lists(rows, columns, kind)
        return with_task_cells({"test": rows}, self.recipe)["test"]

    # --- evaluate ------------------------------------------------------------------------------------------------

    def evaluate(
        self,
        dataset: Any,
        *,
        splits: Mapping[str, str | None] | None = None,
        columns: Mapping[str, str | int | list[str | int]] | None = None,
    ) -> Evaluation:
        """Score the model on rows with references, as a run scores its own splits.

        Args:
            dataset: Anything that `run` takes; its test split is scored, else validation, else the only one.
            splits: `{"test": name}` for another split.
            columns: Columns of the dataset, as `run` takes them.

        Raises:
            ConfigError: `splits` or `columns` is no block.
            DataError: The rows cannot be scored.
        """
        check_blocks({"splits": splits or {}, "columns": columns or {}})
        header = sources.header_of(columns or self.config.columns)
        parts = sources.read_source(dataset, header=header, formats=file_formats(self.recipe))
        chosen = choose_splits(list(parts), splits or {})
        name = chosen.get("test") or chosen.get("validation") or next(iter(parts))
        data = self._checked(parts[name], name, dict(columns or {}))
        rows, recipe = data.splits["test"], self.recipe
        references = checks.references(recipe, rows)
        notes = [*checks.scored_as_wrong(data, recipe).values(), *self._seen_in_training(rows)]
        notes += left_out_here(recipe, references)
        for note in notes:
            log(note)
        known = sum(reference is not None for reference in references)
        if not known:
            raise DataError(f"none of {counted(len(rows), 'row')} has a reference to score against")
        predictions = self._predictions(rows, scored=True)
        scored = score_split(
            recipe,
            name if len(parts) > 1 else "the data",
            Predicted(rows, references, task_groups(rows, recipe), predictions),
            None if self._folder is None else contents.read_baseline(self._folder),
            seed=self.config.training.get("seed", 42),
            metrics=self.config.metrics,
        )
        return Evaluation(name if len(parts) > 1 else "the data", known, scored, notes)

    def _checked(self, raw: Dataset, name: str, given: Columns) -> Data:
        """The rows to score, checked as those of a run are."""
        raw = plain_cells(raw, given or self.config.columns)
        named = given or self._known_columns(raw)
        accepted, numbers = without_rejected(raw, name, named)
        rows = self._in_columns(accepted, named, needs_reference=True)
        kind = type(self.recipe)
        data = name_classes(Data({"test": rows}, {}, {"test": name}, row_numbers={"test": numbers}), kind)
        data = drop_empty_references(data, kind, self.recipe.labels)
        return drop_helper_columns(checks.check_rows(number_rows(data), self.recipe, in_training=False))

    def _seen_in_training(self, rows: Dataset) -> list[str]:
        """A sentence where the model was trained on some of these rows."""
        trained_on = None if self._folder is None else contents.read_trained_on(self._folder)
        if trained_on is None:
            return []
        seen = sum(key in trained_on for key in checks.input_keys(rows, self.recipe))
        if not seen:
            return []
        return [f"{seen} of {len(rows)} inputs are rows that the model was trained on, so its scores are optimistic"]


def _as_list(rows: Any) -> Any:
    """Rows of an iterator, a tuple, or an array or column of texts as a list; anything else as it is."""
    if isinstance(rows, Iterator | tuple):
        return list(rows)
    if getattr(rows, "ndim", None) == 1 and hasattr(rows, "tolist"):
        return rows.tolist()
    return rows


# --- load and merge ----------------------------------------------------------------------------------------------


def load(path: str | os.PathLike[str], *, trust: bool = False) -> Predictor:
    """Load a run, or a model that a run pushed to the Hub, for prediction.

    Args:
        path: Folder of a run, or of the adapter in it, or Hub id; `me/model@v1` for a branch, tag or commit.
        trust: Whether code that the run names may be run: a task or a metric in a .py file, code of its model. That of
            a run on the Hub is not run in any case.

    Raises:
        UntrustedError: The run names code, and it is not trusted.
        NotFoundError: There is no such run.
        ModelError: The folder is not a run of hfrecipes, or its model is damaged.

    Example:
        >>> hfrecipes.load("runs/quickstart").predict(["Where is my parcel?"])  # doctest: +SKIP
    """
    if not isinstance(path, str | os.PathLike):
        raise NotFoundError(f"found {path!r} ({type(path).__name__}), expected the folder of a run, or a Hub id")
    return _load(*find_run(os.fspath(path)), trust)


def merge(path: str | os.PathLike[str], destination: Path, *, trust: bool = False) -> None:
    """Merge an adapter into the base model it was trained on, and save an ordinary model directory.

    Args:
        path: Folder of a run, or of an adapter, or Hub id.
        destination: Folder that does not exist, or is empty.
        trust: As for `load`.

    Raises:
        UntrustedError: The run names code, and it is not trusted.
        ModelError: There is no adapter, or it is of a method that cannot be merged.
        OutputError: The destination is not empty.
    """
    claim.check_writable(destination)
    if destination.exists() and any(destination.iterdir()):
        raise OutputError(f"{destination} is not empty: choose another folder")
    run, is_foreign = find_run(os.fspath(path))
    folder = run / ADAPTER if is_adapter(run / ADAPTER) else run
    if not is_adapter(folder):
        raise ModelError(f"{path}: there is nothing to merge, it is a complete model already")
    predictor = _load(folder, is_foreign, trust)
    if adapters.is_adapted(predictor.trainer.model):
        raise ModelError(f"{path} was trained with {_method(predictor.config)}, which cannot be merged")
    files = save(predictor.trainer.model, predictor.recipe.tokenizer, destination)
    for name in (contents.RECIPE, contents.METRICS, contents.CARD, contents.BASELINE):
        for source in (run / name, folder / name):
            if source.exists():
                (destination / name).write_bytes(source.read_bytes())
                break
    if not contents.is_complete(destination):  # an adapter alone has no scores
        writing.write_json(destination / contents.METRICS, {})
    try:
        info = RunInfo.read(run)
    except contents.DamagedError as error:
        log(f"not copied: {error}")
        info = None
    if info is not None:
        replace(info, files=files).write(destination)
    manifest.write(destination, [*files, *contents.BESIDE_MODEL])


def _method(config: RunConfig) -> str:
    """Name of the PEFT method that the run was trained with."""
    return "LORA" if config.adapter is None else config.adapter.method


def _load(folder: Path, is_foreign: bool, trust: bool) -> Predictor:
    run = folder
    # Some methods of PEFT leave nothing to merge, and so no whole model.
    if is_adapter(folder / ADAPTER) and not (folder / "config.json").exists():
        folder = folder / ADAPTER
    if not check_unchanged(folder):
        log(f"{folder} has no manifest of what was saved, so its files are not compared with it")
    config, recipe = settings_of(folder, is_foreign, trust)
    name = model_path(config) or ""
    if is_foreign and is_adapter(folder) and not (hub_id_or_none(name) or name.startswith("pkg://")):
        raise ModelError(
            f"this adapter names the base {name}, which cannot be loaded from another machine: it is not a Hub id"
        )
    base = config.base if config.model else ModelSettings("", {})
    here = replace(config, model={"path": str(folder), "trust_remote_code": base.trust_remote_code})
    bind_trained_tokenizer(recipe, here)
    model = trained_model(recipe, here, base, folder)
    return Predictor(recipe, trainer_for_prediction(here, recipe, model, folder), here, run)
