"""What a run costs: parameters, training, size on disk, and the time of its predictions, measured here and now."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..models.directory import ADAPTER
from ..recipe import Row, input_columns
from ..run_folder import manifest

if TYPE_CHECKING:
    from ..predictor import Predictor
    from ..saved.rows import InputRows

DASH = "–"
ROUNDS, FEWEST_ROUNDS = 21, 5  # times that one row is predicted by each run
BATCH, SMALLEST_BATCH = 256, 8  # rows of a measurement of rows per second
BATCH_ROUNDS = 3
UNSTEADY = 0.25  # share of the median that is between the quartiles, where a machine is busy with other things
SECONDS = 8.0  # what the measurements of one run may take, roughly


@dataclass(frozen=True)
class Latency:
    """Seconds until one row is predicted, over several rounds."""

    median: float
    low: float
    """First quartile."""
    high: float
    """Third quartile."""

    @property
    def is_steady(self) -> bool:
        """Whether most measurements are near each other, as on a machine that does nothing else."""
        return self.high - self.low <= UNSTEADY * self.median

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latency:
        """Median and quartiles of measurements."""
        low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
        return cls(median, low, high)


@dataclass(frozen=True)
class Cost:
    """What a run costs; None for what is not known."""

    parameters: int | None = None
    trained: int | None = None
    training_seconds: float | None = None
    kwh: float | None = None
    """Energy of the training, where it was measured."""
    size: int | None = None
    """Bytes of the saved model."""
    latency: Latency | None = None
    """Seconds for one row."""
    rows_per_second: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values by name."""
        values = {name: value for name, value in vars(self).items() if name != "latency"}
        seconds = None if self.latency is None else self.latency.median
        return {**values, "seconds_per_row": seconds}


def size_on_disk(folder: Path, files: Sequence[str]) -> int | None:
    """Bytes of the files of a model, or of its adapter where nothing else was saved.

    Args:
        folder: Folder of the run.
        files: Names of the files of the model.
    """
    if not files:
        folder = folder / ADAPTER
        files = list(manifest.read(folder) or {})
    sizes = [(folder / name).stat().st_size for name in files if (folder / name).is_file()]
    return sum(sizes) or None


# --- measured ----------------------------------------------------------------------------------------------------


def measure(predictors: Sequence[Predictor], lines: Sequence[Row]) -> list[tuple[Latency, float]]:
    """Seconds for one row and rows per second of each model, on the same rows and in turns.

    In turns, since a machine that slows down meanwhile would otherwise slow down the models that come last.

    Args:
        predictors: The models.
        lines: Rows as predictions.jsonl has them.
    """
    rows = [inputs_of(predictor, lines[:BATCH]) for predictor in predictors]
    slowest = max(_warm_up(predictor, given) for predictor, given in zip(predictors, rows, strict=True))
    rounds = int(min(ROUNDS, max(FEWEST_ROUNDS, SECONDS / 2 / slowest)))
    size = int(min(len(lines), BATCH, max(SMALLEST_BATCH, SECONDS / 2 / BATCH_ROUNDS / slowest)))
    typical = _median_row(lines[:BATCH])
    latencies = _in_turns(predictors, rows, rounds, typical, typical + 1)
    batches = _in_turns(predictors, rows, BATCH_ROUNDS, 0, size)
    measured = []
    for alone, together in zip(latencies, batches, strict=True):
        measured.append((Latency.of(alone), size / statistics.median(together)))
    return measured


def inputs_of(predictor: Predictor, lines: Sequence[Row]) -> InputRows:
    """The columns that predictions are made from, of rows as predictions.jsonl has them, as the model reads them."""
    filled = set().union(*lines)
    names = [name for name in input_columns(predictor.recipe) if name in filled]
    rows = []
    for line in lines:
        rows.append({name: line.get(name) for name in names})
    return predictor.read(rows, {name: name for name in names})


def _median_row(lines: Sequence[Row]) -> int:
    """Index of a row of median length; the same one in all rounds, so that these differ by the machine alone."""
    lengths = [len(str(line)) for line in lines]
    return sorted(range(len(lengths)), key=lengths.__getitem__)[len(lengths) // 2]


def _warm_up(predictor: Predictor, rows: InputRows) -> float:
    """Seconds of the second prediction: the first one also loads what the model needs once."""
    predictor.predicted(rows, 0, 1)
    start = time.perf_counter()
    predictor.predicted(rows, 0, 1)
    return time.perf_counter() - start


def _in_turns(
    predictors: Sequence[Predictor],
    rows: Sequence[InputRows],
    rounds: int,
    first: int,
    last: int,
) -> list[list[float]]:
    """Seconds of each round for rows from `first` to `last`, by model; each round begins with another model."""
    seconds: list[list[float]] = [[] for _ in predictors]
    for index in range(rounds):
        for turn in range(len(predictors)):
            number = (turn + index) % len(predictors)
            start = time.perf_counter()
            predictors[number].predicted(rows[number], first, last)
            seconds[number].append(time.perf_counter() - start)
    return seconds


# --- quality against cost ----------------------------------------------------------------------------------------


def pareto_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Whether each point is on the front: no other one is as good and as cheap, and better in one of both.

    Args:
        points: Quality, of which more is better, and cost, of which less is better.

    Example:
        >>> pareto_front([(0.9, 5), (0.8, 2), (0.7, 3)])
        [True, True, False]
    """
    on_front = []
    for quality, price in points:
        beaten = False
        for other_quality, other_price in points:
            is_as_good = other_quality >= quality and other_price <= price
            beaten = beaten or (is_as_good and (other_quality, other_price) != (quality, price))
        on_front.append(beaten is False)
    return on_front


def distinct(latencies: Mapping[str, Latency]) -> dict[str, float]:
    """Seconds for one row, the same number for runs that cannot be told apart, from the fastest on.

    Without that, of two equally fast models the noise of the clock would say which one is on the front.

    Example:
        >>> distinct({"a": Latency(5.0, 4.9, 5.2), "b": Latency(5.1, 5.0, 5.3), "c": Latency(7.0, 6.8, 7.1)})
        {'a': 5.0, 'b': 5.0, 'c': 7.0}
    """
    seconds: dict[str, float] = {}
    fastest: Latency | None = None
    for name, latency in sorted(latencies.items(), key=lambda item: item[1].median):
        if fastest is None or latency.low > fastest.high:
            fastest = latency
        seconds[name] = fastest.median
    return {name: seconds[name] for name in latencies}


# --- shown -------------------------------------------------------------------------------------------------------


def compact(value: float | None) -> str:
    """`22.7M`, `1.2B`, or a dash.

    Example:
        >>> compact(22_713_216), compact(None)
        ('22.7M', '–')
    """
    if value is None:
        return DASH
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.0f}"


def _seconds(value: float) -> str:
    return f"{value:.3g} s" if value >= 1 else f"{1000 * value:.3g} ms"


def _rate(value: float | None) -> str:
    if value is None:
        return DASH
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _size(value: int | None) -> str:
    """`90.9 MB`, or a dash.

    Example:
        >>> _size(90_877_192), _size(1_500)
        ('90.9 MB', '1.5 kB')
    """
    if value is None:
        return DASH
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e3:.3g} kB"


# Head of the column -> what it shows of a cost.
COST_COLUMNS: dict[str, Callable[[Cost], str]] = {
    "parameters": lambda cost: compact(cost.parameters),
    "trained": lambda cost: compact(cost.trained),
    "training": lambda cost: DASH if cost.training_seconds is None else f"{cost.training_seconds:.0f} s",
    "kWh": lambda cost: DASH if cost.kwh is None else f"{cost.kwh:.3g}",
    "one row": lambda cost: DASH if cost.latency is None else _seconds(cost.latency.median),
    "rows/s": lambda cost: _rate(cost.rows_per_second),
    "size": lambda cost: _size(cost.size),
}
