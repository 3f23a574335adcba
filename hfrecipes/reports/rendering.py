"""A page as HTML: one file with its style, its script and its plots, that asks for nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from ..characters import visible
from . import plots
from .page import Block, Cell, Plot, Section, Table, score_cell

_ROOM = Path(__file__).parent
SHORT = 24  # characters of a cell that is not wrapped
LONG = 400  # characters of a cell that is shown whole; of longer ones the rest opens by a click


@dataclass(frozen=True)
class Drawn:
    """A plot as it stands on the page."""

    svg: Any
    title: str
    is_wide: bool


@dataclass(frozen=True)
class Group:
    """Blocks of one kind that follow each other."""

    kind: str
    blocks: Sequence[Any]


def render(title: str, lead: Sequence[str], footer: str, sections: Sequence[Section]) -> str:
    """The page as a text.

    Args:
        title: Its heading.
        lead: Sentences below it.
        footer: A sentence at its end.
        sections: What it shows.
    """
    from jinja2 import Environment
    from markupsafe import Markup

    script = (_ROOM / "page.js").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, finalize=_finalized)
    template = environment.from_string((_ROOM / "page.html.j2").read_text(encoding="utf-8"))
    return template.render(
        title=title,
        lead=lead,
        footer=footer,
        sections=sections,
        groups=_Groups(),
        as_cell=_as_cell,
        has_numbers=_has_numbers,
        # Files of this package, which hold no text of rows.
        style=Markup((_ROOM / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=_hash_of(script),
    )


def _hash_of(script: str) -> str:
    """What the page says of its only script, so that a browser runs no other one."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"sha256-{digest}"


def _finalized(value: Any) -> Any:
    """Texts with an escape for characters that hide others or turn them around."""
    return visible(value) if type(value) is str else value


class _Groups:
    """Splits the blocks of sections into groups, and numbers the plots of the page."""

    def __init__(self) -> None:
        self.plots = 0

    def __call__(self, blocks: Sequence[Block]) -> Iterator[Group]:
        """Blocks of one kind together; plots are drawn, and left out where they cannot be."""
        for kind, group in groupby(blocks, _kind):
            members = list(group)
            if kind == "plots":
                if plots.are_available():
                    yield Group(kind, [self._drawn(plot) for plot in members if isinstance(plot, Plot)])
            else:
                yield Group(kind, members)

    def _drawn(self, plot: Plot) -> Drawn:
        from markupsafe import Markup

        self.plots += 1
        return Drawn(Markup(plots.svg(plot, f"plot-{self.plots}")), plot.title, plots.is_wide(plot))


def _kind(block: Block) -> str:
    if isinstance(block, Table):
        return "tables"
    return "texts" if isinstance(block, str) else "plots"


def _as_cell(cell: Any, head: str = "") -> Any:
    """The `td` of a cell: numbers on the right with the value that they are sorted by, long texts folded."""
    from markupsafe import Markup

    if isinstance(cell, float):
        cell = score_cell(cell)
    elif isinstance(cell, int):
        # The number of a row is a name of it.
        cell = Cell(str(cell) if head == "row" else f"{cell:,}", cell)
    if isinstance(cell, Cell) and cell.value is not None:
        return Markup('<td class="number" data-value="{}">{}</td>').format(repr(cell.value), cell.text)
    text = visible(cell.text if isinstance(cell, Cell) else str("" if cell is None else cell))
    if len(text) > LONG:
        folded = '<td class="text"><details><summary>{}…</summary>{}</details></td>'
        return Markup(folded).format(text[:LONG], text[LONG:])
    return Markup('<td class="{}">{}</td>').format("short" if len(text) <= SHORT else "text", text)


def _has_numbers(table: Table, column: int) -> bool:
    """Whether the first cell of a column is a number, so that its head stands on the right too."""
    cell = table.rows[0][column] if table.rows else None
    return isinstance(cell, int | float) or (isinstance(cell, Cell) and cell.value is not None)
