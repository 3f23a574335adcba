"""The site of the documentation: every page is on it, links lead to its pages, and a broken one fails the build."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
_spec = importlib.util.spec_from_file_location("make_site", ROOT / "docs" / "make_site.py")
make_site = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(make_site)


def pages_in_navigation() -> list[str]:
    """Path of every page in the navigation, in its order."""
    paths = []
    for group in make_site.navigation():
        for pages in group.values():
            paths += make_site.pages_of(pages)
    return paths


def test_every_page_is_in_the_navigation_once():
    assert sorted(pages_in_navigation()) == sorted([*make_site.site_paths().values(), make_site.API])


@pytest.mark.parametrize(
    ("page", "link", "moved"),
    [
        ("docs/check.md", "[start](../README.md#install)", "[start](index.md#install)"),
        ("README.md", "[guides](docs/README.md)", "[guides](guides.md)"),
        ("recipes/README.md", "[memory](../docs/memory.md)", "[memory](memory.md)"),
        ("docs/check.md", "[here](#below)", "[here](#below)"),
        ("docs/check.md", "[PyTorch](https://pytorch.org)", "[PyTorch](https://pytorch.org)"),
        ("docs/check.md", "[the licence](../LICENSE)", "the licence"),
        ("docs/check.md", "```python\n[f](../LICENSE)\n```", "```python\n[f](../LICENSE)\n```"),
    ],
)
def test_links_lead_to_pages_of_the_site(page, link, moved):
    assert make_site.on_site(link, page, "") == moved


def test_the_address_of_a_release_is_shown_and_linked():
    text = 'pip install "hfrecipes @ git+<repository>" and [the licence](../LICENSE)'
    shown = make_site.on_site(text, "docs/check.md", "https://example.org/hfrecipes")
    assert shown == (
        'pip install "hfrecipes @ git+https://example.org/hfrecipes" '
        "and [the licence](https://example.org/hfrecipes/blob/HEAD/LICENSE)"
    )


def test_the_list_for_programs_has_every_page_and_what_guides_are_about():
    text = make_site.llms_txt()
    assert text.startswith("# hfrecipes\n\n> ")
    assert re.findall(r"^- \[.*?\]\((\S+)\)", text, re.MULTILINE) == pages_in_navigation()
    assert re.search(r"\(check\.md\): \S", text)


def test_the_search_finds_words_and_chinese_characters():
    search, *_ = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["plugins"]
    separator = search["search"]["separator"]
    assert re.split(separator, "lora.r=8 对抗训练，lr 0.1") == ["lora", "r", "8", "对", "抗", "训", "练", "lr", "0.1"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to build the site in, beside others that do."""
    pytest.importorskip("zensical")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)  # the builder works where the file lies
    for name in ("docs", "hfrecipes"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


@pytest.mark.long
def test_the_site_is_built_strictly_and_loads_nothing_from_elsewhere(folder):
    assert make_site.build(folder) == 0
    site = folder / "site"
    for path in pages_in_navigation():
        page = (site / path).with_suffix(".html").read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe)[^>]*\ssrc=.?(\w+:)", page)
        loaded += re.findall(r"<link[^>]*\shref=.?(\w+:)", page)
        assert set(loaded) <= {"data:"}, path
    assert 'id="hfrecipes.run"' in (site / "api.html").read_text(encoding="utf-8")
    assert (site / "llms.txt").read_text(encoding="utf-8") == make_site.llms_txt()


@pytest.mark.long
@pytest.mark.parametrize("link", ["nowhere.md", "check.md#nowhere"])
def test_a_broken_link_fails_the_build(folder, link, monkeypatch):
    monkeypatch.setattr(make_site, "api_page", lambda: f"# Python API\n\n[broken]({link})\n")
    assert make_site.build(folder) != 0
