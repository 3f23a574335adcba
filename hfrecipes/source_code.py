"""The source of a module and of all that it imports, or the reason why it does not tell what the module does."""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import importlib.util
import os
import sys
import sysconfig
import types
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

_LIBRARIES = {"site-packages", "dist-packages"}
_STANDARD = os.path.realpath(sysconfig.get_path("stdlib"))
# Code that mentions one of these may give something else tomorrow although neither the code nor its options changed.
_OUTSIDE = {
    *("open", "read_text", "read_bytes", "read_csv", "load", "loadtxt", "load_dataset", "from_pretrained", "urlopen"),
    *("environ", "getenv", "now", "today", "time", "localtime", "strftime", "import_module", "__import__"),
}
_VALUES = {bool, int, float, str, bytes, list, tuple, dict, set, frozenset}


class UnknownStateError(Exception):
    """Part of what the work reads cannot be compared between two runs."""


def sources_of(modules: Iterable[str]) -> dict[str, bytes]:
    """Source of each module, and of all that they import; of a library its version.

    Raises:
        UnknownStateError: A source cannot be read, is not what was imported, or does not tell what the module does.
    """
    waiting, sources = sorted(modules), {}
    while waiting:
        name = waiting.pop()
        top = name.partition(".")[0]
        name = top if _is_library(_file_of(top)) else name
        if name in sources:
            continue
        file = _file_of(name)
        if file is None:
            sources[name] = b""
        elif _is_library(file):
            sources[name] = _version_of(top, file).encode()
        else:
            sources[name] = _read_source(name, file)
            package = name if Path(file).stem == "__init__" else name.rpartition(".")[0]
            waiting += sorted(_modules_in(sources[name], package))
    return dict(sorted(sources.items()))


def variables_of(modules: Iterable[str]) -> list[Any]:
    """Plain values that a user's modules hold: a script may have set them, or a file was read into them."""
    values = []
    for name in modules:
        module, top = sys.modules.get(name), name.partition(".")[0]
        if module is None or top == __package__ or name in sys.stdlib_module_names or _is_library(_file_of(name)):
            continue
        for variable, value in sorted(vars(module).items()):
            if type(value) in _VALUES and not variable.startswith("__") and "cache" not in variable.lower():
                values += [variable, value]
    return values


def _file_of(name: str) -> str | None:
    """File of a module, imported or not; None where there is no such module, or where it is part of Python.

    Raises:
        UnknownStateError: It was imported from no file.
    """
    module = sys.modules.get(name)
    if module is None:
        spec = _spec_of(name)
        return spec.origin if spec is not None and spec.has_location else None
    file = getattr(module, "__file__", None)
    if file is None and name not in sys.stdlib_module_names and not hasattr(module, "__path__"):
        raise UnknownStateError(f"the module {name} comes from no file")
    return file


def _spec_of(name: str) -> ModuleSpec | None:
    """Where a module would be imported from; none is imported for it."""
    parent = name.rpartition(".")[0]
    path = None
    if parent:
        above = sys.modules.get(parent) or _spec_of(parent)
        path = getattr(above, "__path__", None) or getattr(above, "submodule_search_locations", None)
        if path is None:
            return None
    specs = (finder.find_spec(name, path) for finder in sys.meta_path)
    return next((spec for spec in specs if spec is not None), None)


@functools.lru_cache(maxsize=1000)
def _is_library(file: str | None) -> bool:
    return file is not None and (bool(_LIBRARIES & {*Path(file).parts}) or _is_standard(file))


def _is_standard(file: str) -> bool:
    return os.path.realpath(file).startswith(_STANDARD + os.sep)


@functools.lru_cache(maxsize=1000)
def _version_of(package: str, file: str) -> str:
    if _is_standard(file):
        return sys.version
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        about = os.stat(file)  # the distribution has another name
        return f"{about.st_size}|{about.st_mtime_ns}"


def _read_source(name: str, file: str) -> bytes:
    """Source of a module.

    Raises:
        UnknownStateError: There is none, it is not what was imported, or it reads more than its arguments.
    """
    try:
        source = Path(file).read_bytes()
        code = _codes(source, file)
    except (OSError, SyntaxError, ValueError) as error:
        raise UnknownStateError(f"{file} cannot be read as Python code") from error
    outside = sorted(_OUTSIDE & _mentioned(source).names)
    if outside and name.partition(".")[0] != __package__:
        raise UnknownStateError(f"{file} uses {outside[0]}, so what it gives may change while its code does not")
    if not _functions_of(sys.modules.get(name), file) <= code:
        raise UnknownStateError(f"{file} was changed after it was imported: restart Python, and it is cached again")
    return source


@functools.lru_cache(maxsize=1000)
def _codes(source: bytes, file: str) -> frozenset[types.CodeType]:
    """Code of all functions in a source."""
    waiting, codes = [compile(source, file, "exec", dont_inherit=True)], set()
    while waiting:
        codes.add(code := waiting.pop())
        waiting += [part for part in code.co_consts if isinstance(part, types.CodeType)]
    return frozenset(codes)


def _functions_of(module: types.ModuleType | None, file: str) -> set[types.CodeType]:
    """Code of the functions that an imported module has from its file."""
    values = list(vars(module).values()) if module is not None else []
    for value in list(values):
        if isinstance(value, type) and value.__module__ == getattr(module, "__name__", None):
            values += vars(value).values()
    functions = [value.__func__ if isinstance(value, staticmethod | classmethod) else value for value in values]
    functions = [value.fget if isinstance(value, property) else value for value in functions]
    codes = {value.__code__ for value in functions if isinstance(value, types.FunctionType)}
    return {code for code in codes if code.co_filename == file}


def _modules_in(source: bytes, package: str) -> set[str]:
    """Modules that a source imports, the packages above them too; some of the names may be of other things."""
    names = set()
    for level, imported in _mentioned(source).imported:
        full = importlib.util.resolve_name("." * level + imported, package) if level else imported
        parts = full.split(".")
        names |= {".".join(parts[:size]) for size in range(1, len(parts) + 1)}
    return names - {__package__}  # it imports its modules when they are asked for, so all would be among them


@functools.lru_cache(maxsize=1000)
def _mentioned(source: bytes) -> _Names:
    visitor = _Names()
    visitor.visit(ast.parse(source))
    return visitor


class _Names(ast.NodeVisitor):
    """What a source imports, each with the number of dots before it, and all other names in it."""

    def __init__(self) -> None:
        self.imported: set[tuple[int, str]] = set()
        self.names: set[str] = set()

    def visit_Import(self, node: ast.Import) -> None:
        self.imported |= {(0, alias.name) for alias in node.names}

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        before = f"{node.module}." if node.module else ""
        self.imported |= {(node.level, before + alias.name) for alias in node.names}
        self.names |= {alias.name for alias in node.names}

    def visit_If(self, node: ast.If) -> None:
        typing_only = "TYPE_CHECKING" in ast.dump(node.test)  # never imported
        for part in node.orelse if typing_only else [node.test, *node.body, *node.orelse]:
            self.visit(part)

    def visit_Name(self, node: ast.Name) -> None:
        self.names.add(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.names.add(node.attr)
        self.visit(node.value)
