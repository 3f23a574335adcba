"""What a page shows, as plain data: sections of sentences, tables and plots, before anything is HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..evaluation.scoring import number


@dataclass(frozen=True)
class Cell:
    """A cell whose text is not what it is sorted by."""

    text: str
    value: float | None = None
    """Number that it is sorted by; None for its text."""


@dataclass(frozen=True)
class Table:
    """A table that is sorted by a click on a head, and filtered by a box where it has many rows."""

    heads: Sequence[str]
    rows: Sequence[Sequence[Any]]
    """Texts, numbers, None for an empty cell, or `Cell`."""
    caption: str = ""


@dataclass(frozen=True)
class Series:
    """Points of a plot, joined by a line unless they are `dots`."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    is_dots: bool = False


@dataclass(frozen=True)
class Lines:
    """A plot of one or several series over numbers."""

    title: str
    x: str
    y: str
    series: Sequence[Series]
    mark: float | None = None
    """Where a vertical line stands."""
    mark_name: str = ""
    is_share: bool = False
    """Whether both axes go from 0 to 1."""
    has_diagonal: bool = False
    is_step: bool = False
    """Whether x counts steps, so that only whole numbers stand at the axis."""


@dataclass(frozen=True)
class Bars:
    """A bar for each name, with its interval, and a mark for what it is compared with."""

    title: str
    x: str
    names: Sequence[str]
    values: Sequence[float]
    intervals: Sequence[tuple[float, float] | None] = ()
    marks: Sequence[float | None] = ()
    mark_name: str = ""


@dataclass(frozen=True)
class Matrix:
    """How often each label (a row) is predicted as each label (a column)."""

    title: str
    labels: Sequence[str]
    counts: Sequence[Sequence[int]]


Plot = Lines | Bars | Matrix
Block = str | Table | Lines | Bars | Matrix


@dataclass(frozen=True)
class Section:
    """A part of the page under its own heading."""

    title: str
    blocks: Sequence[Block] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        """Name of the section in a link."""
        return self.title.lower().replace(" ", "-")


def score_cell(value: float | None, text: str | None = None) -> Cell:
    """A score with three digits, or as the text says; a dash where there is none.

    Example:
        >>> score_cell(0.5).text, score_cell(None).text
        ('0.500', '–')
    """
    if value is None or not math.isfinite(value):
        return Cell("–")
    return Cell(number(value) if text is None else text, value)
