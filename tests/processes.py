"""Python in other processes, alone or two of them that train together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# --standalone picks a free port, so that tests side by side do not meet.
TWO_PROCESSES = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


def run_python(
    *words: object,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    given: str | None = None,
    seconds: int = 400,
    status: int = 0,
) -> subprocess.CompletedProcess[str]:
    """Run Python with these words; the test fails, and shows what was printed, if it ends in another way than expected.

    Args:
        words: What follows `python` on the command line.
        cwd: Folder to run in.
        env: All variables of the environment; by default those of the test.
        given: Text for its standard input.
        seconds: Time after which it is stopped.
        status: The exit status that is expected.
    """
    command = [sys.executable, *map(str, words)]
    try:
        made = subprocess.run(
            command, cwd=cwd, env=env, input=given, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        # Bytes even when text was asked for.
        printed = [(part or b"").decode(errors="replace") for part in (error.stdout, error.stderr)]
        pytest.fail(f"still running after {seconds} seconds\n{_ends(*printed)}")
    if made.returncode != status:
        pytest.fail(f"exit status {made.returncode}, expected {status}\n{_ends(made.stdout, made.stderr)}")
    return made


def _ends(out: str, err: str) -> str:
    # A launcher adds some 2000 characters of its own after the error of the process that failed.
    return f"{out[-4000:]}\n{err[-6000:]}"
