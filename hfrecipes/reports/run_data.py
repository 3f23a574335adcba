"""What a report is made of: the files of a run, with the task that wrote them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..config.run_config import RunConfig, is_named_set
from ..data.checks import written_reference
from ..errors import NotFoundError
from ..evaluation.breakdown import Breakdown
from ..evaluation.scoring import Scores
from ..recipe import Recipe, Row
from ..repeats import OUT_OF_FOLD
from ..run_folder import contents
from ..run_folder.contents import RunInfo
from ..run_folder.history import History, read_history

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class PredictedRow:
    """A row of a split with its prediction."""

    split: str
    number: int
    """Index of the row in the data."""
    line: Row
    """All that predictions.jsonl has of it."""
    prediction: Row
    reference: Any
    """What the prediction is scored against; None where that is not known."""


class ReadRows(NamedTuple):
    """The rows that a run was made with."""

    splits: Mapping[str, Dataset]
    label_counts: Mapping[str, int]
    """How often each label occurs in train; empty for tasks without labels."""


@dataclass
class RunData:
    """A run, or several runs over folds or seeds, as sections read it."""

    path: Path
    config: RunConfig
    recipe: Recipe
    """The task, with its labels and its calibration."""
    scores: Mapping[str, Scores]
    info: RunInfo
    breakdowns: Mapping[str, Breakdown] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    runs: Sequence[Path] = ()
    """Folders of the runs, where this is a report of several."""
    read_data: Callable[[], ReadRows] | None = None
    """Reads the data of the run; None where that is not at hand."""
    load_predictor: Callable[[], Any] | None = None
    """Loads the trained model, as `hfrecipes.load` does; None in the part that a run writes by itself."""

    @property
    def is_full(self) -> bool:
        """Whether sections may load models and read the data, which takes long."""
        return self.load_predictor is not None

    @cached_property
    def rows(self) -> dict[str, list[PredictedRow]]:
        """Split of the dataset -> its rows with their predictions; for folds all rows under `out_of_fold`."""
        rows: dict[str, list[PredictedRow]] = {}
        if not (self.path / contents.PREDICTIONS).exists():
            return rows
        try:
            for line in contents.read_predictions(self.path):
                split = line.get("split", OUT_OF_FOLD)
                if is_named_set(split):
                    continue
                row = PredictedRow(split, line["row"], line, line["prediction"], _reference(self.recipe, line))
                rows.setdefault(split, []).append(row)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise contents.DamagedError(self.path / contents.PREDICTIONS, reason) from error
        return rows

    def known_rows(self, split: str) -> list[PredictedRow]:
        """The rows of a split whose prediction is right or wrong."""
        return [row for row in self.rows.get(split, []) if self.recipe.is_right_or_wrong(row.reference)]

    @cached_property
    def histories(self) -> dict[str, History]:
        """Name of each run -> what was logged while it was trained."""
        histories = {}
        for path in self.runs or [self.path]:
            try:
                histories[path.name] = read_history(path)
            except NotFoundError:
                continue
        return histories

    @cached_property
    def data(self) -> ReadRows:
        """The rows by split, and their labels; empty where they are not at hand."""
        return ReadRows({}, {}) if self.read_data is None else self.read_data()


def _reference(recipe: Recipe, line: Row) -> Any:
    """What a row is scored against; None for one without reference, whose label is not written in any form."""
    try:
        reference = written_reference(recipe, line)
    except KeyError:
        return None
    # A cell of the data that says that the label is hidden stays a number.
    is_cell = bool(recipe.labels) and not isinstance(reference, str | list)
    return recipe.reference(line) if is_cell and reference is not None else reference
