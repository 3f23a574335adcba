"""When Python looks for garbage: rarely while a command starts, as usual once it trains, and not at its end.

Nor does it while many rows are read or predicted.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
from collections.abc import Iterator

# Libraries make a few hundred thousand objects when they are imported, all of which stay. By default, Python looks
# through them again and again, which takes a quarter of the start.
_RARELY = 300_000
_usual: tuple[int, int, int] | None = None


def collect_rarely() -> None:
    """Look for garbage rarely, until `collect_as_usual` is called, and not when the process ends."""
    global _usual
    if _usual is None:
        _usual = gc.get_threshold()
        atexit.register(gc.freeze)
    gc.set_threshold(_RARELY)


def collect_as_usual() -> None:
    """In a process of the command, look for garbage as often as Python does by default, in what is made from now on.

    Called before there is a model: what is large and refers to itself, such as a Trainer, must be found later.
    """
    if _usual is not None and gc.get_threshold() != _usual:
        gc.set_threshold(*_usual)
        gc.freeze()


@contextlib.contextmanager
def not_collected() -> Iterator[None]:
    """Look for no garbage while many rows are read or predicted; hardly anything of it refers to itself.

    The number of their lists makes Python look through all objects of the process again and again, of which the
    libraries have made hundreds of thousands.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
