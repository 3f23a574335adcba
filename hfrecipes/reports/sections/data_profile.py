"""The data: rows by split, how often each label occurs, and how long texts are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...data.checks import iterate
from ...recipe import input_columns
from ..cells import shown
from ..page import Block, Section, Table
from ..run_data import RunData

_LOOKED_AT = 2000  # rows of train whose lengths are measured, drawn with the seed
_LABELS = 500  # in the table


def section(run: RunData) -> Section | None:
    """Three tables, as far as the run has them."""
    blocks: list[Block] = []
    if run.info.data:
        rows = [[split, _count(content)] for split, content in run.info.data.items()]
        blocks.append(Table(["split", "rows"], rows))
    counts = label_counts(run)
    if counts:
        blocks.append(_labels(counts))
    lengths = _lengths(run)
    if lengths:
        heads = ["split", "column", "rows looked at", "median characters", "95 %", "longest"]
        blocks.append(Table(heads, lengths, "Lengths of inputs"))
    return Section("Data", blocks) if blocks else None


def _count(content: str) -> Any:
    """Number of rows from a sentence that begins with it."""
    number = content.split(" ", 1)[0]
    return int(number) if number.isdecimal() else content


def label_counts(run: RunData) -> dict[str, dict[str, int]]:
    """Split -> label -> how often it occurs, train first; empty where rows have no labels."""
    counts: dict[str, dict[str, int]] = {}
    if run.data.label_counts:
        counts["train"] = dict(run.data.label_counts)
    for split, report in run.breakdowns.items():
        if report.classes and report.by != "position":
            counts[split] = {name: scores.support for name, scores in report.classes.items()}
    return counts


def _labels(counts: dict[str, dict[str, int]]) -> Table:
    names: dict[str, None] = {}
    for of_split in counts.values():
        names |= dict.fromkeys(of_split)
    rows = []
    for name in list(names)[:_LABELS]:
        rows.append([name, *(of_split.get(name, 0) for of_split in counts.values())])
    return Table(["label", *counts], rows, "Rows with each label")


def _lengths(run: RunData) -> list[Sequence[Any]]:
    """Lengths of the inputs of each split, in characters."""
    table: list[Sequence[Any]] = []
    texts: dict[str, list[Any]] = {}
    for split, predicted in run.rows.items():
        texts[split] = [row.line for row in predicted]
    train = run.data.splits.get("train")
    if train is not None and "train" not in texts:
        if len(train) > _LOOKED_AT:
            drawn = np.random.default_rng(run.config.training["seed"]).permutation(len(train))[:_LOOKED_AT]
            train = train.select(sorted(drawn.tolist()))
        texts = {"train": list(iterate(train)), **texts}
    for split, rows in texts.items():
        for name in input_columns(run.recipe):
            cells = [row[name] for row in rows if row.get(name) is not None]
            if cells:
                sizes = np.array([len(cell) if isinstance(cell, str) else len(shown(cell)) for cell in cells])
                quantiles = np.quantile(sizes, [0.5, 0.95]).round().astype(int).tolist()
                table.append([split, name, len(cells), *quantiles, int(sizes.max())])
    return table
