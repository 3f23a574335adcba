"""Metrics as `evaluate` modules that ship with the package and need no network, and intervals around them.

Each module has the name and result keys of the public module of that name; `evaluate.load` reads its file too.
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import HFRecipesError, NotFoundError, nearest

if TYPE_CHECKING:
    import evaluate


def names() -> list[str]:
    """Metrics that ship with the package."""
    return sorted(file.stem for file in Path(__file__).parent.glob("[a-z]*.py"))


def load(name: str, config_name: str | None = None) -> evaluate.Metric:
    """A metric by its name here, its Hub id, or the path to a .py file.

    Example:
        >>> load("accuracy").compute(predictions=[0, 1], references=[0, 0])
        {'accuracy': 0.5}

    Raises:
        NotFoundError: No such metric here, and none could be fetched.
    """
    import evaluate

    if name in names():
        module = importlib.import_module(f".{name}", __package__)
        kinds: list[Any] = [
            one for one in vars(module).values() if inspect.isclass(one) and one.__module__ == module.__name__
        ]
        return kinds[0](config_name=config_name, keep_in_memory=True)
    try:
        return evaluate.load(name, config_name, keep_in_memory=True)
    except (FileNotFoundError, ConnectionError, OSError, ValueError) as error:
        raise NotFoundError(
            f"metric {name}{nearest(name, names())} is not among {', '.join(names())}, and loading it failed: {error}"
        ) from error
    except ImportError as error:
        raise HFRecipesError(f"metric {name}: {error}") from error


def draw_weights(rows: int, draws: int, generator: np.random.Generator) -> np.ndarray:
    """How often each bootstrap resample draws each row, (draws, rows), float32."""
    places = generator.integers(0, rows, (draws, rows))
    places += np.arange(draws)[:, None] * rows
    return np.bincount(places.ravel(), minlength=draws * rows).reshape(draws, rows).astype(np.float32)
