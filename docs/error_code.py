"""The code of the package as docs/error_sentences.py reads it: what files define, import, and put into variables."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "hfrecipes"
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass
class Module:
    """A file of the package."""

    name: str
    tree: ast.Module
    constants: dict[str, ast.expr] = field(default_factory=dict)
    functions: dict[str, list[ast.AST]] = field(default_factory=dict)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Name here -> module that it comes from, and its name there."""
    parents: dict[ast.AST, ast.AST] = field(default_factory=dict)
    calls: list[ast.Call] = field(default_factory=list)
    classes: list[ast.ClassDef] = field(default_factory=list)

    def function_of(self, node: ast.AST) -> ast.AST | None:
        """The innermost function around a node."""
        while node in self.parents:
            node = self.parents[node]
            if isinstance(node, FUNCTIONS):
                return node
        return None

    def nearest_value(self, name: str, node: ast.AST) -> ast.expr | None:
        """What a name has at a node by the innermost loop or `if … :=` around it that sets it; None without such."""
        while node in self.parents and not isinstance(node, FUNCTIONS):
            node = self.parents[node]
            if isinstance(node, ast.For | ast.AsyncFor) and name in stored(node.target):
                return node.iter
            for inner in ast.walk(node.test) if isinstance(node, ast.If) else ():
                if isinstance(inner, ast.NamedExpr) and inner.target.id == name:
                    return inner.value
        return None


def read_package() -> dict[str, Module]:
    """Name -> each module; a task that is one file, without an example yet, is in no page."""
    with_example = {file.name for file in (ROOT / "examples").glob("*.py")}
    modules = {}
    for file in sorted((ROOT / PACKAGE).rglob("*.py")):
        if file.parent.name == "tasks" and not file.name.startswith("_") and file.name not in with_example:
            continue
        parts = file.relative_to(ROOT).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        modules[name] = read_module(name, file.read_text(encoding="utf-8"), is_package=is_package)
    return modules


def read_module(name: str, text: str, *, is_package: bool = False) -> Module:
    """What a file defines and imports."""
    module = Module(name, ast.parse(text))
    # `.` is the package of the module, and each further dot the one above.
    package = name.split(".") if is_package else name.split(".")[:-1]
    for node in _nodes(module):
        if isinstance(node, FUNCTIONS):
            module.functions.setdefault(node.name, []).append(node)
        elif isinstance(node, ast.Call):
            module.calls.append(node)
        elif isinstance(node, ast.ClassDef):
            module.classes.append(node)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                module.imports[alias.asname or alias.name] = (source, alias.name)
    for node in module.tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                _add_constants(module, target, node.value)
    return module


def _nodes(module: Module) -> Iterator[ast.AST]:
    """All nodes of a module; the parent of each is noted on the way."""
    waiting: list[ast.AST] = [module.tree]
    while waiting:
        node = waiting.pop()
        yield node
        for child in ast.iter_child_nodes(node):
            module.parents[child] = node
            waiting.append(child)


def _add_constants(module: Module, target: ast.expr, value: ast.expr) -> None:
    for name, part in pairs(target, value):
        if isinstance(name, ast.Name):
            module.constants[name.id] = part


def last_name(node: ast.expr) -> str:
    """Last word of a name with dots; empty for other expressions."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def inner_expressions(node: ast.expr) -> list[ast.expr]:
    """Expressions of which a value is one, or which it holds."""
    if isinstance(node, ast.IfExp):
        return [node.body, node.orelse]
    if isinstance(node, ast.BoolOp):
        return node.values
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return node.elts
    if isinstance(node, ast.Dict):
        return [key for key in node.keys if key is not None] + node.values
    if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp):
        return [node.elt]
    if isinstance(node, ast.DictComp):
        return [node.key]
    if isinstance(node, ast.Lambda):
        return [node.body]
    if isinstance(node, ast.Subscript | ast.Starred | ast.Await | ast.NamedExpr):
        return [node.value]
    return []


@cache
def returned(function: ast.AST) -> list[ast.expr]:
    """What a function returns or yields; of pairs of a level and a sentence, no notes."""
    values = []
    for node in ast.walk(function):
        if isinstance(node, ast.Return | ast.Yield | ast.YieldFrom) and node.value is not None:
            first = node.value.elts[0] if isinstance(node.value, ast.Tuple) and node.value.elts else None
            if not (isinstance(first, ast.Constant) and first.value == "note"):
                values.append(node.value)
    return values


def parameter_position(name: str, function: ast.AST | None) -> int | None:
    """Position of a parameter in calls, where `self` is not counted; None if there is none of this name."""
    if not isinstance(function, FUNCTIONS):
        return None
    parameters = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    names = [parameter.arg for parameter in parameters if parameter.arg not in ("self", "cls")]
    return names.index(name) if name in names else None


def is_local(name: str, function: ast.AST | None) -> bool:
    """Whether a function sets a name, or has it as a parameter."""
    return name in put_into(function) or parameter_position(name, function) is not None


@cache
def put_into(function: ast.AST | None) -> dict[str, list[ast.expr]]:
    """Name -> everything that is put into a variable: as its value, an entry of its list, or a key of its dict."""
    values: dict[str, list[ast.expr]] = {}
    for node in ast.walk(function) if function is not None else ():
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.NamedExpr) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                for inner, value in pairs(target, node.value):
                    for name in stored(inner):
                        values.setdefault(name, []).append(value)
        elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
            for name in stored(node.target):
                values.setdefault(name, []).append(node.iter)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            if node.func.attr in ("append", "extend", "add", "setdefault", "update"):
                values.setdefault(last_name(node.func.value), []).append(node.args[0])
        elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            values.setdefault(node.value.id, []).append(node.slice)
    return values


def pairs(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    """Each target of an assignment with its value, also where several are set at once."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        return list(zip(target.elts, value.elts, strict=True))
    return [(target, value)]


def stored(target: ast.expr) -> set[str]:
    """Names that a target sets."""
    return {node.id for node in ast.walk(target) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
