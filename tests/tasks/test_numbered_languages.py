"""Several translations of a text, in columns or files whose language has a number."""

from __future__ import annotations

import pytest

import hfrecipes
from hfrecipes.data.prepare import load_data
from hfrecipes.training.configuration import configure

SHAPES = [
    {"en": "hi {}", "zh0": "嗨 {}", "zh1": "喂 {}"},
    {"zh_0": "嗨 {}", "zh_1": "喂 {}", "en": "hi {}"},
    {"translation": {"en": "hi {}", "zh0": "嗨 {}", "zh1": "喂 {}"}},
]


def numbered(cell: object, row: int) -> object:
    if isinstance(cell, dict):
        return {key: numbered(inner, row) for key, inner in cell.items()}
    return str(cell).format(row)


@pytest.mark.parametrize("shape", SHAPES)
def test_numbered_columns_of_a_language_are_references(shape, caplog):
    config, recipe = configure("translation", {"dataset": [numbered(shape, row) for row in range(20)]})
    train = load_data(config, recipe)[0].splits["train"]
    number = train[0]["source"].removeprefix("hi ")
    assert train[0]["target"] == f"嗨 {number}"
    assert recipe.reference(train[0]) == [f"嗨 {number}", f"喂 {number}"]
    assert (recipe.source_lang, recipe.target_lang) == ("en", "zh")
    assert "target: up to 2 texts per row, taken as several references" in caplog.text


def test_of_several_texts_to_translate_the_first_is_read_and_the_others_are_named(caplog):
    rows = [numbered(SHAPES[0], row) for row in range(20)]
    found = hfrecipes.check("translation", dataset=rows, source_lang="zh", target_lang="en")
    assert found["columns"]["source"] == "source"
    assert "zh0, zh1: several texts per row to translate, only zh0 is used" in caplog.text


@pytest.mark.parametrize("names", [("test.de.0", "test.de.1"), ("test.de0", "test.de1")])
def test_numbered_files_of_a_language_are_references(names, tmp_path):
    for language, word in (("en", "hi"), ("de", "hallo")):
        (tmp_path / f"train.{language}").write_text("".join(f"{word} {row}\n" for row in range(20)))
    (tmp_path / "test.en").write_text("good day\n")
    for name, word in zip(names, ("guten Tag", "Moin"), strict=True):
        (tmp_path / name).write_text(f"{word}\n")
    settings = {"dataset": str(tmp_path), "source_lang": "en", "target_lang": "de"}
    config, recipe = configure("translation", settings)
    test = load_data(config, recipe)[0].splits["test"]
    assert recipe.reference(test[0]) == ["guten Tag", "Moin"]


def test_columns_that_are_numbered_and_no_language_are_left_alone():
    rows = [{"source": f"a {row}", "target": f"b {row}", "doc0": "x", "doc1": "y"} for row in range(20)]
    found = hfrecipes.check("translation", dataset=rows)
    assert found["columns"] == {"source": "source", "target": "target"}
