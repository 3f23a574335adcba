"""compare(): several runs on the same rows, read, tested, and timed here and now."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import predictor
from ..config.run_config import is_named_set
from ..data.checks import written_reference
from ..errors import ModelError, counted
from ..evaluation import averages, scoring
from ..evaluation.comparison import units_of
from ..evaluation.scoring import Score
from ..log import log, once
from ..models.hardware import describe_machine
from ..recipe import Measure, Metric, Recipe, Row, best_metric, deciding_metric, metric_named, table_metrics
from ..repeats import OUT_OF_FOLD
from . import cost, significance
from .comparison import Compared, Comparison, Test
from .cost import Cost
from .runs import Run, read_runs, short_names
from .sentences import about

if TYPE_CHECKING:
    from ..predictor import Predictor

# Over tokens, so that models whose tokenizers differ have other ones of the same text.
_OVER_TOKENS = ("perplexity", "loss", "accuracy")
_SEED = 42  # of the resamples
_ROUNDING = 1e-4  # how far a score may be from metrics.json when it is computed again


def compare(*runs: str | os.PathLike[str], timing: bool = True, trust: bool = False) -> Comparison:
    """Compare runs that were scored on the same rows: scores, paired tests, costs, and the Pareto front.

    The run with the best validation score is the reference: the test rows had no part in choosing it, so the tests
    against it are fair. Accuracy of one label per row is tested by McNemar's exact test, all other metrics by a paired
    bootstrap; probabilities are adjusted for the number of tests (Holm).

    Args:
        *runs: Folders of two runs or more, or of all folds of a run.
        timing: Whether the time of a prediction is measured now, for which all models are loaded together.
        trust: As for `load`.

    Returns:
        The comparison: `frame` has all numbers, `pareto` the runs on the front, `plot()` draws quality against cost.

    Raises:
        HFRecipesError: There are fewer than two runs, or one of them twice; one is damaged or not complete; they are
            of different tasks, or were scored on different rows.

    Example:
        >>> comparison = hfrecipes.compare("runs/full", "runs/lora")  # doctest: +SKIP
        >>> comparison.frame[["accuracy", "accuracy_difference", "accuracy_p_holm"]]  # doctest: +SKIP
    """
    return compared(read_runs(runs, trust=trust), timing=timing, trust=trust)


def compared(
    runs: Sequence[Run],
    *,
    timing: bool,
    trust: bool,
    names: Sequence[str] = (),
    is_choice: bool = False,
    chosen: int | None = None,
) -> Comparison:
    """As `compare`, for runs that were read.

    Args:
        runs: Scored on the same rows.
        timing: As for `compare`.
        trust: As for `compare`.
        names: Names of the runs; by default the last parts of their paths.
        is_choice: Whether validation is to choose one of them, even where it is what they are compared on.
        chosen: Index of the one that was chosen before, by a search.
    """
    loaded: list[Loaded] = []
    with once():
        for run in runs:
            model = predictor.load(run.model, trust=trust)
            loaded.append(Loaded(run, model.recipe, model if timing else None))
    recipe = _shared_recipe(loaded)
    names = names or short_names([str(run.path) if os.path.isdir(run.given) else run.given for run in runs])
    decides = _decisive(runs, loaded[0].recipe)
    metrics = _headline(loaded[0].recipe, decides, runs)
    said = list(_of_rows(runs))
    if chosen is None:
        reference, sentences = _reference(names, runs, decides, metrics, is_choice=is_choice)
    else:
        reference, sentences = chosen, [f"the others are tested against {names[chosen]}, which the search has chosen"]
        sentences += _honest(names[chosen], runs[chosen], decides)
    said += sentences
    entries = _with_costs(loaded, _tested(loaded, recipe, names, metrics, reference, said), said)
    comparison = Comparison(entries, names[reference], metrics, runs[0].split, len(runs[0].lines))
    return replace(comparison, sentences=[*said, *about(comparison)])


def compared_with(run: Loaded, other: Loaded, names: tuple[str, str]) -> Comparison:
    """A run against another model, the reference, that has predicted the same rows.

    Args:
        run: The run, whose task decides what is scored.
        other: The model that it is tested against.
        names: Short names of both.
    """
    runs, recipe = [run.run, other.run], run.recipe
    metrics = _headline(recipe, deciding_metric(recipe, run.run.config.training, run.run.scores[run.run.split]), runs)
    said: list[str] = []
    tested = _tested([run, other], recipe, names, metrics, 1, said)
    entries = _with_costs([run, other], tested, said)
    return Comparison(entries, names[1], metrics, run.run.split, len(run.run.lines), said)


@dataclass(frozen=True)
class Loaded:
    """A run with its task, and with its model where that is timed."""

    run: Run
    recipe: Recipe
    """The task with labels and tokenizer."""
    predictor: Predictor | None
    """The model, where its speed is measured."""


def _decisive(runs: Sequence[Run], recipe: Recipe) -> str:
    """The metric that picked the checkpoint of every run, if it is in their scores; else the first one of the task."""
    scored = set.intersection(*(set(run.scores.get("validation", {})) for run in runs))
    named = {deciding_metric(recipe, run.config.training, scored) for run in runs}
    return named.pop() if len(named) == 1 else best_metric(recipe)


def _headline(recipe: Recipe, decides: str, runs: Sequence[Run]) -> dict[str, Metric]:
    """Metrics of the tables that all runs have, with their directions, the one that decides first."""
    metrics = {}
    for name in dict.fromkeys([decides, *table_metrics(recipe)]):
        metric = metric_named(recipe, name)
        is_shared = all(name in run.scores.get(run.split, {}) for run in runs)
        if metric is not None and (is_shared or name == decides):
            metrics[name] = metric
    return metrics


def _of_rows(runs: Sequence[Run]) -> Iterable[str]:
    split = runs[0].split
    yield f"{counted(len(runs[0].lines), 'row')} of {split.replace('_', '-')}, the same for all runs"
    if split == "validation":
        yield "no test split: validation also chose the checkpoint of each run, so all scores are optimistic"


def _reference(
    names: Sequence[str], runs: Sequence[Run], metric: str, metrics: Mapping[str, Metric], *, is_choice: bool
) -> tuple[int, list[str]]:
    """Index of the run that the others are tested against, and why it is this one."""
    values = []
    for run in runs:
        entry = run.scores.get("validation", {}).get(metric) if run.split == "test" or is_choice else None
        values.append(math.nan if entry is None else entry.value)
    if not np.isfinite(values).all():
        return 0, [f"the others are tested against {names[0]}, the first that is named"]
    best = int(np.argmax(values) if metrics[metric].greater_is_better else np.argmin(values))
    scores = [f"{name} {scoring.number(value)}" for name, value in zip(names, values, strict=True)]
    first = "the first of the best" if values.count(values[best]) > 1 else "the best"
    sentences = [
        f"validation {metric}: {', '.join(scores)}; {names[best]} is {first}, and the others are tested against it"
    ]
    return best, sentences + (_honest(names[best], runs[best], metric) if is_choice else [])


def _honest(name: str, run: Run, metric: str) -> list[str]:
    """A sentence on the test score of a run that was chosen without it."""
    score = run.scores[run.split].get(metric)
    if run.split != "test" or score is None:
        return []
    return [
        f"{name} is chosen by validation alone, so its test {metric} of {score} is an honest figure; to choose by the "
        "test scores of the others would make theirs optimistic"
    ]


# --- differences and tests ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Measured:
    """What a run predicted, ready to be resampled."""

    predictions: list[Row]
    measure: Measure
    values: dict[str, float]


def _tested(
    loaded: Sequence[Loaded],
    recipe: Recipe,
    names: Sequence[str],
    metrics: Mapping[str, Metric],
    reference: int,
    said: list[str],
) -> list[Compared]:
    """The runs with the differences from the reference run, and a test of each for the headline metrics."""
    references = [written_reference(loaded[0].recipe, line) for line in loaded[0].run.lines]
    known = [index for index, wanted in enumerate(references) if wanted is not None]
    wanted = [references[index] for index in known]
    measured = []
    for entry in loaded:
        measured.append(_measured(entry, recipe, known, wanted))
    units = _units(loaded[0], known)
    if units is None:
        said.append("not tested: rows of one group belong together (folds.groups), and predictions name no groups")
    skipped = _over_other_tokens(measured, said)
    compared_runs = []
    for index, (name, entry) in enumerate(zip(names, loaded, strict=True)):
        run = entry.run
        row = Compared(name, run.path, run.scores.get(run.split, {}), run.scores.get("validation", {}))
        if index != reference and units is not None:
            pair = measured[index], measured[reference]
            differences = scoring.paired_differences(pair[0].measure, pair[1].measure, units, _SEED)
            differences = {key: value for key, value in differences.items() if key not in skipped}
            tests = _tests(recipe, pair, differences, [key for key in metrics if key in differences], wanted, units)
            row = replace(row, differences=differences, tests=tests)
        compared_runs.append(row)
    return _adjusted(compared_runs)


def _shared_recipe(loaded: Sequence[Loaded]) -> Recipe:
    """The task of the first run, with macro scores over the labels that all runs average."""
    recipe = loaded[0].recipe
    left_out: dict[str, None] = {}
    for entry in loaded:
        averages.leave_out(entry.recipe, _references_by_split(entry))
        left_out |= dict.fromkeys(entry.recipe.not_averaged)
    recipe.not_averaged = list(left_out)
    return recipe


def _references_by_split(entry: Loaded) -> dict[str, list[Any]]:
    """References of the rows that were predicted, as the run saw them when it chose the labels to average."""
    from ..run_folder.contents import read_predictions

    references: dict[str, list[Any]] = {}
    if entry.run.split != OUT_OF_FOLD:
        for line in read_predictions(entry.run.path):
            if is_named_set(line["split"]):  # their labels decided nothing
                continue
            references.setdefault(line["split"], []).append(written_reference(entry.recipe, line))
    return references


def _measured(entry: Loaded, recipe: Recipe, known: Sequence[int], wanted: list[Any]) -> _Measured:
    """Predictions of a run, after checking that they give the scores that the run has.

    Raises:
        ModelError: They do not, or cannot be scored.
    """
    predictions = [entry.run.lines[index]["prediction"] for index in known]
    try:
        measure = recipe.measure(predictions, wanted)
        values = scoring.score(recipe, predictions, wanted)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(
            f"the predictions of {entry.run.given} cannot be scored ({type(error).__name__}: {error}): delete its "
            "predictions.jsonl, and give the command of the run again, which scores the saved model"
        ) from error
    name = best_metric(recipe)
    saved = entry.run.scores[entry.run.split].get(name, Score(math.nan))
    if name in values and not math.isclose(saved.value, values[name], rel_tol=_ROUNDING, abs_tol=_ROUNDING):
        raise ModelError(
            f"{entry.run.given}: metrics.json has {name} {scoring.number(saved.value)}, and predictions.jsonl gives "
            f"{scoring.number(values[name])}, so one of them has changed: delete both, and give the command of the run "
            "again, which scores the saved model"
        )
    return _Measured(predictions, measure, values)


def _units(entry: Loaded, known: Sequence[int]) -> np.ndarray | None:
    """Index of the unit of each row; None where rows of a group belong together, which predictions do not name."""
    folds = entry.run.config.cross_validation
    if folds is not None and folds.groups is not None:
        return None
    return units_of(entry.recipe, [entry.run.lines[index] for index in known])


def _over_other_tokens(measured: Sequence[_Measured], said: list[str]) -> set[str]:
    """Metrics that are over tokens, where the models split the texts into different ones."""
    tokens = []
    for entry in measured:
        tokens.append([prediction.get("tokens") for prediction in entry.predictions])
    if all(numbers == tokens[0] for numbers in tokens[1:]):
        return set()
    skipped = {name for name in _OVER_TOKENS if name in measured[0].values}
    if skipped:
        said.append(
            f"{', '.join(sorted(skipped))}: not compared, since the tokenizers split the texts into different tokens"
        )
    return skipped


def _tests(
    recipe: Recipe,
    pair: tuple[_Measured, _Measured],
    differences: Mapping[str, Score],
    names: Sequence[str],
    wanted: list[Any],
    units: np.ndarray,
) -> dict[str, Test]:
    """A test for each of these metrics, not adjusted yet."""
    tests = {}
    is_independent = len(np.unique(units)) == len(units)
    for name in names:
        p, method = significance.bootstrap_test(differences[name], units), significance.BOOTSTRAP
        if name == "accuracy" and is_independent:
            right = [significance.rows_right(recipe, each.predictions, wanted, each.values[name]) for each in pair]
            if right[0] is not None and right[1] is not None:
                p, method = significance.mcnemar(right[0], right[1]), significance.MCNEMAR
        tests[name] = Test(method, p, p)
    return tests


def _adjusted(runs: Sequence[Compared]) -> list[Compared]:
    """The runs with probabilities that are adjusted for the number of all tests together."""
    every = []
    for run in runs:
        every += [test.p for test in run.tests.values()]
    adjusted = iter(significance.holm(every))
    changed = []
    for run in runs:
        tests = {name: replace(test, p_holm=next(adjusted)) for name, test in run.tests.items()}
        changed.append(replace(run, tests=tests))
    return changed


# --- costs -------------------------------------------------------------------------------------------------------


def _with_costs(loaded: Sequence[Loaded], entries: Sequence[Compared], said: list[str]) -> list[Compared]:
    """The runs with what they cost; their speed where the models are still loaded."""
    measured: list[tuple[cost.Latency | None, float | None]] = [(None, None)] * len(loaded)
    predictors = [entry.predictor for entry in loaded if entry.predictor is not None]
    here = describe_machine()
    if len(predictors) == len(loaded):
        log(f"timing: {counted(len(loaded), 'model')} in turns on this machine")
        with once():
            measured = list(cost.measure(predictors, loaded[0].run.lines))
        said.append(f"speed: measured now, in turns, on {here}")
        if not all(latency.is_steady for latency, _ in measured if latency is not None):
            said.append("these times vary much from round to round, as on a machine that is busy: measure them again")
    machines = {info.machine for entry in loaded for info in entry.run.infos if info.machine}
    if len(machines) > 1:
        said.append(f"training: on different machines ({'; '.join(sorted(machines))}), so its seconds do not compare")
    changed = []
    for entry, row, (latency, speed) in zip(loaded, entries, measured, strict=True):
        known = replace(_known_cost(entry.run), latency=latency, rows_per_second=speed)
        changed.append(replace(row, cost=known))
    return changed


def _known_cost(run: Run) -> Cost:
    """What the run wrote down; the training of all folds together."""
    info = run.infos[0]
    energies = [float(known.energy["kwh"]) for known in run.infos if known.energy and "kwh" in known.energy]
    return Cost(
        parameters=int(info.parameters["total"]) if "total" in info.parameters else None,
        trained=int(info.parameters["trained"]) if "trained" in info.parameters else None,
        training_seconds=sum(known.seconds for known in run.infos) or None,
        kwh=sum(energies) if len(energies) == len(run.infos) else None,
        size=cost.size_on_disk(run.model, info.files),
    )
