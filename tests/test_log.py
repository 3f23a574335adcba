"""A wait before the first line is explained, on a terminal alone and only where it is long."""

from __future__ import annotations

import io
import sys
import time

import hfrecipes.log as waiting
from hfrecipes.log import log


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def printed_during(work, monkeypatch, stream: io.StringIO) -> list[str]:
    """Lines that come on the stream, as standard error, while something is waited for."""
    monkeypatch.setattr(waiting, "SECONDS", 0.05)
    # In the test itself: pytest has its own stream between a fixture and its test.
    monkeypatch.setattr(sys, "stderr", stream)
    with waiting.explained():
        work()
    time.sleep(0.2)
    monkeypatch.undo()
    return stream.getvalue().splitlines()


def test_a_long_wait_is_explained_once(monkeypatch):
    lines = printed_during(lambda: time.sleep(0.5), monkeypatch, Terminal())
    assert lines == [waiting.LIBRARIES]


def test_a_short_wait_is_not(monkeypatch):
    assert not printed_during(lambda: None, monkeypatch, Terminal())


def test_a_line_ends_the_wait(monkeypatch):
    def work() -> None:
        log("splits: train 3 rows")
        time.sleep(0.3)

    assert printed_during(work, monkeypatch, Terminal()) == ["splits: train 3 rows"]


def test_nothing_is_written_into_a_file(monkeypatch):
    assert not printed_during(lambda: time.sleep(0.3), monkeypatch, io.StringIO())
