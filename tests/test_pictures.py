"""Pictures of the pages: they exist, are small and described, and each is used."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "pictures"
PAGES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
_spec = importlib.util.spec_from_file_location("pictures", ROOT / "docs" / "pictures.py")
pictures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(pictures)


def shown() -> list[tuple[Path, str, str, str]]:
    """Page, picture for the dark, picture for the light and description, of each picture on a page."""
    pattern = r'<picture><source media="\(prefers-color-scheme: dark\)" srcset="(\S+)"><img src="(\S+)" alt="(.*?)"'
    found = []
    for page in PAGES:
        found += [(page, *parts) for parts in re.findall(pattern, page.read_text(encoding="utf-8"))]
    return found


def test_each_picture_is_shown_on_a_page_in_both_schemes():
    used = set()
    for page, dark, light, description in shown():
        assert dark.replace("-dark.", "-light.") == light
        assert len(description) > 20
        used |= {(page.parent / dark).resolve(), (page.parent / light).resolve()}
    assert used == set(FOLDER.iterdir())


def test_no_picture_is_written_in_another_way():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert text.count("<img ") == len([page for other, *_ in shown() if other == page]), page


@pytest.mark.parametrize("file", sorted(FOLDER.iterdir()), ids=lambda file: file.name)
def test_pictures_are_small(file):
    assert file.stat().st_size < 150_000


@pytest.mark.parametrize("scheme", pictures.COLOURS)
def test_the_diagram_is_the_one_that_the_script_draws(scheme):
    assert (FOLDER / f"flow-{scheme}.svg").read_text(encoding="utf-8") == pictures.diagram(scheme)


def test_a_line_of_a_terminal_that_is_too_long_ends_in_dots_and_markup_is_text():
    text = pictures.terminal(["$ hfrecipes <run>", "x" * 200, "包" * 100], "light")
    assert "&lt;run&gt;" in text
    assert f"{'x' * (pictures.COLUMNS - 1)}…" in text


def test_the_site_shows_pictures_from_each_of_its_folders():
    spec = importlib.util.spec_from_file_location("make_site", ROOT / "docs" / "make_site.py")
    make_site = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_site)
    picture = '<img src="{}pictures/a-light.svg">'
    assert make_site.on_site(picture.format("docs/"), "README.md", "") == picture.format("")
    assert make_site.on_site(picture.format(""), "docs/report.md", "") == picture.format("")
    assert make_site.on_site(picture.format("../"), "docs/zh/install.md", "") == picture.format("../")
