"""Requests that come at the same time, predicted together by the one thread that has the model."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Any

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
    form: Any = None
    """What requests have in common that are predicted together, once the first row is in a batch."""
    given: InputRows | None = None
    """All rows under the names of the task, where they are not read as they stand."""
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
            waiting, characters = self._waiting(), sum(sum(job.sizes) for job in self._jobs)
            too_many = waiting + len(rows) > self.limits.waiting_rows
            too_long = characters + sum(sizes) > self.limits.waiting_characters
            # A request that is larger than all that may wait is taken on where nothing else does.
            if waiting and (too_many or too_long):
                after = max(1, ceil(waiting * self.seconds_per_row))
                raise RefusedError(
                    503,
                    f"{counted(waiting, 'row')} {'waits' if waiting == 1 else 'wait'} already: try again in {after} s",
                    retry_after=after,
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
        for job in sorted(self._jobs, key=lambda job: job.taken):
            batch.take(job, self.batch_rows)
        return batch.taken

    def _predict(self, batch: Counter[Job]) -> None:
        """Predict the rows that were taken, and answer the requests that have all of theirs."""
        groups: dict[Any, list[Job]] = {}
        for job in batch:
            try:
                groups.setdefault(self._form(job), []).append(job)
            except Exception as error:
                _fail(job, error)
        for jobs in groups.values():
            self._predict_group(jobs, batch)

    def _form(self, job: Job) -> Any:
        """What requests have in common whose rows are predicted together, and each as it would be alone."""
        if job.form is None:
            forms = set(map(self.predictor.form_of, job.rows))
            job.form = forms.pop() if len(forms) == 1 else None
        if job.form is None:
            job.given = self._read(job)
            job.form = repr(job.given.rows.features)
        return job.form

    def _read(self, job: Job) -> InputRows:
        """All rows of a request, and no others, for what they are is inferred from all of them."""
        given = self.predictor.read(list(job.rows), needs_text=False)
        if len(given.rows) != len(job.rows):
            raise DataError(
                f"{counted(len(job.rows), 'row')} would become {len(given.rows)} of {self.predictor.recipe.task}: send "
                f"rows with {' and '.join(self.predictor.reads)}"
            )
        return given

    def _predict_group(self, jobs: list[Job], batch: Counter[Job]) -> None:
        """Predict requests of the same form together, and each alone if that fails: it may be one of them that does."""
        try:
            predictions = self.predictor.predicted(self._given(jobs, batch))
        except Exception as error:
            if len(jobs) == 1:
                _fail(jobs[0], error)
                return
            for job in jobs:
                self._predict_group([job], batch)
        else:
            _share(jobs, batch, predictions)

    def _given(self, jobs: list[Job], batch: Counter[Job]) -> InputRows:
        """The rows that were taken, one request after the other."""
        if jobs[0].given is not None:
            return _joined([_part(job.given, job.taken - batch[job], job.taken) for job in jobs if job.given])
        rows: list[Row] = []
        for job in jobs:
            rows += job.rows[job.taken - batch[job] : job.taken]
        return self.predictor.read(rows, needs_text=False)


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


def _fail(job: Job, error: Exception) -> None:
    """Answer a request by an error, which is printed unless it says what is wrong with the request."""
    if not isinstance(error, HFRecipesError):
        logger.warning("%s", HFRecipesError(f"{type(error).__name__} in a request: {error}"))
    if job.answer.set_running_or_notify_cancel():
        job.answer.set_exception(error)


def _part(given: InputRows, start: int, stop: int) -> InputRows:
    """The rows from `start` to `stop`."""
    if start == 0 and stop == len(given.rows):
        return given
    rows = given.rows.select(range(start, stop))
    blank = frozenset(index - start for index in given.blank if start <= index < stop)
    unredacted = None if given.unredacted is None else given.unredacted.select(range(start, stop))
    return InputRows(rows, rows, blank, unredacted=unredacted)


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
    # A model reads all of its rows with placeholders, or none.
    originals = [part.unredacted for part in parts if part.unredacted is not None]
    unredacted = concatenate_datasets(originals) if originals else None
    return InputRows(rows, rows, frozenset(blank), unredacted=unredacted)


def _share(jobs: Sequence[Job], numbers: Counter[Job], predictions: list[Row | None]) -> None:
    """Give each request its predictions, and its answer once it has all of them."""
    start = 0
    for job in jobs:
        job.predictions += predictions[start : start + numbers[job]]
        start += numbers[job]
        if not job.left and job.answer.set_running_or_notify_cancel():
            job.answer.set_result(job.predictions)
