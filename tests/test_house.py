"""The house rules: one direction of imports, public names complete and documented, examples and docs that run."""

from __future__ import annotations

import ast
import configparser
import doctest
import graphlib
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from shipped import SHIPPED

import hfrecipes
from hfrecipes import registry
from hfrecipes.config.recipe_files import read_recipe_file
from hfrecipes.training.configuration import configure

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "hfrecipes"
HEAVY = {"torch", "transformers", "datasets", "peft", "evaluate", "accelerate", "pandas", "sklearn", "scipy"}
MODULES = sorted(PACKAGE.rglob("*.py"))
# Modules of classes that inherit from those of a heavy library.
CLASSES_OF_LIBRARIES = [PACKAGE / "models" / "onnx_models.py"]


def name_of(file: Path) -> str:
    """Dotted name of a module, or of the package whose __init__.py the file is."""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULE_NAMES = set(map(name_of, MODULES))


def room_of(module: str) -> str:
    """The package at the top that holds a module; a module at the top is a room of its own."""
    return ".".join(module.split(".")[:2])


def imported(file: Path) -> set[str]:
    """Modules of the package that a file imports, wherever in it: at the top, in functions and for type checkers."""
    modules = set()
    package = list(file.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # One dot is the package of the file, each further dot the package around it.
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                # `from .data import files` imports the module data.files, `from .data.files import read_file` too.
                submodule = f"{source}.{alias.name}"
                modules.add(submodule if submodule in MODULE_NAMES else source)
    return modules & MODULE_NAMES


def module_graph() -> dict[str, set[str]]:
    """Module -> modules that it imports."""
    return {name_of(file): imported(file) - {name_of(file)} for file in MODULES}


def room_graph() -> dict[str, set[str]]:
    """Room -> rooms that its modules import."""
    rooms: dict[str, set[str]] = {}
    for module, others in module_graph().items():
        room = room_of(module)
        rooms.setdefault(room, set()).update(room_of(other) for other in others)
        rooms[room].discard(room)
    return rooms


@pytest.mark.parametrize("graph", [module_graph, room_graph], ids=["modules", "rooms"])
def test_imports_go_one_way(graph):
    edges = graph()
    try:
        graphlib.TopologicalSorter(edges).prepare()
    except graphlib.CycleError as error:
        # graphlib lists a circle from the imported module to the one that imports it.
        pytest.fail("each imports the next: " + " -> ".join(reversed(error.args[1])))


def test_the_graph_of_imports_is_read_from_the_tree():
    """A graph without edges has no circle: the test above would pass on it."""
    modules, rooms = module_graph(), room_graph()
    assert "hfrecipes.errors" in modules["hfrecipes.config.resolving"]
    assert "hfrecipes.data.conll" in modules["hfrecipes.data.files"], "from . import conll"
    assert "hfrecipes.commands.runs" in modules["hfrecipes.cli"], "from .commands import runs"
    assert "hfrecipes.config.blocks" in modules["hfrecipes.data.sources"], "from ..config.blocks import local_path"
    assert "hfrecipes.hub.push" in modules["hfrecipes.commands.runs"], "inside a function"
    assert "hfrecipes.runner" in modules["hfrecipes"], "for type checkers"
    assert "hfrecipes.config" in rooms["hfrecipes.data"]
    assert not rooms["hfrecipes.characters"]
    assert not rooms["hfrecipes.masking"]


def libraries_at_the_top(file: Path) -> set[str]:
    """Libraries that are imported as soon as the file is."""
    libraries = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            libraries.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            libraries.add((node.module or "").partition(".")[0])
    return libraries


LIGHT = [
    *(PACKAGE / "config").glob("*.py"),
    *(PACKAGE / "commands").glob("*.py"),
    *(PACKAGE / f"{name}.py" for name in ("cli", "registry", "recipe", "errors")),
]


@pytest.mark.parametrize("file", LIGHT, ids=name_of)
def test_light_modules_import_nothing_heavy_at_the_top(file):
    assert not libraries_at_the_top(file) & {*HEAVY, "numpy"}


def test_heavy_libraries_are_imported_inside_functions():
    for file in MODULES:
        # The modules of metrics are scripts that `evaluate` loads, with a class of `evaluate` in each.
        if file.parent != PACKAGE / "metrics" and file not in CLASSES_OF_LIBRARIES:
            assert not libraries_at_the_top(file) & HEAVY, file


def test_no_module_imports_heavy_libraries_through_another_one():
    names = [
        name_of(file) for file in MODULES if file.parent != PACKAGE / "metrics" and file not in CLASSES_OF_LIBRARIES
    ]
    code = f"import importlib, sys\nfor name in {names}: importlib.import_module(name)\nprint(*sys.modules)"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(outcome.stdout.split()) & HEAVY


def test_public_names_are_complete_sorted_and_documented():
    assert hfrecipes.__all__ == sorted(hfrecipes.__all__)
    for name in hfrecipes.__all__:
        value = getattr(hfrecipes, name)
        if name != "__version__":
            assert inspect.getdoc(value), name
    assert set(hfrecipes.__all__) <= set(dir(hfrecipes))


def test_type_checkers_see_the_public_names_that_python_sees():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    blocks = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    (block,) = blocks
    homes = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            # `import x as x` is what makes a name public for a type checker.
            assert alias.asname == alias.name
            homes[alias.name] = node.module
    assert homes == hfrecipes._HOMES


def test_no_public_function_has_the_name_of_a_module():
    """Once the module is imported, it would take the place of the function."""
    modules = {info.name for info in pkgutil.iter_modules(hfrecipes.__path__)}
    assert not modules & set(hfrecipes._HOMES)


def test_public_functions_say_arguments_and_errors_and_show_an_example():
    for name in ("run", "build", "finish", "check", "load", "push"):
        text = inspect.getdoc(getattr(hfrecipes, name))
        for part in ("Args:", "Raises:", "Example:"):
            assert part in text, (name, part)


@pytest.mark.parametrize("module", [info.name for info in pkgutil.walk_packages(hfrecipes.__path__, "hfrecipes.")])
def test_examples_in_docstrings_run(module):
    if module == "hfrecipes.__main__":
        pytest.skip("runs the command")
    assert doctest.testmod(importlib.import_module(module)).failed == 0


def test_no_sentence_installs_from_an_index_that_does_not_have_the_package():
    # Whoever registers the name there could run code on the machines of our users.
    for file in MODULES:
        assert not re.search(r"pip install \W*hfrecipes", file.read_text(encoding="utf-8")), file


def test_the_library_itself_never_prints_nor_asserts():
    for file in MODULES:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.Assert)], file
        if file.parent.name != "commands":
            calls = [
                node.func.id
                for node in ast.walk(tree)
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            ]
            assert "print" not in calls, file


RECIPES = registry.recipe_files()


def test_recipe_files_are_found_and_lie_under_their_task():
    assert "text-classification/quickstart" in RECIPES
    assert len(RECIPES) == len(list((ROOT / "recipes").rglob("*.yaml")))
    for name, file in RECIPES.items():
        assert read_recipe_file(file)["task"] == name.partition("/")[0]


@pytest.mark.parametrize("name", RECIPES)
def test_every_key_of_a_recipe_file_resolves(name):
    config, _ = configure(name, {})
    assert config.model
    assert config.dataset
    head = RECIPES[name].read_text().partition("\ntask:")[0]
    assert f"hfrecipes run {name}" in head, "the header shows how to run it"
    assert re.search(r"^# Expected: ", head, re.M), "the header says what to expect, or that it was not measured"


@pytest.mark.parametrize("file", sorted((ROOT / "examples").glob("*.py")), ids=lambda file: file.name)
def test_examples_are_short_and_use_public_names_only(file):
    lines = file.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 25
    assert not re.search(r"hfrecipes\.[a-z]+\.", "\n".join(lines))
    assert (ROOT / "hfrecipes" / "tasks" / file.name).exists()


def test_every_task_that_ships_has_an_example_recipe_files_and_docs():
    assert set(SHIPPED) <= set(registry.list_tasks())
    for task in SHIPPED:
        assert (ROOT / "examples" / f"{task.replace('-', '_')}.py").exists()
        assert any(name.startswith(f"{task}/") for name in RECIPES)
        assert (ROOT / "docs" / f"{task}.md").exists()


def test_a_task_that_has_one_of_these_is_in_the_table_of_the_readme():
    described = {file.stem.replace("_", "-") for file in (ROOT / "examples").glob("*.py")}
    described |= {name.partition("/")[0] for name in RECIPES}
    described |= {file.stem for file in (ROOT / "docs").glob("*.md")} & set(registry.list_tasks())
    assert described == set(SHIPPED)


def test_nothing_in_the_text_points_at_a_machine():
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in filter(None, files):
        if (ROOT / name).suffix in {".py", ".md", ".yaml", ".cfg", ".toml", ".txt"} and name != "tests/test_house.py":
            text = (ROOT / name).read_text(encoding="utf-8")
            assert not re.search(r"/home/\w|/work/|/root/|/Users/\w", text), name


def test_no_placeholder_is_left_in_what_users_read():
    for file in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.rglob("recipes/**/*")]:
        if file.suffix in (".md", ".yaml"):
            assert not re.search(r"@[A-Z0-9]+@|TODO|FIXME", file.read_text(encoding="utf-8")), file


def test_linter_and_type_checker_know_the_oldest_python_that_setup_cfg_promises():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    oldest = setup["options"]["python_requires"].removeprefix(">=")
    assert re.fullmatch(r"3\.\d+", oldest), "one lower bound, such as >=3.11"
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]
    assert ruff["target-version"] == f"py{oldest.replace('.', '')}"
    assert setup["mypy"]["python_version"] == oldest
