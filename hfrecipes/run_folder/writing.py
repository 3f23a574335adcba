"""Files that are written whole or not at all, whatever happens meanwhile: a kill, a power cut, a full disk."""

from __future__ import annotations

import contextlib
import glob
import json
import math
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

DRAFT = ".draft-"  # prefix of files and folders that are not whole yet
_OLD = 3600  # seconds


@contextlib.contextmanager
def draft(path: Path) -> Iterator[Path]:
    """A name to write to; the file takes the place of `path` once it is whole and on the disk.

    Args:
        path: Final name.
    """
    _delete_left(path)
    # A name of its own: several processes may write the same file, as those of one search do.
    temporary = path.with_name(f"{DRAFT}{secrets.token_hex(4)}-{path.name}")
    try:
        yield temporary
        _sync(temporary)
        # A file is renamed in one step, so that no reader and no power cut sees half of it.
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _delete_left(path: Path) -> None:
    """Delete drafts of a file that killed processes have left; a young one may be written by another process now."""
    for left in path.parent.glob(f"{DRAFT}*-{glob.escape(path.name)}"):
        with contextlib.suppress(OSError):  # another process deletes it
            if time.time() - left.stat().st_mtime > _OLD:
                left.unlink()


@contextlib.contextmanager
def draft_folder(path: Path) -> Iterator[Path]:
    """A new folder to write to; its files are moved to `path` once all of them are whole and on the disk.

    Args:
        path: Folder for the files, which may not exist.
    """
    path.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=DRAFT, dir=path))
    try:
        yield folder
        files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
        for file in files:
            _sync(file)
        for file in files:
            target = path / file.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)
        _sync(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to write to; it gets its name in one step, once all of its files are whole and on the disk.

    Args:
        path: Final name, of nothing yet or of an empty folder.
    """
    folder = path.with_name(DRAFT + path.name)
    shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
    folder.mkdir(parents=True)
    try:
        yield folder
        for file in sorted(folder.rglob("*")):
            _sync(file)
        if path.exists():
            path.rmdir()
        folder.rename(path)
        _sync(path.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if path.is_dir() and os.name != "posix":  # elsewhere a folder cannot be opened
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def clear_drafts(path: Path) -> None:
    """Delete what a killed process was writing."""
    for left in list(path.rglob(f"{DRAFT}*")):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    with draft(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object; NaN and infinite numbers become null."""
    write_text(path, json.dumps(finite(content), indent=2, ensure_ascii=False) + "\n")


def as_json_line(value: Any) -> str:
    """The value as JSON on one line; NaN and infinite numbers become null, and what JSON does not have a text."""
    return json.dumps(finite(value), ensure_ascii=False, allow_nan=False, default=str)


def finite(value: Any) -> Any:
    """The value with null for NaN and infinite numbers, which JSON does not have."""
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return list(map(finite, value))
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
