"""The examples in docs/hub.md run against the stand-in, and its table quotes the sentences that are printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_readme import checkout, give, narrow  # noqa: F401

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "hub.md").read_text(encoding="utf-8")


def test_the_page_runs_from_top_to_bottom(hub, checkout, capsys):  # noqa: F811
    steps = re.findall(r"```(bash|python)\n(.*?)```", PAGE, re.DOTALL)
    assert len(steps) >= 4
    for language, block in steps:
        block = block.replace("me/intents", f"{hub.owner}/intents")
        if language == "python":
            exec(block, {})
        else:
            for line in block.splitlines():
                give(line)
    assert f"{hub.url}/{hub.owner}/intents/commit/" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("status", "column"),
    [
        (401, "it does not know this token"),
        (403, "this token may not do that"),
        (503, "it does not answer as it should"),
    ],
)
def test_the_table_quotes_the_sentences_that_are_printed(status, column):
    from types import SimpleNamespace

    from hfrecipes.hub.client import reason

    error = RuntimeError("x")
    error.response = SimpleNamespace(status_code=status)
    assert reason(error).startswith(column)
    assert column in PAGE
