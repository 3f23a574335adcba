"""What reads texts that others wrote answers any text by reading it or by a sentence."""

from __future__ import annotations

import pytest
from hostile.targets import TARGETS, try_on
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# Parts that mean something to one of the readers; joined at random, they come further than random bytes.
PARTS = (
    *(
        "task: text-classification",
        "model: m",
        "dataset: d.jsonl",
        "training:",
        "options:",
        "columns:",
        "seeds:",
        "lora:",
    ),
    *("model=m", "dataset=d.jsonl", "lora.r=8", "learning_rate=", "columns.text=", "a=1", "a.b.c=1"),
    *(
        "\n",
        "\n\n",
        "\r\n",
        "\r",
        " ",
        "  ",
        "\t",
        ",",
        ";",
        "|",
        ":",
        "=",
        "-",
        "- ",
        "? ",
        "&a ",
        "*a",
        "!!int ",
        "!x ",
    ),
    *(
        "{",
        "}",
        "[",
        "]",
        '"',
        "'",
        "\\",
        "#",
        "%",
        "---",
        "...",
        "<<: ",
        "~",
        "null",
        "true",
        "no",
        "1e5",
        ".nan",
        "0x1",
    ),
    *(
        "text",
        "label",
        "good",
        "B-PER",
        "O",
        "-DOCSTART-",
        "\ufeff",
        "\0",
        "\x85",
        "\u2028",
        "\x1b[31m",
        "é",
        "名",
        "𝄞",
    ),
    *('{"text": "a", "label": "good"}', '{"text": ', '"label": [', "9" * 400, "2024-01-01", "NaN", "\\ud800", "=1+1"),
)
TEXTS = st.lists(st.sampled_from(PARTS), max_size=30).map(lambda parts: "".join(parts).encode())


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=TEXTS | st.binary(max_size=200))
def test_any_text_is_read_or_answered_by_a_sentence(name: str, content: bytes):
    try_on(name, content)
