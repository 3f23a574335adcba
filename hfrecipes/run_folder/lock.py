"""One process for each folder of a run."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import OutputError

LOCK, OWNER = ".lock", ".owner"
_ME = "process {} on {}"


@contextlib.contextmanager
def locked(file: Path, refusal: Callable[[], str]) -> Iterator[None]:
    """Keep other processes out of a block; the file of the lock is deleted after it.

    The operating system gives the lock back when a process ends, however it ends. On a disk that several machines
    share, that of a machine that has crashed may stay.

    Args:
        file: File of the lock, in a folder that exists.
        refusal: The sentence where another process has the lock.

    Raises:
        OutputError: Another process has it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise OutputError(refusal()) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # a disk that cannot be written to any more
            file.unlink()
        lock.release()


@contextlib.contextmanager
def hold(path: Path) -> Iterator[None]:
    """Keep other processes out of a folder, which may not exist; a folder that is still empty after it is deleted.

    Raises:
        OutputError: Another process has the folder.
    """
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    try:
        with locked(path / LOCK, lambda: f"{path} is being written by another run ({_owner(path)}"), _named_owner(path):
            yield
    finally:
        with contextlib.suppress(OSError):  # a folder that has something in it stays
            for folder in made:
                folder.rmdir()


@contextlib.contextmanager
def _named_owner(path: Path) -> Iterator[None]:
    """Write down who has the folder, for the sentence that others get."""
    try:
        (path / OWNER).write_text(_ME.format(os.getpid(), socket.gethostname()), encoding="utf-8")
        yield
    finally:
        with contextlib.suppress(OSError):
            (path / OWNER).unlink()


def _owner(path: Path) -> str:
    """The end of the sentence: who has the folder, and what to do."""
    wait = "wait for it, or choose another output_dir"
    try:
        owner = (path / OWNER).read_text(encoding="utf-8")
    except OSError:
        return f"it is starting or ending): {wait}"
    host = owner.partition(" on ")[2]
    if host and host != socket.gethostname():
        return f"{owner}, another machine): {wait}; if that machine has crashed, delete {path / LOCK}"
    return f"{owner or 'it is starting'}): {wait}"
