"""Models that are named where none is given: three for the language of the rows, from one table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rows import opinions

import hfrecipes
from hfrecipes.errors import ConfigError
from hfrecipes.models import suggestions
from hfrecipes.registry import find, list_tasks

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
CHINESE = [{"text": "这部电影很好看", "label": "好"}, {"text": "菜太咸了", "label": "坏"}] * 20


@pytest.mark.parametrize("language", ["en", "zh", "many"])
@pytest.mark.parametrize("task", list_tasks())
def test_every_task_has_three_models_for_every_language(task, language):
    models = suggestions.suggestions(task, find(task).auto_model, language)
    assert len(models) == 3
    assert {model.language for model in models} <= {language, "many"}


@pytest.mark.parametrize(
    ("rows", "model"),
    [
        ([dict(row, text=f"it is true that {row['text']}, and you know it") for row in opinions(40)], "distilbert"),
        (CHINESE, "bert-base-chinese"),
    ],
)
def test_a_run_without_a_model_names_some_for_the_language_of_its_rows(rows, model, caplog):
    with pytest.raises(ConfigError, match="no model: add model=<hub id or folder>") as caught:
        hfrecipes.run("text-classification", dataset=rows, output_dir="out")
    named = re.findall(
        r"^- model=(\S+) learning_rate=\S+ \(\d+M parameters, [\w.-]+\)$", str(caught.value), re.MULTILINE
    )
    assert len(named) == 3
    assert model in named[0]
    assert not Path("out").exists()
    hfrecipes.check("text-classification", dataset=rows)
    assert f"model={named[0]}" in caplog.text


def test_the_page_shows_the_table():
    assert suggestions.table() in PAGE.read_text(encoding="utf-8")
