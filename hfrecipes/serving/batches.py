"""Requests that come at the same time, predicted together by the one thread that has the model."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING

from ..errors import DataError, HFRecipesError, counted
from ..log import logger
from ..recipe import Row
from ..saved.rows import InputRows
from .limits import Limits, RefusedError

if TYPE_CHECKING:
    from ..predictor import Predictor

NAME = "hfrecipes-model"  # of the thread
PAUSE = 0.003  # seconds in which requests that come together are collected
ROWS, ROWS_OF_TEXTS = 64, 8  # of a batch, and of one for which texts are generated


@dataclass(eq=False)
class Job:
    """The rows of a request, of which each batch takes some, in their order."""

    rows: Sequence[Row]
    sizes: Sequence[int]
    """Characters of each row."""
    answer: Future[list[Row | None]] = field(default_factory=Future)
    taken: int = 0
    """Number of rows that were taken into a batch."""
    given: InputRows | None = None
    """The rows under the names of the task, once the first of them is in a batch."""
    predictions: list[Row | None] = field(default_factory=list)

    @property
    def left(self) -> int:
        """Number of rows that no batch has taken yet."""
        return len(self.rows) - self.taken


class Worker:
    """The thread that has the model, and what waits for it.

    A request with many rows shares its batches with those that came later: the oldest request gets half of a batch, and
    those of which least was predicted get the rest.
    """

    def __init__(self, predictor: Predictor, limits: Limits) -> None:
        self.predictor, self.limits = predictor, limits
        self.batch_rows = limits.batch_rows or (ROWS if predictor.recipe.writer is None else ROWS_OF_TEXTS)
        self.seconds_per_row = 0.0
        self._jobs: list[Job] = []
        self._changed = threading.Condition()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name=NAME, daemon=True)

    # --- used by other threads -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread."""
        logger.addFilter(_is_problem)
        self._thread.start()

    def stop(self) -> None:
        """Predict what waits, and end the thread."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        self._thread.join()
        logger.removeFilter(_is_problem)

    @property
    def is_ready(self) -> bool:
        """Whether the thread predicts."""
        return self._thread.is_alive() and not self._is_stopping

    @property
    def waiting_rows(self) -> int:
        """Number of rows that wait."""
        with self._changed:
            return self._waiting()

    def submit(self, rows: Sequence[Row], sizes: Sequence[int]) -> Future[list[Row | None]]:
        """Ask for the prediction of rows; whoever cancels the future no longer waits for them.

        Raises:
            RefusedError: Too many rows wait already.
        """
        job = Job(rows, sizes)
        with self._changed:
            waiting = self._waiting()
            # A request that is larger than all that may wait is taken on where nothing else does.
            if waiting and waiting + len(rows) > self.limits.waiting_rows:
                after = max(1, ceil(waiting * self.seconds_per_row))
                raise RefusedError(
                    503, f"{counted(waiting, 'row')} wait already: try again in {after} s", retry_after=after
                )
            self._jobs.append(job)
            self._changed.notify()
        return job.answer

    def _waiting(self) -> int:
        self._jobs = [job for job in self._jobs if not job.answer.done()]
        return sum(job.left for job in self._jobs)

    # --- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while self._wait():
            with self._changed:
                batch = self._next_batch()
            if not batch:
                continue
            started = time.monotonic()
            self._predict(batch)
            self.seconds_per_row = (time.monotonic() - started) / batch.total()

    def _wait(self) -> bool:
        """Wait until a request comes; False once there will be none."""
        with self._changed:
            if self._waiting():
                return True
            while not self._jobs:
                if self._is_stopping:
                    return False
                self._changed.wait()
        time.sleep(PAUSE)
        return True

    def _next_batch(self) -> Counter[Job]:
        """The requests of the next batch, each with the number of its rows that are in it."""
        self._waiting()
        batch = _Batch(self.batch_rows, self.limits.batch_characters)
        if self._jobs:
            batch.take(self._jobs[0], ceil(self.batch_rows / 2))
        for job in sorted(self._jobs, key=lambda job: job.taken):
            batch.take(job, 1)
        for job in self._jobs:
            batch.take(job, self.batch_rows)
        return batch.taken

    def _predict(self, batch: Counter[Job]) -> None:
        """Predict the rows of a batch; those of each request alone if they fail together."""
        jobs = [job for job in batch if self._is_read(job)]
        parts = {job: _part(job, batch[job]) for job in jobs}
        for group in _alike(jobs):
            if len(group) > 1:
                try:
                    predictions = self._predicted(parts[job] for job in group)
                except Exception:
                    pass  # it is one of them that fails, and the others are not to
                else:
                    _share(group, batch, predictions)
                    continue
            for job in group:
                self._predict_alone(job, parts[job])

    def _is_read(self, job: Job) -> bool:
        """Read the rows of a request as `Predictor.predict` does, all of them and no others: the form of the rows is
        inferred from all of them."""
        if job.given is None:
            return _succeeds(job, lambda: self._read(job))
        return not job.answer.done()

    def _read(self, job: Job) -> None:
        reader = self.predictor
        job.given = reader.read(list(job.rows), needs_text=False)
        if len(job.given.rows) != len(job.rows):
            raise DataError(
                f"{counted(len(job.rows), 'row')} would become {len(job.given.rows)} of {reader.recipe.task}: send "
                f"rows with {' and '.join(reader.reads)}"
            )

    def _predict_alone(self, job: Job, part: InputRows) -> None:
        _succeeds(job, lambda: _share([job], {job: len(part.rows)}, self._predicted([part])))

    def _predicted(self, parts: Iterable[InputRows]) -> list[Row | None]:
        return self.predictor.predicted(_joined(list(parts)))


class _Batch:
    """Rows that are predicted together."""

    def __init__(self, rows: int, characters: int) -> None:
        self.room, self.characters = rows, characters
        self.taken: Counter[Job] = Counter()

    def take(self, job: Job, number: int) -> None:
        """Take as many of the next rows of a request as there is room for, up to a number."""
        for _ in range(min(number, job.left, self.room)):
            size = job.sizes[job.taken]
            if self.taken and size > self.characters:
                return
            self.taken[job] += 1
            job.taken += 1
            self.room -= 1
            self.characters -= size


def _is_problem(record: logging.LogRecord) -> bool:
    """Whether a line is to be printed: what is noted about the rows of each request is not."""
    return record.threadName != NAME or record.levelno >= logging.WARNING


def _succeeds(job: Job, action: Callable[[], None]) -> bool:
    """Whether an action for a request ends without an error; an error is its answer."""
    try:
        action()
    except Exception as error:
        if not isinstance(error, HFRecipesError):
            logger.warning("%s", HFRecipesError(f"{type(error).__name__} in a request: {error}"))
        if job.answer.set_running_or_notify_cancel():
            job.answer.set_exception(error)
        return False
    return True


def _part(job: Job, number: int) -> InputRows:
    """The rows of a request that were taken last."""
    start, given = job.taken - number, job.given
    if given is None or number == len(given.rows):
        return given  # type: ignore[return-value]
    rows = given.rows.select(range(start, job.taken))
    return InputRows(rows, rows, frozenset(index - start for index in given.blank if start <= index < job.taken))


def _alike(jobs: Iterable[Job]) -> list[list[Job]]:
    """Requests whose rows have the same columns of the same types, which can be joined."""
    groups: dict[str, list[Job]] = {}
    for job in jobs:
        if job.given is not None:
            groups.setdefault(repr(job.given.rows.features), []).append(job)
    return list(groups.values())


def _joined(parts: Sequence[InputRows]) -> InputRows:
    """The rows of several requests, one after the other."""
    if len(parts) == 1:
        return parts[0]
    from datasets import concatenate_datasets

    start = 0
    blank: set[int] = set()
    for part in parts:
        blank.update(start + index for index in part.blank)
        start += len(part.rows)
    rows = concatenate_datasets([part.rows for part in parts])
    return InputRows(rows, rows, frozenset(blank))


def _share(jobs: Sequence[Job], numbers: Counter[Job] | dict[Job, int], predictions: list[Row | None]) -> None:
    """Give each request its predictions, and its answer once it has all of them."""
    start = 0
    for job in jobs:
        job.predictions += predictions[start : start + numbers[job]]
        start += numbers[job]
        if not job.left and job.answer.set_running_or_notify_cancel():
            job.answer.set_result(job.predictions)
