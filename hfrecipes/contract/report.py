"""All checks of one task, one after the other, each with a line on what it found."""

from __future__ import annotations

import contextlib
import io
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..errors import HFRecipesError
from ..log import logger
from ..models.directory import quiet
from ..registry import is_task_file
from .checks import CHECKS, Problems, facts_are_complete
from .trial import Trial


class Outcome(NamedTuple):
    """What a check found."""

    rule: str
    """The rule, as a sentence."""
    problems: list[str]
    """What is wrong, each with the edit that corrects it; empty where the task satisfies the rule."""


def check_task(task: str) -> Iterator[Outcome]:
    """Check a task on its sample rows and a tiny model, in a temporary folder.

    Args:
        task: Name of the task, or path of its file.

    Raises:
        HFRecipesError: There is no such task, or its file cannot be imported.
    """
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(task, Path(folder))
        reported: list[Exception] = []
        for check in CHECKS:
            outcome = outcome_of(check, trial, reported)
            yield outcome
            # Without its facts and methods, a task cannot be run at all.
            if check is facts_are_complete and outcome.problems:
                return


def outcome_of(check: Callable[[Trial], Problems], trial: Trial, reported: list[Exception]) -> Outcome:
    """What a check found; an error that it ended with is a problem too, which is explained once.

    Args:
        check: One of the checks.
        trial: The task.
        reported: Errors that were explained; a new one is added.
    """
    rule = (check.__doc__ or "").partition("\n")[0].rstrip(".")
    problems = []
    try:
        with nothing_printed():
            # A check may name the same thing for each of many rows.
            problems = list(dict.fromkeys(check(trial)))
    except Exception as error:
        # Checks that share a run share its error.
        if any(error is known for known in reported):
            problems.append("not checked, because the run failed (see above)")
        else:
            reported.append(error)
            problems.append(_explained(error, trial))
    return Outcome(rule, problems)


def _explained(error: Exception, trial: Trial) -> str:
    """The error in a sentence, with the line of the task's file that it comes from."""
    cause: BaseException | None = error
    while cause is not None:
        for frame in reversed(traceback.extract_tb(cause.__traceback__)):
            if is_task_file(trial.task) and frame.filename == trial.task and not isinstance(cause, HFRecipesError):
                where = f"{Path(trial.task).name}, line {frame.lineno}, in {frame.name}"
                return f"{type(cause).__name__}: {' '.join(str(cause).split())} ({where})"
        # What happens in a rehearsal is raised again as an error of the settings.
        cause = cause.__cause__
    message = " ".join(str(error).split())
    return message if isinstance(error, HFRecipesError) else f"{type(error).__name__}: {message}"


@contextlib.contextmanager
def nothing_printed() -> Iterator[None]:
    """Silence a run: only what the check finds is printed."""
    was_disabled = logger.disabled
    logger.disabled = True
    try:
        with (
            quiet(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = was_disabled
