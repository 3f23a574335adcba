"""Reports of predictions made in a test, without any training."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from datasets import Dataset

from hfrecipes.config.run_config import RunConfig
from hfrecipes.evaluation import scoring
from hfrecipes.evaluation.breakdown import breakdown
from hfrecipes.evaluation.evaluate import Predicted
from hfrecipes.reports.page import Section, Table
from hfrecipes.reports.run_data import RunData
from hfrecipes.reports.sections import SECTIONS
from hfrecipes.run_folder.contents import RunInfo


def report_of(recipe: Any, folder: Path, lines: list[dict], **more: Any) -> RunData:
    """A run of one split, `test`, with these lines of predictions.jsonl; scored as a run is."""
    written = [{"split": "test", "row": number, **line} for number, line in enumerate(lines)]
    (folder / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in written))
    config = RunConfig(task=recipe.task, training={"seed": 1})
    run = RunData(folder, config, recipe, {}, RunInfo(hfrecipes="1"), **more)
    rows = run.known_rows("test")
    predictions, references = [row.prediction for row in rows], [row.reference for row in rows]
    columns = Dataset.from_list([{k: v for k, v in row.line.items() if k in recipe.columns} for row in rows])
    report = breakdown(recipe, Predicted(columns, references, None, predictions))
    scores = {"test": scoring.scores(recipe, predictions, references, seed=1)}
    return dataclasses.replace(run, scores=scores, breakdowns={} if report is None else {"test": report})


def sections_of(run: RunData) -> dict[str, Section]:
    """The sections that a run has, by their titles."""
    made = [make(run) for make in SECTIONS]
    return {section.title: section for section in made if section is not None}


def tables_of(section: Section) -> dict[str, Table]:
    """The tables of a section by their captions."""
    return {block.caption: block for block in section.blocks if isinstance(block, Table)}


def texts_of(table: Table) -> list[list[str]]:
    """The cells as a reader sees them."""
    return [[getattr(cell, "text", None) or str(cell) for cell in row] for row in table.rows]


def classified(label: str, shares: dict[str, float], text: str = "the film was fine") -> dict:
    """A line of a classifier with one label per row."""
    best = max(shares, key=shares.__getitem__)
    return {"text": text, "label": label, "prediction": {"label": best, "score": shares[best], "scores": shares}}
