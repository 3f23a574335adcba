"""The sections of a report, in their order on the page. To add one, add a module with `section`, and list it.

Each function reads a run and returns its section, or None where the run has nothing for it.
"""

from __future__ import annotations

from collections.abc import Callable

from ..page import Section
from ..run_data import RunData
from . import classes, curves, reliability, scores, worst_rows

SECTIONS: tuple[Callable[[RunData], Section | None], ...] = (
    scores.section,
    curves.section,
    classes.section,
    reliability.section,
    worst_rows.section,
)
