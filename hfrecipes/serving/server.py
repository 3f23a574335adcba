"""A server for a saved model: requests for predictions over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import require_packages
from .limits import Limits
from .schema import sample_rows

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ..predictor import Predictor


def make_app(predictor: Predictor, limits: Limits | None = None) -> FastAPI:
    """An app with `POST /predict`, `GET /health` and `GET /docs`, which any ASGI server runs.

    Args:
        predictor: The model, as `hfrecipes.load` gives it; it belongs to the app from then on.
        limits: How much the app takes on at once.

    Raises:
        MissingPackageError: FastAPI is not installed.
        HFRecipesError: The model cannot predict the sample rows of its task.

    Example:
        >>> app = make_app(hfrecipes.load("runs/quickstart"))  # doctest: +SKIP
    """
    require_packages("a server", "fastapi")
    from .routes import app_of

    # Before the first request: the model works, and its first call, which takes longest, is over.
    rows = sample_rows(predictor)
    return app_of(predictor, limits or Limits(), rows, predictor.predict(rows))
