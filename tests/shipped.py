"""Tasks that ship: those in the table of README. A guide, an example and a recipe file are asked of them alone."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
SHIPPED = re.findall(r"^\| \[`([\w-]+)`\]\(docs/", README.read_text(encoding="utf-8"), re.MULTILINE)
