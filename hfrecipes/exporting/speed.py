"""How long predictions take, from texts to rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median

from ..predictor import Predictor
from .rows import RunRows

ALONE = 20  # rows that are predicted one after the other
TOGETHER = 100
ROUNDS = 3  # of the rows that are predicted together


def seconds(predictor: Predictor, rows: RunRows) -> tuple[float, float]:
    """Median seconds of one row that is predicted alone, and of 100 rows that are predicted together."""
    repeated = list(rows.lines) * (-(-TOGETHER // len(rows.lines)))
    given = replace(rows, lines=repeated).read(predictor, TOGETHER)
    predictor.predicted(given, 0, 1)  # the first one takes longer
    alone = [_timed(partial(predictor.predicted, given, row, row + 1)) for row in range(ALONE)]
    together = [_timed(partial(predictor.predicted, given)) for _ in range(ROUNDS)]
    return median(alone), median(together)


def _timed(predict: Callable[[], object]) -> float:
    start = time.perf_counter()
    predict()
    return time.perf_counter() - start
