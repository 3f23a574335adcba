"""Every error sentence of the package, read from its code and not by running it; docs/make_errors.py shows them.

A sentence is what reaches the constructor of an error, or a `Finding` that stops a run: directly, by way of variables
and lists, or as what a function returns. What is filled in when it is printed is shown as `…`.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from error_code import (
    FUNCTIONS,
    PACKAGE,
    Module,
    inner_expressions,
    is_local,
    last_name,
    parameter_position,
    put_into,
    returned,
)

FILLED = "…"
# Levels of `Finding` by which rows cannot be used, in train at least.
LEVELS = ("error", "untrainable", "label", "unknown")
# The function of the command line that prints a sentence and ends the command.
FAIL = "fail"
# Calls that a sentence passes through. A gap is written out where it holds sentences itself: all of them at the start
# of a text, elsewhere a few, since the rest of the text is repeated with each.
DEEPEST, MOST, FEW = 9, 30, 2


@dataclass(frozen=True)
class Text:
    """A text, and the module that it is written in."""

    text: str
    module: str


def words(sentence: str) -> list[str]:
    """Words of a sentence that are always the same.

    Example:
        >>> words("… has no …: give it one")
        ['has', 'no', 'give', 'it', 'one']
    """
    return re.findall(r"[A-Za-z][\w'-]+", sentence)


class Reader:
    """Finds the sentences of a package."""

    def __init__(self, modules: dict[str, Module]) -> None:
        self.modules = modules
        self._calls: dict[str, list[tuple[Module, ast.Call]]] = {}
        self._homes: dict[str, list[Module]] = {}
        for module in modules.values():
            for name in module.functions:
                self._homes.setdefault(name, []).append(module)
            for call in module.calls:
                self._calls.setdefault(last_name(call.func), []).append((module, call))
        self.errors = error_classes(list(itertools.chain.from_iterable(module.classes for module in modules.values())))
        self._known: dict[tuple[int, int], list[Text]] = {}

    def sentences(self) -> Iterator[tuple[Module, ast.Call, list[Text]]]:
        """Module, call and sentences of each place that makes an error or a finding, or ends a command."""
        for name in [*self.errors, "Finding", FAIL]:
            for module, call in self._calls.get(name, []):
                message = self._message(module, call)
                if message is not None:
                    yield module, call, tidied(self.texts(message, module))

    def _message(self, module: Module, call: ast.Call) -> ast.expr | None:
        """The argument with the sentence; None for what is no error."""
        name, arguments = last_name(call.func), [*call.args, *[keyword.value for keyword in call.keywords]]
        if name == FAIL:
            is_command = module.name.startswith(f"{PACKAGE}.commands.") and isinstance(call.func, ast.Name)
            return arguments[0] if is_command else None
        if name == "Finding":
            level = arguments[0]
            is_note = isinstance(level, ast.Constant) and level.value not in LEVELS
            return None if is_note else arguments[1]
        definitions = self.errors[name]
        if len(definitions) > 1:  # two files use the same name
            definitions = [node for node in definitions if self._is_from(module, name, node)]
        return own_message(definitions[0], arguments) if definitions and arguments else None

    def _is_from(self, module: Module, name: str, definition: ast.ClassDef) -> bool:
        source, _ = module.imports.get(name, (module.name, ""))
        return definition in self.modules.get(source, module).parents

    # --- expressions ---------------------------------------------------------------------------------------------

    def texts(self, node: ast.expr, module: Module, depth: int = 0) -> list[Text]:
        """The texts that an expression may be, or may hold."""
        key = (id(node), depth)
        if key not in self._known:
            self._known[key] = []
            self._known[key] = list(dict.fromkeys(self._texts(node, module, depth))) if depth <= DEEPEST else []
        return self._known[key]

    def _texts(self, node: ast.expr, module: Module, depth: int) -> list[Text]:
        if isinstance(node, ast.Constant):
            return [Text(node.value, module.name)] if isinstance(node.value, str) else []
        if isinstance(node, ast.JoinedStr):
            return [Text(form, module.name) for form in self._joined(node, module, depth)]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return self._sum(node, module, depth)
        if isinstance(node, ast.Name):
            return self._name(node, module, depth)
        if isinstance(node, ast.Call):
            return self._call(node, module, depth)
        if isinstance(node, ast.Attribute):
            fixed = self._constant(node, module)
            return [] if fixed is None else self.texts(fixed[1], fixed[0], depth + 1)
        return self._all(inner_expressions(node), module, depth)

    def _all(self, nodes: Iterable[ast.expr], module: Module, depth: int) -> list[Text]:
        return list(itertools.chain.from_iterable(self.texts(node, module, depth) for node in nodes))

    def _joined(self, node: ast.JoinedStr, module: Module, depth: int) -> list[str]:
        """The ways to fill an f-string."""
        forms = [""]
        for index, part in enumerate(node.values):
            if isinstance(part, ast.Constant):
                ways = [str(part.value)]
            else:
                is_last = index == len(node.values) - 1
                ways = self._gap(part, module, depth, before=forms[0], is_last=is_last)
            forms = [form + way for form in forms for way in ways]
        return forms

    def _gap(self, part: ast.expr, module: Module, depth: int, *, before: str, is_last: bool) -> list[str]:
        """What is written into a gap: a fixed value, sentences, or `…`."""
        if not isinstance(part, ast.FormattedValue) or part.conversion != -1:
            return [FILLED]
        fixed = self._constant(part.value, module)
        if fixed is not None and isinstance(fixed[1], ast.Constant) and isinstance(fixed[1].value, str | int | float):
            value = fixed[1].value
            return [f"{value:g}" if isinstance(value, float) else f"{value:,}" if part.format_spec else str(value)]
        # What stands in brackets is a reason, of which there are many.
        if part.format_spec is not None or before.endswith(("(", "'", '"')):
            return [FILLED]
        ways = list(dict.fromkeys(text.text for text in self.texts(part.value, module, depth + 1)))
        ways = [way for way in ways if not way.startswith(",")]  # the end of another one
        least, most = (2, MOST) if not before else (3, 1 if is_last else FEW)
        is_written = 0 < len(ways) <= most and all(len(words(way)) >= least for way in ways)
        return ways if is_written else [FILLED]

    def _sum(self, node: ast.BinOp, module: Module, depth: int) -> list[Text]:
        left, right = self.texts(node.left, module, depth), self.texts(node.right, module, depth)
        if not isinstance(node.left, ast.JoinedStr | ast.Constant):
            return [*left, *right]
        # A text and its ending, which may be empty.
        if not right or any(not text.text for text in right):
            return left
        return [Text(first.text + second.text, first.module) for first in left for second in right]

    def _call(self, node: ast.Call, module: Module, depth: int) -> list[Text]:
        name = last_name(node.func)
        if name in self.errors:
            message = self._message(module, node)
            return [] if message is None else self.texts(message, module, depth + 1)
        if name in ("join", "dict", "list", "sorted", "set", "tuple", "chain", "sum"):
            return self._all(node.args, module, depth)
        if name in ("items", "keys", "values", "strip", "replace", "get", "removesuffix"):
            return self.texts(node.func.value, module, depth) if isinstance(node.func, ast.Attribute) else []
        found = []
        for home, function in self._functions(node, module):
            found += self._all(returned(function), home, depth + 1)
        if not found and isinstance(node.func, ast.Name):  # a function that was given as an argument
            found += self._name(node.func, module, depth)
        return found

    def _functions(self, node: ast.Call, module: Module) -> list[tuple[Module, ast.AST]]:
        """The functions that a call may mean."""
        name, homes = last_name(node.func), [module]
        if isinstance(node.func, ast.Name) and name in module.imports:
            source, name = module.imports[name]
            homes = [self.modules[source]] if source in self.modules else []
        elif isinstance(node.func, ast.Attribute) and last_name(node.func.value) not in ("self", "cls"):
            imported = self._imported_module(node.func.value, module)
            # A method of an object: of whatever class has one of this name, if these are few.
            others = self._homes.get(name, [])
            homes = [imported] if imported is not None else others if len(others) <= FEW else []
        found = []
        for home in homes:
            found += [(home, function) for function in home.functions.get(name, [])]
        return found

    def _imported_module(self, owner: ast.expr, module: Module) -> Module | None:
        if not isinstance(owner, ast.Name):
            return None
        source, name = module.imports.get(owner.id, ("", ""))
        return self.modules.get(f"{source}.{name}")

    def _constant(self, node: ast.expr, module: Module) -> tuple[Module, ast.expr] | None:
        """The expression that a name of a module stands for, and that module."""
        name: str = last_name(node)
        home: Module | None = module
        if isinstance(node, ast.Attribute):
            home = self._imported_module(node.value, module)
        elif not isinstance(node, ast.Name) or is_local(name, module.function_of(node)):
            return None
        for _ in range(DEEPEST):  # names that are passed on by import
            if home is None:
                return None
            if name in home.constants:
                return home, home.constants[name]
            source, name = home.imports.get(name, ("", ""))
            home = self.modules.get(source)
        return None

    def _name(self, node: ast.Name, module: Module, depth: int) -> list[Text]:
        """What a name was set to in its function, or what those who call the function give."""
        fixed = self._constant(node, module)
        if fixed is not None:
            return self.texts(fixed[1], fixed[0], depth + 1)
        nearest = module.nearest_value(node.id, node)
        if nearest is not None:
            return self.texts(nearest, module, depth + 1)
        function = module.function_of(node)
        found = self._all(put_into(function).get(node.id, []), module, depth + 1)
        position = parameter_position(node.id, function)
        if position is not None and isinstance(function, FUNCTIONS):
            found += self._given(module, function, position, node.id, depth)
        return found

    def _given(
        self, module: Module, function: ast.FunctionDef | ast.AsyncFunctionDef, position: int, name: str, depth: int
    ) -> list[Text]:
        """What the calls of a function have for one of its parameters."""
        found = []
        for caller, call in self._calls.get(function.name, []):
            if (module, function) in self._functions(call, caller):
                named = [keyword.value for keyword in call.keywords if keyword.arg == name]
                found += self._all(named or call.args[position : position + 1], caller, depth + 1)
        return found


def error_classes(classes: Sequence[ast.ClassDef]) -> dict[str, list[ast.ClassDef]]:
    """Name -> definitions, of the classes that derive from the error of the package."""
    errors: dict[str, list[ast.ClassDef]] = {}
    names = {"HFRecipesError"}
    while True:
        for node in classes:
            is_error = node.name == "HFRecipesError" or any(last_name(base) in names for base in node.bases)
            if is_error and node not in errors.get(node.name, ()):
                errors.setdefault(node.name, []).append(node)
        if names >= set(errors):
            return errors
        names |= set(errors)


def own_message(definition: ast.ClassDef, arguments: Sequence[ast.expr]) -> ast.expr | None:
    """What an error says: one of its arguments, or the sentence of its own constructor."""
    for node in definition.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            calls = [inner for inner in ast.walk(node) if isinstance(inner, ast.Call)]
            (call,) = [call for call in calls if last_name(call.func) == "__init__"]
            if isinstance(call.args[0], ast.JoinedStr):
                return call.args[0]
            position = parameter_position(last_name(call.args[0]), node) or 0
            return arguments[position] if position < len(arguments) else None
    return arguments[0]


def tidied(texts: Iterable[Text]) -> list[Text]:
    """Sentences on one line each, without gaps that follow each other, and without what has no word of its own."""
    found = {}
    for text in texts:
        sentence = re.sub(rf"{FILLED}(?:\s*{FILLED})+", FILLED, " ".join(text.text.split())).rstrip(" ,")
        found[sentence] = Text(sentence, text.module)
    whole = [text for sentence, text in found.items() if len(words(sentence)) >= 2]
    # A single word before a gap: the name of a setting, and what a library says about it.
    return whole or [text for sentence, text in found.items() if words(sentence) and FILLED in sentence]
