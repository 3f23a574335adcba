"""From predictions to scores, each with its interval and with what the baseline reaches."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import metrics
from ..data.checks import references as references_of
from ..errors import ConfigError, HFRecipesError, counted
from ..log import log
from ..metrics import _uncertainty
from ..recipe import Measure, Recipe, Row, best_metric, metric_named, table_metrics

if TYPE_CHECKING:
    from datasets import Dataset

DRAWS = 1000  # resamples for the interval of a metric
FEWER_DRAWS = 100  # the same for metrics that the user named, which are computed again for each resample
PROBES = 200  # units that are looked at alone
CLEAN = "test_clean"  # beside the splits: the rows of test whose input is not in train
GAP = "gap"  # beside the splits: how far train is above validation
# Share of the gain over the baseline that may be lost on validation before it is called overfitting.
MUCH = 0.2
# Metrics that scikit-learn computes for one label of two unless told otherwise.
AVERAGED = ("f1", "precision", "recall")
TEXT = "generated_text"  # in predictions of models that generate text
_CELLS = 4_000_000  # size of the table of weights that is in memory at once


@dataclass(frozen=True)
class Score:
    """A metric over the rows of a split, or over several runs."""

    value: float
    low: float | None = None
    """Lower end of the 95 % interval; NaN where it cannot be known, None where no interval is computed."""
    high: float | None = None
    """Upper end of it."""
    baseline: float | None = None
    """What a prediction without any model reaches."""
    uncalibrated: float | None = None
    """The value without what validation tuned, where that differs."""
    signature: str | None = None
    """What the metric must be quoted with, such as the tokenizer of BLEU."""
    deviation: float | None = None
    """Standard deviation over several runs."""
    runs: tuple[float, ...] = ()
    """Value of each run."""
    change: Score | None = None
    """For a set under `tests`, the value minus that of the run's own test, with the interval of the difference."""

    @property
    def ci95(self) -> list[float] | None:
        """Both ends of the 95 % interval, None where no interval is computed."""
        return None if self.low is None or self.high is None else [self.low, self.high]

    def __str__(self) -> str:
        """`0.790 (0.735–0.845)`, or `0.790 ± 0.012` over several runs.

        Example:
            >>> str(Score(0.79, 0.735, 0.845)), str(Score(0.79, deviation=0.012))
            ('0.790 (0.735–0.845)', '0.790 ± 0.012')
        """
        if self.deviation is not None:
            return f"{number(self.value)} ± {number(self.deviation)}"
        return f"{number(self.value)} ({interval(self.low, self.high)})"


Scores = dict[str, Score]  # of one split, by metric


# --- the scores of one split -------------------------------------------------------------------------------------


def score(recipe: Recipe, predictions: list[Row], references: list[Any]) -> dict[str, float]:
    """Value of each metric, over the rows that have a reference; empty where none has."""
    predictions, references, _ = _with_reference(predictions, references)
    if not references:
        return {}
    return _once(recipe.measure(predictions, references), len(references))


def _once(measure: Measure, rows: int) -> dict[str, float]:
    """The metrics where each row counts once."""
    values = measure(np.ones((1, rows), dtype=np.float32))
    return {name: float(value[0]) for name, value in values.items()}


def scores(
    recipe: Recipe,
    predictions: list[Row],
    references: list[Any],
    *,
    seed: int,
    others: Sequence[str] = (),
    groups: Sequence[Any] | None = None,
) -> Scores:
    """Each metric with its value and its 95 % interval, over the rows that have a reference.

    `metrics._uncertainty` describes how intervals are made from resamples.

    Args:
        recipe: The task.
        predictions: One per row.
        references: What they are scored against, one per row.
        seed: Seed of the resamples.
        others: Metrics that the user named.
        groups: What each row shares with others, which are resampled together (cluster bootstrap; Field and Welsh
            2007); None where rows are independent.
    """
    predictions, references, indices = _with_reference(predictions, references)
    if not references:
        return {}
    units = np.arange(len(indices))
    if groups is not None:
        units = np.array(_uncertainty.group_indices([groups[index] for index in indices]))
    measure = recipe.measure(predictions, references)
    values = _once(measure, len(references))
    intervals = _intervals(recipe, measure, values, units, seed)
    for name in others:
        try:
            more, around = _other_metric(name, recipe, predictions, references, units, seed)
        except Exception as error:  # a part of the rows may be too small for it; the model and its other scores stay
            rows = counted(len(references), "row")
            log(f"{name} is left out: it cannot score {rows} ({type(error).__name__}: {error})")
            continue
        values, intervals = {**more, **values}, {**around, **intervals}
    scored = {}
    for name, value in values.items():
        low, high = intervals.get(name, (None, None))
        scored[name] = Score(float(value), low, high, signature=recipe.signatures.get(name))
    return scored


def _with_reference(predictions: list[Row], references: list[Any]) -> tuple[list[Row], list[Any], list[int]]:
    """Predictions and references of the rows that have a reference, and the indices of those rows."""
    indices = [index for index, reference in enumerate(references) if reference is not None]
    return [predictions[index] for index in indices], [references[index] for index in indices], indices


def _intervals(
    recipe: Recipe, measure: Measure, values: Mapping[str, float], units: np.ndarray, seed: int
) -> dict[str, tuple[float, float]]:
    """Interval of each metric, from resamples of units; the metric of single units shows what it depends on."""
    generator = np.random.default_rng(seed)
    parts = [measure(weights) for weights in _resamples(units, generator)]
    probes = generator.permutation(int(units.max()) + 1)[: min(_step(units), PROBES)]
    alone = measure((units == probes[:, None]).astype(np.float32))
    intervals = {}
    for name in parts[0]:
        resampled = np.concatenate([part[name] for part in parts])
        low, high = _uncertainty.interval(values[name], resampled, units, bounds(recipe, name), alone.get(name))
        intervals[name] = (low, high)
    return intervals


def _step(units: np.ndarray) -> int:
    """Number of resamples that are in memory at once."""
    return max(1, min(DRAWS, _CELLS // len(units)))


def _resamples(units: np.ndarray, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """How often each row counts in each resample of units, some resamples at a time."""
    number, step = int(units.max()) + 1, _step(units)
    for start in range(0, DRAWS, step):
        counts = metrics.draw_weights(number, min(step, DRAWS - start), generator)
        yield counts if number == len(units) else counts[:, units]


def bounds(recipe: Recipe, name: str) -> tuple[float, float]:
    """Least and greatest value that the metric can take; `f1[person]` has those of `f1`."""
    known = metric_named(recipe, name)
    if known is not None and known.greater_is_better and known.maximum != 1.0:
        return (0.0, known.maximum)
    return _uncertainty.RANGES.get(name.partition("[")[0], (0.0, 1.0))


# --- metrics that the user named ---------------------------------------------------------------------------------


def metric_inputs(recipe: Recipe, predictions: list[Row], references: list[Any]) -> tuple[list[Any], list[Any]]:
    """Predictions and references in the form that `evaluate` metrics take: label ids, 0 and 1, numbers, tags or texts.

    Rows without a prediction of that kind, as those for which a model wrote no text, are left out.

    Raises:
        ConfigError: What the task scores are tokens.
    """
    if recipe.prediction is None:
        raise ConfigError(f"metrics: {recipe.task} has {' and '.join(table_metrics(recipe))}, and takes no others")
    predicted, wanted = [], []
    for prediction, reference in zip(predictions, references, strict=True):
        if recipe.prediction in prediction:
            predicted.append(prediction[recipe.prediction])
            wanted.append(reference)
    if not recipe.labels or recipe.auto_model == "AutoModelForTokenClassification":
        return predicted, [_first(reference) for reference in wanted] if _are_texts(predicted) else wanted
    ids = _label_ids(recipe.labels, wanted)
    if any(isinstance(label, list) for label in wanted):
        return _indicators(predicted, ids), _indicators(wanted, ids)
    return [ids[label] for label in predicted], [ids[label] for label in wanted]


def _are_texts(predicted: list[Any]) -> bool:
    return all(isinstance(text, str) for text in predicted)


def _first(reference: Any) -> Any:
    """The first of several wanted texts, empty where a question has no answer."""
    if not isinstance(reference, list):
        return reference
    return (reference[0] or "") if reference else ""


def _label_ids(labels: Sequence[str], references: Iterable[Any]) -> dict[str, int]:
    """Number of each label of the model, and then of those that only the references have."""
    names = dict.fromkeys(labels)
    for reference in references:
        names |= dict.fromkeys(reference if isinstance(reference, list) else [reference])
    return {name: number for number, name in enumerate(names)}


def _indicators(label_sets: list[list[str]], ids: Mapping[str, int]) -> list[list[int]]:
    """0 and 1 for each row and label."""
    table = np.zeros((len(label_sets), len(ids)), dtype=np.int32)
    for row, names in enumerate(label_sets):
        table[row, [ids[name] for name in names]] = 1
    cells: list[list[int]] = table.tolist()
    return cells


def _other_metric(
    name: str, recipe: Recipe, predictions: list[Row], references: list[Any], units: np.ndarray, seed: int
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """A metric that the user named, over the same predictions, with intervals; resamples that it cannot score are left
    out, such as one of a single class.
    """
    scored = [index for index, reference in enumerate(references) if recipe.is_right_or_wrong(reference)]
    if not scored:
        return {}, {}
    predictions, references = [predictions[index] for index in scored], [references[index] for index in scored]
    units = np.unique(units[scored], return_inverse=True)[1]
    _, wanted = metric_inputs(recipe, predictions, references)
    is_multilabel = bool(wanted) and isinstance(wanted[0], list) and name in metrics.names()
    metric = metrics.load(name, "multilabel" if is_multilabel else None)
    # The order of two labels does not tell which one is meant, so the mean over both is taken.
    average = {"average": "macro"} if name in AVERAGED else {}

    def compute(rows: Sequence[int]) -> dict[str, float]:
        inputs = metric_inputs(recipe, [predictions[row] for row in rows], [references[row] for row in rows])
        result = metric.compute(predictions=inputs[0], references=inputs[1], **average)
        return {key: float(value) for key, value in result.items() if isinstance(value, int | float | np.number)}

    rows = np.arange(len(units))
    values = compute(rows.tolist())
    generator, draws = np.random.default_rng(seed), []
    for counts in metrics.draw_weights(int(units.max()) + 1, FEWER_DRAWS, generator):
        with contextlib.suppress(Exception):
            draws.append(compute(np.repeat(rows, counts[units].astype(int)).tolist()))
    intervals = {}
    for key, value in values.items():
        resampled = np.array([draw.get(key, np.nan) for draw in draws])
        low, high = _uncertainty.interval(value, resampled, units, bounds(recipe, key))
        intervals[key] = (low, high)
    return values, intervals


def try_metrics(names: Sequence[str], recipe: Recipe, train: Dataset) -> None:
    """Load the metrics that the user named and score the baseline with them, so that none fails after training.

    Raises:
        NotFoundError: There is no such metric.
        ConfigError: It does not take the predictions of this task.
    """
    if not names:
        return
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise ConfigError(f"metrics: found {', '.join(twice)} twice: name each metric once")
    few = train.select(range(min(50, len(train))))
    predictions, references = recipe.baseline_predictions(few, recipe.baseline(few)), references_of(recipe, few)
    if recipe.writer is not None and recipe.writer.generated_rows == 0:
        predictions = list(map(without_text, predictions))
    for name in names:
        try:
            _other_metric(name, recipe, predictions, references, np.arange(len(references)), seed=0)
        except HFRecipesError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise ConfigError(f"metrics: {name} cannot score this task: {reason}") from error
    averaged = [name for name in names if name in AVERAGED]
    if averaged:
        log(f"metrics: {', '.join(averaged)}: the mean over all labels (macro)")


def without_text(prediction: Row) -> Row:
    """The prediction unchanged if the model generates no text for its row."""
    return {name: value for name, value in prediction.items() if name != TEXT}


# --- added to each score -----------------------------------------------------------------------------------------


def with_baseline(
    recipe: Recipe,
    scored: Scores,
    rows: Dataset,
    predictions: list[Row],
    references: list[Any],
    baseline: Mapping[str, Any],
) -> Scores:
    """Add the score of the baseline to each score; its texts count for rows for which the model wrote one."""
    indices = [index for index, reference in enumerate(references) if reference is not None]
    if not indices:
        return scored
    guesses = recipe.baseline_predictions(rows.select(indices), baseline)
    for position, index in enumerate(indices):
        if TEXT not in predictions[index]:
            guesses[position] = without_text(guesses[position])
    values = score(recipe, guesses, [references[index] for index in indices])
    return {name: replace(entry, baseline=values.get(name)) for name, entry in scored.items()}


def with_uncalibrated(recipe: Recipe, scored: Scores, predictions: list[Row], references: list[Any]) -> Scores:
    """Add to each score its value without calibration, if that differs."""
    values = score(recipe, predictions, references)
    changed = dict(scored)
    for name, entry in scored.items():
        if name in values and values[name] != entry.value:
            changed[name] = replace(entry, uncalibrated=values[name])
    return changed


def effect_of_calibration(split: str, scored: Scores) -> list[str]:
    """A sentence with the scores of a split before and after calibration; none where it changes nothing."""
    changes = []
    for name, entry in scored.items():
        if entry.uncalibrated is not None and "[" not in name:
            changes.append(f"{name} {number(entry.uncalibrated)} → {number(entry.value)}")
    return [f"calibration changes the scores of {split}: {', '.join(changes)}"] if changes else []


def gap(train: Scores, validation: Scores) -> Scores:
    """Score of train minus that of validation, over similar numbers of rows, with its 95 % interval.

    The interval is made of those of both scores, which are of different rows (Zou and Donner 2008).
    """
    gaps = {}
    for name, entry in train.items():
        if "[" in name or name not in validation:
            continue
        gaps[name] = difference(entry, validation[name])
    return gaps


def difference(score: Score, other: Score) -> Score:
    """One score minus another, over other rows, with the 95 % interval of a difference of independent samples."""
    value = score.value - other.value
    below = np.hypot(score.value - _or_nan(score.low), _or_nan(other.high) - other.value)
    above = np.hypot(_or_nan(score.high) - score.value, other.value - _or_nan(other.low))
    return Score(value, float(value - below), float(value + above))


def paired_differences(measure: Measure, other: Measure, units: np.ndarray, seed: int) -> Scores:
    """Each metric minus that of other predictions for the same rows, with the 95 % interval of paired differences.

    Args:
        measure: The metrics of the predictions.
        other: Those of the other predictions.
        units: Index of the unit of each row: rows that are resampled together share one.
        seed: Seed of the resamples.
    """
    values, others = _once(measure, len(units)), _once(other, len(units))
    shared = [name for name in values if name in others]
    parts: dict[str, list[np.ndarray]] = {name: [] for name in shared}
    for weights in _resamples(units, np.random.default_rng(seed)):
        drawn, drawn_others = measure(weights), other(weights)
        for name in shared:
            parts[name].append(drawn[name] - drawn_others[name])
    differences = {}
    for name in shared:
        reach = _uncertainty.reach(np.concatenate(parts[name]), _uncertainty.independent_units(units))
        change = values[name] - others[name]
        differences[name] = Score(change, change - reach, change + reach)
    return differences


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


# --- what the scores mean ----------------------------------------------------------------------------------------


def overfitting(recipe: Recipe, scored: Mapping[str, Scores], *, lora: bool) -> list[str]:
    """A sentence where much of the gain over the baseline does not carry over to validation, and what helps then."""
    name = best_metric(recipe)
    difference = scored[GAP].get(name)
    known = metric_named(recipe, name)
    if difference is None or known is None:
        return []
    train, validation = (scored[split][name].value for split in ("train", "validation"))
    baseline = _or_nan(scored["train"][name].baseline)
    baseline = baseline if math.isfinite(baseline) else 0.0
    if known.greater_is_better:
        surely_above = _or_nan(difference.low) > 0
        gained, lost = train - baseline, train - validation
    elif min(train, validation, baseline) > 0:  # perplexity and squared error are compared as ratios
        surely_above = _or_nan(difference.high) < 0
        gained, lost = np.log(baseline / train), np.log(validation / train)
    else:
        return []
    if not (surely_above and gained > 0 and lost > MUCH * gained):
        return []
    edits = [] if recipe.dropout else ["dropout=0.2"]
    edits += ["weight_decay=0.1"] if recipe.freeze or lora else ["freeze=embeddings", "lora=true"]
    # More than all of it is lost where validation is below the baseline, and no share says by how much.
    share = f"{100 * lost / gained:.0f} %" if lost < gained else "nothing"
    carried = "does not carry over" if lost < gained else "carries over"
    return [
        f"overfitting: {name} is {train:.3f} on train and {validation:.3f} on validation (baseline {baseline:.3f}), so "
        f"{share} of the gain over the baseline {carried} to new rows. More rows help most; without them try "
        f"{edits[0]} first{''.join(f', then {edit}' for edit in edits[1:])}; see docs/overfitting.md"
    ]


def no_better_than_baseline(recipe: Recipe, scored: Scores) -> list[str]:
    """A sentence where the model is not significantly better than the baseline, by the metric of the checkpoint.

    Where the baseline has no value, as a constant has no correlation, the next metric of the tables decides.
    """
    for name in table_metrics(recipe):
        entry, known = scored.get(name), metric_named(recipe, name)
        if entry is None or known is None:
            continue
        baseline, low, high = map(_or_nan, (entry.baseline, entry.low, entry.high))
        if not np.isfinite([baseline, low, high]).all():
            continue
        if (low > baseline) if known.greater_is_better else (high < baseline):
            return []
        compared = f"{name} {entry} against {number(baseline)}"
        edits = "try more epochs, smaller batches or a higher learning_rate"
        return [f"not significantly better than the baseline: {compared}; {edits}"]
    return []


def effect_of_overlap(recipe: Recipe, scored: Mapping[str, Scores], rows: int, clean: int) -> list[str]:
    """A sentence with the score of test over all rows, and over those whose input is not in train."""
    name = best_metric(recipe)
    if name not in scored.get("test", {}) or name not in scored.get(CLEAN, {}):
        return []
    values = number(scored["test"][name].value), number(scored[CLEAN][name].value)
    return [
        f"{rows - clean} of {rows} inputs of test also occur, or nearly occur, in train: {name} is {values[0]} with "
        f"them, and {values[1]} on the {clean} others ({CLEAN})"
    ]


# --- as files and people have them -------------------------------------------------------------------------------


def to_json(scored: Mapping[str, Scores]) -> dict[str, Any]:
    """Scores by split and metric as metrics.json has them; what is not known of a score is left out."""
    written = {}
    for split, entries in scored.items():
        written[split] = {name: _entry(entry) for name, entry in entries.items()}
    return written


def _entry(entry: Score) -> dict[str, Any]:
    written: dict[str, Any] = {"value": entry.value}
    if entry.deviation is None:
        written["ci95"] = entry.ci95
    for name, value in asdict(replace(entry, change=None)).items():
        if name not in ("value", "low", "high") and value not in (None, ()):
            written[_KEYS.get(name, name)] = list(value) if name == "runs" else value
    if entry.change is not None:
        written["change"] = _entry(entry.change)
    return written


_KEYS = {"deviation": "sd"}


def from_json(content: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, Scores]:
    """Scores by split and metric from metrics.json; null is NaN again."""
    read: dict[str, Scores] = {}
    for split, entries in content.items():
        read[split] = {name: _from_entry(entry) for name, entry in entries.items()}
    return read


def _from_entry(entry: Mapping[str, Any]) -> Score:
    low, high = [None, None] if entry.get("ci95") is None else map(_or_nan, entry["ci95"])
    return Score(
        value=_or_nan(entry["value"]),
        low=low,
        high=high,
        baseline=entry.get("baseline"),
        uncalibrated=entry.get("uncalibrated"),
        signature=entry.get("signature"),
        deviation=_or_nan(entry["sd"]) if "sd" in entry else None,
        runs=tuple(map(_or_nan, entry.get("runs", ()))),
        change=_from_entry(entry["change"]) if entry.get("change") else None,
    )


def plain(scored: Mapping[str, Scores]) -> dict[str, dict[str, float]]:
    """Values alone, by split and metric; the gap belongs to no split."""
    values = {}
    for split, entries in scored.items():
        if split != GAP:
            values[split] = {name: entry.value for name, entry in entries.items()}
    return values


def number(value: float | None) -> str:
    """Three decimals, or a dash where there is no number."""
    return "–" if value is None or not math.isfinite(value) else f"{value:z.3f}"


def interval(low: float | None, high: float | None) -> str:
    """`low–high`, `low to high` where one of them is negative, or a dash.

    Example:
        >>> interval(0.735, 0.845), interval(-0.1, 0.2), interval(None, None)
        ('0.735–0.845', '-0.100 to 0.200', '–')
    """
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return "–"
    return f"{number(low)}{' to ' if min(low, high) < 0 else '–'}{number(high)}"
