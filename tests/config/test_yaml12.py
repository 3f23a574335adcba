"""Recipe files are plain values: what they cannot hold is one sentence with its line, and every text survives them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfrecipes.config.overrides import parse_overrides
from hfrecipes.config.recipe_files import read_recipe_file
from hfrecipes.config.yaml12 import dump, format_value, load, parse_value
from hfrecipes.errors import ConfigError
from hfrecipes.training.configuration import configure

TASK = "task: text-classification\n"


def refusal(settings: dict) -> str:
    with pytest.raises(ConfigError) as caught:
        configure("text-classification", settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def refusal_of(content: str) -> str:
    """The sentence on a recipe file that starts with its task."""
    Path("r.yaml").write_text(TASK + content, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        configure("r.yaml", {})
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- recipe files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("seed: 1\nseed: 2", "r.yaml line 3: duplicate key 'seed': keep one of them"),
        ("lora: {r: 2, r: 3}", "r.yaml line 2: duplicate key 'r': keep one of them"),
        ("---\ntask: b", "r.yaml line 2: found a second document: delete one of them"),
        ("model: a\x85b", r"r.yaml line 2: found the character U+0085: write it as \u0085 in double quotes"),
        ("model: a\0b", "r.yaml line 2: found the character U+0000, not valid YAML: delete it"),
        ("training:\n\tseed: 1", "r.yaml line 3: not valid YAML (found character"),
        ("metrics: [a", "r.yaml line 2: not valid YAML"),
        ("<<: {seed: 1}", "unknown setting <<"),
    ],
)
def test_what_is_wrong_in_a_recipe_file_has_its_line(content, message):
    assert message in refusal_of(content)


@pytest.mark.parametrize(
    "value",
    [
        *("!!int x", "!!int", "!!int [1]", "!!int 5", "!!float", "!!bool maybe", "!!timestamp 2020-13-45"),
        *("!!timestamp word", "!!map y", "!!set y", "!!omap y", "!!binary '!!'", "!mine x", "! 5", "!<x> 5"),
        *("!!python/object/apply:os.system [ls]", "!!python/name:os.system", "[1, !!int x]", "{a: !!str 5}"),
    ],
)
def test_a_tag_is_refused(value):
    sentence = refusal_of(f"seed: {value}")
    assert sentence.startswith("r.yaml line 2: the tag ")
    assert sentence.endswith(" is not read: leave it out, or put a text in quotes")


# Each line repeats the one before nine times: 9 ** 8 values of a few hundred characters.
MANY_ALIASES = "a0: &a0 {k: x}\n"
for _line in range(1, 9):
    MANY_ALIASES += f"a{_line}: &a{_line} [{', '.join([f'*a{_line - 1}'] * 9)}]\n"


@pytest.mark.parametrize("content", [MANY_ALIASES, "a: &a {b: *a}", "a: &a [*a]", "seed: &a 5", "seed: *a"])
def test_anchors_and_aliases_are_refused(content):
    assert re.search(
        r"r\.yaml line 2: the (anchor &|alias \*)a0? is not read: write its values out", refusal_of(content)
    )


DEEP = {
    "lists": "x: " + "[" * 5000,
    "closed lists": "x: " + "[" * 50 + "]" * 50,
    "blocks": "x: " + "{a: " * 5000,
    "lines": "\n".join(" " * level + "a:" for level in range(1000)),
    "dashes": "x:\n" + "- " * 3000 + "a",
    "a setting": "metrics: " + "[" * 400 + "]" * 400,
}


@pytest.mark.parametrize("content", DEEP.values(), ids=DEEP)
def test_values_that_are_nested_deeply_are_refused(content):
    assert re.search(r"r\.yaml line \d+: found lists or blocks more than 30 levels deep: delete", refusal_of(content))


@pytest.mark.parametrize("digits", ["9" * 4301, "9" * 400, "0x" + "f" * 5000, "0o" + "7" * 5000, "1." + "0" * 5000])
@pytest.mark.parametrize("key", ["seed", "learning_rate", "nothing"])
def test_a_number_that_no_setting_can_be_is_refused(key, digits):
    assert f"r.yaml line 2: found a number of {len(digits)} digits: shorten it" in refusal_of(f"{key}: {digits}")


@pytest.mark.parametrize("key", ["5", "~", "true", "1.5", ".nan", "? [a, b]\n", "? {a: 1}\n", "? [a]\n: 1\n? [a]\n"])
@pytest.mark.parametrize("block", ["", "training", "options", "columns", "hub", "model", "dataset"])
def test_a_key_that_is_no_text_is_refused(block, key):
    lines = f"{key}: 1".splitlines()
    content = "\n".join([f"{block}:", *(f"  {line}" for line in lines)] if block else lines)
    start = f"r.yaml line {3 if block else 2}: found "
    assert re.search(re.escape(start) + ".* as the name of a setting, expected a text", refusal_of(content))


@pytest.mark.parametrize("block", ["", "columns", "training", "lora", "early_stopping"])
def test_a_file_of_thousands_of_keys_is_no_recipe_file(block):
    lines = [f"{'  ' if block else ''}k{number}: 1" for number in range(20_000)]
    assert "found more than 10000 keys" in refusal_of("\n".join([f"{block}:", *lines] if block else lines))


def test_a_file_of_many_megabytes_is_no_recipe_file():
    Path("r.yaml").write_bytes(b"#" * (11 * 2**20))
    with pytest.raises(ConfigError, match=r"r.yaml has 11,534,336 bytes, expected a recipe file of 10,485,760 at most"):
        read_recipe_file("r.yaml")


# --- what is written ---------------------------------------------------------------------------------------------

TEXTS = [
    "no",
    "1e3",
    "0x10",
    "0o7",
    "~",
    "",
    " a ",
    "a: b",
    "#a",
    "a #b",
    "- a",
    "<<",
    "=",
    "1_000",
    "12:30",
    "2026-01-02",
]
TEXTS += ["a\x85b", "\u2028", "\u2029a", "\ufeff", "a\nb\n", "\r", "\t", "\x07", "'", '"', "{a", "[", "!a", "&a", "*a"]


@given(st.text(max_size=40) | st.sampled_from(TEXTS) | st.text("abno5e-.: #'\"{\x85\u2028\n\t\0", max_size=12))
def test_any_text_survives_a_recipe_file_and_the_command_line(text):
    settings = {"a": text, "b": [text], "c": {text: text}}
    assert load(dump(settings)) == settings
    assert parse_value(format_value(text)) == text
    assert parse_value(format_value([text])) == [text]


@pytest.mark.parametrize("text", ["\ud83d", "a\udcff.csv", "half \ude00"])
@pytest.mark.parametrize("block", ["model", "dataset", "output_dir", "columns", "options"])
def test_a_text_that_no_file_can_hold_is_refused(block, text):
    value = {"columns": {"text": text}, "options": {"label_names": [text]}}.get(block, text)
    sentence = refusal({block: value})
    assert f"{block}: found {text!a}, which is not valid UTF-8: type it again, or rename the file" in sentence


@pytest.mark.parametrize("key", ["model", "dataset"])
def test_a_name_with_a_zero_byte_is_refused(key):
    assert f"{key}: found 'a\\x00b', which has a zero byte" in refusal({key: "a\0b"})


def test_values_from_python_have_the_limits_of_a_recipe_file():
    nested: dict = {}
    nested["a"] = nested
    assert "hub: found lists or blocks more than 30 levels deep" in refusal({"hub": nested})
    pattern = {str(key): 1 for key in range(11_000)}
    assert "lora: found 11000 keys, expected 10000 at most" in refusal({"lora": {"rank_pattern": pattern}})
    assert "seed: found a number of more than 250 digits" in refusal({"seed": 10**400})


def test_keys_inside_the_values_of_a_block_are_texts_too():
    assert "lora.rank_pattern: found 5 as the name of a setting" in refusal({"lora": {"rank_pattern": {5: 4}}})
    # The names of ids, and the memory of each GPU, by its number.
    assert configure("text-classification", {"options": {"label_names": {0: "no", 1: "yes"}}})
    assert configure("text-classification", {"model": {"path": "m", "max_memory": {0: "10GB"}}})


# --- the command line --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        *("a #b", "- a", "- ", "|", ">", "---", "Question: ", " a", "a\nb", "%", "@me"),
        *("&a b", "*stars*", "!!int x", "!important"),
    ],
)
def test_a_text_on_the_command_line_stays_as_it_is(text):
    assert parse_overrides([f"prefix={text}"]) == {"prefix": text}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("lora={r: 2, r: 3}", "lora: duplicate key 'r'"),
        ("seeds=" + "[" * 5000, "seeds: found lists or blocks more than 30 levels deep"),
        ("columns=" + "{a: " * 5000, "columns: found lists or blocks more than 30 levels deep"),
        ("max_steps=" + "9" * 5000, "max_steps: found a number of 5000 digits"),
        ("max_steps=0x" + "f" * 5000, "max_steps: found a number of 5002 digits"),
    ],
)
def test_a_value_on_the_command_line_that_no_setting_can_be_is_refused(word, message):
    with pytest.raises(ConfigError, match=message):
        parse_overrides([word])


def test_every_character_survives_as_a_value():
    changed = []
    for code in range(0x3100):  # blanks, line ends and signs of all scripts
        character = chr(code)
        if parse_value(format_value(character)) != character:
            changed.append(hex(code))
    assert not changed
