"""Every error that hfrecipes raises on purpose.

HFRecipesError
├── ConfigError        (ValueError)       a setting is unknown, of the wrong type, or contradicts another
├── NotFoundError      (LookupError)      a task, a recipe file, a run or a model is not where it was looked for
├── DataError          (ValueError)       the rows or their file cannot be used as they are
├── ModelError         (ValueError)       the model folder or its weights cannot be used
├── DivergedError      (ArithmeticError)  the loss or the weights stopped being numbers in training
├── OutputError        (FileExistsError)  the output folder holds something that would be lost
├── HubError           (ConnectionError)  the Hub refused, or could not be reached
└── MissingPackageError (ImportError)     an optional package is needed and not installed

A message says what was found, what was expected, and the edit that fixes it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

__all__ = [
    "ConfigError",
    "DataError",
    "DivergedError",
    "HFRecipesError",
    "HubError",
    "MissingPackageError",
    "ModelError",
    "NotFoundError",
    "OutputError",
    "nearest",
]


class HFRecipesError(Exception):
    """Base of all errors below: catch this one to catch them all."""


class ConfigError(HFRecipesError, ValueError):
    """One or more settings are wrong; every problem found is listed.

    Attributes:
        problems: One sentence for each problem.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        head = "" if len(self.problems) == 1 else f"{len(self.problems)} settings need an edit:\n- "
        super().__init__(head + "\n- ".join(self.problems))


class NotFoundError(HFRecipesError, LookupError):
    """A task, a recipe file, a run or a model is not where it was looked for."""


class DataError(HFRecipesError, ValueError):
    """The rows, or the file that holds them, cannot be used as they are.

    Attributes:
        rows: Places of the rows at fault, counted from 0, where that is what is wrong.
    """

    def __init__(self, message: str, *, rows: Iterable[int] = ()) -> None:
        self.rows = list(rows)
        super().__init__(message)


class ModelError(HFRecipesError, ValueError):
    """The model folder or its weights cannot be used."""


class DivergedError(HFRecipesError, ArithmeticError):
    """The loss or the weights stopped being numbers in training; the last checkpoint is as it was."""


class OutputError(HFRecipesError, FileExistsError):
    """The output folder holds something that would be lost."""


class HubError(HFRecipesError, ConnectionError):
    """The Hub refused, or could not be reached."""


class MissingPackageError(HFRecipesError, ImportError):
    """An optional package is needed and not installed."""


def nearest(word: str, known: Iterable[str]) -> str:
    """A ` (did you mean ...?)` for the known word closest to `word`, or nothing.

    Example:
        >>> nearest("learning_rat", ["learning_rate", "seed"])
        ' (did you mean learning_rate?)'
    """
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else ""
