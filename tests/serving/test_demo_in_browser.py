"""The pages in a real browser: they answer on a telephone and on a screen, and load nothing from elsewhere."""

from __future__ import annotations

import importlib.util
import json
import shutil
from functools import partial
from urllib.parse import urlsplit

import pytest
from servers import served
from shipped import SHIPPED

from hfrecipes.serving.limits import Limits

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytest_plugins = ["servers"]
pytestmark = [
    pytest.mark.long,
    pytest.mark.model,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="playwright is not installed"),
]
WIDTHS = (390, 1280)
WICKED = "<script>document.title = 'bad'</script><img src=x onerror=\"document.title = 'bad'\"> ${1} {{x}}"
# What a tiny model of the task cannot fail to show.
SHOWN = {
    "text-classification": ".rail",
    "token-classification": ".text",
    "question-answering": "mark, .chosen",
    "multiple-choice": ".rail",
    "fill-mask": ".rail",
}


class Visit:
    """A page, with all that went wrong on it and all that it asked for."""

    def __init__(self, browser, width: int) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900})
        self.page.set_default_timeout(60_000)
        self.problems: list[str] = []
        self.hosts: set[str] = set()
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.hosts.add(str(urlsplit(request.url).hostname)))
        self.page.on("websocket", lambda socket: self.hosts.add(str(urlsplit(socket.url).hostname)))

    def _heard(self, message) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(message.text)

    def repeat(self, action, shown, number: int) -> None:
        """Do something until so many things are shown: nothing happens while the page is busy."""
        for _ in range(60):
            if shown.count() == number:
                return
            action()
            self.page.wait_for_timeout(500)
        raise AssertionError("it has no effect")

    def check(self) -> None:
        """Nothing went wrong, nothing came from elsewhere, nothing is wider than the window, and no text was run."""
        assert self.problems == []
        assert self.hosts <= {"127.0.0.1", "None"}, "`data:` has no host"
        assert self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert self.page.title() != "bad"
        self.page.close()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def shown(predictor_of):
    """The address of the demo of a task."""
    from hfrecipes.serving.demo import launch, make_demo
    from hfrecipes.serving.listening import address_of, listening_socket

    pages = []

    def show(task: str) -> str:
        with listening_socket("127.0.0.1", 0) as listening:
            address = address_of(listening)
        pages.append(make_demo(predictor_of(task)))
        launch(pages[-1], "127.0.0.1", int(address.rpartition(":")[2]), share=False)
        return address

    yield show
    for page in pages:
        page.close(verbose=False)


@pytest.mark.parametrize("task", [task for task in SHIPPED if task != "chat"])
def test_an_example_and_a_wicked_row_are_predicted(task, shown, browser):
    address = shown(task)
    for width in WIDTHS:
        visit = Visit(browser, width)
        page = visit.page
        page.goto(address)
        page.locator("button.gallery-item, tr.tr-body").first.click()
        predict = page.get_by_role("button", name="Predict")
        page.wait_for_function("Array.from(document.querySelectorAll('textarea')).every(box => box.value)")
        predict.click()
        page.wait_for_selector(f".hf {SHOWN.get(task, '.text, div')}")
        assert page.locator(".hf .problem").count() == 0
        for text, count in (("", 1), (f"{WICKED}\nno", 0)):
            for label in page.locator("label:has(textarea)").all():
                # A box that expects JSON may stay empty.
                label.locator("textarea").fill("" if "(JSON)" in label.inner_text() else text)
            visit.repeat(predict.click, page.locator(".hf .problem"), count)
        visit.check()


def test_the_json_of_a_prediction_can_be_read(shown, browser):
    visit = Visit(browser, 1280)
    page = visit.page
    page.goto(shown("text-classification"))
    page.locator("textarea").fill("我的包裹在哪里？")
    page.get_by_role("button", name="Predict").click()
    page.wait_for_selector(".hf .rail")
    page.get_by_role("button", name="As JSON").click()
    page.wait_for_selector("text=scores")
    visit.check()


def test_a_dialogue_has_replies_and_starts_anew(shown, browser):
    address = shown("chat")
    for width in WIDTHS:
        visit = Visit(browser, width)
        page = visit.page
        page.goto(address)
        for number, message in enumerate((WICKED, "And on Sunday?"), 1):
            page.locator("textarea").fill(message)
            visit.repeat(partial(page.locator("textarea").press, "Enter"), page.locator(".user.message"), number)
            page.wait_for_function("number => document.querySelectorAll('.bot.message').length >= number", arg=number)
        assert "<script>" in page.locator(".user.message").first.inner_text()
        page.get_by_role("button", name="New dialogue").click()
        page.wait_for_function("document.querySelectorAll('.message').length === 0")
        visit.check()


def test_the_page_of_a_server_sends_rows_and_shows_the_answer(predictor_of, browser):
    from hfrecipes.serving.server import make_app

    predictor = predictor_of("text-classification")
    with served(make_app(predictor), Limits()) as address:
        for width in WIDTHS:
            visit = Visit(browser, width)
            page = visit.page
            page.goto(f"{address}/docs")
            for body in (json.dumps({"text": WICKED}), None):
                if body is None:
                    page.get_by_role("button", name="List").click()
                else:
                    page.locator("#body").fill(body)
                page.locator("#answer").evaluate("answer => { answer.textContent = ''; }")
                page.get_by_role("button", name="Send").click()
                page.locator("#answer", has_text="200").wait_for()
            assert page.locator("#answer").inner_text().count('"label"') >= 2
            visit.check()
