"""From predictions to scores, each with its interval and what the trivial prediction reaches."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import metrics
from ..data import checks
from ..errors import ConfigError, HFRecipesError
from ..log import log
from ..metrics import _uncertainty
from ..recipe import Recipe, Row

if TYPE_CHECKING:
    from datasets import Dataset


DRAWS = 1000
PROBES = 200  # units that are looked at alone
LOW = ("loss", "perplexity", "byte_perplexity", "ece", "brier", "mse", "mae", "ter")  # the less, the better
GAP = "gap"  # beside the splits: how far train is above validation
MUCH = (
    0.2  # share of what was learnt beyond the baseline that may be lost on validation before it is called overfitting
)
AVERAGED = ("f1", "precision", "recall")  # metrics that scikit-learn takes of one label of two unless told otherwise
TEXT = "generated_text"  # in predictions of models that write
_CELLS = 4_000_000


def scores(
    recipe: Recipe,
    predictions: list[Row],
    references: list[Any],
    *,
    seed: int,
    others: Sequence[str] = (),
    groups: Sequence[Any] | None = None,
) -> dict[str, dict[str, Any]]:
    """Each metric with its value and its 95 % interval, over the rows that have an answer.

    Intervals are made from 1,000 resamples, 200 for metrics that cannot be resampled from counts; how, is said in
    `metrics._uncertainty`.

    Args:
        recipe: The task.
        predictions: One per row.
        references: What they are scored against, one per row.
        seed: Of the resamples.
        others: Metrics that the user named.
        groups: What each row shares with others, which are resampled together (cluster bootstrap; Field and Welsh
            2007); None where rows are independent.
    """
    scored = [place for place, reference in enumerate(references) if reference is not None]
    predictions, references = [predictions[i] for i in scored], [references[i] for i in scored]
    if not scored:
        return {}
    units = np.arange(len(scored)) if groups is None else np.array(_uncertainty.numbered([groups[i] for i in scored]))
    values = recipe.score(predictions, references)
    intervals = _intervals(recipe, predictions, references, values, units, seed)
    for name in others:
        more, around = _other_metric(name, recipe, predictions, references, units, seed)
        values, intervals = {**more, **values}, {**around, **intervals}
    signed = {name: {"signature": text} for name, text in recipe.signatures.items()}
    return {
        name: {"value": float(value), "ci95": intervals.get(name), **signed.get(name, {})}
        for name, value in values.items()
    }


def _intervals(
    recipe: Recipe,
    predictions: list[Row],
    references: list[Any],
    values: Mapping[str, float],
    units: np.ndarray,
    seed: int,
) -> dict[str, list[float]]:
    """Interval of each metric, from resamples of units and from single units, which tell what it depends on."""
    generator = np.random.default_rng(seed)
    loops = type(recipe).measure is Recipe.measure
    draws, rows, number = (200 if loops else DRAWS), len(units), int(units.max()) + 1
    step = max(1, min(draws, _CELLS // rows))
    measure = recipe.measure(predictions, references)
    parts = []
    for start in range(0, draws, step):
        counts = metrics.draw_weights(number, min(step, draws - start), generator)
        parts.append(measure(counts if number == rows else counts[:, units]))
    some = generator.permutation(number)[: min(step, PROBES)]
    alone = {} if loops else measure((units == some[:, None]).astype(np.float32))
    intervals = {}
    for name in parts[0]:
        resampled = np.concatenate([part[name] for part in parts])
        intervals[name] = _uncertainty.interval(values[name], resampled, units, _bounds(recipe, name), alone.get(name))
    return intervals


def _bounds(recipe: Recipe, name: str) -> tuple[float, float]:
    """Least and greatest value that the metric can take; `f1[person]` has those of `f1`."""
    name = name.partition("[")[0]
    return (0.0, 100.0) if name in recipe.percent else _uncertainty.RANGES.get(name, (0.0, 1.0))


def _other_metric(
    name: str, recipe: Recipe, predictions: list[Row], references: list[Any], units: np.ndarray, seed: int
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """A metric that the user named, over the same predictions; 100 resamples, those it cannot score left out."""
    _, wanted = recipe.metric_inputs(predictions, references)
    config = "multilabel" if wanted and isinstance(wanted[0], list) and name in metrics.names() else None
    metric = metrics.load(name, config)
    how = {"average": "macro"} if name in AVERAGED else {}  # which of two labels is meant, their order does not tell

    def compute(rows: Sequence[int]) -> dict[str, float]:
        predicted, wanted = recipe.metric_inputs([predictions[i] for i in rows], [references[i] for i in rows])
        found = metric.compute(predictions=predicted, references=wanted, **how)
        return {key: float(value) for key, value in found.items() if isinstance(value, int | float | np.number)}

    rows = np.arange(len(units))
    values = compute(rows.tolist())
    generator, draws = np.random.default_rng(seed), []
    for counts in metrics.draw_weights(int(units.max()) + 1, 100, generator):
        with contextlib.suppress(Exception):  # such as a resample of one class only
            draws.append(compute(np.repeat(rows, counts[units].astype(int)).tolist()))
    around = {}
    for key, value in values.items():
        resampled = np.array([draw.get(key, np.nan) for draw in draws])
        around[key] = _uncertainty.interval(value, resampled, units, _bounds(recipe, key))
    return values, around


def try_metrics(names: Sequence[str], recipe: Recipe, train: Dataset) -> None:
    """Load the metrics that the user named and score the baseline with them, so that none fails after training.

    Raises:
        NotFoundError: There is no such metric.
        ConfigError: It does not take the predictions of this task.
    """
    if not names:
        return
    few = train.select(range(min(50, len(train))))
    predictions, references = recipe.baseline(few)(few), checks.references(recipe, few)
    if recipe.written_rows == 0:
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
    """The prediction as it is where the model writes no text for its row."""
    return {name: value for name, value in prediction.items() if name != TEXT}


def with_baseline(
    recipe: Recipe,
    found: dict[str, dict[str, Any]],
    rows: Dataset,
    predictions: list[Row],
    references: list[Any],
    trivial: Callable[[Dataset], list[Row]],
) -> dict[str, dict[str, Any]]:
    """Put beside each score what the trivial prediction reaches, its texts for rows that the model wrote one for."""
    known = [place for place, reference in enumerate(references) if reference is not None]
    if not known:
        return found
    made = [
        one if TEXT in predictions[place] else without_text(one)
        for place, one in zip(known, trivial(rows.select(known)), strict=True)
    ]
    values = recipe.score(made, [references[place] for place in known])
    return {name: {**entry, "baseline": values.get(name)} for name, entry in found.items()}


# --- what tuning and training did --------------------------------------------------------------------------------


def with_untuned(
    recipe: Recipe, found: dict[str, dict[str, Any]], predictions: list[Row], references: list[Any]
) -> dict[str, dict[str, Any]]:
    """Put beside each score that tuning on validation changed what it would be without."""
    scored = [place for place, reference in enumerate(references) if reference is not None]
    if not scored:
        return found
    values = recipe.score([predictions[place] for place in scored], [references[place] for place in scored])
    changed = {name: one for name, one in values.items() if name in found and one != found[name]["value"]}
    return {name: {**entry, **({"untuned": changed[name]} if name in changed else {})} for name, entry in found.items()}


def what_tuning_did(split: str, found: dict[str, dict[str, Any]]) -> list[str]:
    """A sentence with the scores of a split without and with tuning; none where nothing was tuned."""
    changes = [
        f"{name} {entry['untuned']:.3f} → {entry['value']:.3f}"
        for name, entry in found.items()
        if "untuned" in entry and "[" not in name
    ]
    return [f"what that changes in {split}: {', '.join(changes)}"] if changes else []


def gap(train: dict[str, dict[str, Any]], validation: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Train's score less that of validation, of like numbers of rows, with its 95 % interval.

    The interval is made of those of both scores, which are of different rows (Zou and Donner 2008).
    """
    found = {}
    for name, entry in train.items():
        if "[" in name or name not in validation:
            continue
        high, low = entry["value"], validation[name]["value"]
        edges = [np.array(one.get("ci95") or [np.nan] * 2, dtype=float) for one in (entry, validation[name])]
        down = np.hypot(high - edges[0][0], edges[1][1] - low)
        up = np.hypot(edges[0][1] - high, low - edges[1][0])
        found[name] = {"value": high - low, "ci95": [float(high - low - down), float(high - low + up)]}
    return found


def overfitting(recipe: Recipe, scores: dict[str, dict[str, dict[str, Any]]], *, lora: bool) -> list[str]:
    """A sentence where much of what was learnt does not carry over to validation, and what to try then."""
    name, greater = recipe.best_metric
    entry = scores[GAP].get(name)
    if entry is None:
        return []
    train, held = (scores[split][name]["value"] for split in ("train", "validation"))
    trivial = scores["train"][name].get("baseline")
    trivial = 0.0 if trivial is None or not np.isfinite(trivial) else trivial
    edges = entry["ci95"] if greater else [-edge for edge in entry["ci95"][::-1]]
    if greater:
        learnt, lost = train - trivial, train - held
    elif min(train, held, trivial) > 0:  # perplexity and squared error go by ratios
        learnt, lost = np.log(trivial / train), np.log(held / train)
    else:
        return []
    if not (edges[0] > 0 and learnt > 0 and lost > MUCH * learnt):
        return []
    tries = [] if recipe.dropout else ["dropout=0.2"]
    tries += ["weight_decay=0.1"] if recipe.freeze or lora else ["freeze=embeddings", "lora=true"]
    return [
        f"overfitting: {name} is {train:.3f} on train and {held:.3f} on validation, where {lost / learnt:.0%} of what "
        f"was learnt beyond the baseline is lost. More rows help most; else {', '.join(tries)}"
    ]


def no_better(recipe: Recipe, found: dict[str, dict[str, Any]]) -> list[str]:
    """A sentence where the model is not beyond the baseline for sure, by the metric that picks the checkpoint.

    Where the baseline has none, as the mean has no correlation, by the next one that is shown.
    """
    best, _ = recipe.best_metric
    for name in (best, *recipe.headline):
        entry = found.get(name, {})
        trivial, edges = entry.get("baseline"), entry.get("ci95")
        if trivial is None or edges is None or not np.isfinite([trivial, *edges]).all():
            continue
        greater = name not in LOW
        if (edges[0] > trivial) if greater else (edges[1] < trivial):
            return []
        return [
            f"not seen to be better than the baseline: {name} is {shown(entry)}, that of the baseline {number(trivial)}"
        ]
    return []


# --- as a person reads them --------------------------------------------------------------------------------------


def plain(scores: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, float]]:
    """Values alone, by split and metric; the gap is of no split."""
    return {
        split: {name: entry["value"] for name, entry in found.items()}
        for split, found in scores.items()
        if split != GAP
    }


def shown(entry: Mapping[str, Any]) -> str:
    """A score with what is known of its spread: `0.790 (0.735–0.845)`, or `0.790 ± 0.012` over several runs.

    Example:
        >>> shown({"value": 0.79, "ci95": [0.735, 0.845]})
        '0.790 (0.735–0.845)'
    """
    if "sd" in entry:
        return f"{number(entry['value'])} ± {number(entry['sd'])}"
    return f"{number(entry.get('value'))} ({interval(entry.get('ci95'))})"


def number(value: float | None) -> str:
    """Three decimals, or a dash where there is no number."""
    return "–" if value is None or not math.isfinite(value) else f"{value:z.3f}"


def interval(edges: Sequence[float | None] | None) -> str:
    """`low–high`, `low to high` where one has a sign, or a dash."""
    known = [edge for edge in edges or [] if edge is not None and math.isfinite(edge)]
    if len(known) < 2:
        return "–"
    return f"{number(known[0])}{' to ' if min(known) < 0 else '–'}{number(known[1])}"
