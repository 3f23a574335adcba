"""What an audit found, as a section of the model card."""

from __future__ import annotations

import re
from pathlib import Path

from ..log import log
from ..masking import mask_text
from ..run_folder import contents
from ..run_folder.writing import write_text
from .markdown import plain_text

TITLE = "## What the model tells about its training rows"
_LIMITS = "## Limits\n"
_SECTION = re.compile(rf"^{TITLE}\n.*?(?=^## )", re.DOTALL | re.MULTILINE)


def section(path: Path) -> str:
    """The section with the lines after it; empty where the run in the folder was not audited.

    Args:
        path: Folder of the run.
    """
    known = contents.read_json(path / contents.AUDIT)
    if not known:
        return ""
    lines = [TITLE]
    for table in contents.audit_tables(known):
        lines.append("")
        for index, row in enumerate(table):
            lines.append(f"| {' | '.join(map(plain_text, row))} |")
            if index == 0:
                lines.append(f"|{'---|' * len(row)}")
    for sentence in map(plain_text, known["sentences"]):
        lines += ["", f"{sentence[:1].upper()}{sentence[1:]}."]
    return "\n".join(lines) + "\n\n"


def put_on_card(path: Path) -> None:
    """Write the section on the card of a complete run, in place of an older one.

    Args:
        path: Folder of the run.
    """
    file = path / contents.CARD
    if not file.exists():
        return
    card = _SECTION.sub("", file.read_text(encoding="utf-8"))
    before, limits, after = card.partition(_LIMITS)
    if not limits:
        log(f"{file} has no section Limits any more, which the audit is put before: the card stays as it is")
        return
    write_text(file, mask_text(f"{before}{section(path)}{limits}{after}"))
