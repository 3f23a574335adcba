"""One turn of a dialogue: its role, its content, its other keys, and whether it is learnt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...recipe import Row
from ..kinds import as_json
from .tool_calls import are_calls, tool_calls

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
    "function_response": "tool",
    "tool_response": "tool",
}
NOBODY = "nobody"  # role of a turn whose role is unknown; no template has it, so that the checks report the row
# Speakers of turns whose whole text is a call of the assistant.
_CALLERS = ("function_call", "function-call", "tool_call")
# Keys of a turn.
ROLE_KEYS, CONTENT_KEYS = ("role", "from", "speaker", "author"), ("content", "value", "text", "message", "utterance")
_CALLS = ("tool_calls", "function_call")
_MARKS = ("weight", "train", "training", "loss")


def is_turn(cell: Mapping[str, Any]) -> bool:
    """Whether a dict is a turn, and no object that is to be learnt as a reply."""
    return any(name in cell for name in (*ROLE_KEYS, *CONTENT_KEYS, *_CALLS))


def message(turn: Any, roles: Mapping[str, str]) -> Row:
    """The turn as chat templates know it: `role`, `content`, and the other keys that it has.

    A turn that is marked as not to be trained on has `weight` 0; other turns have no `weight`.

    Args:
        turn: A dict.
        roles: Role of each speaker with a name of its own.

    Example:
        >>> message({"from": "gpt", "value": "Hi", "train": False}, {})
        {'role': 'assistant', 'content': 'Hi', 'weight': 0}
    """
    if not isinstance(turn, Mapping):
        return {"role": NOBODY, "content": str(turn)}
    role_key, content_key = _first_key(turn, ROLE_KEYS), _first_key(turn, CONTENT_KEYS)
    speaker = str(turn.get(role_key, NOBODY))
    lower = speaker.strip().lower()
    role = roles.get(speaker) or roles.get(lower) or ROLES.get(lower, speaker)
    content = turn.get(content_key)
    others = _other_keys(turn, {role_key, content_key})
    if speaker.strip().lower() in _CALLERS and speaker not in roles:
        role, content, others["tool_calls"] = "assistant", "", tool_calls(content)
    read: Row = {"role": role, "content": _text(content, role), **others}
    # Templates add texts, and None is none; what calls a tool, or answers such a call, need not say more.
    if read["content"] is None and ("tool_calls" in read or role == "tool"):
        read["content"] = ""
    weight = _weight(turn)
    if weight == 0 or (weight is not None and (weight != 1 or role != "assistant")):
        read["weight"] = weight
    return read


def _first_key(turn: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """The first of the names that the turn has a value for; the first one if there is none."""
    for name in names:
        if turn.get(name) is not None:
            return name
    return names[0]


def _other_keys(turn: Mapping[str, Any], known: set[str]) -> Row:
    """What a turn holds besides role and content, its calls in one form."""
    others: Row = {}
    for key, value in turn.items():
        is_mark = key in _MARKS and _as_weight(key, value) is not None
        if value is None or key in known or key in _CALLS or is_mark:
            continue
        others[str(key)] = value
    for key in _CALLS:
        if turn.get(key) not in (None, "", [], {}):
            others["tool_calls"] = tool_calls(turn[key])
            break
    return others


# --- content ---------------------------------------------------------------------------------------------------------


def _text(content: Any, role: str) -> Any:
    """The text of a content; if it has other parts than text, the parts themselves, which the checks report."""
    if content is None or isinstance(content, str):
        return content
    if isinstance(content, list) and (role != "tool" or _are_parts(content)):
        text = _joined(content)
        return content if text is None else text
    # What a tool answers may be any value.
    return as_json(content) if isinstance(content, Mapping | list) else str(content)


def _are_parts(content: list[Any]) -> bool:
    return all(isinstance(part, str) or (isinstance(part, Mapping) and "type" in part) for part in content)


def _joined(parts: list[Any]) -> str | None:
    """Text of a content in parts; None if a part is not text, such as a picture."""
    text = ""
    for part in parts:
        part_text = part.get("text") if isinstance(part, Mapping) else part
        if not isinstance(part_text, str):
            return None
        text += part_text
    return text


# --- marks -----------------------------------------------------------------------------------------------------------


def _weight(turn: Mapping[str, Any]) -> Any:
    """How much the turn counts, by the mark that it has: 0, 1, a number that is neither, or None without a mark."""
    weights = []
    for key in _MARKS:
        weight = _as_weight(key, turn.get(key))
        if weight is not None:
            weights.append(weight)
    return min(weights, default=None)


def _as_weight(key: str, value: Any) -> float | None:
    """The weight that a mark stands for; None for a value that is not a mark, such as a measured loss."""
    if isinstance(value, str):
        value = {"true": 1, "1": 1, "false": 0, "0": 0}.get(value.strip().lower())
    if not isinstance(value, int | float) or value != value:
        return None
    if value in (0, 1):
        return int(value)
    return value if key == "weight" else None


# --- what is wrong with a turn ---------------------------------------------------------------------------------------


def wrong_turn(turn: Row) -> str | None:
    """What is wrong with the content of a turn; None if nothing is."""
    content = turn["content"]
    if isinstance(content, list):
        return f"a turn has {_kind_of_part(content)} among its parts, expected text"
    if turn.get("tool_calls") is not None and not are_calls(turn["tool_calls"]):
        return 'a tool call cannot be read, expected {"name": …, "arguments": {…}}'
    says_nothing = content is None or not content.strip()
    if says_nothing and turn["role"] != "tool" and not turn.get("tool_calls"):
        return "a turn is blank"
    if turn.get("weight") not in (None, 0, 1):
        return f"a turn has weight {turn['weight']}, expected 0 or 1"
    return None


def _kind_of_part(parts: list[Any]) -> str:
    """The kind of the first part that is not text."""
    for part in parts:
        if not isinstance(part, str) and not (isinstance(part, Mapping) and isinstance(part.get("text"), str)):
            return repr(part.get("type", "no text")) if isinstance(part, Mapping) else repr(part)[:40]
    return "no text"


def is_learnt(turn: Row) -> bool:
    """Whether the turn may be learnt: whether it is not marked by `weight` 0."""
    return turn.get("weight") != 0
