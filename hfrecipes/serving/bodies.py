"""The body of a request: read within limits, and checked as far as that takes no model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..data.json_rows import JSON, json_problem
from ..recipe import Row, example, text_column
from .limits import Limits, RefusedError

if TYPE_CHECKING:
    from starlette.requests import Request

    from ..predictor import Predictor

DEEPEST = 20  # lists and objects inside each other in a row
SHOWN = 200  # characters of an example in a sentence


@dataclass(frozen=True)
class Question:
    """What a request asks for."""

    rows: Sequence[Row]
    sizes: Sequence[int]
    """Characters of each of them."""
    is_single: bool
    """Whether one row was sent, and no list."""


async def read_body(request: Request, limits: Limits) -> bytes:
    """The body of a request.

    Raises:
        RefusedError: It is of another type than JSON, too large, or too slow.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    # A page of another site could send any type but this one without asking first.
    if kind != "application/json":
        raise RefusedError(
            415, f"the body is of the type {kind or '(none)'}: send JSON with Content-Type: application/json"
        )
    too_large = RefusedError(
        413, f"the body has more than {limits.body_bytes:,} bytes: send the rows in several requests"
    )
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limits.body_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(limits.upload_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.body_bytes:
                    raise too_large
    except TimeoutError:
        raise RefusedError(408, f"the body did not arrive within {limits.upload_seconds:g} s: send it faster") from None
    return bytes(body)


def read_question(body: bytes, predictor: Predictor, limits: Limits) -> Question:
    """The rows of a body.

    Raises:
        RefusedError: It is no JSON, or has no rows that the model could read.
    """
    content = _parsed(body)
    rows = content if isinstance(content, list) else [content]
    if len(rows) > limits.rows:
        raise RefusedError(413, f"found {len(rows):,} rows, expected {limits.rows:,} at most: send several requests")
    column = text_column(predictor.recipe)
    objects, sizes = [], []
    for index, row in enumerate(rows):
        _check_form(row, index, predictor)
        sizes.append(_size(row, index, limits))
        objects.append({str(column): row} if isinstance(row, str) else row)
    return Question(objects, sizes, is_single=not isinstance(content, list))


def _parsed(body: bytes) -> Any:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = f"byte 0x{body[error.start]:02x} at {error.start}"
        raise RefusedError(400, f"the body is not UTF-8 text ({byte}): send JSON in UTF-8") from None
    try:
        return JSON.decode(text)
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, column {error.colno}"
        raise RefusedError(
            400, f"the body is not valid JSON ({error.msg}, {at}): send a row, or a list of rows"
        ) from None
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, json_problem(error, "the body").replace("delete it", "send flat rows")) from None


def _check_form(row: Any, index: int, predictor: Predictor) -> None:
    """Refuse what is neither a text nor an object with a column that the model reads."""
    reads = " and ".join(predictor.reads)
    if isinstance(row, str) and text_column(predictor.recipe) is not None:
        return
    if not isinstance(row, Mapping):
        kind = {str: "a text", list: "a list", type(None): "null"}.get(type(row), repr(row)[:60])
        problem = f"row {index} is {kind}"
    elif not predictor.names_inputs(row):
        keys = ", ".join(map(repr, row)) or "no keys"
        problem = f"row {index} has {keys[:SHOWN]}"
    else:
        return
    raise RefusedError(422, f"{problem}, and this model reads {reads}: send rows such as {shown_example(predictor)}")


def _size(row: Any, index: int, limits: Limits) -> int:
    """Characters of all texts of a row."""
    size, level, inner = 0, 0, [row]
    while inner:
        if level > DEEPEST:
            raise RefusedError(422, f"row {index} has more than {DEEPEST} lists inside each other: send flat rows")
        entries, inner, level = inner, [], level + 1
        for entry in entries:
            if isinstance(entry, Mapping):
                inner += [*entry, *entry.values()]
            elif isinstance(entry, list):
                inner += entry
            else:
                size += len(entry) if isinstance(entry, str) else 1
    if size > limits.characters:
        raise RefusedError(
            413, f"row {index} has {size:,} characters, expected {limits.characters:,} at most: send the part to read"
        )
    return size


def shown_example(predictor: Predictor) -> str:
    """A row that the model reads, as JSON."""
    row = example(predictor.recipe, predictor.reads)
    text = json.dumps(row, ensure_ascii=False)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
