"""Fine-tune a pretrained language model on your own data: one small recipe for each task, one shared runner.

Example:
    >>> import hfrecipes
    >>> result = hfrecipes.run("text-classification", model="<hub id>", dataset="reviews.csv")  # doctest: +SKIP
    >>> result.metrics["test"]["accuracy"]  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
import logging
import sys
from typing import TYPE_CHECKING, Any

from . import errors
from ._version import __version__

if TYPE_CHECKING:
    from .config import RunConfig
    from .errors import HFRecipesError
    from .hub.push import push
    from .predictor import load
    from .recipe import Recipe
    from .registry import tasks
    from .results import Result, Results
    from .runner import build, run
    from .training.plan import check

__all__ = [
    "HFRecipesError",
    "Recipe",
    "Result",
    "Results",
    "RunConfig",
    "__version__",
    "build",
    "check",
    "errors",
    "load",
    "push",
    "run",
    "tasks",
]

_HOMES = {
    "HFRecipesError": "errors",
    "Recipe": "recipe",
    "Result": "results",
    "Results": "results",
    "RunConfig": "config",
    "build": "runner",
    "check": "training.plan",
    "load": "predictor",
    "push": "hub.push",
    "run": "runner",
    "tasks": "registry",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: torch and transformers take seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__


class _ToStderr(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes where sys.stderr points when the line is written."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        return sys.stderr


# What the library decides is said here, a line each; `logging.getLogger("hfrecipes").setLevel("WARNING")` mutes it.
_logger = logging.getLogger(__name__)
if not _logger.handlers:
    _logger.addHandler(_ToStderr())
    _logger.setLevel(logging.INFO)
    _logger.propagate = False  # rouge_score and others set up the root logger, which would say it all again
