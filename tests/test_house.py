"""The house rules: one direction of imports, public names complete and documented, examples and docs that run."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hfrecipes
from hfrecipes import registry
from hfrecipes.config import read_recipe_file
from hfrecipes.training.plan import configure

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "hfrecipes"
# Each module may import what stands on a line above its own.
LAYERS = [
    {"errors", "_version", "say", "yaml12"},
    {"config", "conll", "fingerprint", "heads", "order"},
    {"recipe", "files", "divergence"},
    {"metrics"},
    {"tasks"},
    {"registry"},
    {"regularization", "portable"},
    {"folder"},
    {"model", "sources"},
    {"adapters", "data", "neighbours"},
    {"checks", "writing"},
    {"scoring"},
    {"repeats", "hub"},
    {"card"},
    {"upload"},
    {"checkpoints"},
    {"predict"},
    {"saved"},
    {"plan"},
    {"training"},
    {"rehearsal"},
    {"runner"},
    {"cli", "__init__"},
    {"__main__"},
]
LEVEL = {module: level for level, modules in enumerate(LAYERS) for module in modules}
HEAVY = {"torch", "transformers", "datasets", "peft", "evaluate", "accelerate", "pandas", "sklearn", "scipy"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def layer(file: Path) -> str:
    inside = file.relative_to(PACKAGE)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


def imported(file: Path) -> set[str]:
    """Modules of the package that a file imports, wherever in it."""
    depth = len(file.relative_to(PACKAGE).parts)
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            found |= {node.module.split(".")[0]} if node.module else {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hfrecipes."):
            found.add(node.module.split(".")[1])
    return found & set(LEVEL)


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_go_one_way(file):
    own = layer(file)
    above = {name for name in imported(file) if LEVEL[name] >= LEVEL[own] and name != own}
    assert not above, f"{own} imports {above}"


@pytest.mark.parametrize("name", ["__init__", "cli", "config", "registry", "recipe", "errors"])
def test_light_modules_import_nothing_heavy_at_the_top(name):
    tree = ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8"))
    tops = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name.split(".")[0] for node in tops for alias in node.names} | {
        (node.module or "").split(".")[0] for node in tops if isinstance(node, ast.ImportFrom)
    }
    assert not names & (HEAVY | {"numpy"})


def test_public_names_are_complete_sorted_and_documented():
    assert hfrecipes.__all__ == sorted(hfrecipes.__all__)
    for name in hfrecipes.__all__:
        thing = getattr(hfrecipes, name)
        if name != "__version__":
            assert inspect.getdoc(thing), name
    assert set(hfrecipes._HOMES) | {"errors", "__version__"} == set(hfrecipes.__all__)


def test_public_functions_say_arguments_and_errors_and_show_an_example():
    for name in ("run", "build", "check", "load", "push"):
        text = inspect.getdoc(getattr(hfrecipes, name))
        for part in ("Args:", "Raises:", "Example:"):
            assert part in text, (name, part)


@pytest.mark.parametrize("module", [info.name for info in pkgutil.walk_packages(hfrecipes.__path__, "hfrecipes.")])
def test_examples_in_docstrings_run(module):
    if module == "hfrecipes.__main__":
        pytest.skip("runs the command")
    assert doctest.testmod(importlib.import_module(module)).failed == 0


def test_the_library_itself_never_prints_nor_asserts():
    for file in MODULES:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.Assert)], file
        if file.name != "cli.py":
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


def test_every_task_has_an_example_recipe_files_and_docs():
    readme = (ROOT / "README.md").read_text()
    for task in registry.tasks():
        assert (ROOT / "examples" / f"{task.replace('-', '_')}.py").exists()
        assert any(name.startswith(f"{task}/") for name in RECIPES)
        assert task in readme


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


def test_python_has_what_setup_cfg_promises():
    assert sys.version_info >= (3, 11)
