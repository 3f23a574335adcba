"""What attacks on the model tell about its training rows."""

from __future__ import annotations

from ...run_folder import contents
from ..page import Section, Table
from ..run_data import RunData


def section(run: RunData) -> Section | None:
    """The table and the sentences of `hfrecipes audit`; None where the run was not audited."""
    known = contents.read_json(run.path / contents.AUDIT)
    if not known:
        return None
    heads, *rows = known["table"]
    return Section("What the model tells about its training rows", [Table(heads, rows), *known["sentences"]])
