"""Scores of a saved model on other rows than those of its run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config.resolving import check_blocks
from ..config.run_config import RunConfig
from ..data import checks, sources
from ..data.columns import column_cells, without_rejected
from ..data.indicators import Columns
from ..data.raw_cells import plain_cells
from ..data.redacting import redact_texts
from ..data.rows import Data, drop_empty_references, drop_helper_columns, name_classes, number_rows
from ..data.splits import split_to_test, task_groups
from ..errors import DataError, counted
from ..evaluation import comparison, scoring
from ..evaluation.averages import left_out_here
from ..evaluation.breakdown import breakdown
from ..evaluation.comparison import Evaluation
from ..evaluation.evaluate import Predicted, log_unscored, score_rows
from ..log import log
from ..recipe import Row, file_formats, reference_columns
from ..run_folder import contents
from .rows import RowReader

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Evaluator:
    """What scores rows with references."""

    reader: RowReader
    config: RunConfig
    folder: Path | None
    """Folder of the run."""
    predict: Callable[[Dataset], list[Row]]
    """Predictions of rows under the column names of the task."""
    by: str | None
    """Column whose values are scored by themselves too."""

    def evaluate_each(
        self, sets: Mapping[str, Any], splits: Mapping[str, str | None] | None, columns: Columns | None
    ) -> Iterator[tuple[str, Evaluation]]:
        """Name and scores of each set, as `evaluate` gives them; a set alone may have no name."""
        for name, dataset in sets.items():
            if name:
                log(f"{name}:")
            yield name, self.evaluate(dataset, splits, columns)

    def evaluate(self, dataset: Any, splits: Mapping[str, str | None] | None, columns: Columns | None) -> Evaluation:
        """Scores of one split of a dataset; its notes are not printed.

        Raises:
            ConfigError: `splits` or `columns` is no block.
            DataError: Its rows cannot be scored.
        """
        splits, columns = splits or {}, columns or {}
        check_blocks({"splits": splits, "columns": columns})
        header = sources.header_of(columns or self.config.columns)
        parts = sources.read_source(dataset, header=header, formats=file_formats(self.reader.recipe))
        name = split_to_test(list(parts), splits)
        data, cells = self._checked(parts[name], name, columns)
        return self._scored(data, cells, name if len(parts) > 1 else "the data")

    def _checked(self, raw: Dataset, name: str, given: Columns) -> tuple[Data, list[str] | None]:
        """The rows to score, checked like those of a run, and the value of each row in the column `by`."""
        raw = plain_cells(raw, given or self.config.columns)
        named = given or self.reader.known_columns(raw)
        accepted, numbers = without_rejected(raw, name, named)
        rows, is_aligned = self.reader.in_columns(accepted, named, needs_reference=True)
        cells = None if self.by is None else column_cells(str(self.by), raw if is_aligned else rows)
        recipe = self.reader.recipe
        if cells is not None:
            cells = redact_texts({name: cells}, recipe)[name]
        kind = type(recipe)
        data = name_classes(Data({"test": rows}, {}, {"test": name}, row_numbers={"test": numbers}), kind)
        data = drop_empty_references(data, kind, recipe.labels)
        data = drop_helper_columns(checks.check_rows(number_rows(data), recipe, in_training=False))
        if cells is not None:
            cells = [cells[number] for number in data.row_numbers["test"]]
        return data, cells

    def _scored(self, data: Data, cells: Sequence[str] | None, split: str) -> Evaluation:
        """Scores, with what they are compared with."""
        rows, recipe = data.splits["test"], self.reader.recipe
        notes = [*checks.scored_as_wrong(data, recipe).values(), *self._seen_in_training(rows)]
        references = checks.references(recipe, rows)
        notes += left_out_here(recipe, references)
        known = sum(reference is not None for reference in references)
        if not known:
            raise DataError(
                f"none of {counted(len(rows), 'row')} has a reference to score against: give rows with "
                f"{' and '.join(reference_columns(recipe))}"
            )
        predicted = Predicted(rows, references, task_groups(rows, recipe), self.predict(rows))
        baseline = self._baseline(predicted)
        seed = self.config.training.get("seed", 42)
        score = partial(score_rows, recipe, baseline=baseline, seed=seed, metrics=self.config.metrics)
        log_unscored(split, references)
        scored = score(predicted)
        report = breakdown(recipe, predicted)
        evaluation = Evaluation(split, known, scored, notes, predictions=self._lines(data, predicted), report=report)
        if cells is not None:
            slices, about = comparison.sliced(recipe, cells, predicted, score)
            about += comparison.worst_part(recipe, str(self.by), split, slices, scored)
            evaluation = replace(evaluation, slices=slices, notes=[*evaluation.notes, *about])
        return self._compared(evaluation, predicted, seed)

    def _baseline(self, predicted: Predicted) -> dict[str, Any] | None:
        """What the baseline knows of the training rows; None where nothing can be predicted from it."""
        baseline = None if self.folder is None else contents.read_baseline(self.folder)
        if baseline is None:
            return None
        known = [index for index, reference in enumerate(predicted.references) if reference is not None][:2]
        predictions = [predicted.predictions[index] for index in known]
        references = [predicted.references[index] for index in known]
        try:  # on two rows, since each task writes something else into it
            rows = predicted.rows.select(known)
            scoring.with_baseline(self.reader.recipe, {}, rows, predictions, references, baseline)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            log(f"no baseline: {contents.BASELINE} is not what the run wrote ({type(error).__name__}: {error})")
            return None
        return baseline

    def _compared(self, evaluation: Evaluation, predicted: Predicted, seed: int) -> Evaluation:
        """The scores beside those of the run's own test."""
        run_test = comparison.own_test(self.folder)
        if run_test is None:
            return evaluation
        changes, paired, notes = comparison.changes(self.reader.recipe, predicted, evaluation.scores, run_test, seed)
        return replace(
            evaluation, changes=changes, compared_with=run_test.split, paired=paired, notes=[*evaluation.notes, *notes]
        )

    def _lines(self, data: Data, predicted: Predicted) -> list[Row]:
        """Each row with its number in the data, its label in the form of its prediction, and its prediction."""
        lines = []
        recipe = self.reader.recipe
        columns = (
            data.row_numbers["test"],
            checks.iterate(predicted.rows),
            predicted.predictions,
            predicted.references,
        )
        for number, row, prediction, reference in zip(*columns, strict=True):
            label = checks.written_label(recipe, reference, prediction)
            lines.append({"row": number, **row, **label, "prediction": prediction})
        return lines

    def _seen_in_training(self, rows: Dataset) -> list[str]:
        """A sentence where the model was trained on some of these rows."""
        trained_on = None if self.folder is None else contents.read_trained_on(self.folder)
        if trained_on is None:
            return []
        seen = sum(key in trained_on for key in checks.input_keys(rows, self.reader.recipe))
        if not seen:
            return []
        return [
            f"{seen} of {len(rows)} inputs also occur in the training data of the model, so its scores are optimistic"
        ]
