"""Dialogues in the shapes in which data gives them, as messages of a role and a content."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from typing import Any

from ...errors import DataError
from ...recipe import Batch, Row
from .cells import first_column, first_value, join_request, parse_list

Messages = list[Row]
# The role of each name that data uses, as chat templates know it.
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
NOBODY = "nobody"  # role of a turn whose role is unknown; no template has it, so that the checks report the row
# Keys of a turn.
_ROLE, _CONTENT = ("role", "from", "speaker", "author"), ("content", "value", "text", "message", "utterance")
# Columns of turns, of requests and of replies.
TURN_COLUMNS = ("conversations", "conversation", "dialogue", "dialog", "dialogs", "turns", "chat", "对话")
REQUEST_COLUMNS = ("instruction", "question", "query", "input", "user", "human", "text", "问题", "提问", "指令")
REPLY_COLUMNS = ("response", "output", "answer", "reply", "assistant", "gpt", "chosen", "回答", "回复", "输出")


def column_normalizer(columns: Mapping[str, Any]) -> Callable[[Batch], Batch] | None:
    """Function that makes `messages` of the columns; None if no column could be turns.

    A column of turns (`messages`, ShareGPT's `conversations`, a list of texts), or one of requests and one of replies
    (`instruction, input, output` of Alpaca, `prompt, completion`), with `system` and `history` if the data has them.

    Raises:
        DataError: Each row holds a single turn.
    """
    by_name = {name.strip().lower(): name for name in columns}
    if {"role", "content"} <= set(by_name):
        raise DataError(
            'each row holds one turn, expected a dialogue per row: {"messages": [{"role": …, "content": …}, …]}'
        )
    turns = first_column(by_name, ("messages", *TURN_COLUMNS))
    if turns is not None:
        return partial(_from_turns, turns=turns, system=by_name.get("system"))
    asked = first_column(by_name, ("prompt", *REQUEST_COLUMNS))
    if asked is None:
        return None
    # Alpaca's `input` is the text that the instruction is about; without an instruction it is the request itself.
    others = {name: column for name, column in by_name.items() if column != asked}
    return partial(
        _from_pairs,
        asked=asked,
        reply=first_column(by_name, ("completion", *REPLY_COLUMNS)),
        more=first_column(others, ("input", "context")),
        system=by_name.get("system"),
        history=by_name.get("history"),
    )


def _from_turns(batch: Batch, turns: str, system: str | None) -> Batch:
    rows = dict(batch)
    cells = rows.pop(turns)
    systems = rows.pop(system) if system else [None] * len(cells)
    rows["messages"] = []
    for system_text, cell in zip(systems, cells, strict=True):
        rows["messages"].append(_with_system(system_text, messages(_listed(cell))))
    return rows


def _listed(cell: Any) -> Any:
    """The turns that a text contains as a list, as in a csv file; else the cell as it is."""
    if not isinstance(cell, str):
        return cell
    try:
        turns = parse_list(cell)
    except DataError:
        # A plain request may look like a list.
        return cell
    is_dialogue = isinstance(turns, list) and all(isinstance(turn, str | list | dict) for turn in turns)
    return turns if is_dialogue else cell


def _from_pairs(
    batch: Batch, asked: str, reply: str | None, more: str | None, system: str | None, history: str | None
) -> Batch:
    rows, columns = dict(batch), []
    for name in (asked, reply, more, system, history):
        if name is None:
            columns.append([None] * len(batch[asked]))
        else:
            columns.append(batch[name])
            rows.pop(name, None)
    rows["messages"] = list(map(_dialogue, *columns))
    return rows


def _dialogue(asked: Any, reply: Any, more: Any, system: Any, history: Any) -> Messages:
    """Messages of a row: the system message, earlier turns, the request and its reply."""
    # A list holds the turns up to the request, and leaves nothing for `more` to be about.
    request = asked if isinstance(asked, list) else join_request(asked, more)
    turns = [*_earlier_turns(_listed(history)), *messages(request), *messages(reply, "assistant")]
    return _with_system(system, turns)


def _earlier_turns(history: Any) -> Messages:
    """Turns before the request, as messages or as pairs of texts."""
    if not isinstance(history, list):
        return messages(history or None)
    turns: Messages = []
    for exchange in history:
        turns.extend(messages(exchange))
    return turns


def _with_system(system: Any, dialogue: Messages) -> Messages:
    """The dialogue after this system message, unless it has one already."""
    if system is None or not str(system).strip() or "system" in _roles(dialogue):
        return dialogue
    return [{"role": "system", "content": str(system)}, *dialogue]


def _roles(dialogue: Messages) -> list[str]:
    return [turn["role"] for turn in dialogue]


def messages(cell: Any, role: str = "user") -> Messages:
    """Messages of a cell: a single text, texts of user and assistant in turn, or dicts with a role each.

    Args:
        cell: Text, list of texts, dict or list of dicts.
        role: Role of a single text.

    Example:
        >>> messages(["Hi", "Hello"])
        [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Hello'}]
    """
    # An empty cell of a DataFrame is NaN, which alone differs from itself.
    if cell is None or cell != cell:
        return []
    if isinstance(cell, str | int | float):
        return [{"role": role, "content": str(cell)}]
    if isinstance(cell, Mapping):
        return [_message(cell)]
    if all(isinstance(turn, str) for turn in cell):
        # Such lists do not name the speakers: the user is assumed to start.
        return [{"role": ("user", "assistant")[index % 2], "content": turn} for index, turn in enumerate(cell)]
    return list(map(_message, cell))


def _message(turn: Any) -> Row:
    """Role and content of a turn; the role is `NOBODY` if it is unknown."""
    if not isinstance(turn, Mapping):
        return {"role": NOBODY, "content": str(turn)}
    role, content = first_value(turn, _ROLE, NOBODY), first_value(turn, _CONTENT)
    if isinstance(content, list):
        content = _joined(content)
    known_role = ROLES.get(str(role).strip().lower(), str(role))
    return {"role": known_role, "content": None if content is None else str(content)}


def _joined(parts: list[Any]) -> str | None:
    """Text of a content in parts; None if a part is not text, such as a picture."""
    text = ""
    for part in parts:
        part_text = part.get("text") if isinstance(part, Mapping) else part
        if not isinstance(part_text, str):
            return None
        text += part_text
    return text


# --- order of turns --------------------------------------------------------------------------------------------------


def wrong_order(dialogue: Messages) -> str | None:
    """What is wrong with the order or the content of the turns; None if nothing is."""
    roles = _roles(dialogue)
    for turn in dialogue:
        if turn["role"] not in ROLES.values():
            return f"a turn has the role {turn['role']!r}, expected user, assistant, system or tool"
    for turn in dialogue:
        if turn["content"] is None or not turn["content"].strip():
            return "a turn is blank"
    if "system" in roles[1:]:
        return "a system message comes after the first turn"
    if roles[:1] == ["system"]:
        roles = roles[1:]
    if roles[:1] == ["assistant"]:
        return "the assistant speaks first"
    return _wrong_pair(list(pairwise(roles)))


def _wrong_pair(pairs: list[tuple[str, str]]) -> str | None:
    """What is wrong with the roles of neighbouring turns."""
    if ("user", "tool") in pairs or ("tool", "user") in pairs:
        return "a tool follows the user, or the user follows a tool"
    for role, next_role in pairs:
        # One reply may call several tools, which then answer one after the other.
        if role == next_role != "tool":
            return f"the {role} speaks twice in a row"
    return None


def reply_indices(dialogue: Messages) -> list[int]:
    """Indices of the assistant's turns."""
    return [index for index, turn in enumerate(dialogue) if turn["role"] == "assistant"]


def before_last_reply(dialogue: Messages, *, scored: bool) -> Messages:
    """The turns that the assistant is to answer.

    Args:
        dialogue: With or without a reply to the last request.
        scored: Whether the answer is compared with the last reply: what the user says after it is left out.
    """
    indices = reply_indices(dialogue)
    if indices and (scored or indices[-1] == len(dialogue) - 1):
        return dialogue[: indices[-1]]
    return dialogue


def shortened_dialogues(dialogue: Messages) -> list[Messages]:
    """The dialogue, then the dialogue without its first exchange, without its first two, and so on.

    The system message stays in all of them.
    """
    start = dialogue[:1] if dialogue and dialogue[0]["role"] == "system" else []
    turns = dialogue[len(start) :]
    shorter = [dialogue]
    for index, turn in enumerate(turns):
        # Exchanges start with the user; from index 0 on, it is the whole dialogue again.
        if turn["role"] == "user" and index > 0:
            shorter.append([*start, *turns[index:]])
    return shorter
