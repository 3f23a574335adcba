"""Keys of cached work: they hold all that the work reads, or the cache is not used.

A key is the same in every process as long as the code, the tokenizer, the options and what was learnt stay the same.
"""

from __future__ import annotations

import contextlib
import copyreg
import functools
import hashlib
import itertools
import os
import sys
import types
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .say import say
from .source_code import UnknownStateError, sources_of, variables_of

if TYPE_CHECKING:
    from datasets import Dataset

SMALL = 64 * 2**20  # bytes of files that are hashed whole, which takes 0.04 s
_PLAIN = {type(None), bool, int, float, complex, str, bytes, type(...)}
# Attributes of a tokenizer that do not change its tokens, or that its use changes; the backend is read by itself.
_UNREAD = {
    *("_tokenizer", "init_kwargs", "_commit_hash", "deprecation_warnings", "files_loaded", "name_or_path", "verbose"),
}


@contextlib.contextmanager
def cached(rows: Dataset, recipe: Any, *about: Any) -> Iterator[str]:
    """Fingerprint of what a recipe makes of rows, to be given to `Dataset.map` inside the block.

    Where something that the recipe reads cannot be part of a key, the fingerprint is random, and what is written inside
    the block goes to a temporary folder.

    Args:
        rows: What is worked on.
        recipe: All of its attributes, its tokenizer, and the code of its class are part of the key.
        about: What else decides what is made of the rows.
    """
    import datasets

    key = _key_or_none(rows, recipe, about) if rows.cache_files else None  # rows in memory have no cache
    if key is not None:
        yield key
        return
    was_on = datasets.is_caching_enabled()
    datasets.disable_caching()
    try:
        yield uuid.uuid4().hex
    finally:
        if was_on:
            datasets.enable_caching()


def _key_or_none(rows: Dataset, recipe: Any, about: Iterable[Any]) -> str | None:
    try:
        return _Reader().key(rows._fingerprint, recipe, *about)
    except Exception as error:  # what a user's task holds may fail in any way when it is looked at
        _print_once(f"rows are prepared anew in each run: {error}")
        return None


@functools.lru_cache(maxsize=1000)
def _print_once(sentence: str) -> None:
    say(sentence)


def of_code(module: str) -> str:
    """Hash of the source of a module, and of all that it imports; a random one where it cannot be read."""
    try:
        return _code([module]).hex()
    except UnknownStateError:
        return uuid.uuid4().hex


def of_files(*paths: str) -> str:
    """What changes whenever the content of one of these files does.

    Small files are hashed. Of larger ones the size, the times and the inode are taken: the time of the last change of
    an inode cannot be set, so that a copy with the old modification time is noticed too.
    """
    stats = [os.stat(path) for path in paths]
    if sum(stat.st_size for stat in stats) > SMALL:
        return repr([(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino) for stat in stats])
    return _digest(*(Path(path).read_bytes() for path in paths)).hex()


def _code(modules: Iterable[str]) -> bytes:
    parts: list[str | bytes] = [sys.version]
    for name, source in sources_of(modules).items():
        parts += [name, source]
    return _digest(*parts)


def _digest(*parts: str | bytes) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(f"{len(content)}:".encode())
        digest.update(content)
    return digest.digest()


# --- values ------------------------------------------------------------------------------------------------------


class _Reader:
    """Hashes values without what differs between processes, and collects the modules that their code comes from."""

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self._known: dict[int, tuple[Any, bytes]] = {}  # the value too, so that its id is not given to another

    def key(self, *values: Any) -> str:
        """Key of the values, and of the code of all functions and classes in them.

        Raises:
            UnknownStateError: Some of it cannot be read.
        """
        states = [self.state(value) for value in values]
        states += map(self.state, variables_of(sources_of(self.modules)))
        return _digest(*states, _code(self.modules)).hex()[:32]

    def state(self, value: Any) -> bytes:
        """Hash of a value with all that it holds."""
        kind = type(value)
        if kind in _PLAIN or (kind in (list, tuple) and {*map(type, value)} <= _PLAIN):
            return _digest(kind.__name__, repr(value))
        if kind is dict and {*map(type, value), *map(type, value.values())} <= _PLAIN:
            return _digest("dict", repr(value))
        if id(value) not in self._known:
            self._known[id(value)] = (value, b"inside itself")
            state = _digest(kind.__qualname__, *self._parts(value))
            self._known[id(value)] = (value, state)
        return self._known[id(value)][1]

    def _parts(self, value: Any) -> list[bytes]:
        if isinstance(value, set | frozenset):
            return sorted(map(self.state, value))  # their order differs between processes
        return [self.state(part) for part in self._content(value)]

    def _content(self, value: Any) -> list[Any]:
        """Simpler values that tell a value from others of its type."""
        if isinstance(value, types.ModuleType):
            self.modules.add(value.__name__)
            return [value.__name__]
        if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
            return self._code_content(value)
        if isinstance(value, types.MethodType):
            return [value.__func__, value.__self__]
        if type(value) in (list, tuple):
            return list(value)
        if type(value) is dict:
            return list(itertools.chain.from_iterable(value.items()))
        # By name: the class itself would need an import of seconds.
        if any(kind.__name__ == "PreTrainedTokenizerBase" for kind in type(value).__mro__):
            return _tokenizer_content(value)
        return _object_content(value)

    def _code_content(self, value: Any) -> list[Any]:
        """Name of a function or class; what it does is in the source of its module."""
        name = [value.__module__, value.__qualname__]
        if value.__module__ is not None:
            self.modules.add(value.__module__)
        if isinstance(value, type):
            defined = getattr(sys.modules.get(value.__module__), value.__qualname__, value)
            if defined is not value or "<locals>" in value.__qualname__:
                raise UnknownStateError(f"the class {value.__qualname__} is not the one that its module defines")
            return [*name, *value.__bases__]
        if isinstance(value, types.FunctionType):
            cells = [cell.cell_contents for cell in value.__closure__ or ()]
            line = value.__code__.co_firstlineno  # tells lambdas of a module from each other
            return [*name, line, value.__defaults__, value.__kwdefaults__, cells]
        return name


def _object_content(value: Any) -> list[Any]:
    """What a copy of an object would be made from, as pickle has it."""
    kind = type(value)
    try:
        reduce = copyreg.dispatch_table.get(kind)
        made = reduce(value) if reduce else value.__reduce_ex__(4)
    except Exception as error:
        name = f"{kind.__module__}.{kind.__qualname__}"
        raise UnknownStateError(f"whether a {name} is the same in another run cannot be told") from error
    if isinstance(made, str):
        return [kind, made]
    function, arguments, state, *items = [*made, None][:5]
    if isinstance(state, dict):
        state = {name: part for name, part in state.items() if not _is_derived(kind, name)}
    return [function, arguments, state, *(list(part) for part in items if part is not None)]


def _is_derived(kind: type, name: Any) -> bool:
    """Whether the attribute is worked out of others when it is first asked for."""
    return isinstance(name, str) and isinstance(getattr(kind, name, None), functools.cached_property)


def _tokenizer_content(tokenizer: Any) -> list[Any]:
    """All that decides what a tokenizer makes of a text: its class, its backend, its files, its flags.

    Raises:
        UnknownStateError: Its chat template shows the date.
    """
    if "strftime" in str(tokenizer.chat_template):
        raise UnknownStateError("the chat template of the tokenizer shows the date")
    content: list[Any] = [type(tokenizer)]
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()  # both are set anew for each batch
        backend.no_padding()
        content += [type(backend), backend.to_str()]
    attributes = {f"init_kwargs.{name}": value for name, value in tokenizer.init_kwargs.items() if name not in _UNREAD}
    attributes |= {name: value for name, value in vars(tokenizer).items() if name not in _UNREAD}
    for name, value in sorted(attributes.items()):
        if "cache" not in name:  # filled while it works
            content += [name, _without_place(value)]
    return content


def _without_place(value: Any) -> Any:
    """For a path to a file, its name and content: the model may be moved, and its files may change."""
    if isinstance(value, str) and os.path.isfile(value):
        return [os.path.basename(value), of_files(value)]
    return value
