"""The schema that ships with the package, and the line by which a recipe file names it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

SCHEMA = Path(__file__).with_name("recipe.json")
_MODELINE = re.compile(r"^# yaml-language-server: \$schema=.*\n", re.MULTILINE)


def schema_text(schema: dict[str, Any]) -> str:
    """The schema as the text of a file, in ASCII: shells write what is printed in encodings of their own."""
    return json.dumps(schema, indent=1) + "\n"


def shipped_schema() -> dict[str, Any]:
    """The schema of the tasks of this package; quick to read, since no task is imported."""
    schema: dict[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return schema


def without_schema(text: str) -> str:
    """The text of a shipped recipe file for another folder, which has no schema where the line at its top says.

    Example:
        >>> without_schema("# yaml-language-server: $schema=../recipe.json\\ntask: chat\\n")
        'task: chat\\n'
    """
    return _MODELINE.sub("", text)
