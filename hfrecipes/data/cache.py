"""Cache keys: a key covers everything that the cached work depends on; where that is impossible, nothing is reused."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from .. import _upstream
from .._version import __version__
from ..log import log

if TYPE_CHECKING:
    from datasets import Dataset


SMALL = 64 * 2**20  # bytes of files that are hashed as a whole, which takes 0.04 s
MANY = 1000  # entries of a vocabulary
_PACKAGE = Path(__file__).parents[1]
# Attributes of a tokenizer that do not change its tokens, or that using it changes; the backend is read separately.
_NOT_IN_KEY = _upstream.tokenizer_bookkeeping()


@contextlib.contextmanager
def cache_fingerprint(rows: Dataset, recipe: Any, *about: Any) -> Iterator[str]:
    """Fingerprint of rows that a recipe processes, for `Dataset.map` inside the block.

    Where a key cannot cover everything that the recipe reads, the fingerprint is random, and what is written inside the
    block goes to a temporary folder. That is so for a task outside the package, whose code may read anything.

    Args:
        rows: The rows that the work reads.
        recipe: With its options, labels and tokenizer.
        about: Everything else that decides the result.
    """
    import datasets
    from datasets.fingerprint import Hasher

    reason = ""
    if rows.cache_files:
        reason = _why_not_cached(recipe)
        if not reason:
            options = {field.name: getattr(recipe, field.name) for field in fields(recipe)}
            recipe_key = (
                type(recipe).__qualname__,
                options,
                recipe.labels,
                recipe.learned,
                _tokenizer_key(recipe.tokenizer),
            )
            yield Hasher.hash((_upstream.fingerprint(rows), package_key(), *recipe_key, about))
            return
        _log_once(f"rows are encoded again in each run: {reason}")
    # Rows in memory, and work without a key: `datasets` writes to a temporary folder while its cache is off.
    was_on = datasets.is_caching_enabled()
    datasets.disable_caching()
    try:
        yield uuid.uuid4().hex
    finally:
        if was_on:
            datasets.enable_caching()


def _why_not_cached(recipe: Any) -> str:
    """Why no key can cover what the recipe reads; empty where one can."""
    if not type(recipe).__module__.startswith("hfrecipes."):
        return f"the code of {recipe.task} may read data that a cache key cannot cover"
    # strftime_now puts today's date into the prompt, so tomorrow's tokens are others.
    if recipe.tokenizer is not None and "strftime" in str(recipe.tokenizer.chat_template):
        return "the chat template of the tokenizer shows the date"
    return ""


def _tokenizer_key(tokenizer: Any) -> Any:
    """Everything that decides the tokens of a text: the tokenizer's class, backend, flags and vocabulary."""
    if tokenizer is None:  # columns are normalized before a model is loaded
        return None
    state = {}
    for name, value in vars(tokenizer).items():
        if name not in _NOT_IN_KEY and "cache" not in name:
            state[name] = _hash_of_many(value) or _without_folder(value)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        # Both are set again for each batch, and would otherwise make the key depend on what was encoded before.
        backend.no_truncation()
        backend.no_padding()
        state["backend"] = backend.to_str()
    else:
        # A tokenizer written in Python has its merges among the attributes above; its vocabulary is asked for.
        state["vocabulary"] = sorted(tokenizer.get_vocab().items())
    return (type(tokenizer).__qualname__, sorted(state.items()))


def _hash_of_many(value: Any) -> str:
    """Hash of a large vocabulary; empty for anything else, which `Hasher` reads.

    `Hasher` sorts a dict by the hash of each of its keys, which for a vocabulary takes longer than to encode the rows.
    """
    if not isinstance(value, dict | list) or len(value) < MANY:
        return ""
    try:
        content = json.dumps(value, sort_keys=True)
    except (TypeError, ValueError):
        return ""
    return hashlib.sha256(content.encode()).hexdigest()


def _without_folder(value: Any) -> Any:
    """Replace the path of a file by its name, so that a model folder may be moved; its content is in the key anyway."""
    if isinstance(value, dict):
        return {name: _without_folder(inner) for name, inner in value.items()}
    if isinstance(value, str) and os.path.isfile(value):
        return os.path.basename(value)
    return value


@functools.cache
def package_key() -> str:
    """Hash of the version and the code of this package."""
    # The code counts too: it changes between two releases, while the version does not.
    digest = hashlib.sha256(__version__.encode())
    for file in sorted(_PACKAGE.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def content_key(*paths: str) -> str:
    """A key that changes whenever the content of one of these files does.

    Small files are hashed. For larger ones the size, the times and the inode count: the time at which an inode changed
    cannot be set, so a copy that kept the old modification time is noticed too.
    """
    total, sizes, metadata = 0, [], []
    for path in paths:
        stat = os.stat(path)
        total += stat.st_size
        sizes.append(stat.st_size)
        metadata.append((stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino))
    if total > SMALL:
        return repr(metadata)
    digest = hashlib.sha256()
    for path, size in zip(paths, sizes, strict=True):
        # With the size in front, the files "ab", "c" and "a", "bc" differ.
        digest.update(f"{size}:".encode() + Path(path).read_bytes())
    return digest.hexdigest()


# --- damage ------------------------------------------------------------------------------------------------------

_END = b"\xff\xff\xff\xff\0\0\0\0"  # with which a stream of arrow ends


def remove_damaged(folder: Path) -> None:
    """Delete damaged files in a folder of the cache, so that they are made again.

    A file is damaged where it was cut short, as by a full disk or a crash: without its last batches it would be read as
    fewer rows.
    """
    for file in sorted(folder.glob("*.arrow")):
        if not _is_whole(file):
            _delete(file)
    for file in sorted(folder.glob("*.json")):
        try:
            json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            _delete(file)


def _delete(file: Path) -> None:
    log(f"the file {file} of the cache is damaged: it is deleted, and made again")
    file.unlink(missing_ok=True)


def _is_whole(file: Path) -> bool:
    """Whether a file is a stream of arrow with its end; only where its batches are is read."""
    if file.stat().st_size < len(_END):
        return False
    try:
        with pa.memory_map(str(file)) as stream:
            stream.seek(stream.size() - len(_END))
            if stream.read(len(_END)) != _END:
                return False
            stream.seek(0)
            for _ in pa.ipc.open_stream(stream):
                pass
    except (pa.ArrowException, OSError):
        return False
    return True


@functools.cache
def _log_once(sentence: str) -> None:
    log(sentence)
