"""Dialogues whose turns are dicts of lists, and whose second speaker is called system."""

from __future__ import annotations

import pytest

import hfrecipes
from hfrecipes.data.prepare import load_data
from hfrecipes.errors import DataError
from hfrecipes.training.configuration import configure


def rows_of(first: object, second: object, number: int = 20) -> list[dict]:
    rows = []
    for row in range(number):
        rows.append({"turns": {"speaker": [first, second], "utterance": [f"a table for {row}", "done"]}})
    return rows


def test_turns_in_a_dict_of_lists_are_read():
    settings = {"dataset": rows_of(0, 1), "options": {"roles": {"0": "user", "1": "assistant"}}}
    config, recipe = configure("chat", settings)
    messages = load_data(config, recipe)[0].splits["train"][0]["messages"]
    assert [turn["role"] for turn in messages] == ["user", "assistant"]
    assert messages[1]["content"] == "done"


def test_a_system_that_answers_is_named_with_the_edit():
    rows = rows_of("USER", "SYSTEM")
    with pytest.raises(DataError, match=r"options\.roles\.system=assistant reads them as its own"):
        hfrecipes.check("chat", dataset=rows)
    found = hfrecipes.check("chat", dataset=rows, options={"roles": {"system": "assistant"}})
    assert found["rows"]["train"] == 18


def test_tags_written_as_text_are_refused_with_the_edit_that_reads_them():
    rows = [{"text": f"Ana sat {row}", "labels": "B-PER O O"} for row in range(20)]
    with pytest.raises(DataError, match=r"columns\.tags=labels if they are written as texts"):
        hfrecipes.check("token-classification", dataset=rows)
    found = hfrecipes.check("token-classification", dataset=rows, columns={"tags": "labels"})
    assert found["labels"] == ["O", "B-PER"]
