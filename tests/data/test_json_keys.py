"""A key twice in an object of JSON is refused, where Python would keep the last value."""

from __future__ import annotations

import json

import pytest

from hfrecipes.data.sources import read_source
from hfrecipes.errors import DataError

FLAT, TWICE = '{"text": "a", "label": "x"}', '{"text": "b", "label": "x", "label": "y"}'
DEEP, DEEP_TWICE = '{"t": [{"a": 1}]}', '{"t": [{"a": 1, "a": 2}]}'


@pytest.mark.parametrize(
    ("lines", "line", "key"),
    [
        ([FLAT, TWICE], 2, "label"),
        ([TWICE], 1, "label"),
        ([DEEP, DEEP_TWICE], 2, "a"),
        ([DEEP_TWICE, DEEP], 1, "a"),
        (['{"text": "he said \\":\\"", "label": "x"}', FLAT, TWICE], 3, "label"),
        (['{"text" : "a", "label" : "x"}', '{"text" : "a", "text" : "x"}'], 2, "text"),
    ],
)
def test_a_key_twice_in_a_row_is_refused_with_its_line(tmp_path, lines, line, key):
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=f"rows.jsonl line {line} has the key '{key}' twice in one object"):
        read_source(str(file))


@pytest.mark.parametrize("text", [f"[{FLAT},\n{TWICE}]", f'{{"data": [{FLAT}],\n"data": [{FLAT}]}}'])
def test_a_key_twice_in_a_document_is_refused(tmp_path, text):
    (tmp_path / "rows.json").write_text(text)
    with pytest.raises(DataError, match="twice in one object: delete one"):
        read_source(str(tmp_path / "rows.json"))


def test_texts_with_quotes_and_colons_are_read_as_they_are(tmp_path):
    rows = [{"text": '{"a": 1, "a": 2}', "label": "x"}, {"text": '":":":', "label": "y"}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert read_source(str(tmp_path / "rows.jsonl"))["train"].to_list() == rows


@pytest.mark.parametrize(
    ("name", "text", "edit"),
    [
        (
            "a.json",
            '{"train": [{"text": "a"}], "test": [{"text": "b"}]}',
            "the splits train, test: write the list of each",
        ),
        ("a.jsonl", '["a", {"entities": []}]\n["b", {"entities": []}]\n', "a list on each line, expected an object"),
    ],
)
def test_documents_of_other_forms_are_refused_with_the_edit(tmp_path, name, text, edit):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=edit):
        read_source(str(tmp_path / name))
