"""Rows on standard input: objects or texts, and never half of them one and half the other."""

from __future__ import annotations

import io

import pytest

from hfrecipes.data.standard_input import read_rows
from hfrecipes.errors import DataError

GOOD = '{"text": "a"}'


def rows_of(content: str | bytes) -> list:
    return read_rows(io.BytesIO(content if isinstance(content, bytes) else content.encode()))


def refusal(content: str | bytes) -> str:
    with pytest.raises(DataError) as caught:
        rows_of(content)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ("one\ntwo\n", ["one", "two"]),
        ("\ufeffone\r\ntwo\r\n\r\n", ["one", "two"]),
        ("one\n\ntwo", ["one", "", "two"]),
        ("{x} is fine\n{y} too\n", ["{x} is fine", "{y} too"]),
        ("a\u2028b", ["a\u2028b"]),
        ("[1, 2]\n3\n", ["[1, 2]", "3"]),
        (f"see below\n{GOOD}\n", ["see below", GOOD]),
        (f"{GOOD}\n", [{"text": "a"}]),
        ("\n" * 70_000 + f"{GOOD}\n\n {GOOD}\n", [{"text": "a"}, {"text": "a"}]),
    ],
)
def test_lines_are_all_objects_or_all_texts(content, rows):
    assert rows_of(content) == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f'{GOOD}\n{{"text": \n', "standard input line 2 is not valid JSON (Expecting value): fix or delete that line"),
        (f"{GOOD}\n\nplain words\n", "line 3 is not a JSON object, as other lines are: fix or delete that line"),
        (f"{GOOD}\n[{GOOD}]\n", "line 2 is not a JSON object"),
        (f'ext": "a"}}\n{GOOD}\n{GOOD}\n', "line 1 is not a JSON object"),
        (f'{{"text": \n{GOOD}\n{GOOD}\n', "line 1 is not valid JSON"),
        (f'{{"text": \n{GOOD}\n', "line 1 is not valid JSON"),
        (f"{GOOD}\n{GOOD}{GOOD}\n", "line 2 is not valid JSON (Extra data)"),
        (f'{GOOD}\n{{"text": {"[" * 100_000}\n', "line 2 has lists or objects nested too deeply"),
        (f'{GOOD}\n{{"text": {"9" * 5_000}}}\n', "line 2 has a number with too many digits"),
        ("", "is empty"),
        ("\ufeff", "is empty"),
        (" \n" * 70_000, "is empty"),
        (b"caf\n\xe9\n", "byte 0xe9 in line 2"),
        ("words".encode("utf-16"), "is not UTF-8 text"),
    ],
)
def test_what_is_wrong_on_standard_input_has_its_line(content, message):
    assert message in refusal(content)
