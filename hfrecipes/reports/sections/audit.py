"""What attacks on the model tell about its training rows."""

from __future__ import annotations

from ...run_folder import contents
from ..page import Section, Table
from ..run_data import RunData


def section(run: RunData) -> Section | None:
    """The tables and the sentences of `hfrecipes audit`; None where the run was not audited."""
    known = contents.read_json(run.path / contents.AUDIT)
    if not known:
        return None
    tables = [Table(heads, rows) for heads, *rows in contents.audit_tables(known)]
    return Section("What the model tells about its training rows", [*tables, *known["sentences"]])
