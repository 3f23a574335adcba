"""The manifest of a folder: size and hash of each file that was saved, to be compared when the files are read again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from ..config.blocks import sha256_of
from .writing import write_json

MANIFEST = "manifest.json"
SMALL = 256 << 20  # bytes: hashed whole within a second; of larger files with weights, a part of each tensor is
_PIECE = 4096  # bytes of each tensor
_LARGEST_HEADER = 100 << 20  # bytes that safetensors allows
# Git may change the ends of lines in these when it copies a repository.
_TEXTS = (".json", ".yaml", ".txt", ".jinja")
_POINTER = b"version https://git-lfs"  # what Git leaves in place of a large file that was not fetched
IS_POINTER = "is only a pointer of Git LFS: fetch the file with  git lfs pull"

Entries = dict[str, dict[str, Any]]
Depth = Literal["size", "quick", "full"]


def write(folder: Path, names: Iterable[str], file: Path | None = None) -> None:
    """List files, as far as they exist.

    Args:
        folder: Folder of the files.
        names: Their names below it.
        file: Where they are listed; the manifest of the folder by default.
    """
    entries = {}
    for name in sorted(names):
        if (folder / name).is_file():
            entries[name] = entry(folder / name)
    write_json(file or folder / MANIFEST, entries)


def follow(folder: Path, entries: Entries) -> None:
    """Write the manifest of a copy in which files were left out, or texts changed; weights are not read again."""
    kept = {}
    for name, known in entries.items():
        file = folder / name
        if file.is_file():
            kept[name] = entry(file) if file.suffix in _TEXTS else known
    write_json(folder / MANIFEST, kept)


def read(folder: Path) -> Entries | None:
    """What the manifest of the folder lists; None where there is none, or it is damaged."""
    return read_entries(folder / MANIFEST)


def read_entries(file: Path) -> Entries | None:
    """Size and hash of files by their names, from a JSON file; None where there is none, or it is damaged."""
    content = read_object(file)
    return content if content is not None and all(map(_is_entry, content.items())) else None


def read_object(file: Path) -> dict[str, Any] | None:
    """Content of a JSON file with an object; None where it cannot be read."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _is_entry(item: tuple[str, Any]) -> bool:
    """Whether this names a file inside the folder, and has its size and its hash."""
    name, values = item
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not isinstance(values, dict):
        return False
    return isinstance(values.get("bytes"), int) and isinstance(values.get("sha256"), str)


def differences(folder: Path, entries: Entries, depth: Depth) -> Iterator[tuple[str, str]]:
    """Files that are not as they were saved, each with the second half of a sentence.

    Args:
        folder: Folder of the files.
        entries: What was saved.
        depth: `size` compares sizes alone, `full` every byte; `quick` a part of each tensor of large files.
    """
    for name, expected in entries.items():
        difference = _difference(folder / name, expected, depth)
        if difference is not None:
            yield name, difference


def change_of(folder: Path, name: str) -> str | None:
    """How a file differs from what the manifest of its folder lists; None where it does not, or is not listed."""
    entries = read(folder) or {}
    return _difference(folder / name, entries[name], "full") if name in entries else None


def is_as_saved(folder: Path, name: str) -> bool:
    """Whether the manifest of the folder lists a file, and it has not changed since."""
    return name in (read(folder) or {}) and change_of(folder, name) is None


def _difference(file: Path, expected: Mapping[str, Any], depth: Depth) -> str | None:
    if not file.is_file():
        return "is missing"
    if _size(file) != expected["bytes"]:
        if is_pointer(file):
            return IS_POINTER
        return f"is not what was saved ({_size(file):,} bytes, expected {expected['bytes']:,})"
    if depth == "size":
        return None
    is_sampled = depth == "quick" and expected["bytes"] > SMALL and "sample" in expected
    is_same = sample(file) == expected["sample"] if is_sampled else _hash(file) == expected["sha256"]
    return None if is_same else "is not what was saved (another content of the same size)"


def is_pointer(file: Path) -> bool:
    """Whether this is what Git LFS leaves in place of a large file."""
    with open(file, "rb") as content:
        return content.read(len(_POINTER)) == _POINTER


# --- one file ----------------------------------------------------------------------------------------------------


def entry(file: Path) -> dict[str, Any]:
    """Size and hash of a file; of large files with weights also the hash of a part of each tensor."""
    size = _size(file)
    known: dict[str, Any] = {"bytes": size, "sha256": _hash(file)}
    if size > SMALL and file.suffix == ".safetensors":
        known["sample"] = sample(file)
    return known


def _size(file: Path) -> int:
    return len(_text(file)) if file.suffix in _TEXTS else file.stat().st_size


def _hash(file: Path) -> str:
    return hashlib.sha256(_text(file)).hexdigest() if file.suffix in _TEXTS else sha256_of(file)


def _text(file: Path) -> bytes:
    return file.read_bytes().replace(b"\r\n", b"\n")


def sample(file: Path) -> str:
    """Hash of the names and shapes of the tensors in a safetensors file, and of the beginning of each tensor."""
    digest = hashlib.sha256()
    for piece in _pieces(file):
        digest.update(piece)
    return digest.hexdigest()


def _pieces(file: Path) -> Iterator[bytes]:
    with open(file, "rb") as content:
        size = int.from_bytes(content.read(8), "little")
        header = content.read(min(size, _LARGEST_HEADER))
        yield header
        for start in _starts(header):
            content.seek(8 + size + start)
            yield content.read(_PIECE)


def _starts(header: bytes) -> list[int]:
    """Where the tensors begin; empty for a damaged header, which has another hash anyway."""
    try:
        tensors = json.loads(header)
        return sorted(tensor["data_offsets"][0] for name, tensor in tensors.items() if name != "__metadata__")
    except (ValueError, LookupError, TypeError, AttributeError):
        return []
