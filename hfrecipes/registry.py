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

from .errors import ConfigError, HFRecipesError, NotFoundError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.metadata import EntryPoint

    from .recipe import Recipe

GROUP = "hfrecipes.tasks"
# Module name -> file, of the modules that were imported by path.
_FILES: dict[str, Path] = {}


def list_tasks() -> dict[str, str]:
    """All tasks, by name, with the first line of their documentation; none is imported."""
    summaries = {name: summary(file) for name, file in _shipped().items()}
    for entry in _entry_points():
        source = entry.dist.name if entry.dist else entry.value
        summaries.setdefault(entry.name, f"from {source}")
    return summaries


def is_task(name: str) -> bool:
    """Whether a task has this name; faster than `tasks`, since no documentation is read."""
    return name in _shipped() or any(entry.name == name for entry in _entry_points())


def shipped_tasks() -> list[str]:
    """Names of the tasks of this package."""
    return [*_shipped()]


def _entry_points() -> Iterable[EntryPoint]:
    # Imported late, since it takes about 40 ms and finding a task of this package does not need it.
    from importlib.metadata import entry_points

    return entry_points(group=GROUP)


def _shipped() -> dict[str, Path]:
    """The file of each task of this package, by name."""
    shipped = {}
    # Files that start with "_" are shared by several tasks.
    for file in sorted(Path(__file__).with_name("tasks").glob("[a-z]*.py")):
        shipped[file.stem.replace("_", "-")] = file
    return shipped


def summary(file: Path) -> str:
    """First line of a module's docstring, without importing the module."""
    doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return doc.partition("\n")[0]


def find(task: str) -> type[Recipe]:
    """The recipe class of a task.

    Args:
        task: Task name, or path to a .py file that defines one Recipe.

    Raises:
        NotFoundError: There is no such task.
    """
    if is_task_file(task):
        return _recipe_in(import_file(Path(task)))
    name = task.replace("_", "-")
    # Only what is listed is imported: another name could lead to a module that is no task.
    if name in _shipped():
        return _recipe_in(importlib.import_module(f".tasks.{_shipped()[name].stem}", __package__))
    for entry in _entry_points():
        if entry.name == name:
            recipe: type[Recipe] = entry.load()
            return recipe
    known = list_tasks()
    raise NotFoundError(f"unknown task {task}{nearest(name, known)}; there are {', '.join(known)}")


def is_file(path: Path) -> bool:
    """Whether there is a file; False too for what no file can be called."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # longer than a name may be, or with a NUL
        return False


def is_task_file(name: str) -> bool:
    """Whether a name means the Python file of a task, rather than a task by its name or a recipe file."""
    return name.endswith(".py")


def import_file(path: Path, name: str | None = None) -> ModuleType:
    """Import the module of a task from its file.

    Args:
        path: The file.
        name: Name to give the module, where another process has pickled its classes under that name.

    Raises:
        NotFoundError: The file does not exist, or is not a Python module.
        HFRecipesError: The module raises an error when it is imported.
    """
    if not is_file(path):
        raise NotFoundError(f"there is no task file {path}: give the path of a .py file, or the name of a task")
    name = name or _module_name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    loader = spec.loader if spec else None
    if spec is None or loader is None:
        raise NotFoundError(f"{path} is not a Python module: expected a file whose name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up by name
    _FILES[name] = path.resolve()
    try:
        loader.exec_module(module)
    except Exception as error:
        raise HFRecipesError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    return module


def _module_name(path: Path) -> str:
    """The name of the file, unless a module from another file already has that name."""
    file = str(path.resolve())
    if path.stem not in sys.modules:
        return path.stem
    other = getattr(sys.modules[path.stem], "__file__", None)
    # The same file again keeps its name: the new version of an edited task replaces the old one.
    if other is not None and os.path.realpath(other) == file:
        return path.stem
    # A hash of the path, and not a counter, gives the same name in every process.
    return f"{path.stem}_{zlib.crc32(file.encode()):08x}"


def file_of(recipe: type[Recipe]) -> Path | None:
    """File of a task that was given by its path; None where its module can be imported by name."""
    return _FILES.get(recipe.__module__)


def _recipe_in(module: ModuleType) -> type[Recipe]:
    """The only Recipe class that a module defines, rather than imports."""
    from .recipe import Recipe

    recipes: list[type[Recipe]] = []
    for value in vars(module).values():
        if inspect.isclass(value) and issubclass(value, Recipe) and value.__module__ == module.__name__:
            recipes.append(value)
    if len(recipes) != 1:
        raise NotFoundError(
            f"{module.__file__} defines {len(recipes)} Recipe classes, expected one: write each task into a file of "
            "its own"
        )
    return recipes[0]


def options(recipe: type[Recipe]) -> list[tuple[str, Any, Any, str]]:
    """Name, type, default and explanation of each option; the explanation is the string under the field."""
    from .recipe import option_types

    texts: dict[str, str] = {}
    # From the base class down, so that a task may explain an option in other words.
    for cls in reversed(recipe.__mro__[:-1]):
        texts |= explanations(cls)
    types = option_types(recipe)
    listed = []
    for field in dataclasses.fields(recipe):
        listed.append((field.name, types[field.name], field.default, texts.get(field.name, "")))
    return listed


def explanations(cls: type) -> dict[str, str]:
    """The strings under the fields of a class, by field; Python drops them, so they are read from the source."""
    definition = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    texts: dict[str, str] = {}
    if not isinstance(definition, ast.ClassDef):
        return texts
    for field, text in itertools.pairwise(definition.body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            words = str(getattr(text.value, "value", "")).split()
            texts[field.target.id] = " ".join(words)
    return texts


def recipe_files() -> dict[str, Path]:
    """Recipe files that ship with the package, by `<task>/<name>`."""
    # In the repository they are in recipes/; an installed package has them in hfrecipes/_recipes.
    folder = Path(str(files("hfrecipes._recipes")))
    return {f"{file.parent.name}/{file.stem}": file for file in sorted(folder.glob("*/*.yaml"))}


def find_recipe_file(name: str) -> Path | None:
    """The recipe file that `name` means: a path, or a shipped `<task>/<name>`; None if it means a task.

    Raises:
        NotFoundError: The name ends like a recipe file, and there is none.
        ConfigError: It is data.
    """
    # A task file exists as well, but it holds code and not settings; a folder may be called as a task is.
    if is_task_file(name) or is_task(name):
        return None
    # It imports what opens files, which `list` does not need.
    from .data.input_names import is_data

    if is_data(name):
        raise ConfigError(
            f"{name} is data, expected a recipe file or a task: write  dataset={name}  after the name of the task, "
            f"such as  hfrecipes check text-classification dataset={name}  (the tasks are {', '.join(list_tasks())})"
        )
    if is_file(Path(name)):
        return Path(name)
    shipped = recipe_files()
    short_name = name.removeprefix("recipes/").removesuffix(".yaml")
    if short_name in shipped:
        return shipped[short_name]
    if name.endswith((".yaml", ".yml")):
        raise NotFoundError(
            f"there is no recipe file {name}{nearest(short_name, shipped)}; `hfrecipes list` shows the shipped ones"
        )
    return None
