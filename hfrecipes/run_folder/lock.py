"""One process for each folder of a run."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from ..errors import OutputError

LOCK, OWNER = ".lock", ".owner"


@contextlib.contextmanager
def hold(path: Path) -> Iterator[None]:
    """Keep other processes out of a folder, which may not exist; a folder that is still empty after it is deleted.

    The operating system gives the lock back when a process ends, however it ends.

    Raises:
        OutputError: Another process has the folder.
    """
    from filelock import FileLock, Timeout

    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise OutputError(
            f"{path} is being written by another run ({_owner(path)}): wait for it, or choose another output_dir"
        ) from error
    try:
        (path / OWNER).write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        yield
    finally:
        for name in (OWNER, LOCK):
            (path / name).unlink(missing_ok=True)
        lock.release()
        with contextlib.suppress(OSError):  # a folder that has something in it stays
            for folder in made:
                folder.rmdir()


def _owner(path: Path) -> str:
    try:
        return (path / OWNER).read_text(encoding="utf-8") or "it is starting"
    except OSError:
        return "it is starting or ending"
