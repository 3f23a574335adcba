"""Dialogues that are published in other shapes than turns with their speakers: transcripts, trees, personas, pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from ...log import log
from ...recipe import Batch, Row
from . import transcripts
from .cells import Change, first_column
from .trees import best_path
from .turns import CONTENT_KEYS, ROLE_KEYS

_TEXTS = ("string", "large_string")
_SPEAKERS = ("user", "assistant")


def column_normalizer(
    columns: Mapping[str, Any],
    turns: Sequence[str],
    requests: Sequence[str],
    replies: Sequence[str],
) -> tuple[Change | None, Mapping[str, Any]]:
    """What makes turns with their speakers; None where there is nothing to change. And the columns after it.

    Args:
        columns: Columns of the rows, with their types of `datasets`.
        turns: Names of a column of turns.
        requests: Names of a column of requests.
        replies: Names of a column of replies.
    """
    from datasets import List

    by_name = {name.strip().lower(): name for name in columns}
    if {"history", "candidates"} <= set(by_name):
        return _made(columns, _from_candidates, "candidates: the last one is the reply to history")
    if {"personality", "utterances"} <= set(by_name):
        return _made(
            columns, _from_utterances, "utterances: the last one has the dialogue, and its last candidate the reply"
        )
    prompt = by_name.get("prompt", "")
    if isinstance(columns.get(prompt), dict) and "replies" in columns[prompt]:
        return _made(
            columns, partial(_from_trees, prompt=prompt), "prompt: of several replies, the best by rank is read"
        )
    column = first_column(by_name, turns)
    asked, reply = first_column(by_name, requests), first_column(by_name, replies)
    if column is None and (asked is None or reply is None):
        # UltraChat has the dialogue in `data`, in some exports beside its first request.
        lists = [name for name in columns if name == "data" and hasattr(columns[name], "feature")]
        if lists:
            return partial(_renamed, old="data"), {"messages": columns["data"], **_without(columns, "data")}
    if column is not None and _has_no_speakers(columns[column]):
        log(f"{column} holds turns without speakers: user and assistant in turn, the user first")
        return partial(_with_speakers, column=column), columns
    keys = _exchange_keys(columns[column], requests, replies) if column is not None else None
    if column is not None and keys is not None:
        log(f"{column} holds exchanges: {keys[0]} is the user's turn, and {keys[1]} that of the assistant")
        change = partial(_from_exchanges, column=column, keys=keys)
        return change, {**columns, column: List({"role": None, "content": None})}
    used = [column] if column is not None else [asked, reply]
    return _from_transcripts(columns, list(filter(None, used)))


def _made(
    columns: Mapping[str, Any], change: Callable[[Batch], Batch], sentence: str
) -> tuple[Change, Mapping[str, Any]]:
    from datasets import List

    log(sentence)
    return change, {"messages": List({"role": None, "content": None}), **columns}


def _without(columns: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {other: column for other, column in columns.items() if other != name}


def _renamed(batch: Batch, old: str) -> Batch:
    return {"messages": batch[old], **_without(batch, old)}


# --- transcripts -------------------------------------------------------------------------------------------------


def _from_transcripts(columns: Mapping[str, Any], used: Sequence[str]) -> tuple[Change | None, Mapping[str, Any]]:
    """What splits texts with several turns each; None where none of the columns that are used holds such texts."""
    from datasets import List

    # Only a table tells its cells; without them, texts stay what they are.
    cells = getattr(columns, "cells", {})
    written = []
    for column in used:
        is_text = getattr(columns[column], "dtype", None) in _TEXTS
        marks = transcripts.marks_of(cells.get(column, ())) if is_text else None
        if marks is not None:
            written.append(column)
            log(f"{column} holds dialogues as texts, read as turns by their marks, {marks}")
    if not written:
        return None, columns
    # A whole dialogue may be where a reply would be, as in data of preferences.
    new = {used[0]: "messages"} if len(used) == 1 else {}
    kinds = {}
    for name, kind in columns.items():
        kinds[new.get(name, name)] = List({"role": None, "content": None}) if name in written else kind
    return partial(_split, columns=written, new=new), kinds


def _split(batch: Batch, columns: Iterable[str], new: Mapping[str, str]) -> Batch:
    rows = {}
    for name, cells in batch.items():
        if name in columns:
            cells = [_turns(cell) for cell in cells]
        rows[new.get(name, name)] = cells
    return rows


def _turns(cell: Any) -> list[Row] | None:
    """Turns of a text; a single one of the user where it has no marks."""
    if not isinstance(cell, str) or not cell.strip():
        return None
    return transcripts.turns_of(cell) or [{"role": "user", "content": cell}]


# --- turns without speakers --------------------------------------------------------------------------------------


def _has_no_speakers(kind: Any) -> bool:
    """Whether a column holds lists of turns that have a text, and none a speaker."""
    item = getattr(kind, "feature", None)
    return isinstance(item, dict) and not set(ROLE_KEYS) & set(item) and bool(set(CONTENT_KEYS) & set(item))


def _with_speakers(batch: Batch, column: str) -> Batch:
    dialogues = []
    for turns in batch[column]:
        spoken = []
        for index, turn in enumerate(turns or []):
            spoken.append({"role": _SPEAKERS[index % 2], **turn})
        dialogues.append(spoken)
    return {**batch, column: dialogues}


# --- exchanges ---------------------------------------------------------------------------------------------------


def _exchange_keys(kind: Any, requests: Sequence[str], replies: Sequence[str]) -> tuple[str, str] | None:
    """Keys of request and reply in a column of lists of both, as `[{"human": …, "assistant": …}]`; None for others."""
    item = getattr(kind, "feature", None)
    if not isinstance(item, Mapping) or set(item) & {*ROLE_KEYS, *CONTENT_KEYS}:
        return None
    by_name = {str(name).strip().lower(): str(name) for name in item}
    asked, reply = first_column(by_name, requests), first_column(by_name, replies)
    return None if asked is None or reply is None else (asked, reply)


def _from_exchanges(batch: Batch, column: str, keys: tuple[str, str]) -> Batch:
    dialogues = []
    for exchanges in batch[column]:
        turns: list[Row] = []
        for exchange in exchanges or []:
            for role, key in zip(_SPEAKERS, keys, strict=True):
                turns.append({"role": role, "content": (exchange or {}).get(key)})
        # At the end of a dialogue to predict, the reply is still to come.
        if turns and not turns[-1]["content"]:
            turns.pop()
        dialogues.append(turns)
    return {**batch, column: dialogues}


# --- personas and trees ------------------------------------------------------------------------------------------


def _from_candidates(batch: Batch) -> Batch:
    """PersonaChat with a row for each reply: what was said before, and replies of which the last one is right."""
    rows = {name: cells for name, cells in batch.items() if name not in ("history", "candidates", "personality")}
    personas = batch.get("personality") or [None] * len(batch["history"])
    rows["messages"] = []
    for persona, history, candidates in zip(personas, batch["history"], batch["candidates"], strict=True):
        rows["messages"].append(_dialogue(persona, [*(history or []), *(candidates or [])[-1:]]))
    return rows


def _from_utterances(batch: Batch) -> Batch:
    """PersonaChat with a row for each dialogue, whose last utterance repeats the ones before it."""
    rows = {name: cells for name, cells in batch.items() if name not in ("personality", "utterances")}
    rows["messages"] = []
    for persona, utterances in zip(batch["personality"], batch["utterances"], strict=True):
        last = (utterances or [{}])[-1]
        texts = [*(last.get("history") or []), *(last.get("candidates") or [])[-1:]]
        rows["messages"].append(_dialogue(persona, texts))
    return rows


def _dialogue(persona: list[str] | None, texts: list[str]) -> list[Row]:
    """A persona as system message, and texts of which the last one is the assistant's."""
    turns: list[Row] = []
    if persona:
        turns.append({"role": "system", "content": " ".join(persona)})
    for index, text in enumerate(texts):
        role = _SPEAKERS[(index + len(texts)) % 2]
        turns.append({"role": role, "content": text})
    # Nothing asks for a greeting of the assistant.
    if texts and len(texts) % 2:
        turns[-len(texts)]["weight"] = 0
    return turns


def _from_trees(batch: Batch, prompt: str) -> Batch:
    return {
        **_without(batch, prompt),
        "messages": [None if cell is None else best_path(cell) for cell in batch[prompt]],
    }
