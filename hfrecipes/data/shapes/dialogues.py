"""Dialogues in the shapes in which data gives them, as messages of a role and a content."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from ...errors import DataError
from ...log import log
from ...recipe import Batch, Row
from ..batches import rows_of
from ..kinds import as_json
from . import published_chats
from .cells import Change, as_text, first_column, in_order, join_request, parse_list
from .tool_calls import schemas, without_gaps
from .turns import NOBODY, ROLES, is_learnt, is_turn, message, wrong_turn

Messages = list[Row]
# Columns of turns, of requests and of replies.
TURN_COLUMNS = ("conversations", "conversation", "dialogue", "dialog", "dialogs", "turns", "chat", "对话")
REQUEST_COLUMNS = ("instruction", "question", "query", "input", "user", "human", "text", "问题", "提问", "指令")
REPLY_COLUMNS = (
    "response",
    "output",
    "answer",
    "reply",
    "assistant",
    "gpt",
    "chosen",
    "target",
    "回答",
    "回复",
    "输出",
)
SYSTEM_COLUMNS = ("system", "system_prompt", "system_message")
TOOL_COLUMNS = ("functions",)
KEYWORDS = "chat_template_kwargs"  # column of what a chat template gets besides, as TRL calls it


def column_normalizer(
    columns: Mapping[str, Any],
    roles: Mapping[str, str] | None = None,
    system: Literal["merge", "drop"] | None = None,
) -> Callable[[Batch], Batch] | None:
    """Function that makes `messages` of the columns; None if no column could be turns.

    A column of turns (`messages`, ShareGPT's `conversations`, a list of texts), or one of requests and one of replies
    (`instruction, input, output` of Alpaca, `prompt, completion`), with `system`, `history` and `tools` if the data has
    them. A reply in a list of texts is one of several to the same request: the first becomes the reply, and all of them
    `references`.

    Args:
        columns: Columns of the rows, with their types of `datasets`.
        roles: Role of each speaker with a name of its own.
        system: What is done with a system message: `merge` puts it into the first turn of the user.

    Raises:
        DataError: Each row holds a single turn.
    """
    published, columns = published_chats.column_normalizer(
        columns, ("messages", *TURN_COLUMNS), ("prompt", *REQUEST_COLUMNS), ("completion", *REPLY_COLUMNS)
    )
    return in_order(published, _messages_normalizer(columns, roles, system))


def _messages_normalizer(
    columns: Mapping[str, Any], roles: Mapping[str, str] | None, system: Literal["merge", "drop"] | None
) -> Change | None:
    """What makes `messages` of turns, or of requests and replies; None where no column could be either."""
    by_name = {name.strip().lower(): name for name in columns}
    if {"role", "content"} <= set(by_name):
        raise DataError(
            'each row holds one turn, expected a dialogue per row: {"messages": [{"role": …, "content": …}, …]}'
        )
    parts = {
        "tools": first_column(by_name, ("tools", *TOOL_COLUMNS)),
        "keywords": by_name.get(KEYWORDS),
        "system": first_column(by_name, SYSTEM_COLUMNS),
    }
    turns = first_column(by_name, ("messages", *TURN_COLUMNS))
    asked = first_column(by_name, ("prompt", *REQUEST_COLUMNS))
    if turns is not None:
        parts["turns"] = turns
        parts["reply"] = _reply_after(turns, columns, roles or {})
        # Mostly a copy of the first request; but it may be one of its own.
        if asked is not None:
            log(f"{asked} is not read, as {turns} holds the dialogue")
    elif asked is not None:
        parts["asked"] = asked
        parts["reply"] = first_column(by_name, ("completion", *REPLY_COLUMNS))
        # Alpaca's `input` is the text that the instruction is about; without one it is the request itself.
        others = {name: column for name, column in by_name.items() if column != asked}
        parts["more"] = first_column(others, ("input", "context"))
        parts["history"] = by_name.get("history")
    else:
        return None
    wanted = by_name.get("label", "")
    if wanted and getattr(columns[wanted], "dtype", None) == "bool":
        log(f"{wanted} is not read: replies where it is false are trained on like the others")
    known = {part: column for part, column in parts.items() if column is not None}
    kinds = {part: columns[column] for part, column in known.items()}
    for sentence in _guesses(known, kinds):
        log(sentence)
    # In a recipe file, the name of a speaker may be a number.
    named = {str(speaker): role for speaker, role in (roles or {}).items()}
    return _Reader(known, kinds, named, system)


def _reply_after(turns: str, columns: Mapping[str, Any], roles: Mapping[str, str]) -> str | None:
    """Column of the reply to dialogues that all end with the user, as in preference data; None if they do not."""
    others = {name.strip().lower(): name for name in columns if name != turns}
    column = first_column(others, ("completion", *REPLY_COLUMNS))
    # Only a table gives access to its cells.
    cells = [cell for cell in getattr(columns, "cells", {}).get(turns, ()) if cell is not None]
    for cell in cells:
        dialogue = messages(_listed(cell), roles=roles)
        if not dialogue or dialogue[-1]["role"] != "user":
            return None
    return column if cells else None


def _guesses(columns: Mapping[str, str], kinds: Mapping[str, Any]) -> Iterator[str]:
    """A sentence on each guess that the types of the columns call for."""
    if _holds_texts(kinds.get("turns")):
        yield f"{columns['turns']} holds texts without speakers: user and assistant in turn, the user first"
    if _holds_texts(kinds.get("asked")):
        yield f"{columns['asked']} holds texts without speakers: user and assistant in turn, the user last"
    reply = kinds.get("reply")
    if "turns" in columns and "reply" in columns:
        yield f"{columns['reply']} is the reply to {columns['turns']}, which all end with the user"
    if isinstance(reply, Mapping) and not is_turn(reply):
        yield f"{columns['reply']} holds objects: their JSON text is the reply"


@dataclass(frozen=True)
class _Reader:
    """Makes `messages` of a batch, and `tools` and `references` where the columns may hold some."""

    columns: Mapping[str, str]
    """Part of a dialogue -> column that holds it."""
    kinds: Mapping[str, Any]
    """Type of each of these columns."""
    roles: Mapping[str, str]
    system: Literal["merge", "drop"] | None

    def __call__(self, batch: Batch) -> Batch:
        rows = dict(batch)
        cells = {}
        for part, column in self.columns.items():
            cells[part] = [without_gaps(cell, self.kinds[part]) for cell in rows.pop(column)]
        rows["messages"] = []
        has_references = _may_hold_alternatives(self.kinds.get("reply"))
        references: list[list[str] | None] = []
        for row in rows_of(cells):
            replies = _alternatives(row.get("reply"))
            references.append(replies)
            if replies is not None:
                self._refuse_unseen(replies, has_references=has_references)
                row["reply"] = replies[0] if replies else None
            rows["messages"].append(_change_system(self._messages(row), self.system))
        if has_references:
            rows["references"] = references
        if "tools" in cells:
            rows["tools"] = list(map(schemas, cells["tools"]))
        if "keywords" in cells:
            rows[KEYWORDS] = list(map(_spelled, cells["keywords"]))
        return rows

    def _refuse_unseen(self, replies: list[str], *, has_references: bool) -> None:
        # The columns follow from the types, for which a sample of the rows is read.
        if len(replies) > 1 and not has_references:
            raise DataError(
                f"column {self.columns['reply']!r} holds a text in its first rows, and a list of {len(replies)} texts "
                "later: expected the same in each row"
            )

    def _messages(self, row: Row) -> Messages:
        """Messages of a row: the system message, earlier turns, the request and its reply."""
        if "turns" in row:
            turns = messages(_listed(row["turns"]), roles=self.roles)
            if "reply" in row:
                turns += messages(row["reply"], "assistant", roles=self.roles)
            return _with_system(row.get("system"), turns)
        asked = row["asked"]
        if not isinstance(asked, list):
            # A list holds the turns up to the request, and leaves nothing for `more` to be about.
            asked = join_request(asked, row.get("more"))
        turns = [
            *_earlier_turns(_listed(row.get("history")), self.roles),
            *messages(asked, roles=self.roles, last="user"),
        ]
        reply = messages(row.get("reply"), "assistant", roles=self.roles)
        # Some data of preferences repeats the request in each reply.
        if len(reply) > len(turns) and reply[: len(turns)] == turns:
            turns = []
        return _with_system(row.get("system"), [*turns, *reply])


def _spelled(cell: Any) -> str | None:
    return None if cell is None else as_text(cell)


def _may_hold_alternatives(kind: Any) -> bool:
    """Whether the cells of a column may be lists of texts."""
    # A column of JSON has texts in some rows and lists in others.
    return _holds_texts(kind) or type(kind).__name__ == "Json"


def _holds_texts(kind: Any) -> bool:
    """Whether the cells of a column are lists of texts."""
    return getattr(getattr(kind, "feature", None), "dtype", None) in ("string", "large_string")


def _alternatives(reply: Any) -> list[str] | None:
    """The replies that a list of texts holds; None for any other reply."""
    if isinstance(reply, list) and all(isinstance(text, str) for text in reply):
        return reply
    return None


def _listed(cell: Any) -> Any:
    """The turns that a text contains as a list, as in a csv file, or a dict of lists; else the cell as it is."""
    if isinstance(cell, dict) and cell and all(isinstance(part, list) for part in cell.values()):
        return list(rows_of(cell))
    if not isinstance(cell, str):
        return cell
    try:
        turns = parse_list(cell)
    except DataError:
        # A plain request may look like a list.
        return cell
    is_dialogue = isinstance(turns, list) and all(isinstance(turn, str | list | dict) for turn in turns)
    return turns if is_dialogue else cell


def _earlier_turns(history: Any, roles: Mapping[str, str]) -> Messages:
    """Turns before the request, as messages, as pairs of texts, or as texts in turn."""
    if not isinstance(history, list) or _alternatives(history):
        return messages(history or None, roles=roles, last="assistant")
    turns: Messages = []
    for exchange in history:
        turns.extend(messages(exchange, roles=roles))
    return turns


def _with_system(system: Any, dialogue: Messages) -> Messages:
    """The dialogue after this system message, unless it has one already."""
    if system is None or not str(system).strip() or "system" in _roles(dialogue):
        return dialogue
    return [{"role": "system", "content": str(system)}, *dialogue]


def _change_system(dialogue: Messages, system: Literal["merge", "drop"] | None) -> Messages:
    """The dialogue without its system message, whose text may be put before that of the user."""
    if system is None or not dialogue or dialogue[0]["role"] != "system":
        return dialogue
    first, *turns = dialogue
    if system == "drop":
        return turns
    asked = turns[0]["content"] if turns and turns[0]["role"] == "user" else None
    # What cannot be merged stays, for the checks to name.
    if not isinstance(asked, str) or not asked.strip():
        return dialogue
    return [{**turns[0], "content": join_request(first["content"], asked)}, *turns[1:]]


def _roles(dialogue: Messages) -> list[str]:
    return [turn["role"] for turn in dialogue]


def messages(
    cell: Any,
    role: str = "user",
    *,
    roles: Mapping[str, str] = {},
    last: Literal["user", "assistant"] | None = None,
) -> Messages:
    """Messages of a cell: a single text, texts of user and assistant in turn, or dicts with a role each.

    Args:
        cell: Text, list of texts, dict or list of dicts.
        role: Role of a single text.
        roles: Role of each speaker with a name of its own.
        last: Who says the last one of several texts, which do not name their speakers; by default the user begins.

    Example:
        >>> messages(["Hi", "Hello"])
        [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Hello'}]
    """
    # An empty cell of a DataFrame is NaN, which alone differs from itself.
    if cell is None or cell != cell:
        return []
    if isinstance(cell, str | int | float):
        return [{"role": role, "content": as_text(cell)}]
    if isinstance(cell, Mapping):
        return [message(cell, roles) if is_turn(cell) else {"role": role, "content": as_json(cell)}]
    if all(isinstance(turn, str) for turn in cell):
        return _in_turn(cell, last)
    return [message(turn, roles) for turn in cell]


def _in_turn(texts: list[str], last: str | None) -> Messages:
    """Texts of user and assistant one after the other."""
    speakers = ("user", "assistant")
    begin = 0
    if last is not None:
        begin = (speakers.index(last) - (len(texts) - 1)) % 2
    turns: Messages = []
    for index, text in enumerate(texts, begin):
        turns.append({"role": speakers[index % 2], "content": text})
    if begin == 1 and turns:
        # Nothing comes before it that it would answer.
        turns[0]["weight"] = 0
    return turns


# --- order of turns --------------------------------------------------------------------------------------------------


def wrong_order(dialogue: Messages) -> str | None:
    """What is wrong with the order or the content of the turns; None if nothing is."""
    for turn in dialogue:
        if not isinstance(turn, dict):
            return f'a turn is {str(turn)[:60]!r}, expected {{"role": …, "content": …}}'
    for role in unknown_roles(dialogue):
        if role == NOBODY:
            return 'a turn has no role, expected {"role": …, "content": …}'
        return f"a turn has the role {role!r}, expected user, assistant, system or tool"
    for turn in dialogue:
        if wrong := wrong_turn(turn):
            return wrong
    roles = _roles(dialogue)
    if "system" in roles[1:] and "assistant" not in roles:
        return "turns of system stand where the assistant speaks (options.roles.system=assistant reads them as its own)"
    if "system" in roles[1:]:
        return "a system message comes after the first turn"
    turns = dialogue[1:] if roles[:1] == ["system"] else dialogue
    # A greeting may come first where it is not learnt: nothing would ask for it.
    if turns and turns[0]["role"] == "assistant" and is_learnt(turns[0]):
        return "the assistant speaks first"
    return _wrong_pair(list(pairwise(_roles(turns))))


def unknown_roles(dialogue: Messages) -> list[str]:
    """Roles that no chat template knows."""
    return [role for role in _roles(dialogue) if role not in ROLES.values()]


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


def learnt_indices(dialogue: Messages) -> list[int]:
    """Indices of the assistant's turns that are to be learnt."""
    return [index for index in reply_indices(dialogue) if is_learnt(dialogue[index])]


def before_last_reply(dialogue: Messages, *, scored: bool) -> Messages:
    """The turns that the assistant is to answer.

    Args:
        dialogue: With or without a reply to the last request.
        scored: Whether the answer is compared with the last reply: what the user says after it is left out.
    """
    indices = learnt_indices(dialogue) if scored else reply_indices(dialogue)
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
