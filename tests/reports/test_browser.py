"""The page in a real browser: drawn, sorted, filtered, in light and dark, on a phone and on a desk."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_data import classified, report_of

from hfrecipes.evaluation.scoring import Score
from hfrecipes.registry import find
from hfrecipes.reports import plots
from hfrecipes.reports.writing import write_page
from hfrecipes.run_folder.history import History

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.pictures,
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.skipif(not plots.are_available(), reason="matplotlib is not installed"),
]
INJECTED = "<script>document.title = 'run'</script><img src=x onerror=\"document.title = 'run'\">"
SIZES = [(390, "light"), (390, "dark"), (1280, "light"), (1280, "dark")]
CHINESE = ["付款", "配送问题", "退货或退款", "账户", "产品咨询", "订阅", "损坏", "取消订单"]


def written(folder: Path, labels: list[str]) -> Path:
    """A report of 120 rows with these labels, a third of them wrong."""
    generator = np.random.default_rng(0)
    lines = []
    for index in range(120):
        shares = generator.dirichlet(np.full(len(labels), 0.3))
        right = int(shares.argmax()) if index % 3 else int(generator.integers(len(labels)))
        scores = dict(zip(labels, shares.tolist(), strict=True))
        lines.append(classified(labels[right], scores, INJECTED if index % 9 == 0 else f"text {index} " * (1 + index)))
    recipe = find("text-classification")(problem_type="single_label_classification")
    recipe.labels = labels
    log = [
        {"step": 10 * n, "epoch": n / 2, "loss": 2 / n, "eval_loss": 2.2 / n, "eval_accuracy": 1 - 1 / n}
        for n in range(1, 8)
    ]
    History(log, 50, 2.5, "ended after epoch 3 of 3").write(folder)
    run = report_of(recipe, folder, lines)
    validation = {"accuracy": Score(0.6, 0.5, 0.7, 0.2)}
    return write_page(dataclasses.replace(run, scores={"validation": validation, **run.scores}))


@pytest.fixture(scope="module")
def reports(tmp_path_factory) -> dict[int, Path]:
    """Pages of 2, 8 and 60 labels."""
    names = {2: ["good", "bad"], 8: CHINESE, 60: [f"a rather long label number {number}" for number in range(60)]}
    return {number: written(tmp_path_factory.mktemp(f"labels-{number}"), labels) for number, labels in names.items()}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def opened(browser) -> Iterator[Any]:
    """A function that opens a page; whatever the browser says or asks for is an error."""
    pages, said = [], []

    def open_page(file: Path, width: int = 1280, scheme: str = "light") -> Any:
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url) if not request.url.startswith("file:") else None)
        page.goto(file.as_uri())
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert not said


@pytest.mark.parametrize("labels", [2, 8, 60])
@pytest.mark.parametrize(("width", "scheme"), SIZES)
def test_nothing_is_wider_than_the_page_and_no_text_of_a_plot_leaves_it(opened, reports, labels, width, scheme):
    page = opened(reports[labels], width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    drawn = page.locator("figure svg")
    assert drawn.count() >= 4
    outside = page.evaluate(
        """() => Array.from(document.querySelectorAll('figure svg')).flatMap((svg) => {
            const box = svg.getBoundingClientRect();
            return Array.from(svg.querySelectorAll('text')).filter((text) => {
                const own = text.getBoundingClientRect();
                const isWider = own.left < box.left - 2 || own.right > box.right + 2;
                return isWider || own.top < box.top - 2 || own.bottom > box.bottom + 2;
            }).map((text) => text.textContent);
        })"""
    )
    assert outside == []


def luminance(color: str) -> float:
    values = [int(part) / 255 for part in color[color.index("(") + 1 : -1].split(",")[:3]]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_of_page_and_plots_stand_out_from_the_ground(opened, reports, scheme):
    page = opened(reports[8], scheme=scheme)
    ground = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (ground > 0.5) == (scheme == "light")
    colors = page.evaluate(
        """() => [getComputedStyle(document.body).color, getComputedStyle(document.querySelector('.lead')).color,
            ...Array.from(document.querySelectorAll('#scores svg text'), (text) => getComputedStyle(text).fill)]"""
    )
    assert len(colors) > 10
    for color in colors:
        lighter, darker = sorted((luminance(color), ground), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, color


def column(page: Any, table: Any, number: int) -> list[str]:
    return table.locator(f"tbody tr:visible td:nth-child({number})").all_inner_texts()


def test_tables_sort_by_click_and_by_key(opened, reports):
    page = opened(reports[8])
    table = page.locator("#worst-rows table").first
    head = table.locator("th").nth(0)
    before = list(map(int, column(page, table, 1)))
    assert before != sorted(before)
    head.locator("button").click()
    assert list(map(int, column(page, table, 1))) == sorted(before)
    assert head.get_attribute("aria-sort") == "ascending"
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert list(map(int, column(page, table, 1))) == sorted(before, reverse=True)
    assert head.get_attribute("aria-sort") == "descending"


def test_long_tables_are_filtered_by_what_is_typed(opened, reports):
    page = opened(reports[8])
    table = page.locator("#worst-rows table").first
    box = page.locator("#worst-rows input").first
    count = page.locator("#worst-rows output").first
    every = table.locator("tbody tr:visible").count()
    page.get_by_label("Filter").first.focus()
    box.fill("付款")
    shown = table.locator("tbody tr:visible")
    assert 0 < shown.count() < every
    assert all("付款" in row for row in shown.all_inner_texts())
    assert count.inner_text() == f"{shown.count()} of {every} rows"
    box.fill("")
    assert table.locator("tbody tr:visible").count() == every


def test_a_row_with_a_script_is_text(opened, reports):
    page = opened(reports[8])
    assert page.title() == f"{reports[8].parent.name} – report"
    assert page.locator("td", has_text="<script>document.title").count() >= 1
    assert page.locator("td img, td script").count() == 0


def test_print_has_no_boxes_and_shows_every_row(opened, reports):
    page = opened(reports[8], scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert luminance(page.evaluate("getComputedStyle(document.body).backgroundColor")) > 0.9
    assert not page.locator(".filter").first.is_visible()
    assert page.evaluate("getComputedStyle(document.querySelector('.scroll')).maxHeight") == "none"
