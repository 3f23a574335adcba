"""Neither side of the docs lags: each English page has a Chinese one with the same sections, settings and commands.

A comment below the heading of a Chinese section names the English sections that it covers, `<!-- en: Data -->`.
"""

from __future__ import annotations

import re
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest

from hfrecipes.cli import main
from hfrecipes.config.run_config import RunConfig
from hfrecipes.config.trainer_keywords import training_types
from hfrecipes.registry import find, list_tasks

DOCS = Path(__file__).resolve().parents[1] / "docs"
# Made from the code, whose texts are in English -> Chinese pages that link to them instead.
FROM_CODE = {"all-settings.md": ("README.md", "settings.md"), "errors.md": ("README.md", "troubleshooting.md")}
# Its English side is the README of the project.
START = "quickstart.md"
PAGES = sorted({file.name for file in DOCS.glob("*.md")} - set(FROM_CODE))
# Pages whose English code runs in tests of its own.
COPIED = ("hub.md", "write-a-task.md")
# Blocks whose keys are names of the user's own.
OWN_KEYS = ("tests", "class_weights", "roles")
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COVERS = re.compile(r"<!-- en: (.*?) -->")


def english(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def chinese(page: str) -> str:
    return (DOCS / "zh" / page).read_text(encoding="utf-8")


def sections(text: str) -> list[tuple[str, str]]:
    """Heading and text of each section below the title, at any level."""
    without_code = FENCED.sub("(code)", text)
    parts = re.split(r"^##+ (.*)$", without_code, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


@cache
def known_settings() -> set[str]:
    """First word of every setting: blocks of a recipe file, arguments of the Trainer, options of tasks."""
    names = {field.name for field in fields(RunConfig)} | set(training_types())
    for task in list_tasks():
        names |= {field.name for field in fields(find(task))}
    return names


def code(text: str) -> str:
    """Code spans and blocks of a page as lines; Python and rows of data, whose words are others, are left out."""
    lines = []
    for language, block in FENCED.findall(text):
        if language in ("bash", "sh", "powershell", "text"):
            lines += [line for line in block.splitlines() if "hfrecipes" in line]
    for span in re.findall(r"`([^`\n]+)`", FENCED.sub("", text)):
        lines.append(span)
    return "\n".join(lines)


def settings(text: str) -> set[str]:
    """Names of the settings that a page shows, such as `lora.r`."""
    names = set()
    for name in re.findall(r"(?<![^\s{(])([a-z]\w*(?:\.\w+)*)=", code(text)):
        name = name.removeprefix("options.")
        first = name.partition(".")[0]
        if first in known_settings():
            names.add(first if first in OWN_KEYS else name)
    # Settings that are named without a value, as `max_length` often is.
    names |= set(code(text).splitlines()) & known_settings()
    return names


def commands(text: str) -> set[str]:
    """Commands of hfrecipes and their options that a page shows."""
    names = set(re.findall(r"\bhfrecipes ([a-z]+)\b", code(text))) & set(main.commands)
    for line in code(text).splitlines():
        if line.startswith("--") or "hfrecipes" in line:
            names |= set(re.findall(r"(?<!\S)(--[a-z][\w-]+)", line))
    return names


def test_each_page_has_both_sides():
    there = {file.name for file in (DOCS / "zh").glob("*.md")}
    both = {file.name for file in DOCS.glob("*.md")}
    assert both - there == set(FROM_CODE), "write docs/zh/<page> too"
    assert there - both == {START}


@pytest.mark.parametrize("page", sorted(FROM_CODE))
def test_chinese_readers_are_led_to_a_page_made_from_the_code(page):
    for start in FROM_CODE[page]:
        assert f"](../{page}" in chinese(start)


@pytest.mark.parametrize("page", PAGES)
def test_both_sides_have_the_same_sections(page):
    covered = []
    for names in COVERS.findall(chinese(page)):
        covered += names.split(" | ")
    headings = [heading for heading, _ in sections(english(page))]
    missing = [heading for heading in headings if heading not in covered]
    assert not missing, f"docs/zh/{page} has no section for these: write them, each with <!-- en: heading -->"
    outdated = [name for name in covered if name not in headings]
    assert not outdated, f"docs/{page} has no such sections any more"


@pytest.mark.parametrize("page", PAGES)
def test_no_section_of_a_chinese_page_is_empty(page):
    for heading, text in sections(chinese(page)):
        written = re.findall(r"[\u4e00-\u9fff]", COVERS.sub("", text))
        assert len(written) >= 10 or "(code)" in text or not COVERS.search(text), heading


@pytest.mark.parametrize("page", PAGES)
def test_a_chinese_page_names_every_setting_and_command_of_the_english_one(page):
    assert settings(english(page)) <= settings(chinese(page)), f"write about these in docs/zh/{page}"
    assert commands(english(page)) <= commands(chinese(page)), f"write about these in docs/zh/{page}"


@pytest.mark.parametrize("page", PAGES)
def test_figures_of_a_chinese_page_are_on_the_english_one(page):
    # What is measured anew has other digits, and a figure that stays behind in Chinese is then found.
    prose = re.sub(r"`[^`\n]*`", "", FENCED.sub("", chinese(page)))
    figures = re.findall(r"(?<![\w.])\d[\d,]*\.\d+(?![\w.])", prose)
    there = re.findall(r"\d[\d,]*\.\d+", english(page))
    assert set(figures) <= set(there), f"measured anew in docs/{page}?"


@pytest.mark.parametrize("page", COPIED)
def test_code_that_runs_elsewhere_is_a_copy_of_the_english_code(page):
    blocks = [block for block in FENCED.findall(chinese(page)) if block[0] in ("bash", "python")]
    assert blocks
    for block in blocks:
        assert block in FENCED.findall(english(page)), block


@pytest.mark.parametrize("page", PAGES)
def test_the_two_sides_of_a_page_are_linked(page):
    assert english(page).startswith(f"[中文](zh/{page})\n\n# ")
    assert chinese(page).startswith(f"[English](../{page})\n\n# ")


@pytest.mark.parametrize("page", [*PAGES, START])
def test_chinese_text_is_set_as_chinese_text_is(page):
    text = re.sub(r"`[^`\n]*`|\]\([^)]*\)", "", FENCED.sub("", chinese(page)))
    han = r"[\u4e00-\u9fff]"
    assert not re.findall(rf"{han}[,;:?!]|[,;:?!]{han}", text), "punctuation of Chinese text is full-width"
    assert not re.findall(rf"{han}{{0,6}}{han}[A-Za-z0-9]|[A-Za-z0-9]{han}{{1,6}}", text), "a space is missing"


def test_the_comparison_notices_a_section_a_setting_and_a_command():
    text = "# T\n\n## New\n\nUse `options.lora.r=8` and:\n\n```bash\nhfrecipes check X --strict seed=1\n```\n"
    assert sections(text)[0][0] == "New"
    assert settings(text) == {"lora.r", "seed"}
    assert commands(text) == {"check", "--strict"}
