"""Says on a terminal what takes long before the first line of a command: the libraries take seconds to import."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Iterator

from .log import is_main, logger

SECONDS = 1.5  # after which the wait is explained
LIBRARIES = "loading torch and transformers; the first time takes longest"


@contextlib.contextmanager
def explained(sentence: str = LIBRARIES) -> Iterator[None]:
    """Print the sentence if the block takes long before it ends, or prints a line; only where somebody watches."""
    if not (sys.stderr.isatty() and is_main()):
        yield
        return
    timer = threading.Timer(SECONDS, sys.stderr.write, [f"{sentence}\n"])
    timer.daemon = True
    stop = _AtFirstLine(timer)
    logger.addHandler(stop)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        logger.removeHandler(stop)


class _AtFirstLine(logging.Handler):
    def __init__(self, timer: threading.Timer) -> None:
        super().__init__()
        self.timer = timer

    def emit(self, record: logging.LogRecord) -> None:
        """There is something to read: the wait is over."""
        self.timer.cancel()
