"""What docs/hub.md shows runs, against the stand-in; and its table says what is said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_readme import checkout, give, one_layer  # noqa: F401

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "hub.md").read_text(encoding="utf-8")


@pytest.mark.slow
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


def test_what_the_table_quotes_is_what_the_code_says():
    code = "".join(file.read_text() for name in ("hub", "checkpoints") for file in [ROOT / "hfrecipes" / f"{name}.py"])
    for words in (
        "no token found: log in with",
        "it does not know this token",
        "this token may not write there",
        "is there already and is public",
        "it does not answer as it should: try again later",
        "failed, and the run is whole",
        "To push it later:",
        "did not arrive",
        "training goes on",
    ):
        assert words in code, words
        assert words in PAGE, words
