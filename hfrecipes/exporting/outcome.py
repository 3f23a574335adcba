"""What an export gave: size, speed and scores of the exported model, beside those of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..comparing.cost import COST_COLUMNS, Cost
from ..errors import counted
from ..evaluation import scoring
from ..evaluation.scoring import Scores
from ..evaluation.tables import change, html_table

_COLUMNS = ("size", "one row", "rows/s")


@dataclass(frozen=True)
class Variant:
    """The run, or a model that was exported from it."""

    name: str
    cost: Cost
    """Size of the weights, or of the graph with its weights; seconds for one row, and rows per second."""
    scores: Scores = field(default_factory=dict)
    changes: Scores = field(default_factory=dict)
    """Scores minus those of the run, with the 95 % intervals of the paired differences."""

    def as_json(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        scored = scoring.to_json({"scores": self.scores, "changes": self.changes})
        cost = {name: value for name, value in self.cost.as_dict().items() if value is not None}
        return {**cost, **scored}


@dataclass(frozen=True)
class Export:
    """An exported model.

    Attributes:
        path: Its folder, which `hfrecipes.load` takes.
        split: Rows of the run that were scored, `test` or `validation`; empty where there were none.
        rows: Number of rows that were predicted.
        compared: Number of rows whose predictions are the same, from the model of the run and from the float graph.
        metric: Metric of the table.
        variants: The run, its model in ONNX, and with `int8` the one in 8 bits.
        inputs: Names of the inputs of the graph.
        outputs: Names of its outputs.
    """

    path: Path
    split: str
    rows: int
    compared: int
    metric: str
    variants: Sequence[Variant]
    inputs: Sequence[str]
    outputs: Sequence[str]

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """Heads and rows of a table."""
        heads = ["", *_COLUMNS, self.metric, "change"]
        table = []
        for variant in self.variants:
            score, difference = variant.scores.get(self.metric), variant.changes.get(self.metric)
            costs = [COST_COLUMNS[name](variant.cost) for name in _COLUMNS]
            cells = ["" if score is None else str(score), "" if difference is None else change(difference)]
            table.append([variant.name, *costs, *cells])
        return heads, table

    @property
    def sentences(self) -> list[str]:
        """What was compared, and how."""
        where = f"rows of {self.split}" if self.split else "samples of the task"
        sentences = [f"onnx predicts the same as the model of the run, compared on {self.compared} {where}"]
        if self.split:
            how = "change: minus those of the run, with the 95 % interval of paired differences"
            sentences.append(f"scores on {counted(self.rows, 'row')} of {self.split}; {how}")
        return sentences

    def as_json(self) -> dict[str, Any]:
        """What a file has of it."""
        variants = {variant.name: variant.as_json() for variant in self.variants}
        return {"split": self.split, "rows": self.rows, "compared": self.compared, "models": variants}

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return html_table(*self.cells())
