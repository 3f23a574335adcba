"""A limit for programs that come with a model, as chat templates are."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

from ..errors import ModelError

SECONDS = 20.0  # for one dialogue, which takes milliseconds


@contextlib.contextmanager
def time_limit(program: str) -> Iterator[None]:
    """End a block that takes too long, where the system has timers.

    Args:
        program: What runs in it, as the sentence names it.

    Raises:
        ModelError: It took longer than `SECONDS`.
    """
    # Windows has no such timer, and only the main thread is interrupted by a signal.
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: Any) -> None:
        raise ModelError(f"{program} does not come to an end within {SECONDS:g} seconds: use another model, or edit it")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
