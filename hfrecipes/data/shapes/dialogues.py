"""Dialogues in the shapes in which data gives them, as messages of a role and a content."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ...errors import DataError
from ...recipe import Batch, Row
from .cells import below, spelled

Messages = list[Row]
ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "customer": "user",
    "用户": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "agent": "assistant",
    "助手": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}
NOBODY = "nobody"
_ROLE, _CONTENT = ("role", "from", "speaker", "author"), ("content", "value", "text", "message", "utterance")
TURNS = ("conversations", "conversation", "dialogue", "dialog", "dialogs", "turns", "chat", "对话")
ASKED = ("instruction", "question", "query", "input", "user", "human", "text", "问题", "提问", "指令")
REPLY = ("response", "output", "answer", "reply", "assistant", "gpt", "chosen", "回答", "回复", "输出")


def reshaper(columns: Mapping[str, Any]) -> Callable[[Batch], Batch] | None:
    """What makes `messages` of the columns; None where there is nothing that could be turns.

    A column of turns (`messages`, ShareGPT's `conversations`, a list of texts), or of requests and of replies
    (`instruction, input, output` of Alpaca, `prompt, completion`), with `system` and `history` where they are there.
    """
    own = {name.strip().lower(): name for name in columns}
    if {"role", "content"} <= set(own):
        raise DataError(
            'each row holds one turn, expected a dialogue a row: {"messages": [{"role": …, "content": …}, …]}'
        )
    turns = next((own[name] for name in ("messages", *TURNS) if name in own), None)
    if turns is not None:
        return partial(_from_turns, turns=turns, system=own.get("system"))
    asked = next((own[name] for name in ("prompt", *ASKED) if name in own), None)
    reply = next((own[name] for name in ("completion", *REPLY) if name in own), None)
    if asked is None:
        return None
    more = next((own[name] for name in ("input", "context") if name in own and own[name] != asked), None)
    return partial(
        _from_pairs, asked=asked, reply=reply, more=more, system=own.get("system"), history=own.get("history")
    )


def _from_turns(batch: Batch, turns: str, system: str | None) -> Batch:
    starts = batch[system] if system else [None] * len(batch[turns])
    made = {name: values for name, values in batch.items() if name not in (turns, system)}
    return {
        **made,
        "messages": [
            _started(start, messages(_listed(cell))) for start, cell in zip(starts, batch[turns], strict=True)
        ],
    }


def _listed(cell: Any) -> Any:
    """The turns that a text spells, as a csv file has them; else the cell as it is."""
    if not isinstance(cell, str):
        return cell
    try:
        turns = spelled(cell)
    except DataError:  # as a text may look
        return cell
    return turns if isinstance(turns, list) and all(isinstance(turn, str | list | dict) for turn in turns) else cell


def _from_pairs(
    batch: Batch, asked: str, reply: str | None, more: str | None, system: str | None, history: str | None
) -> Batch:
    used = {asked, reply, more, system, history}
    made = {name: values for name, values in batch.items() if name not in used}
    nothing = [None] * len(batch[asked])
    cells = zip(*(batch[name] if name else nothing for name in (asked, reply, more, system, history)), strict=True)
    return {**made, "messages": [_exchange(*row) for row in cells]}


def _exchange(asked: Any, reply: Any, more: Any, system: Any, history: Any) -> Messages:
    asked = asked if isinstance(asked, list) else below(asked, more)
    return _started(system, [*_past(_listed(history)), *messages(asked), *messages(reply, "assistant")])


def _past(history: Any) -> Messages:
    """Turns before the request, as messages or as pairs of texts."""
    if not isinstance(history, list):
        return messages(history or None)
    return [turn for one in history for turn in messages(one)]


def _started(system: Any, dialogue: Messages) -> Messages:
    if system is None or not str(system).strip() or any(turn["role"] == "system" for turn in dialogue):
        return dialogue
    return [{"role": "system", "content": str(system)}, *dialogue]


def messages(cell: Any, role: str = "user") -> Messages:
    """Messages of a cell: a text is one of `role`, a list of texts has the user first, dicts have their own roles."""
    if cell is None or cell != cell:  # not a number, in a DataFrame, is no cell
        return []
    if isinstance(cell, str | int | float):
        return [{"role": role, "content": str(cell)}]
    if isinstance(cell, Mapping):
        return [_message(cell)]
    if all(isinstance(turn, str) for turn in cell):
        return [{"role": ("user", "assistant")[place % 2], "content": turn} for place, turn in enumerate(cell)]
    return [_message(turn) for turn in cell]


def _message(turn: Any) -> Row:
    """Role and content of a turn; the role is `nobody` where there is none to be read, which the checks then name."""
    if not isinstance(turn, Mapping):
        return {"role": NOBODY, "content": str(turn)}
    role = next((turn[name] for name in _ROLE if turn.get(name) is not None), NOBODY)
    content = next((turn[name] for name in _CONTENT if turn.get(name) is not None), None)
    if isinstance(content, list):  # in parts, as of pictures and texts
        texts: list[Any] = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        content = "".join(texts) if all(isinstance(text, str) for text in texts) else None
    known = ROLES.get(str(role).strip().lower(), str(role))
    return {"role": known, "content": None if content is None else str(content)}


def wrong_order(dialogue: Messages) -> str | None:
    """What is wrong with the order or the content of the turns; None where nothing is."""
    turns = [turn["role"] for turn in dialogue]
    unknown = next((role for role in turns if role not in ROLES.values()), None)
    if unknown is not None:
        return f"a turn is of {unknown!r}, expected user, assistant, system or tool"
    if any(turn["content"] is None or not turn["content"].strip() for turn in dialogue):
        return "a turn is blank"
    if "system" in turns[1:]:
        return "a system message stands behind the first turn"
    turns = turns[turns[:1] == ["system"] :]
    if turns[:1] == ["assistant"]:
        return "the assistant speaks first"
    twice = next((one for one, other in itertools.pairwise(turns) if one == other != "tool"), None)
    if any(pair in (("user", "tool"), ("tool", "user")) for pair in itertools.pairwise(turns)):
        return "a tool answers the user, or the user a tool"
    return f"the {twice} speaks twice in a row" if twice else None


def replies(dialogue: Messages) -> list[int]:
    """Places of the assistant's turns."""
    return [place for place, turn in enumerate(dialogue) if turn["role"] == "assistant"]


def before_last_reply(dialogue: Messages, *, scored: bool) -> Messages:
    """What the assistant is to answer: the user's last word, or what the assistant's own last word answers.

    Where it is scored there must be such a word, and what the user says behind it is left out.
    """
    spoken = replies(dialogue)
    if spoken and (scored or spoken[-1] == len(dialogue) - 1):
        return dialogue[: spoken[-1]]
    return dialogue


def shortened(dialogue: Messages) -> list[Messages]:
    """The dialogue, and what is left of it as its first exchanges go, one by one; its system message stays."""
    start = dialogue[:1] if dialogue and dialogue[0]["role"] == "system" else []
    turns = dialogue[len(start) :]
    asked = [place for place, turn in enumerate(turns) if turn["role"] == "user" and place]
    return [dialogue, *([*start, *turns[place:]] for place in asked)]
