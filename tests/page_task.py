"""The file that docs/write-a-task.md builds, block by block, and what else that page shows."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = (Path(__file__).parents[1] / "docs" / "write-a-task.md").read_text(encoding="utf-8")
NAME = "ordinal_rating.py"


def blocks(language: str) -> list[str]:
    """Fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


# The last block of Python uses the task, the others are its file.
*PARTS, USE = blocks("python")
FILE = "\n".join(PARTS)


def write_task(folder: Path, *edits: tuple[str, str]) -> Path:
    """Leave the file in a folder, with some of its text replaced."""
    text = FILE
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    folder.mkdir(exist_ok=True)
    (folder / NAME).write_text(text, encoding="utf-8")
    return folder / NAME


def write_rows(folder: Path) -> Path:
    """Leave the ratings of the page in a folder."""
    rows = re.search(r"<<'ROWS'\n(.*?\n)ROWS\n", PAGE, re.DOTALL)[1]
    (folder / "ratings.csv").write_text(rows, encoding="utf-8")
    return folder / "ratings.csv"
