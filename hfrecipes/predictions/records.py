"""What is written next to a prediction: the number of its row, its file, and the columns that are kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..data import kinds
from ..data.columns import as_spelled
from ..errors import DataError, counted, nearest
from ..log import log
from ..recipe import Recipe, Row
from ..saved.rows import InputRows

_BATCH = 1000


@dataclass(frozen=True)
class Records:
    """The rows of an output, without their predictions."""

    given: InputRows
    kept: Sequence[str]
    """Columns of the rows that are in the output."""
    names: Mapping[str, str]
    """Name in the output of `row`, `file`, `file_row` and `prediction`."""
    convert: Mapping[str, Any]
    """Predicted label -> its value in the file, if that is not a text."""
    label: str | None
    """Key of the label in predictions."""

    def __iter__(self) -> Iterator[Row]:
        """The number of each row, its file, and its kept columns."""
        numbers, rows = self._numbers(), self.given.with_columns
        features = rows.features
        rows = rows.select_columns(list(self.kept))
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            size = min(_BATCH, len(rows) - start)
            for index in range(size):
                cells = {name: kinds.decoded(batch[name][index], features[name]) for name in self.kept}
                yield {**next(numbers), **cells}

    def _numbers(self) -> Iterator[Row]:
        """Numbers from 0, as sentences about rows have them."""
        if not (self.given.files and self.given.is_aligned):
            for number in range(len(self.given.rows)):
                yield {self.names["row"]: number}
            return
        number = 0
        for file, rows in self.given.files:
            for inner in range(rows):
                yield {self.names["row"]: number, self.names["file"]: file, self.names["file_row"]: inner}
                number += 1

    def spelled(self, prediction: Row | None) -> Row | None:
        """The prediction with its label in the type that labels have in the file."""
        if prediction is None or self.label not in prediction or not self.convert:
            return prediction
        changed = dict(prediction)
        for key in (str(self.label), f"{self.label}_set"):
            label = prediction.get(key)
            if isinstance(label, list):
                changed[key] = [self.convert.get(name, name) for name in label]
            elif isinstance(label, str):
                changed[key] = self.convert.get(label, label)
        return changed


def records_of(given: InputRows, recipe: Recipe, trained: Mapping[str, Any], keep: Sequence[str] | None) -> Records:
    """The rows of an output.

    Args:
        given: The rows.
        recipe: The task.
        trained: Column of the training data for each column of the task.
        keep: Columns that the user named; None for all.

    Raises:
        DataError: There is no such column.
    """
    rows = given.with_columns
    known = list(rows.column_names)
    if not given.is_aligned and keep is None:
        log(
            f"{counted(len(given.raw), 'row')} became {len(given.rows)} of {recipe.task}: the output "
            f"has the new rows, with their numbers and {', '.join(known)}"
        )
    kept = known if keep is None else _named(keep, known)
    names = {name: _free(name, kept) for name in ("row", "file", "file_row", "prediction")}
    label = recipe.prediction
    column = as_spelled(str(trained.get(label or "", label)), known)
    return Records(given, kept, names, _spelling(recipe, rows.features.get(column)), label)


def _named(keep: Iterable[str], known: Sequence[str]) -> list[str]:
    names = []
    for name in keep:
        column = as_spelled(str(name), list(known))
        if column not in known:
            raise DataError(f"keep: no column {name!r}{nearest(name, known)}; there are {', '.join(known)}")
        names.append(column)
    return list(dict.fromkeys(names))


def _free(name: str, taken: Sequence[str]) -> str:
    """The name, or the first one after it that no kept column has; that column stays as it is."""
    number, free = 2, name
    while free in taken or any(other.startswith(f"{free}.") for other in taken):
        free = f"{name}_{number}"
        number += 1
    if free != name:
        log(f"the rows already have a column {name!r}: the one that is added is called {free!r}")
    return free


def _spelling(recipe: Recipe, feature: Any) -> dict[str, Any]:
    """The labels of the model as values of a column of numbers, or of true and false; empty for texts."""
    dtype = str(getattr(getattr(feature, "feature", feature), "dtype", ""))
    if not recipe.labels or hasattr(feature, "names") or not dtype.startswith(("int", "uint", "bool")):
        return {}
    spelled: dict[str, Any] = {}
    for label in recipe.labels:
        try:
            value = json.loads(label.lower())
        except ValueError:
            return {}
        if str(value) == label:
            spelled[label] = value
    return spelled
