"""Sets of rows that a saved model is scored on, one or several, and the files with what that gives."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config.blocks import local_path
from ..data.input_names import refuse_missing
from ..errors import ConfigError
from ..evaluation.comparison import Evaluation, own_test
from ..evaluation.scoring import Scores
from ..output import json_line
from ..predictor import load
from ..recipe import table_metrics
from ..run_folder.writing import draft, write_json


def evaluate_sets(
    path: str, settings: Mapping[str, Any], *, trust: bool, int8: bool = False
) -> tuple[list[str], Scores, dict[str, Evaluation]]:
    """Scores of the sets that a command names.

    Args:
        path: A run, or a model on the Hub.
        settings: `dataset` or `tests`, `splits`, `columns` and `by`.
        trust: As for `load`.
        int8: As for `load`.

    Returns:
        The headline metrics, the scores of the run's own test, and those of each set by its name.

    Raises:
        HFRecipesError: A set is not there, or cannot be scored.
    """
    sets = {"": settings["dataset"]} if "dataset" in settings else settings["tests"]
    if not isinstance(sets, Mapping):
        raise ConfigError(f"tests: found {sets!r}, expected a name for each set: tests.<name>=<file>")
    for source in sets.values():
        # Loading a model takes longer than to see that a file is missing.
        if isinstance(source, str):
            refuse_missing(os.path.expanduser(local_path(source)))
    predictor = load(path, trust=trust, int8=int8)
    evaluator = predictor.evaluator(settings.get("by"))
    evaluations = {}
    for name, evaluation in evaluator.evaluate_each(sets, settings.get("splits"), settings.get("columns")):
        evaluations[name or evaluation.split] = evaluation
    run_test = own_test(predictor.folder)
    return table_metrics(predictor.recipe), {} if run_test is None else run_test.scores, evaluations


def files_of(output: Path) -> tuple[Path, Path]:
    """The file of scores, and that of predictions beside it."""
    return output, output.with_name(f"{output.stem}.predictions.jsonl")


def write_evaluations(output: Path, run: str, evaluations: Mapping[str, Evaluation]) -> None:
    """Write the scores of all sets, and each row with its prediction."""
    scores, predictions = files_of(output)
    with draft(predictions) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for name, evaluation in evaluations.items():
            for row in evaluation.predictions:
                file.write(json_line({"set": name, **row}) + "\n")
    write_json(scores, evaluations_as_json(run, evaluations))


def evaluations_as_json(run: str, evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
    """The scores of all sets as JSON values."""
    sets = {name: evaluation.as_json() for name, evaluation in evaluations.items()}
    return {"run": run, "sets": sets}
