"""Find recipes: by the name of a file in `tasks/`, by an entry point, or by the path to a .py file."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
import inspect
import itertools
import os
import sys
import textwrap
import zlib
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .errors import HFRecipesError, NotFoundError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.metadata import EntryPoint

    from .recipe import Recipe

GROUP = "hfrecipes.tasks"
_FILES: dict[str, Path] = {}  # of modules that were imported by path, by their names


def tasks() -> dict[str, str]:
    """Every task found, with its first line of documentation; no task is imported for it."""
    found = {}
    for file in sorted(_folder().glob("[a-z]*.py")):
        found[file.stem.replace("_", "-")] = summary(file)
    for entry in _entry_points():
        found.setdefault(entry.name, f"from {entry.dist.name if entry.dist else entry.value}")
    return found


def _entry_points() -> Iterable[EntryPoint]:
    from importlib.metadata import entry_points

    return entry_points(group=GROUP)


def _folder() -> Path:
    return Path(__file__).parent / "tasks"


def summary(file: Path) -> str:
    """First line of a module's docstring."""
    doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return doc.partition("\n")[0]


def find(task: str) -> type[Recipe]:
    """The recipe class of a task.

    Args:
        task: Task name, or path to a .py file that defines one Recipe.

    Raises:
        NotFoundError: There is no such task.
    """
    name = task.replace("_", "-")
    if task.endswith(".py"):
        return _recipe_in(import_file(Path(task)))
    if (_folder() / f"{name.replace('-', '_')}.py").exists():
        return _recipe_in(importlib.import_module(f".tasks.{name.replace('-', '_')}", __package__))
    for entry in _entry_points():
        if entry.name == name:
            found: type[Recipe] = entry.load()
            return found
    known = tasks()
    raise NotFoundError(f"unknown task {task}{nearest(name, known)}; there are {', '.join(known)}")


def import_file(path: Path, name: str | None = None) -> ModuleType:
    """Import the module of a task from its file.

    Args:
        path: The file.
        name: Name of the module, where its classes are already known by it in another process.

    Raises:
        HFRecipesError: It is not there, or fails.
    """
    if not path.exists():
        raise NotFoundError(f"there is no recipe module {path}")
    name = name or _module_name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    loader = spec.loader if spec else None
    if spec is None or loader is None:
        raise NotFoundError(f"{path} is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up by name
    _FILES[name] = path.resolve()
    try:
        loader.exec_module(module)
    except Exception as error:
        raise HFRecipesError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    return module


def _module_name(path: Path) -> str:
    """The name of the file, unless a module from another file has it."""
    file = str(path.resolve())
    other = getattr(sys.modules.get(path.stem), "__file__", None)
    is_free = path.stem not in sys.modules or (other is not None and os.path.realpath(other) == file)
    return path.stem if is_free else f"{path.stem}_{zlib.crc32(file.encode()):08x}"


def file_of(recipe: type[Recipe]) -> Path | None:
    """File of a task that was given by its path; None where its module can be imported by name."""
    return _FILES.get(recipe.__module__)


def _recipe_in(module: ModuleType) -> type[Recipe]:
    from .recipe import Recipe

    own: list[Any] = [
        one
        for one in vars(module).values()
        if inspect.isclass(one) and issubclass(one, Recipe) and one.__module__ == module.__name__
    ]
    if len(own) != 1:
        raise NotFoundError(f"{module.__file__} defines {len(own)} Recipe classes, expected one")
    found: type[Recipe] = own[0]
    return found


def options(recipe: type[Recipe]) -> list[tuple[str, Any, Any, str]]:
    """Name, type, default and explanation of each option; the explanation is the literal under the field."""
    texts = {}
    for kind in reversed(recipe.__mro__[:-1]):
        body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
        members = body.body if isinstance(body, ast.ClassDef) else []
        for field, text in itertools.pairwise(members):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
                texts[field.target.id] = str(getattr(text.value, "value", ""))
    types = recipe.option_types()
    return [
        (f.name, types[f.name], f.default, " ".join(texts.get(f.name, "").split())) for f in dataclasses.fields(recipe)
    ]


def recipe_files() -> dict[str, Path]:
    """Recipe files that ship with the package, by `<task>/<name>`."""
    folder = Path(str(files("hfrecipes._recipes")))
    return {f"{file.parent.name}/{file.stem}": file for file in sorted(folder.glob("*/*.yaml"))}


def find_recipe_file(name: str) -> Path | None:
    """The recipe file that `name` means: a path, or a shipped `<task>/<name>`; None if it names no file."""
    if Path(name).is_file():
        return Path(name)
    shipped = recipe_files()
    short = name.removeprefix("recipes/").removesuffix(".yaml")
    if short in shipped:
        return shipped[short]
    if name.endswith((".yaml", ".yml")):
        raise NotFoundError(
            f"there is no recipe file {name}{nearest(short, shipped)}; `hfrecipes list` shows those that ship"
        )
    return None
