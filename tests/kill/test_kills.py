"""A run that is killed, wherever, ends with the same files; `make kill` tries many more moments."""

from __future__ import annotations

from pathlib import Path

import pytest
from processes import run_python

SCRIPT = Path(__file__).parent / "kills.py"


def kill(*cases: str, kills: int) -> None:
    outcome = run_python(SCRIPT, "--kills", kills, "--cases", *cases, seconds=1500)
    for case in cases:
        assert f"{case}: same {kills}, lost 0, stuck 0, otherwise 0" in outcome.stdout, outcome.stdout


@pytest.mark.long
def test_a_run_is_killed_at_a_few_moments():
    kill("text", kills=2)


@pytest.mark.long
def test_runs_of_all_kinds_are_killed_at_some_moments():
    kill("text", "lora", "early", "folds", "names", "summary", "writing", "processes", kills=4)
