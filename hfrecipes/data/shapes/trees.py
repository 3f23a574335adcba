"""Messages that answer each other, of which some have several replies: the dialogue that follows the best of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...recipe import Row


def best_path(message: Mapping[str, Any]) -> list[Row]:
    """Turns from a message on, each followed by the best of its replies: by rank, or the first one.

    Args:
        message: With `role`, `text` and `replies`, which are messages too.

    Example:
        >>> replies = [{"role": "gpt", "text": "No.", "rank": 1}, {"role": "gpt", "text": "Yes.", "rank": 0}]
        >>> best_path({"role": "user", "text": "Tea?", "replies": replies})
        [{'role': 'user', 'content': 'Tea?'}, {'role': 'gpt', 'content': 'Yes.'}]
    """
    turns: list[Row] = []
    current: Mapping[str, Any] | None = message
    while current is not None:
        turns.append({"role": current.get("role"), "content": current.get("text")})
        replies = [reply for reply in current.get("replies") or [] if not reply.get("deleted")]
        current = min(replies, key=_rank, default=None)
    return turns


def _rank(message: Mapping[str, Any]) -> float:
    rank = message.get("rank")
    return float("inf") if rank is None else float(rank)


def dialogues_of(messages: list[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], list[Row]]]:
    """The first message of each tree and its dialogue, in the order of the data.

    Args:
        messages: With `message_id`, `parent_id`, `role` and `text`.
    """
    nodes: dict[Any, dict[str, Any]] = {}
    for message in messages:
        nodes[message["message_id"]] = {**message, "replies": []}
    roots = []
    for node in nodes.values():
        parent = nodes.get(node["parent_id"])
        if parent is not None:
            parent["replies"].append(node)
        elif node["parent_id"] in (None, ""):
            roots.append(node)
    return [(root, best_path(root)) for root in roots]
