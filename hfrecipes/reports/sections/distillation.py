"""Quality against cost of a run and of the teacher that it learnt from."""

from __future__ import annotations

from ..page import Section, Table
from ..run_data import RunData


def section(run: RunData) -> Section | None:
    """Scores on the same rows, their difference, parameters and speed."""
    known = run.info.distillation
    if known is None:
        return None
    heads, *rows = known["table"]
    return Section("Against its teacher", [Table(heads, rows), *known["sentences"]])
