"""Progress bars of `datasets`, for long work alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def hide_progress_bars(rows: int) -> Iterator[None]:
    """Hide the progress bars of `datasets` while work on a small number of rows is done."""
    from datasets.utils import logging

    was_on = logging.is_progress_bar_enabled()
    if rows < 50_000:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            logging.enable_progress_bar()
