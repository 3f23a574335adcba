"""The paths of the app, and what each of them answers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from .. import __version__
from ..errors import HFRecipesError
from ..log import logger
from ..output import json_line
from ..predictor import Predictor
from ..recipe import Row
from .batches import Worker
from .bodies import Question, read_body, read_question, shown_example
from .docs_page import SCRIPT, docs_page
from .limits import Limits, RefusedError
from .schema import operation

PATHS = "POST /predict, GET /health, GET /docs and GET /openapi.json"
QUICK = 100_000  # bytes of a body: a larger one is read in another thread, so that others are answered meanwhile
# No page of another site is shown inside the page, and nothing is loaded from elsewhere.
POLICY = "default-src 'self'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'none'"


def app_of(predictor: Predictor, limits: Limits, rows: list[Row], predictions: list[Any]) -> FastAPI:
    """The app of a model.

    Args:
        predictor: The model.
        limits: How much the app takes on at once.
        rows: Sample rows.
        predictions: What the model gives for them.
    """
    server = Server(predictor, limits)
    app = FastAPI(title=server.name, version=__version__, lifespan=server.lifespan, docs_url=None, redoc_url=None)
    page = docs_page(server.name, predictor, rows, predictions)

    @app.post("/predict", openapi_extra=operation(predictor, rows, predictions))
    async def predict(request: Request) -> Response:
        """Predict a row, or a list of rows."""
        return await server.answered(request)

    @app.get("/health")
    async def health() -> Response:
        """Whether requests are answered, and by which model."""
        return _json(server.health, 200 if server.worker.is_ready else 503)

    @app.get("/", include_in_schema=False)
    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return Response(page, media_type="text/html", headers={"Content-Security-Policy": POLICY})

    @app.get("/docs.js", include_in_schema=False)
    async def script() -> Response:
        return Response(SCRIPT, media_type="text/javascript")

    app.add_exception_handler(HTTPException, _no_such_path)
    return app


class Server:
    """What the app knows: the model with its thread, and the limits."""

    def __init__(self, predictor: Predictor, limits: Limits) -> None:
        self.predictor, self.limits = predictor, limits
        self.worker = Worker(predictor, limits)
        self.room = asyncio.Semaphore(limits.large_bodies)

    @property
    def name(self) -> str:
        """Name of the run."""
        folder = self.predictor.folder
        return folder.name if folder is not None else self.predictor.recipe.task

    @property
    def health(self) -> dict[str, Any]:
        """What `/health` gives."""
        return {
            "ready": self.worker.is_ready,
            "run": self.name,
            "task": self.predictor.recipe.task,
            "reads": self.predictor.reads,
            "waiting_rows": self.worker.waiting_rows,
            "hfrecipes": __version__,
        }

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncIterator[None]:
        """Start the thread of the model, and end it once all requests are answered."""
        # An app may be started again, but a thread only once.
        self.worker = Worker(self.predictor, self.limits)
        self.room = asyncio.Semaphore(self.limits.large_bodies)
        self.worker.start()
        try:
            yield
        finally:
            await asyncio.to_thread(self.worker.stop)

    async def answered(self, request: Request) -> Response:
        """The response to a request, whatever it asks for."""
        try:
            question = await self._question(request)
            predictions = await self._predictions(question, request)
        except RefusedError as error:
            return _refused(error)
        except ClientDisconnect:
            return Response(status_code=499)  # as nginx has it; nobody reads it
        except HFRecipesError as error:
            return _refused(RefusedError(422, f"{_without_edit(str(error))}; a row is {shown_example(self.predictor)}"))
        except Exception as error:  # it is printed where it was raised
            return _refused(
                RefusedError(
                    500, f"the model failed on this request ({type(error).__name__}): the log of the server has more"
                )
            )
        return _json(predictions[0] if question.is_single else predictions)

    async def _question(self, request: Request) -> Question:
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) <= QUICK:
            return read_question(await read_body(request, self.limits), self.predictor, self.limits)
        # Bodies without a length are taken for large ones: memory stays bounded, however many clients send them.
        async with self.room:
            body = await read_body(request, self.limits)
            return await asyncio.to_thread(read_question, body, self.predictor, self.limits)

    async def _predictions(self, question: Question, request: Request) -> list[Any]:
        """The predictions, unless the client goes away, or they take too long.

        Raises:
            RefusedError: Too many rows wait, or the time is over.
        """
        if not question.rows:
            return []
        answer = asyncio.wrap_future(self.worker.submit(question.rows, question.sizes))
        leaving = asyncio.ensure_future(_until_gone(request))
        both: set[asyncio.Future[Any]] = {answer, leaving}
        try:
            await asyncio.wait(both, timeout=self.limits.seconds, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            if leaving.done():
                raise ClientDisconnect
            raise RefusedError(
                504, f"the answer took more than {self.limits.seconds:g} s: send fewer rows, or try later"
            )
        finally:
            # Rows that nobody waits for are not predicted.
            answer.cancel()
            leaving.cancel()


async def _until_gone(request: Request) -> None:
    """Wait until the client closes the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _json(content: Any, status: int = 200) -> Response:
    return Response(json_line(content), status, media_type="application/json")


def _refused(error: RefusedError) -> Response:
    response = _json({"error": str(error)}, error.status)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    if error.status in (503, 504):
        logger.warning("refused with %s: %s", error.status, error)
    return response


def _without_edit(sentence: str) -> str:
    """The sentence without settings of the command line, which a client does not have."""
    head, colon, tail = sentence.rpartition(": ")
    return head if colon and "columns." in tail else sentence


async def _no_such_path(request: Request, error: Any) -> Response:
    if error.status_code == 405:
        sentence = f"{request.url.path[:100]} does not take {request.method}: there are {PATHS}"
    else:
        sentence = f"there is no {request.url.path[:100]}: there are {PATHS}"
    return _refused(RefusedError(error.status_code, sentence))
