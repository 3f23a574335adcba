"""Scores of a run beside those of its splits: of parts of the rows, and of the sets under `tests`, in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..config.run_config import named_sets
from ..errors import counted
from . import scoring
from .comparison import Evaluation, part_as_json
from .scoring import Score, Scores, number
from .tables import change, split_of_changes


@dataclass(frozen=True)
class Slices:
    """Scores of the rows of each value of a column, of the splits of a run that have it."""

    by: str
    """The column; empty where nothing is sliced."""
    splits: Mapping[str, Mapping[str, Evaluation]]
    """Split -> value -> scores of its rows."""

    def as_json(self) -> dict[str, Any]:
        """As metrics.json has them; empty where nothing is sliced."""
        written = {}
        for split, parts in self.splits.items():
            written[split] = {value: part_as_json(part) for value, part in parts.items()}
        return {"by": self.by, "splits": written} if self.by else {}

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Slices:
        """From metrics.json."""
        splits: dict[str, dict[str, Evaluation]] = {}
        for split, parts in content.get("splits", {}).items():
            splits[split] = {}
            for value, part in parts.items():
                scores = scoring.from_json({"scores": part["scores"]})["scores"]
                splits[split][value] = Evaluation(value, part["rows"], scores, [])
        return cls(content.get("by", ""), splits)


def set_cells(
    scores: Mapping[str, Scores], headline: Sequence[str], slices: Slices
) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of a table of the sets under `tests` and of parts of rows: those of each headline metric together.

    The run's own split, which they are compared with, stands above them. There are no rows where there is neither.
    """
    sets, compared_with = named_sets(scores), split_of_changes(scores)
    rows = []
    for metric in headline if sets or slices.splits else ():
        rows.append([metric, "", "", ""])
        for split in filter(None, [compared_with, *sets]):
            rows += _set_rows(f"  {split}", scores[split].get(metric))
            for value, part in slices.splits.get(split, {}).items():
                name = f"    {slices.by}={value} ({counted(part.rows, 'row')})"
                rows += _set_rows(name, part.scores.get(metric))
    heads = ["", "score", "baseline", f"change from {compared_with}"]
    return (heads, rows) if sets else (heads[:-1], [row[:-1] for row in rows])


def _set_rows(name: str, entry: Score | None) -> list[list[str]]:
    return [] if entry is None else [[name, str(entry), number(entry.baseline), change(entry.change)]]
