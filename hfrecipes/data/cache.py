"""Keys of cached work: they hold all that the work reads, or the cache is not used."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import uuid
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import _upstream
from .._version import __version__
from ..log import log

if TYPE_CHECKING:
    from datasets import Dataset


SMALL = 64 * 2**20  # bytes of files that are hashed whole, which takes 0.04 s
_PACKAGE = Path(__file__).parents[1]
# Attributes of a tokenizer that do not change its tokens, or that its use changes; the backend is read by itself.
_UNREAD = _upstream.tokenizer_bookkeeping()


@contextlib.contextmanager
def cached(rows: Dataset, recipe: Any, *about: Any) -> Iterator[str]:
    """Fingerprint of what a recipe makes of rows, to be given to `Dataset.map` inside the block.

    Where something that the recipe reads cannot be part of a key, the fingerprint is random, and what is written inside
    the block goes to a temporary folder: for a task outside the package, whose code may read anything.

    Args:
        rows: What is worked on.
        recipe: With its options, labels and tokenizer.
        about: What else decides what is made of the rows.
    """
    import datasets
    from datasets.fingerprint import Hasher

    if rows.cache_files and not (reason := _unknown(recipe)):
        options = {field.name: getattr(recipe, field.name) for field in fields(recipe)}
        parts = (code(), type(recipe).__qualname__, options, recipe.labels, _state_of(recipe.tokenizer), about)
        yield Hasher.hash((_upstream.fingerprint(rows), *parts))
        return
    if rows.cache_files:  # rows in memory have no cache
        _print_once(f"rows are encoded anew in each run: {reason}")
    was_on = datasets.is_caching_enabled()
    datasets.disable_caching()
    try:
        yield uuid.uuid4().hex
    finally:
        if was_on:
            datasets.enable_caching()


def _unknown(recipe: Any) -> str:
    """Why it cannot be told what the recipe reads; empty where it can."""
    if not type(recipe).__module__.startswith("hfrecipes."):
        return f"the code of {recipe.task} may read more than a key can hold"
    if recipe.tokenizer is not None and "strftime" in str(recipe.tokenizer.chat_template):
        return "the chat template of the tokenizer shows the date"
    return ""


def _state_of(tokenizer: Any) -> Any:
    """All that decides what a tokenizer makes of a text: its class, its backend, its flags, its vocabulary."""
    if tokenizer is None:  # rows are brought into shape before a model is loaded
        return None
    state = {}
    for name, value in vars(tokenizer).items():
        if name not in _UNREAD and "cache" not in name:
            state[name] = _without_folder(value)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()  # both are set anew for each batch
        backend.no_padding()
        state["backend"] = backend.to_str()
    else:
        state["vocabulary"] = sorted(tokenizer.get_vocab().items())
    return (type(tokenizer).__qualname__, sorted(state.items()))


def _without_folder(value: Any) -> Any:
    """The name alone of a file, so that a model may be moved; what is in it is part of the tokenizer's other state."""
    if isinstance(value, dict):
        return {name: _without_folder(part) for name, part in value.items()}
    return os.path.basename(value) if isinstance(value, str) and os.path.isfile(value) else value


@functools.cache
def code() -> str:
    """Hash of the version and the code of this package."""
    digest = hashlib.sha256(__version__.encode())
    for file in sorted(_PACKAGE.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def of_files(*paths: str) -> str:
    """What changes whenever the content of one of these files does.

    Small files are hashed. Of larger ones the size, the times and the inode are taken: the time of the last change of
    an inode cannot be set, so that a copy with the old modification time is noticed too.
    """
    stats = [os.stat(path) for path in paths]
    if sum(stat.st_size for stat in stats) > SMALL:
        return repr([(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino) for stat in stats])
    digest = hashlib.sha256()
    for path, stat in zip(paths, stats, strict=True):
        digest.update(f"{stat.st_size}:".encode() + Path(path).read_bytes())
    return digest.hexdigest()


@functools.cache
def _print_once(sentence: str) -> None:
    log(sentence)
