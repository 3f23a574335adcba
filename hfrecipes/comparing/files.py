"""A comparison as a file: a page with a plot, a table, or JSON."""

from __future__ import annotations

import html
import io
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..characters import visible_line
from ..errors import MissingPackageError
from ..evaluation.tables import html_table
from ..predictions.table_style import as_cell
from ..run_folder.writing import write_json, write_text
from .comparison import Comparison, cost_cells, score_cells

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".html", ".csv", ".json")
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;margin:1rem 0}th,td{text-align:left;padding:.2rem .8rem .2rem 0;white-space:pre}"
    "th{border-bottom:1px solid #999}svg{max-width:100%;height:auto}"
)


def check_packages(output: Path) -> None:
    """Look for what a plot needs before anything is computed.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    if output.suffix == ".html" and find_spec("matplotlib") is None:
        raise MissingPackageError(f"{output} has a plot: pip install matplotlib, or write .csv or .json")


def write(output: Path, comparison: Comparison) -> None:
    """Write a comparison.

    Args:
        output: File that does not exist, with one of `SUFFIXES`.
        comparison: What is written.
    """
    if output.suffix == ".json":
        write_json(output, comparison.as_json())
    elif output.suffix == ".csv":
        # A name of a folder that a spreadsheet would run gets a quote before it.
        frame = comparison.frame.rename(index=as_cell)
        write_text(output, frame.assign(path=frame["path"].map(as_cell)).to_csv())
    else:
        write_text(output, page(comparison))


def page(comparison: Comparison) -> str:
    """An HTML page that needs no other file."""
    tables = html_table(*score_cells(comparison)) + html_table(*cost_cells(comparison))
    body = tables + paragraphs(comparison.sentences) + as_svg(comparison.plot())
    return html_page(f"Comparison of {len(comparison.runs)} runs", body)


def html_page(title: str, body: str) -> str:
    """A page that needs no other file, from a title and HTML below it."""
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f"</head><body><h1>{title}</h1>{body}</body></html>\n"
    )


def paragraphs(sentences: Iterable[str]) -> str:
    """Each sentence as a paragraph."""
    return "".join(f"<p>{html.escape(visible_line(sentence))}</p>" for sentence in sentences)


def as_svg(figure: Figure) -> str:
    """A figure as SVG inside a page."""
    text = io.StringIO()
    # Without a date, the same figure gives the same file.
    figure.savefig(text, format="svg", metadata={"Date": None})
    picture = text.getvalue()
    return picture[picture.index("<svg") :]
