"""Dialogues as ParlAI writes them: a line for each exchange, numbered within its dialogue, or with named parts.

`1 your persona: I like tea.` is background, and `2 Hi<tab>Hello.<tab>reward<tab>candidates` is an exchange.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator

from ..recipe import Row
from .opening import SourceFile

_LOOKED_AT = 1_000  # lines from which the format is recognized
_NUMBERED = re.compile(r"(\d+) (.*)", re.DOTALL)
_PERSONA = re.compile(r"\s*(your|partner's) persona:", re.IGNORECASE)
_USER, _ASSISTANT = "user", "assistant"

Dialogues = Callable[[SourceFile], Iterator[Row]]


def dialogue_reader(source: SourceFile) -> Dialogues | None:
    """Function that reads the dialogues of a file; None for a file that is written in another way."""
    lines = list(itertools.islice(source.filled_lines(), _LOOKED_AT))
    if _are_numbered(lines):
        return _numbered
    if lines and all(line.startswith("text:") for line in lines) and any("\tlabels:" in line for line in lines):
        return _named
    return None


def _are_numbered(lines: list[str]) -> bool:
    """Whether lines are numbered from 1 in each dialogue, and some of them have a reply."""
    number, replies, begun = 0, 0, 0
    for line in lines:
        match = _NUMBERED.fullmatch(line)
        if match is None or int(match[1]) not in (1, number + 1):
            return False
        number = int(match[1])
        begun += number == 1
        replies += "\t" in match[2]
    # A list with tabs in it is numbered once.
    return begun > 1 and replies > 0


def _numbered(source: SourceFile) -> Iterator[Row]:
    turns: list[Row] = []
    said: list[str] = []
    for line in source.filled_lines():
        match = _NUMBERED.fullmatch(line)
        number, text = (match[1], match[2]) if match else ("", line)
        if number == "1" and (turns or said):
            yield _row(turns, said)
            turns, said = [], []
        asked, _, rest = text.partition("\t")
        reply = rest.partition("\t")[0].strip()
        said.append(asked.strip())
        if reply:
            turns += [*_asked(said, first=not turns), _turn(_ASSISTANT, reply)]
            said = []
    yield _row(turns, said)


def _named(source: SourceFile) -> Iterator[Row]:
    turns: list[Row] = []
    for line in source.filled_lines():
        parts = {}
        for part in line.split("\t"):
            name, _, value = part.partition(":")
            parts[name] = value.replace("\\n", "\n")
        turns += _asked(parts["text"].split("\n") if "text" in parts else [], first=not turns)
        # Labels are correct replies; the first one is used for training.
        reply = (parts.get("labels") or parts.get("eval_labels") or "").partition("|")[0]
        if reply.strip():
            turns.append(_turn(_ASSISTANT, reply))
        if parts.get("episode_done", "").strip() == "True":
            yield _row(turns, [])
            turns = []
    if turns:
        yield _row(turns, [])


def _asked(said: Iterable[str], *, first: bool) -> list[Row]:
    """Turns before a reply: personas at the start of a dialogue become a system message, the rest is the user's."""
    personas: list[str] = []
    texts: list[str] = []
    for text in filter(None, said):
        (personas if first and _PERSONA.match(text) else texts).append(text)
    turns = [_turn("system", "\n".join(personas))] if personas else []
    return [*turns, _turn(_USER, "\n".join(texts))] if texts else turns


def _row(turns: list[Row], said: list[str]) -> Row:
    """A dialogue, including the turns after its last reply."""
    return {"messages": [*turns, *_asked(said, first=not turns)]}


def _turn(role: str, text: str) -> Row:
    return {"role": role, "content": text.strip()}
