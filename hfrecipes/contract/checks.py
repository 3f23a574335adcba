"""The rules: each is a function, and the first line of its docstring is the rule that every task must satisfy.

A check yields a sentence for each thing that is wrong, with the edit that corrects it. tests/tasks/test_contract.py
runs all of them over every task of the package, and `hfrecipes check my_task.py` over one outside of it.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .. import predictor
from ..config.run_config import FIELDS, WRITTEN_WITH_BLOCK
from ..config.trainer_keywords import training_types
from ..config.yaml12 import dump, load
from ..errors import nearest
from ..evaluation.scoring import score
from ..models.directory import ADAPTER
from ..predictor import Predictor
from ..recipe import (
    Recipe,
    Row,
    arguments_name,
    best_metric,
    input_columns,
    metric_named,
    reference_columns,
    undefined,
)
from ..recipe import options as option_values
from ..registry import options
from ..results import Result
from ..run_folder.contents import CARD, PREDICTIONS
from .trial import Trial, are_close

Problems = Iterator[str]
_SHOWN = 200  # characters of a value that a sentence shows


# --- facts -------------------------------------------------------------------------------------------------------


def facts_are_complete(trial: Trial) -> Problems:
    """The facts are complete, and transformers has the classes that they name."""
    import transformers

    kind = trial.kind
    for name in undefined(kind):
        yield f"{kind.__name__} does not define {name}: add it, docs/write-a-task.md shows how"
    auto_model = getattr(kind, "auto_model", "")
    if auto_model and not hasattr(transformers, auto_model):
        yield f"auto_model: transformers has no {auto_model}{nearest(auto_model, dir(transformers))}"
    known = training_types(arguments_name(kind)) if auto_model else {}
    for name in itertools.chain(kind.defaults, *kind.defaults_with.values()):
        if name not in known:
            yield f"defaults: {name} is not a keyword of TrainingArguments{nearest(name, known)}"


def columns_are_consistent(trial: Trial) -> Problems:
    """Columns, layouts and samples name the same columns."""
    kind = trial.kind
    if not input_columns(kind):
        yield "columns: each one is a reference or passed through, so there is nothing to predict from: add an input"
    for layout in kind.layouts:
        for name in layout:
            if name not in kind.columns:
                yield f"layouts: {name} is not a column{nearest(name, kind.columns)}"
    if len(kind.samples) < 2:
        yield f"samples: found {len(kind.samples)}, expected at least two rows with different references"
    needed = [name for name, column in kind.columns.items() if not (column.optional or column.passthrough)]
    for index, row in enumerate(kind.samples):
        for name in row:
            if name not in kind.columns:
                yield f"samples: row {index} has {name}, which is not a column{nearest(name, kind.columns)}"
        for name in needed:
            if name not in row:
                yield f"samples: row {index} has no {name}: add it, or make the column optional"


def options_are_explained(trial: Trial) -> Problems:
    """Each option has a sentence below it that explains it, and no setting has the same name."""
    kind = trial.kind
    # Without the decorator, annotated attributes are only type hints to Python.
    if "__dataclass_fields__" not in vars(kind) and vars(kind).get("__annotations__"):
        yield f"{kind.__name__} has options but is not a dataclass: put @dataclass(kw_only=True) above the class"
    # On the command line, options and settings are given without their block.
    settings = {**training_types(arguments_name(kind)), **FIELDS}
    for name, _, _, explanation in options(kind):
        if name in settings and name not in WRITTEN_WITH_BLOCK:
            yield f"option {name}: a setting has the same name; rename the option"
        if not explanation:
            yield f'option {name} is not explained: put a sentence in """quotes""" on the line below it'
        elif not explanation.endswith("."):
            yield f"option {name}: its explanation does not end with a full stop: {_short(explanation)}"


def options_survive_the_recipe_file(trial: Trial) -> Problems:
    """Options do not change when they are written to a recipe file and read again."""
    recipe = trial.kind()
    before = option_values(recipe)
    after = load(dump(before))
    for name, value in before.items():
        if after[name] != value:
            yield (
                f"option {name}: {_short(value)} becomes {_short(after[name])} in recipe.yaml: use text, numbers, "
                "lists or dicts with names as keys"
            )
    if trial.kind(**before) != recipe:
        yield f"{trial.kind.__name__}: __post_init__ changes the options that it is given: it must not change them"


def card_has_its_texts(trial: Trial) -> Problems:
    """The card says what the model does, how to use it, how it was scored, and against which baseline."""
    texts = trial.kind.card
    for name in ("purpose", "baseline", "scores", "usage"):
        if not getattr(texts, name).strip():
            yield f"card: {name} is empty: write it, it becomes part of the model card"
    if "{path}" not in texts.usage:
        yield "card: usage does not load the model: write {path} where its name belongs"


# --- metrics -------------------------------------------------------------------------------------------------------


def metrics_have_a_direction(trial: Trial) -> Problems:
    """`measure` returns only metrics with a known direction, and among them the one that picks the checkpoint."""
    recipe, predictions, references = _baseline(trial)
    names = list(recipe.measure(predictions, references)(np.ones((1, len(references)), dtype=np.float32)))
    for name in names:
        if metric_named(recipe, name) is None:
            yield f'metrics: measure returns {name}, whose direction is unknown: add "{name}": HIGHER, or LOWER'
    best = best_metric(recipe)
    if best not in names:
        yield (
            f"metrics: the first one, {best}, picks the checkpoint, but measure does not return it: "
            f"expected one of {', '.join(names)}"
        )


def weights_count_rows(trial: Trial) -> Problems:
    """`measure` uses its weights: weights of 1 give the scores, and a weight of 2 counts the row twice."""
    recipe, predictions, references = _baseline(trial)
    number = len(references)
    # Some rows are left out, others are drawn several times, as in a resample.
    counts = np.resize([1, 0, 2, 1, 3], number)
    weights = np.stack([np.ones(number), counts]).astype(np.float32)
    measured = recipe.measure(predictions, references)(weights)
    shapes = {name: np.shape(values) for name, values in measured.items()}
    for name, shape in shapes.items():
        if shape != (2,):
            yield f"measure: {name} has the shape {shape} for 2 resamples, expected (2,), one value for each resample"
    if set(shapes.values()) != {(2,)}:
        return
    repeated = np.repeat(np.arange(number), counts)
    resample = [predictions[index] for index in repeated], [references[index] for index in repeated]
    expected = [score(recipe, predictions, references), score(recipe, *resample)]
    for name, values in measured.items():
        for value, scores in zip(values.tolist(), expected, strict=True):
            # A score of a label is left out where no row has that label.
            if name in scores and not _same_number(value, scores[name], 1e-5):
                yield (
                    f"measure: {name} is {value:.6g} with weights, and {scores[name]:.6g} for rows repeated that "
                    "often: multiply what each row adds by its weight, and divide by the sum of the weights"
                )


def _baseline(trial: Trial) -> tuple[Recipe, list[Row], list[Any]]:
    """The recipe with its labels, predictions of the baseline for some rows, and their references."""
    from datasets import Dataset

    train, rows = Dataset.from_list(trial.rows(40)), Dataset.from_list(trial.rows(12))
    recipe = trial.kind()
    recipe.infer_labels(train)
    # Of few rows, so that the baseline is not right or wrong everywhere.
    baseline = recipe.baseline(train.select(range(7)))
    return recipe, recipe.baseline_predictions(rows, baseline), [recipe.reference(row) for row in rows]


# --- runs ----------------------------------------------------------------------------------------------------------


def a_run_reloads(trial: Trial) -> Problems:
    """A saved model predicts the same after `hfrecipes.load`, and what the task learned is loaded with it."""
    result = trial.run(lora=False)
    yield from _differences(trial, result, predictor.load(result.path, trust=True))
    yield from _wrong_files(trial, result, lora=False)


def a_lora_run_reloads(trial: Trial) -> Problems:
    """The same holds with LoRA, for the merged model and for the adapter on its base model."""
    result = trial.run(lora=True)
    yield from _differences(trial, result, predictor.load(result.path, trust=True))
    yield from _wrong_files(trial, result, lora=True)
    if (result.path / ADAPTER).exists():
        # In another folder, the model of the run is not next to the adapter.
        elsewhere = (result.path / ADAPTER).rename(trial.folder / "adapter-alone")
        yield from _differences(trial, result, predictor.load(elsewhere, trust=True), tolerance=1e-3)
        elsewhere.rename(result.path / ADAPTER)


def _differences(trial: Trial, result: Result, loaded: Predictor, tolerance: float = 1e-6) -> Problems:
    """How the loaded model differs from the trained one."""
    for name in ("labels", "learned", "calibration"):
        before, after = getattr(result.predictor.recipe, name), getattr(loaded.recipe, name)
        # A tuple becomes a list, and a number as key a text.
        if before != after:
            yield (
                f"self.{name} is {_short(before)} after training and {_short(after)} after load: "
                "keep JSON values in it (text, numbers, lists, dicts with text as keys)"
            )
    rows = trial.splits["test"]
    inputs = trial.inputs(rows)
    for index, pair in enumerate(zip(result.predict(inputs), loaded.predict(inputs), strict=True)):
        if not are_close(*pair):
            yield (
                f"row {index} is predicted as {_short(pair[0])} after training and as {_short(pair[1])} after load: "
                "keep what encode and decode need in self.learned, other attributes are not saved"
            )
            # The other rows differ for the same reason.
            break
    for name, before, after in _changed(result.metrics["test"], loaded.evaluate(rows).metrics, tolerance):
        yield f"{name} of test is {before} after training and {after} after load"


def _wrong_files(trial: Trial, result: Result, *, lora: bool) -> Problems:
    """Files of a run that are missing, or that should not be there."""
    import transformers

    if (result.path / ADAPTER / "adapter_model.safetensors").exists() != lora:
        yield f"{ADAPTER}/ is {'missing' if lora else 'there'} after a run with lora={str(lora).lower()}"
    pickled = [file.name for file in result.path.rglob("*.bin")]
    if pickled:
        yield f"{', '.join(pickled)}: weights are saved as safetensors alone"
    auto_model = getattr(transformers, trial.kind.auto_model)
    _, report = auto_model.from_pretrained(result.path, output_loading_info=True)
    if report["missing_keys"]:
        yield f"{trial.kind.auto_model} finds no weights for {', '.join(sorted(report['missing_keys']))}"


def scores_are_of_written_predictions(trial: Trial) -> Problems:
    """The scores are equal to those computed from predictions.jsonl, which has every row in its order."""
    result = trial.run(lora=False)
    rows, recipe = trial.splits["test"], result.predictor.recipe
    lines = []
    for text in (result.path / PREDICTIONS).read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        if line["split"] == "test":
            lines.append(line)
    numbers = [line["row"] for line in lines]
    if numbers != list(range(len(rows))):
        yield (
            f"{PREDICTIONS} has the rows {numbers}, expected {len(rows)} in their order: let decode return one "
            "prediction for each row"
        )
        return
    predictions, references = [], []
    for line, row in zip(lines, rows, strict=True):
        yield from _wrong_line(recipe, line, row)
        predictions.append(line["prediction"])
        # Read from the file alone, as a user would.
        references.append(recipe.reference(line))
    scores = score(recipe, predictions, references)
    for name, before, after in _changed(result.metrics["test"], scores, 1e-6):
        yield (
            f"{name} is {before}, but {after} if computed from {PREDICTIONS}: let decode return JSON values, "
            "and let measure use nothing else"
        )


def _wrong_line(recipe: Recipe, line: Row, row: Row) -> Problems:
    """How a written row differs from the row that was read."""
    for name in input_columns(recipe):
        if name in row and line[name] != row[name]:
            yield f"row {line['row']}: {name} is written as {_short(line[name])}, and was {_short(row[name])}"
    if recipe.reference(line) != recipe.reference(row):
        yield (
            f"row {line['row']}: the reference is {_short(recipe.reference(line))} as written, and was "
            f"{_short(recipe.reference(row))}: reference must accept what it returns"
        )
    for name in reference_columns(recipe):
        if name not in line["prediction"]:
            continue
        reference, prediction = line[name], line["prediction"][name]
        if type(reference) is not type(prediction):
            yield (
                f"row {line['row']}: {name} is {reference!r} and its prediction {prediction!r}: decode and reference "
                "must write it in the same way"
            )


def card_snippets_run(trial: Trial) -> Problems:
    """The Python code on the model card runs."""
    result = trial.run(lora=False)
    snippets = (result.path / CARD).read_text(encoding="utf-8").split("```python\n")[1:]
    if len(snippets) != 2:
        yield f"the card shows {len(snippets)} snippets, expected one for transformers and one for hfrecipes"
    # The card names the model as somebody has it who downloaded its folder.
    with contextlib.chdir(result.path.parent), contextlib.redirect_stdout(io.StringIO()):
        for snippet in snippets:
            code = snippet.partition("```")[0]
            try:
                # In a namespace of its own, as in a new script.
                exec(code, {})
            except Exception as error:
                yield f"card: usage raises {type(error).__name__}: {error}, in: {_short(code)}"


# --- training ------------------------------------------------------------------------------------------------------


def accumulation_changes_nothing(trial: Trial) -> Problems:
    """Training does not depend on how gradient accumulation splits a batch."""
    start, whole = trial.weights(8)
    _, parts = trial.weights(2)
    learnt = float((whole - start).norm())
    # Weights that do not change would be equal however the batch is split.
    if learnt < 1e-3:
        yield "the weights hardly change in training: make the loss depend on the outputs of the model"
        return
    difference = float((parts - whole).norm()) / learnt
    if not difference < 1e-3:
        yield (
            f"one batch of 8 rows and 4 batches of 2 change the weights differently, by {difference:.2%}: "
            "let the loss be losses.mean_over_batch(sum of the losses, number of items, num_items_in_batch), not a mean"
        )


def eight_rows_are_eight_times_one(trial: Trial) -> Problems:
    """The loss of a row does not depend on the other rows of its batch, whatever their lengths."""
    import torch

    _, whole = trial.weights(8)
    # A row alone has no padding.
    _, single = trial.weights(1)
    if not torch.allclose(whole, single, atol=1e-5):
        difference = float((whole - single).abs().max())
        yield (
            f"one batch of 8 rows and 8 batches of 1 change the weights differently, by up to {difference:.2g}: leave "
            "padding out of the loss, and divide by num_items_in_batch as losses.mean_over_batch does"
        )


def resuming_changes_nothing(trial: Trial) -> Problems:
    """A run that resumes from a checkpoint in the middle of an epoch ends with the same weights."""
    import torch

    whole, checkpoints = trial.epochs()
    middles = sorted(epoch for epoch in checkpoints if not epoch.is_integer())
    later = [epoch for epoch in middles if epoch > 1]
    if not later:
        yield f"the samples make {len(checkpoints)} batches in two epochs, too few to test this: add longer samples"
        return
    # In the second epoch the order of the rows is another one.
    for epoch in dict.fromkeys([middles[0], later[0]]):
        if not torch.equal(whole, trial.resume(checkpoints[epoch])):
            yield (
                f"from epoch {epoch:g} on, a resumed run changes the weights differently: let random numbers depend "
                "only on self.seed, self.epoch and the row"
            )


# --- numbers and sentences -----------------------------------------------------------------------------------------


def _same_number(value: float, other: float, tolerance: float) -> bool:
    both_unknown = math.isnan(value) and math.isnan(other)
    return both_unknown or math.isclose(value, other, rel_tol=tolerance, abs_tol=tolerance)


def _changed(
    scores: Mapping[str, float], others: Mapping[str, float], tolerance: float
) -> Iterator[tuple[str, float | None, float | None]]:
    """Metrics that differ between two sets of scores, each with both values; None where a set does not have it."""
    for name in {**scores, **others}:
        value, other = scores.get(name), others.get(name)
        if value is None or other is None or not _same_number(value, other, tolerance):
            yield name, value, other


def _short(value: Any) -> str:
    """The value as Python writes it, shortened if it is long."""
    text = value if isinstance(value, str) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


CHECKS = (
    facts_are_complete,
    columns_are_consistent,
    options_are_explained,
    options_survive_the_recipe_file,
    card_has_its_texts,
    metrics_have_a_direction,
    weights_count_rows,
    a_run_reloads,
    a_lora_run_reloads,
    scores_are_of_written_predictions,
    card_snippets_run,
    accumulation_changes_nothing,
    eight_rows_are_eight_times_one,
    resuming_changes_nothing,
)
