"""The schema that ships with the package, and the line by which a recipe file names it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

SCHEMA = Path(__file__).with_name("recipe.json")
_MODELINE = re.compile(r"^# yaml-language-server: \$schema=.*$", re.MULTILINE)


def schema_text(schema: dict[str, Any]) -> str:
    """The schema as the text of a file."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def shipped_schema() -> dict[str, Any]:
    """The schema of the tasks of this package; quick to read, since no task is imported."""
    schema: dict[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return schema


def with_schema(text: str) -> str:
    """The text of a shipped recipe file for another folder, where an editor has to find the schema too.

    Example:
        >>> with_schema("# yaml-language-server: $schema=../recipe.json").startswith("# yaml-language-server: $schema=file://")
        True
    """
    return _MODELINE.sub(lambda _: f"# yaml-language-server: $schema={SCHEMA.resolve().as_uri()}", text)
