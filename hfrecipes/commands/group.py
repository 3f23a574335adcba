"""What holds for every command: errors are one line, Ctrl-C and SIGTERM end it cleanly, streams take any character."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any, NoReturn

import click

from ..characters import shortened
from ..errors import HFRecipesError, NotFoundError
from ..garbage import collect_rarely
from ..masking import mask_text
from ..output import prepare_streams, say
from .answers import answer_error, document_alone, read_flag

DEBUG = "HFRECIPES_DEBUG"


def fail(message: object, *, kind: str = "UsageError") -> NoReturn:
    """Print what is wrong and exit with code 2.

    Args:
        message: A sentence, or an error.
        kind: Class of the error that a sentence is about.
    """
    text = shortened(mask_text(str(message)))
    say(f"hfrecipes: {text}", err=True)
    error = message if isinstance(message, Exception) else None
    answer_error(kind if error is None else type(error).__name__, text, error)
    sys.exit(2)


@contextlib.contextmanager
def _short_errors() -> Iterator[None]:
    """Shorten the errors of click, which repeat long arguments in full."""
    try:
        yield
    except click.ClickException as error:
        error.message = shortened(mask_text(error.message))  # type: ignore[misc]
        answer_error("UsageError", error.format_message())
        raise


class _Terminated(SystemExit):
    """SIGTERM, which ends a command as Ctrl-C does: half-written files are deleted, and locks are released."""


@contextlib.contextmanager
def _raising_sigterm() -> Iterator[None]:
    """Raise SIGTERM as an exception; training sets a handler of its own, which saves a checkpoint first."""
    process = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:  # in a forked worker, which ends like any other process
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        raise _Terminated(128 + number)

    # Only the main thread may set a handler, and an existing handler belongs to the caller.
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, end)
    hook, sys.unraisablehook = sys.unraisablehook, _send_again
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sys.unraisablehook = hook


def _send_again(ignored: sys.UnraisableHookArgs) -> None:
    """Send a signal again that came while an object was deleted: Python ignores what is raised there."""
    numbers = {KeyboardInterrupt: signal.SIGINT, _Terminated: signal.SIGTERM}
    number = numbers.get(ignored.exc_type)
    if number is None:
        sys.__unraisablehook__(ignored)
    else:
        # Not at once: it would be ignored as well.
        threading.Timer(0.05, signal.raise_signal, (number,)).start()


def _check_working_folder() -> None:
    """Refuse to work in a folder that was deleted, where libraries cannot even be imported.

    Raises:
        NotFoundError: It was.
    """
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise NotFoundError("the working folder was deleted or moved: change to another one with cd") from error


class Group(click.Group):
    """Prints each error as one line; with HFRECIPES_DEBUG=1, the traceback is shown."""

    def main(self, *arguments: Any, **keywords: Any) -> Any:
        """Start the command, in a process that reads arguments and file names as UTF-8."""
        # In the locale of ASCII that nobody has set, Python would read Chinese as single bytes.
        is_command = not arguments and keywords.get("args") is None
        if is_command and sys.getfilesystemencoding() == "ascii":
            os.environ["PYTHONUTF8"] = "1"
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
        if is_command:  # the process belongs to the command
            collect_rarely()
        return super().main(*arguments, **keywords)

    def make_context(self, *arguments: Any, **keywords: Any) -> click.Context:
        """Read the words before the name of the command."""
        with _short_errors():
            return super().make_context(*arguments, **keywords)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words, and first whether the result is to be JSON."""
        read_flag(ctx, args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        prepare_streams()
        try:
            with document_alone(), _short_errors(), _raising_sigterm():
                _check_working_folder()
                return super().invoke(ctx)
        except HFRecipesError as error:
            if os.environ.get(DEBUG):
                sys.excepthook = _show_masked
                raise
            fail(error)
        except KeyboardInterrupt:
            say("hfrecipes: interrupted", err=True)
            answer_error("KeyboardInterrupt", "interrupted")
            sys.exit(130)
        except _Terminated:
            say("hfrecipes: ended by SIGTERM", err=True)
            answer_error("Terminated", "ended by SIGTERM")
            raise
        # click has its own messages and exit codes for unknown commands and for --help.
        except (click.exceptions.Exit, click.ClickException, click.Abort):
            raise
        except Exception as error:
            if os.environ.get(DEBUG):
                sys.excepthook = _show_masked
                raise
            message = " ".join(str(error).split())[:500]
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                fail("no space is left on the device that is written to: free some, or write elsewhere")
            fail(
                f"unexpected {type(error).__name__}: {message} ({DEBUG}=1 shows the traceback; please report it)",
                kind=type(error).__name__,
            )


def _show_masked(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a traceback without its secrets."""
    say(mask_text("".join(traceback.format_exception(kind, error, trace))), err=True, end="")
