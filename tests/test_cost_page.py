"""docs/cost.md cites figures: each number of its tables is on the page that measured it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "cost.md").read_text(encoding="utf-8")
SCORES = "../recipes/README.md#results"


def cited() -> list[tuple[str, str]]:
    """Each line of a table that has numbers, and the page that it cites."""
    lines = []
    for section in PAGE.split("\n## ")[1:]:
        for line in re.findall(r"^\| .*", section, re.MULTILINE):
            link = re.search(r"\]\((\S+?)\)", line)
            lines.append((line, link[1] if link else SCORES))
    return [(line, link) for line, link in lines if re.search(r"\d", line)]


@pytest.mark.parametrize(("line", "link"), cited(), ids=lambda value: value[:40])
def test_the_figures_of_a_line_are_on_the_page_that_it_cites(line, link):
    text = (ROOT / "docs" / link.partition("#")[0]).read_text(encoding="utf-8").replace("\u202f", " ")
    for number in re.findall(r"\d[\d,]*\.\d+|\d[\d,]*,\d{3}|\d{2,}(?= minutes)", re.sub(r"\]\(.*?\)", "", line)):
        assert re.search(rf"(?<![\d.,]){re.escape(number)}", text), number
