"""The rows that docs/data.md shows are read as they are, and as what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

import hfrecipes
from hfrecipes.config.overrides import parse_overrides
from hfrecipes.registry import list_tasks

PAGE_FILE = Path(__file__).parents[1] / "docs" / "data.md"
PAGE = PAGE_FILE.read_text(encoding="utf-8")
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
    """A file that the page shows."""

    task: str
    name: str
    settings: str
    text: str


def shown() -> list[Shown]:
    """All files of the page, for each task of their section."""
    files = []
    for section in PAGE.split("\n## ")[1:]:
        heading, _, body = section.partition("\n")
        pattern = r"\b[Ii]n `([^`\n]+\.\w+)`([^\n]*):\n\n```\w+\n(.*?)```"
        for name, rest, text in re.findall(pattern, body, re.DOTALL):
            settings = " ".join(re.findall(r"`(columns\.[^`]+)`", rest))
            files += [Shown(task, name, settings, text) for task in TASKS.get(heading, [])]
    return files


SHOWN = shown()


def test_every_task_has_a_file_on_the_page():
    with_example = {file.stem.replace("_", "-") for file in (PAGE_FILE.parents[1] / "examples").glob("*.py")}
    assert {file.task for file in SHOWN} == with_example <= set(list_tasks())
    assert len(SHOWN) == PAGE.count("```csv") + PAGE.count("```json") + PAGE.count("```text") + 2  # two for two tasks


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
        ("评论.csv", ["好评", "差评"]),
        ("topics.jsonl", ["education", "politics", "sport"]),
        ("toxic.csv", ["toxic", "insult"]),
        ("prices.csv", []),
        ("fasttext.txt", ["bad", "good"]),
    ],
)
def test_labels_are_those_of_the_section(name, labels, tmp_path):
    (text,) = (file.text for file in SHOWN if file.name == name)
    (tmp_path / name).write_text(text, encoding="utf-8")
    path = str(tmp_path / name)
    report = hfrecipes.check("text-classification", dataset={"train": path, "validation": path})
    assert sorted(report["labels"]) == sorted(labels)
