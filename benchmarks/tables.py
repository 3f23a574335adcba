"""Medians of repeated measurements, and tables of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

Figures = dict[str, Any]
COLUMNS = {
    "rows_per_second": "rows/s",
    "rows_per_cpu_second": "rows/CPU s",
    "tokens_per_second": "tokens/s",
    "share_of_limit": "of the limit",
    "milliseconds": "one text, ms",
    "first_seconds": "first answer, s",
    "seconds": "process, s",
    "cpu_seconds": "process, CPU s",
    "peak_mib": "peak MiB",
    "score": "score",
}

_UNSHOWN = ("tflops", "cpu_tflops", "texts_per_cpu_second")


def summarize(results: Sequence[Figures]) -> list[Figures]:
    """One entry for each job and way: `[lowest, median, highest]` of each figure of its repeats."""
    grouped: dict[tuple[str, str], list[Figures]] = {}
    for result in results:
        grouped.setdefault((result["job"], result["way"]), []).append(result)
    summary = []
    for (job, way), repeats in grouped.items():
        entry: Figures = {"job": job, "way": way}
        errors = [result["error"] for result in repeats if "error" in result]
        if errors:
            entry["error"] = errors[0]
        for name in (*COLUMNS, *_UNSHOWN):
            values = [result[name] for result in repeats if name in result]
            if values:
                entry[name] = [min(values), statistics.median(values), max(values)]
        summary.append(entry)
    return summary


def median(summary: Sequence[Figures], job: str, way: str, name: str) -> float | None:
    """The median of a figure; None where it was not measured."""
    for entry in summary:
        if (entry["job"], entry["way"]) == (job, way) and name in entry:
            return float(entry[name][1])
    return None


def ratio(summary: Sequence[Figures], job: str, way: str, peer: str, name: str) -> float | None:
    """How many times the figure of another way this one is; None where one of them was not measured."""
    mine, other = median(summary, job, way, name), median(summary, job, peer, name)
    return None if mine is None or not other else mine / other


def add_shares(summary: list[Figures], figure: str) -> None:
    """Add to each training the share of the limit that its real tokens reach.

    Args:
        summary: What `summarize` gave.
        figure: `cpu_tflops` on a CPU, which other processes may use too; `tflops` on a GPU.
    """
    limit = median(summary, "limit", "matrix product", figure)
    for entry in summary:
        if limit and figure in entry and entry["job"] != "limit":
            entry["share_of_limit"] = [value / limit for value in entry[figure]]


def table(summary: Sequence[Figures], job: str) -> str:
    """The figures of one job: medians, the lowest and the highest beside them."""
    entries = [entry for entry in summary if entry["job"] == job]
    names = [name for name in COLUMNS if any(name in entry for entry in entries)]
    lines = [f"| {job} | {' | '.join(COLUMNS[name] for name in names)} |", "|---" * (len(names) + 1) + "|"]
    for entry in entries:
        cells = [shown(name, entry[name]) if name in entry else "" for name in names]
        if "error" in entry and not any(cells):
            cells = ["failed: " + " ".join(entry["error"].split())[-80:], *cells[1:]]
        lines.append(f"| {entry['way']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def shown(name: str, values: Sequence[float]) -> str:
    """A median, with the lowest and the highest where they differ.

    Example:
        >>> shown("rows_per_second", [38.0, 40.1, 44.0]), shown("share_of_limit", [0.2, 0.25, 0.25])
        ('40.1 (38–44)', '25 % (20 %–25 %)')
    """
    form = {"score": ".3f", "share_of_limit": ".0%"}.get(name, ",.0f" if values[1] >= 100 else ".3g")
    low, middle, high = (format(value, form).replace("%", " %") for value in values)
    return middle if low == high else f"{middle} ({low}–{high})"
