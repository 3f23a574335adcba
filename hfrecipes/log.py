"""Log one line for each decision, from one process even when training runs in several."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Iterator

from .characters import shortened, visible_line, within
from .masking import mask_text

logger = logging.getLogger("hfrecipes")
SECONDS = 1.5  # after which the wait is explained
LIBRARIES = "loading torch and transformers (the first time takes longest)"
_recordings: list[list[str]] = []
_printed: list[set[str]] = []  # sentences of each block that prints them once


@contextlib.contextmanager
def recorded() -> Iterator[list[str]]:
    """Collect the sentences that are printed inside the block, for work whose result is kept and used again."""
    sentences: list[str] = []
    _recordings.append(sentences)
    try:
        yield sentences
    finally:
        _recordings.pop()


@contextlib.contextmanager
def once() -> Iterator[None]:
    """Print each sentence of the block the first time only, such as a guess that is made for every split."""
    _printed.append(set())
    try:
        yield
    finally:
        _printed.pop()


def is_main() -> bool:
    """Whether this process is the one that prints and writes files."""
    # torchrun and accelerate launch set RANK before the libraries are imported, so torch is not needed to know.
    return os.environ.get("RANK", "0") == "0"


def in_notebook() -> bool:
    """Whether the output of this process is shown by a notebook."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return type(shell).__name__ == "ZMQInteractiveShell"


def log(sentence: str) -> None:
    """Print a sentence for the user, without secrets.

    `logging.getLogger("hfrecipes").setLevel("WARNING")` turns these off.
    """
    sentence = shortened(mask_text(within(sentence)))
    for sentences in _recordings:
        sentences.append(sentence)
    for printed in _printed:
        if sentence in printed:
            return
        printed.add(sentence)
    if is_main():
        logger.info("%s", visible_line(sentence))


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
