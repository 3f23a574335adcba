"""docs/troubleshooting.md quotes sentences that the code prints."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


QUOTED = [
    quote
    for cell in re.findall(r"^\| (`.*?) \| ", page("troubleshooting"), re.MULTILINE)
    for quote in re.findall(r"`([^`]+)`", cell)
]


def texts() -> str:
    """All texts in the code of the package but docstrings, with \0 in place of what is filled in."""
    parts = []
    for file in (ROOT / "hfrecipes").rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts.append("".join(p.value if isinstance(p, ast.Constant) else "\0" for p in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                parts.append(node.value)
    return "\n".join(parts)


TEXTS = texts()


def test_twenty_errors_are_quoted():
    assert len(QUOTED) >= 20


@pytest.mark.parametrize("quote", QUOTED)
def test_the_code_has_each_quoted_sentence(quote):
    fragments = [fragment.strip() for fragment in quote.split("…")]
    long_ones = [fragment for fragment in fragments if len(fragment) > 6]
    assert long_ones, "a quotation of fill-ins alone shows nothing"
    for fragment in long_ones:
        assert fragment in TEXTS, fragment
