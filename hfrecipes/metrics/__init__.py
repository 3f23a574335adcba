"""Metrics as `evaluate` modules that ship with the package and need no network, and intervals around them.

Each module has the name and the result keys of the public module of that name, and `evaluate.load` can read its file.
Modules that start with an underscore are helpers: metrics over resamples, intervals, and the scores of SQuAD,
entities and texts, with the languages and tag schemes that these need.
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import HFRecipesError, NotFoundError, nearest

if TYPE_CHECKING:
    import evaluate


def names() -> list[str]:
    """Names of the metrics that ship with the package."""
    # An underscore marks helpers: `squad.py` would be listed here, and would hide the public metric of that name.
    return sorted(file.stem for file in Path(__file__).parent.glob("[a-z]*.py"))


def load(name: str, config_name: str | None = None) -> evaluate.Metric:
    """Load a metric by its name in this package, its Hub id, or the path to a .py file.

    Example:
        >>> load("accuracy").compute(predictions=[0, 1], references=[0, 0])
        {'accuracy': 0.5}

    Raises:
        NotFoundError: The package has no such metric, and none could be fetched.
        HFRecipesError: The metric needs a library that is not installed.
    """
    import evaluate

    if name in names():
        metric_class = _metric_class(importlib.import_module(f".{name}", __package__))
        return metric_class(config_name=config_name, keep_in_memory=True)
    try:
        return evaluate.load(name, config_name, keep_in_memory=True)
    except (FileNotFoundError, ConnectionError, OSError, ValueError) as error:
        raise NotFoundError(
            f"metric {name}{nearest(name, names())} is not among {', '.join(names())}, and loading it failed: {error}"
        ) from error
    except ImportError as error:
        raise HFRecipesError(f"metric {name} needs a package that is not installed: {error}") from error
    except TypeError as error:
        # What `evaluate` makes of a module in which it finds no class.
        raise NotFoundError(f"{name} defines no evaluate.Metric: expected one class of that kind") from error


def _metric_class(module: ModuleType) -> Any:
    """The metric that a module of this package defines."""
    for value in vars(module).values():
        # Classes that the module imports, as `Any`, have another module's name.
        if inspect.isclass(value) and value.__module__ == module.__name__:
            return value
    raise HFRecipesError(f"{module.__name__} defines no class: expected an evaluate.Metric")


def draw_weights(rows: int, draws: int, generator: np.random.Generator) -> np.ndarray:
    """How often each bootstrap resample draws each row, (draws, rows), float32."""
    drawn = generator.integers(0, rows, (draws, rows))
    # Each resample gets its own range of numbers, so that a single bincount serves all of them.
    drawn += np.arange(draws)[:, None] * rows
    return np.bincount(drawn.ravel(), minlength=draws * rows).reshape(draws, rows).astype(np.float32)
