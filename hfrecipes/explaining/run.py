"""What a saved run has learnt to look at: words by label, its worst rows explained, and whether that can be trusted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..config.run_config import RunConfig
from ..data.checks import written_reference
from ..data.prepare import load_again
from ..errors import HFRecipesError, NotFoundError, counted
from ..evaluation.inference import Inference
from ..log import log
from ..recipe import Recipe, Row, fresh_copy, input_columns
from ..run_folder import contents
from .explainer import Explainer
from .explanation import Explanation
from .faithfulness import Faithfulness, row_drops, summarized
from .label_words import LEAST, LabelWord, words_by_label
from .nearest import nearest_rows

if TYPE_CHECKING:
    from datasets import Dataset

ROWS, SECONDS = 200, 120.0
WORST = 5  # rows that are explained one by one


class SavedModel(Protocol):
    """What is needed of a loaded run, as `hfrecipes.load` gives it."""

    @property
    def recipe(self) -> Recipe:
        """The task."""

    @property
    def config(self) -> RunConfig:
        """Settings of the run."""

    @property
    def folder(self) -> Path | None:
        """Folder of the run."""

    @property
    def inference(self) -> Inference:
        """The model, ready to predict."""


@dataclass(frozen=True)
class NearRow:
    """A training row near a wrong prediction."""

    row: Row
    similarity: float
    """Cosine, from -1 to 1."""


@dataclass(frozen=True)
class WorstRow:
    """A wrong prediction, why the model made it, and what it was trained on that is most like it."""

    number: int
    """Index of the row in its split."""
    row: Row
    """Its input columns."""
    reference: Any
    explanation: Explanation
    nearest: list[NearRow] = field(default_factory=list)


@dataclass(frozen=True)
class RunExplanation:
    """What `explain_run` finds out about a run."""

    method: str
    """How predictions are explained."""
    split: str
    """Split whose rows are explained: test, or validation where there is no test."""
    words: dict[str, list[LabelWord]] = field(default_factory=dict)
    """Label -> the words that speak most for it in validation."""
    faithfulness: list[Faithfulness] = field(default_factory=list)
    worst: list[WorstRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """How many rows each part is from, and what is left out."""

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return asdict(self)


def explain_run(
    predictor: SavedModel, *, rows: int = ROWS, seconds: float = SECONDS, train: Dataset | None = None
) -> RunExplanation:
    """Explain a sample of the rows that a run has predicted.

    Args:
        predictor: What `hfrecipes.load` gives for a folder.
        rows: Number of rows of validation, and of test, that are explained at most.
        seconds: Time after which no other row is begun; a third of it for each part.
        train: Training rows of the run, where they are read already.

    Raises:
        ConfigError: Predictions of the task cannot be explained.
        MissingPackageError: Captum is not installed.
        NotFoundError: The run has no predictions.
    """
    explainer = Explainer(predictor.inference)
    lines = _lines_by_split(predictor.folder)
    split = "test" if "test" in lines else next(iter(lines))
    part = _Part(explainer, predictor.config.training.get("seed", 42), rows, seconds / 3)
    explanations, words_note = part.explanations(lines.get("validation", lines[split]), "validation")
    faithfulness, faithfulness_note = part.faithfulness(lines[split], split)
    worst, worst_notes = _worst_rows(predictor, explainer, lines[split], seconds / 3, train)
    notes = [words_note, faithfulness_note, *worst_notes]
    return RunExplanation(explainer.method, split, words_by_label(explanations), faithfulness, worst, notes)


def _lines_by_split(folder: Path | None) -> dict[str, list[Row]]:
    """Rows with their predictions, by split.

    Raises:
        NotFoundError: There are none.
    """
    lines: dict[str, list[Row]] = {}
    if folder is not None and (folder / contents.PREDICTIONS).exists():
        for line in contents.read_predictions(folder):
            # An empty text has no prediction.
            if line.get("prediction") is not None:
                lines.setdefault(line.get("split", "out_of_fold"), []).append(line)
    if not lines:
        raise NotFoundError(
            f"{folder} has no {contents.PREDICTIONS}, whose rows would be explained: give a text, or a file with rows"
        )
    return lines


# --- samples of rows ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Part:
    """Works on a random sample of rows until its time is over."""

    explainer: Explainer
    seed: int
    rows: int
    seconds: float

    def _sample(self, lines: Sequence[Row]) -> list[Row]:
        order = np.random.default_rng(self.seed).permutation(len(lines))[: self.rows]
        return [lines[index] for index in order]

    def explanations(self, lines: Sequence[Row], split: str) -> tuple[list[Explanation], str]:
        """Explanations of rows, and a sentence on how many."""
        end = time.monotonic() + self.seconds
        explanations: list[Explanation] = []
        for line in self._sample(lines):
            if explanations and time.monotonic() > end:
                break
            explanations.append(self.explainer.explain(line, line["prediction"]))
        sentence = (
            f"words: means over {len(explanations)} of {counted(len(lines), 'row')} of {split}, of words that occur "
            f"{LEAST} times or more"
        )
        return explanations, sentence

    def faithfulness(self, lines: Sequence[Row], split: str) -> tuple[list[Faithfulness], str]:
        """Means over rows of how probabilities fall without words, and a sentence on how many rows."""
        end = time.monotonic() + self.seconds
        generator = np.random.default_rng(self.seed)
        drops: list[np.ndarray] = []
        tried = 0
        for line in self._sample(lines):
            if tried and time.monotonic() > end:
                break
            tried += 1
            for explained, words, target in self.explainer.attributed(line, line["prediction"])[:1]:
                fallen = row_drops(self.explainer.attributor, explained, words, target, generator)
                if fallen is not None:
                    drops.append(fallen)
        if not drops:
            return [], f"faithfulness: not measured, as no prediction of {tried} rows of {split} has a probability"
        hidden = f"{self.explainer.attributor.stand_in} in place of words"
        return summarized(drops), f"faithfulness: {len(drops)} of {counted(len(lines), 'row')} of {split}, {hidden}"


# --- the worst rows ----------------------------------------------------------------------------------------------


def _worst_rows(
    predictor: SavedModel, explainer: Explainer, lines: Sequence[Row], seconds: float, train: Dataset | None
) -> tuple[list[WorstRow], list[str]]:
    """The most certain of the wrong predictions, explained, with the nearest training rows."""
    end = time.monotonic() + seconds
    recipe = predictor.recipe
    wrong = wrong_lines(recipe, lines)
    chosen = wrong[:WORST]
    notes = [f"wrong predictions: {len(chosen)} of {len(wrong)}, the most certain ones"]
    if not chosen:
        return [], ["wrong predictions: none"]
    nearest: list[list[NearRow]] = [[] for _ in chosen]
    known = _training_rows(predictor) if train is None else train
    if isinstance(known, str):
        notes.append(known)
    else:
        neighbours, compared = nearest_rows(predictor.inference, known, _inputs(recipe, chosen), end)
        for index, near in enumerate(neighbours):
            nearest[index] = [NearRow(dict(known[row.index]), row.similarity) for row in near]
        notes.append(f"nearest training rows: of {compared} of {counted(len(known), 'row')}")
    worst = []
    for line, near_rows in zip(chosen, nearest, strict=True):
        explanation = explainer.explain(line, line["prediction"])
        cells = {name: line[name] for name in input_columns(recipe) if name in line}
        worst.append(WorstRow(line["row"], cells, written_reference(recipe, line), explanation, near_rows))
    return worst, notes


def wrong_lines(recipe: Recipe, lines: Sequence[Row]) -> list[Row]:
    """Rows whose prediction is not their reference, the worst first: the farthest numbers, the most certain labels."""
    wrong = []
    for line in lines:
        reference = written_reference(recipe, line)
        badness = _badness(recipe, line["prediction"], reference) if recipe.is_right_or_wrong(reference) else 0.0
        if badness > 0:
            wrong.append((badness, line))
    wrong.sort(key=lambda pair: -pair[0])
    return [line for _, line in wrong]


def _badness(recipe: Recipe, prediction: Row, reference: Any) -> float:
    """0 for a right prediction; how far off a number is; how certain another prediction is."""
    predicted = prediction.get(recipe.prediction or "")
    if isinstance(predicted, float) and isinstance(reference, int | float):
        return abs(predicted - reference)
    if isinstance(reference, list) and not isinstance(predicted, list):
        # Any of the answers will do; where there is none, no answer is right.
        is_right = predicted in (reference or [""])
    else:
        is_right = predicted == reference
    return 0.0 if is_right else 1.0 + float(prediction.get("score") or 0.0)


def _inputs(recipe: Recipe, lines: Sequence[Row]) -> Dataset:
    """The input columns of some rows."""
    from datasets import Dataset

    columns = {}
    for name in input_columns(recipe):
        if name in lines[0]:
            columns[name] = [line[name] for line in lines]
    return Dataset.from_dict(columns)


def _training_rows(predictor: SavedModel) -> Dataset | str:
    """The rows that the run was trained on, read again; a sentence where they are not at hand."""
    try:
        data = load_again(predictor.config, fresh_copy(predictor.recipe))
    except HFRecipesError as error:
        return f"nearest training rows: not shown, as the data cannot be read again ({error})"
    log("the training rows are read again, to find those nearest to wrong predictions")
    return data.splits["train"]
