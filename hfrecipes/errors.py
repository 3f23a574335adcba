"""Every error that hfrecipes raises on purpose.

HFRecipesError
├── ConfigError        (ValueError)       a setting is unknown, of the wrong type, or contradicts another
├── UntrustedError     (ValueError)       a file names code to run, and the user did not say that it may
├── NotFoundError      (LookupError)      a task, a recipe file, a dataset, a run or a model does not exist
├── DataError          (ValueError)       the rows or their file cannot be used as they are
├── ModelError         (ValueError)       the model folder or its weights cannot be used
├── DivergedError      (ArithmeticError)  the loss or the weights became NaN or infinite in training
├── OutOfMemoryError   (MemoryError)      one row, or what is needed beside the rows, does not fit into memory
├── OutputError        (FileExistsError)  the output folder holds something that would be overwritten
├── HubError           (ConnectionError)  the Hub refused a request, or could not be reached
└── MissingPackageError (ImportError)     a required optional package is not installed

A message says what was found, what was expected, and the edit that fixes it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from importlib.util import find_spec

from .characters import LONGEST, shortened, visible_line, within
from .masking import mask_text

__all__ = [
    "ConfigError",
    "DataError",
    "DivergedError",
    "HFRecipesError",
    "HubError",
    "MissingPackageError",
    "ModelError",
    "NotFoundError",
    "OutOfMemoryError",
    "OutputError",
    "UntrustedError",
    "counted",
    "nearest",
    "require_packages",
    "when_offline",
]

_DISTRIBUTIONS = {"stdnum": "python-stdnum"}  # names on PyPI that differ from those that are imported
SHOWN = 10  # problems of the settings that a message lists


class HFRecipesError(Exception):
    """Base class of all errors below: catch it to catch them all.

    Values in the message come from files and commands: they are cut where they are long, cannot move the cursor, and
    show no secret.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(_as_sentence(message))

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the sentence without the lines of code that led to it."""
        return [f"{type(self).__name__}: {self}"]


class ConfigError(HFRecipesError, ValueError):
    """One or more settings are wrong; the message lists every problem.

    Attributes:
        problems: One sentence for each problem.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = []
        for problem in [problems] if isinstance(problems, str) else problems:
            self.problems.append(_as_sentence(problem))
        # A single problem is a plain sentence, which fits on the line that the command prints.
        message = self.problems[0] if len(self.problems) == 1 else _listed(self.problems)
        super().__init__(message)


def _as_sentence(text: str) -> str:
    return shortened(visible_line(mask_text(within(text))))


def _listed(problems: Sequence[str]) -> str:
    """The first problems, as many as a message may hold, and the number of the others."""
    message = f"{len(problems)} settings need an edit:"
    for shown, problem in enumerate(problems):
        # The last line, which counts the others, takes some characters too.
        if shown == SHOWN or (shown and len(message) + len(problem) > LONGEST - 50):
            return f"{message}\n- … and {len(problems) - shown} more"
        message += f"\n- {problem}"
    return message


class UntrustedError(HFRecipesError, ValueError):
    """A file names code to run, and the user did not say that it may."""


class NotFoundError(HFRecipesError, LookupError):
    """A task, a recipe file, a dataset, a run or a model does not exist."""


class DataError(HFRecipesError, ValueError):
    """The rows, or the file that holds them, cannot be used as they are.

    Attributes:
        rows: Indices of the invalid rows, counted from 0; empty where the problem is not in single rows.
    """

    def __init__(self, message: str, *, rows: Iterable[int] = ()) -> None:
        self.rows = list(rows)
        super().__init__(message)


class ModelError(HFRecipesError, ValueError):
    """The model folder or its weights cannot be used."""


class DivergedError(HFRecipesError, ArithmeticError):
    """The loss or the weights became NaN or infinite in training; the last checkpoint is unchanged."""


class OutOfMemoryError(HFRecipesError, MemoryError):
    """The memory of the device or of the machine is used up, and nothing can be computed in smaller parts."""


class OutputError(HFRecipesError, FileExistsError):
    """The output folder holds something that would be overwritten."""


class HubError(HFRecipesError, ConnectionError):
    """The Hub refused a request, or could not be reached."""


class MissingPackageError(HFRecipesError, ImportError):
    """A required optional package is not installed."""


def require_packages(purpose: str, *packages: str) -> None:
    """Refuse to begin what optional packages are needed for; they are looked for and not imported.

    Args:
        purpose: What needs them: the subject of the sentence.
        packages: Names under which they are imported.

    Raises:
        MissingPackageError: One is not installed.

    Example:
        >>> require_packages("a matrix", "numpy")
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        names = " ".join(_DISTRIBUTIONS.get(package, package.replace("_", "-")) for package in missing)
        raise MissingPackageError(f"{purpose} needs {' and '.join(missing)}: pip install {names}")


def counted(number: int, noun: str) -> str:
    """The number with its noun.

    Example:
        >>> counted(1, "row"), counted(2, "row")
        ('1 row', '2 rows')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def nearest(word: object, known: Iterable[str]) -> str:
    """The hint ` (did you mean ...?)` with the known word closest to `word`; empty if none is close.

    Example:
        >>> nearest("learning_rat", ["learning_rate", "seed"])
        ' (did you mean learning_rate?)'
    """
    # The default cutoff of difflib: lower ones suggest words that have nothing to do with the one typed.
    close = difflib.get_close_matches(str(word), sorted(map(str, known)), n=1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else ""


def when_offline() -> str:
    """Why nothing comes from the Hub where downloads are turned off, as an addition to a sentence; else empty."""
    from huggingface_hub import constants

    return " (HF_HUB_OFFLINE is set: unset it, or name a local folder)" if constants.is_offline_mode() else ""
