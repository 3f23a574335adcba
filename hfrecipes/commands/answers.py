"""What a command found, shown to people, or with --json as one document on standard output for programs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import click

from ..errors import ConfigError
from ..output import say_json

FLAG = "--json"
_KEY = "hfrecipes.document"


@dataclass
class _Document:
    """The document of a command, of which there is exactly one."""

    stream: TextIO
    """Standard output."""
    is_printed: bool = False


def with_json(command: click.Command) -> click.Command:
    """The command with the option --json."""
    option = click.Option([FLAG], is_flag=True, expose_value=False, help="Print one JSON document, for programs.")
    command.params.append(option)
    return command


def read_flag(context: click.Context, words: Sequence[str]) -> None:
    """Note whether a document is wanted, which has to be known before an error in the other words.

    Args:
        context: That of the whole command line.
        words: All words; those after `--` are no options.
    """
    options = words[: words.index("--")] if "--" in words else words
    if FLAG in options:
        context.meta[_KEY] = _Document(sys.stdout)


def _document() -> _Document | None:
    """The document of the running command; None where none is wanted."""
    context = click.get_current_context(silent=True)
    return context.meta.get(_KEY) if context is not None else None


@contextlib.contextmanager
def document_alone() -> Iterator[None]:
    """Send whatever is printed inside the block to standard error where standard output has a document."""
    document = _document()
    if document is None:
        yield
        return
    document.stream = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        yield


def answer(show: Callable[[], None], value: Callable[[], Any]) -> None:
    """Print what a command found.

    Args:
        show: Prints it for people.
        value: Gives it as JSON values.
    """
    document = _document()
    if document is None:
        show()
    else:
        _print(document, value())


def answer_error(kind: str, message: str, error: BaseException | None = None) -> None:
    """Print an error as the document, unless there is one already, or none is wanted.

    Args:
        kind: Name of the class of the error.
        message: The sentence that is printed for people too.
        error: The error, for what it knows beside the sentence.
    """
    content: dict[str, Any] = {"type": kind, "message": message}
    if isinstance(error, ConfigError):
        content["problems"] = error.problems
    rows = getattr(error, "rows", None)
    if rows:
        content["rows"] = rows
    document = _document()
    if document is not None and not document.is_printed:
        _print(document, {"error": content})


def _print(document: _Document, value: Any) -> None:
    document.is_printed = True
    with contextlib.redirect_stdout(document.stream):
        say_json(value)
