"""Rows of single messages that name the one they answer, as Open Assistant has them: dialogues are made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import counted
from ..log import log
from ..recipe import Recipe
from .shapes.trees import dialogues_of

if TYPE_CHECKING:
    from datasets import Dataset

_OF_A_MESSAGE = {"message_id", "parent_id", "text", "role"}
_USED = [*sorted(_OF_A_MESSAGE), "rank", "deleted"]


def join_threads(rows: Dataset, recipe: type[Recipe]) -> Dataset:
    """A row for each tree of messages, with the dialogue that follows the best replies; other rows as they are."""
    if "messages" not in recipe.columns or not set(rows.column_names) >= _OF_A_MESSAGE:
        return rows
    from datasets import Dataset, Features, List, Value

    used = rows.select_columns([name for name in _USED if name in rows.column_names])
    columns: dict[str, list[Any]] = {"id": [], "messages": []}
    for root, turns in dialogues_of(used.to_list()):
        columns["id"].append(str(root["message_id"]))
        columns["messages"].append(turns)
    read = sum(map(len, columns["messages"]))
    log(
        f"{counted(len(rows), 'message')} with the one that each answers: {read} of them are read, as "
        f"{counted(len(columns['id']), 'dialogue')}, since of several replies only the best by rank is"
    )
    turn = {"role": Value("string"), "content": Value("string")}
    return Dataset.from_dict(columns, features=Features({"id": Value("string"), "messages": List(turn)}))
