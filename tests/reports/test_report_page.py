"""The page is one file that asks for nothing, in which texts of rows are texts, with or without pictures."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from report_data import classified, report_of

from hfrecipes.registry import find
from hfrecipes.reports import pictures, plots, rendering
from hfrecipes.reports.page import Bars, Lines, Matrix, Series
from hfrecipes.reports.writing import write_page

pytestmark = pytest.mark.pictures

SCRIPT = "<script>document.title = 'run'</script>"
needs_matplotlib = pytest.mark.skipif(not plots.are_available(), reason="matplotlib is not installed")


def run_with(folder, labels=("good", "bad"), text=SCRIPT):
    recipe = find("text-classification")(problem_type="single_label_classification")
    recipe.labels = list(labels)
    lines = [
        classified(name, dict(zip(labels, shares, strict=True)), text)
        for name, shares in zip([*labels, *labels], [(0.9, 0.1), (0.2, 0.8), (0.3, 0.7), (0.4, 0.6)], strict=True)
    ]
    return report_of(recipe, folder, lines)


def test_text_of_rows_is_text(tmp_path):
    page = write_page(run_with(tmp_path, ("good", "<b>bad</b>"))).read_text()
    assert SCRIPT not in page
    assert "&lt;script&gt;" in page
    assert "<b>bad</b>" not in page
    assert "&lt;b&gt;bad&lt;/b&gt;" in page


def test_characters_that_turn_or_hide_text_are_escapes(tmp_path):
    page = write_page(run_with(tmp_path, text="safe\u202etxt.exe\x1b[2J")).read_text()
    assert "\u202e" not in page
    assert "\\u202e" in page
    assert "\x1b" not in page


def test_only_the_script_of_the_page_may_run(tmp_path):
    page = write_page(run_with(tmp_path)).read_text()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy.startswith("default-src 'none'")
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy


def test_the_page_asks_for_nothing(tmp_path):
    page = write_page(run_with(tmp_path)).read_text()
    assert not re.search(r"\b(src|action)=|<link|@import|url\((?!#)|<iframe", page)
    links = set(re.findall(r'href="([^"]*)"', page))
    assert all(link.startswith("#") for link in links)
    # Names of the formats of SVG are no addresses that anything is loaded from.
    addresses = set(re.findall(r'https?://[^\s"<]+', page))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_the_page_says_its_language_and_its_parts_have_headings(tmp_path):
    page = write_page(run_with(tmp_path)).read_text()
    assert '<html lang="en">' in page
    assert page.count("<h1>") == 1
    for anchor in re.findall(r'<a href="#([^"]+)"', page):
        assert f'<section id="{anchor}">\n<h2>' in page
    assert page.count("<svg ") == page.count('<svg role="img" aria-label="')


def test_without_matplotlib_there_are_tables_and_how_to_get_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "are_available", lambda: False)
    run = run_with(tmp_path)
    page = write_page(run).read_text()
    assert "<svg" not in page
    assert "pip install matplotlib" in page
    assert "<table>" in page
    assert pictures.write_pictures(run) == {}
    assert not (tmp_path / "pictures").exists()


@needs_matplotlib
def test_pictures_take_the_colors_of_the_page_and_share_no_id(tmp_path):
    page = write_page(run_with(tmp_path)).read_text()
    drawings = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert "currentColor" in drawings
    assert not re.findall(r"#0[0-9a-f]{5}\b", drawings), "colors that stand for variables"
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


@needs_matplotlib
@pytest.mark.parametrize(
    "plot",
    [
        Matrix("m", ["付款", "a$b$c", '<script>"'], [[3, 0, 1], [0, 2, 0], [1, 1, 1]]),
        Matrix("one", ["only"], [[3]]),
        Matrix("none", ["a", "b"], [[0, 0], [0, 0]]),
        Bars("b", "x", ["训练"], [0.5], [(0.4, 0.6)], [None], "baseline"),
        Lines("l", "x", "y", [Series("s", [1.0], [float("nan")])]),
    ],
    ids=lambda plot: plot.title,
)
def test_every_plot_is_drawn_with_its_texts_as_texts(plot, recwarn):
    drawn = plots.svg(plot, "p")
    assert drawn.startswith("<svg role=")
    assert "<script" not in drawn
    if isinstance(plot, Matrix) and len(plot.labels) == 3:
        assert "付款" in drawn
        assert "a$b$c" in drawn
    assert not recwarn.list


@needs_matplotlib
def test_pictures_of_the_card_hold_no_text_of_rows(tmp_path):
    written = pictures.write_pictures(run_with(tmp_path, text="a secret sentence"))
    assert list(written) == ["pictures/confusions.svg", "pictures/reliability.svg"]
    for file in written:
        text = (tmp_path / file).read_text()
        assert "secret" not in text
        assert "var(--" not in text
        assert "currentColor" not in text
        assert text.startswith("<svg ")


def test_the_number_of_a_row_is_written_as_it_is_looked_up():
    assert ">1253<" in rendering._as_cell(1253, "row")
    assert ">1,253<" in rendering._as_cell(1253, "rows")


def test_a_long_text_is_folded_and_whole(tmp_path):
    page = write_page(run_with(tmp_path, text="word " * 300)).read_text()
    assert "<details><summary>word word" in page
