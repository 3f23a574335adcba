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
import warnings
from typing import TYPE_CHECKING, Any

from . import errors as errors
from ._version import __version__ as __version__
from .log import in_notebook

# Type checkers do not read the mapping below, so the public names are imported here too; a test compares the two.
if TYPE_CHECKING:
    from .auditing.audit import audit as audit
    from .auditing.outcome import Audit as Audit
    from .checkup import check as check
    from .comparing.compare import compare as compare
    from .comparing.comparison import Comparison as Comparison
    from .comparing.selection import Selection as Selection
    from .config.run_config import RunConfig as RunConfig
    from .curve.learning_curve import LearningCurve as LearningCurve
    from .errors import HFRecipesError as HFRecipesError
    from .exporting.export import export as export
    from .hub.push import push as push
    from .predictor import load as load
    from .recipe import Recipe as Recipe
    from .registry import list_tasks as list_tasks
    from .results import Result as Result
    from .results import Results as Results
    from .runner import build as build
    from .runner import finish as finish
    from .runner import run as run
    from .search.outcome import Search as Search

# Public name -> module that defines it.
_HOMES = {
    "Audit": "auditing.outcome",
    "Comparison": "comparing.comparison",
    "HFRecipesError": "errors",
    "LearningCurve": "curve.learning_curve",
    "Recipe": "recipe",
    "Result": "results",
    "Results": "results",
    "RunConfig": "config.run_config",
    "Search": "search.outcome",
    "Selection": "comparing.selection",
    "audit": "auditing.audit",
    "build": "runner",
    "check": "checkup",
    "compare": "comparing.compare",
    "export": "exporting.export",
    "finish": "runner",
    "list_tasks": "registry",
    "load": "predictor",
    "push": "hub.push",
    "run": "runner",
}

__all__ = sorted([*_HOMES, "__version__", "errors"])


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: torch and transformers take seconds to import."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__


class _ToStderr(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to the current `sys.stderr`, which pytest and click replace; a notebook would show that as errors."""

    def __init__(self) -> None:
        # StreamHandler would assign to `stream`, which is a property here.
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        return sys.stdout if in_notebook() else sys.stderr


if in_notebook():
    # tqdm, which the libraries import, asks for widgets that nothing here needs.
    warnings.filterwarnings("ignore", message="IProgress not found")

# The library logs one line for each decision; `logging.getLogger("hfrecipes").setLevel("WARNING")` turns that off.
_logger = logging.getLogger(__name__)
if not _logger.handlers:
    _logger.addHandler(_ToStderr())
    _logger.setLevel(logging.INFO)
    # rouge_score and other packages set up the root logger, which would print every line again.
    _logger.propagate = False
