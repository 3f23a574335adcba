"""docs/moving.md: each new word is a setting that exists, and the same that the hint for the old word names."""

from __future__ import annotations

import contextlib
import re
import shlex
from pathlib import Path

import pytest

from hfrecipes.config import hints
from hfrecipes.config.overrides import parse_overrides
from hfrecipes.errors import MissingPackageError
from hfrecipes.training.configuration import configure

PAGE = (Path(__file__).parents[1] / "docs" / "moving.md").read_text(encoding="utf-8")
TASKS = {"From SFTTrainer": "chat"}


def rows() -> list[tuple[str, str, str]]:
    """Task, old words and new words of each line of the tables."""
    found = []
    for section in PAGE.split("\n## ")[1:]:
        heading, _, body = section.partition("\n")
        for old, new in re.findall(r"^\| (.*?) \| (.*?) \|$", body, re.MULTILINE):
            if old != "old":
                found.append((TASKS.get(heading, "text-classification"), old, new))
    return found


ROWS = rows()


def new_settings(text: str) -> list[str]:
    """The `key=value` words of a cell, each code span by itself."""
    return [span for span in re.findall(r"`([^`]+)`", text) if re.match(r"[\w.]+=", span)]


def test_the_tables_are_read():
    assert len(ROWS) > 50
    assert len(new_settings(" ".join(new for _, _, new in ROWS))) > 40


@pytest.mark.parametrize(("task", "old", "new"), ROWS, ids=[old for _, old, _ in ROWS])
def test_each_new_word_is_accepted(task, old, new):
    lower = {"task": task, "model": "a/model", "dataset": "a/texts"}
    for span in new_settings(new):
        # A tracker may not be installed where this runs; its name is accepted before that is found out.
        with contextlib.suppress(MissingPackageError):
            configure(lower, parse_overrides(shlex.split(span.replace(", ", ","))))


@pytest.mark.parametrize(("task", "old", "new"), ROWS, ids=[old for _, old, _ in ROWS])
def test_the_hint_for_an_old_word_names_the_new_one(task, old, new):
    for span in re.findall(r"`([^`]+)`", old):
        for name in re.findall(r"(?:^|--)([a-z][\w-]+)(?= |=|$)", span):
            hint = hints.hint_for(name.replace("-", "_"), 3)
            keys = re.findall(r"([\w.]+)=", hint.edit) if hint else []
            # A hint without an edit explains, and so does the cell; a `model` or `dataset` has forms of its own.
            if keys and "=" in new and not new.startswith(("`model", "`dataset", "`train_on", "`bf16")):
                assert keys[0] in re.findall(r"([\w.]+)=", new), (name, hint)
