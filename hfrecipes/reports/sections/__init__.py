"""The sections of a report, in their order on the page. To add one, add a module with `section`, and list it.

Each function reads a run and returns its section, or None where the run has nothing for it.
"""

from __future__ import annotations

from collections.abc import Callable

from ..page import Section
from ..run_data import RunData
from . import (
    audit,
    classes,
    curves,
    data_profile,
    distillation,
    entities,
    explanations,
    lengths,
    likely_errors,
    reliability,
    risk_coverage,
    scores,
    settings,
    thresholds,
    worst_rows,
)

SECTIONS: tuple[Callable[[RunData], Section | None], ...] = (
    scores.section,
    distillation.section,
    audit.section,
    curves.section,
    classes.section,
    entities.section,
    lengths.section,
    reliability.section,
    risk_coverage.section,
    thresholds.section,
    worst_rows.section,
    likely_errors.section,
    explanations.section,
    data_profile.section,
    settings.section,
)
