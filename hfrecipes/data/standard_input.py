"""Rows to predict from standard input: a JSON object a line, else a text a line."""

from __future__ import annotations

from typing import IO, Any

from ..errors import DataError
from .json_rows import JSON, json_problem

_NAME = "standard input"


def read_rows(stream: IO[bytes]) -> list[Any]:
    """Read all rows of a stream.

    Raises:
        DataError: It is empty or no text in UTF-8, or only some of its lines are JSON objects.
    """
    try:
        content = stream.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = error.object.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{_NAME} is not UTF-8 text: byte 0x{error.object[error.start]:02x} in line {number}; convert it first:  "
            "iconv -f <encoding> -t utf-8"
        ) from error
    if not content.strip():
        raise DataError(f"{_NAME} is empty: expected one text per line")
    # Not splitlines(), which also splits at "\u2028" and other characters inside a text.
    lines = [line.rstrip("\r") for line in content.rstrip().split("\n")]
    return _objects(lines) or lines


def _objects(lines: list[str]) -> list[dict[str, Any]]:
    """The objects of the lines; none where the lines are texts, of which some may look like objects.

    Raises:
        DataError: The first line is an object, or most lines are, and a line is none.
    """
    objects: list[dict[str, Any]] = []
    others, problem, starts_with_object = 0, "", None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        row = _object(line, f"{_NAME} line {number}")
        if isinstance(row, dict):
            objects.append(row)
        else:
            # A broken object beside whole ones is no text.
            others += not line.lstrip().startswith('{"')
            problem = problem or row
        if starts_with_object is None:
            starts_with_object = isinstance(row, dict)
    # A text may start with a brace too, and even be an object.
    if not starts_with_object and len(objects) <= others:
        return []
    if problem:
        raise DataError(problem)
    return objects


def _object(line: str, at: str) -> dict[str, Any] | str:
    """The JSON object of a line, or a sentence on why it is none."""
    row = None
    if line.lstrip().startswith("{"):
        try:
            row = JSON.decode(line)
        except (ValueError, RecursionError) as error:
            return json_problem(error, at)
    return row if isinstance(row, dict) else f"{at} is not a JSON object, as other lines are: fix or delete that line"
