"""Bad inputs are refused by a sentence before anything is written, or read; no code that they name runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from processes import run_python

SCRIPT = Path(__file__).parent / "bad_inputs.py"


@pytest.mark.long
def test_some_bad_inputs_of_each_group_are_refused():
    run_python(SCRIPT, "--every", 60, status=0)


@pytest.mark.long
def test_many_bad_inputs_of_each_group_are_refused():
    run_python(SCRIPT, "--every", 9, seconds=3600, status=0)
