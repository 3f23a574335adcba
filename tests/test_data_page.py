"""The rows that docs/data.md and docs/zh/data.md show are read as they are, and as what the pages say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

import hfrecipes
from hfrecipes.config.overrides import parse_overrides
from hfrecipes.registry import list_tasks

ROOT = Path(__file__).parents[1]
PAGES = [(ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("data.md", "zh/data.md")]
TASKS = {
    "Text classification": ["text-classification"],
    "Token classification": ["token-classification"],
    "Question answering": ["question-answering"],
    "Multiple choice": ["multiple-choice"],
    "Fill-mask and text generation": ["fill-mask", "text-generation"],
    "Summarization": ["summarization"],
    "Translation": ["translation"],
    "Text to text": ["text2text-generation"],
    "Chat": ["chat"],
    "Decision": ["decision"],
}


class Shown(NamedTuple):
    """A file that a page shows."""

    task: str
    name: str
    settings: str
    text: str


def shown(page: str) -> list[Shown]:
    """All files of a page, for each task of their section."""
    files = []
    for section in page.split("\n## ")[1:]:
        heading, _, body = section.partition("\n")
        # A section in Chinese names the English one in a comment.
        named = re.search(r"<!-- en: (.*?) -->", body)
        pattern = r"(?:\b[Ii]n|文件) `([^`\n]+\.\w+)`([^\n]*)[:：]\n\n```\w+\n(.*?)```"
        for name, rest, text in re.findall(pattern, body, re.DOTALL):
            settings = " ".join(re.findall(r"`(columns\.[^`]+)`", rest))
            files += [Shown(task, name, settings, text) for task in TASKS.get(named[1] if named else heading, [])]
    return files


SHOWN = [*shown(PAGES[0]), *shown(PAGES[1])]


@pytest.mark.parametrize("page", PAGES, ids=["English", "Chinese"])
def test_every_task_has_a_file_on_the_page(page):
    with_example = {file.stem.replace("_", "-") for file in (ROOT / "examples").glob("*.py")}
    files = shown(page)
    assert {file.task for file in files} == with_example <= set(list_tasks())
    # Two more, as a section of two tasks shows two files.
    assert len(files) == page.count("```csv") + page.count("```json") + page.count("```text") + 2


@pytest.mark.parametrize("file", SHOWN, ids=lambda file: f"{file.task}-{file.name}")
@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_three_rows_are_read(file, encoding, tmp_path):
    try:
        encoded = file.text.encode(encoding)
    except UnicodeEncodeError:
        pytest.skip(f"{encoding} has not all of these characters")
    path = tmp_path / file.name
    path.write_bytes(encoded)
    settings = parse_overrides(file.settings.split())
    # Validation of its own: three rows are too few to draw one from.
    report = hfrecipes.check(file.task, dataset={"train": str(path), "validation": str(path)}, **settings)
    assert report["rows"]["train"] == 3


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("reviews.csv", ["bad", "good"]),
        ("topics.jsonl", ["education", "politics", "sport"]),
        ("toxic.csv", ["toxic", "insult"]),
        ("prices.csv", []),
        ("工单.csv", ["发票", "售后", "物流"]),
        ("句对.jsonl", ["不同", "相同"]),
        ("审核.csv", ["广告", "辱骂"]),
        ("房价.csv", []),
    ],
)
def test_labels_are_those_of_the_section(name, labels, tmp_path):
    (file,) = (file for file in SHOWN if file.name == name)
    (tmp_path / name).write_text(file.text, encoding="utf-8")
    path = str(tmp_path / name)
    settings = parse_overrides(file.settings.split())
    report = hfrecipes.check("text-classification", dataset={"train": path, "validation": path}, **settings)
    assert sorted(report["labels"]) == sorted(labels)
