"""What is wrong or odd about dialogues: in their turns, and in how a chat template shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..data.batches import cells_of
from ..data.shapes import dialogues
from ..data.shapes.dialogues import Messages
from ..data.shapes.tool_calls import are_schemas, parsed
from ..data.shapes.turns import NOBODY, is_learnt
from ..errors import DataError
from ..recipe import Batch, Finding
from ._chat_calls import has_tags
from ._chat_template import Template, dialogues_of, lists_tools

if TYPE_CHECKING:
    from datasets import Dataset

Rows = dict[str, list[int]]  # sentence -> indices of the rows that it is about
TRIED = 20  # turns that are rendered without a key at most, to see whether the template reads it
# Keys of a turn that are looked at elsewhere.
_KNOWN_KEYS = ("role", "content", "weight", "tool_call_id")


def refuse_unknown_speakers(rows: Dataset, *, drop_invalid: bool) -> None:
    """Refuse rows most of which have speakers that could be anybody.

    Raises:
        DataError: With the option that says who is who.
    """
    speakers: Counter[str] = Counter()
    known = 0
    for dialogue in cells_of(rows, "messages"):
        unknown = dialogues.unknown_roles(dialogue or [])
        speakers.update(unknown)
        known += not unknown
    # Of a few rows the checks say which they are, so that they can be dropped.
    if known and (drop_invalid or 2 * known >= len(rows)):
        return
    names = sorted(name for name, _ in speakers.most_common(4) if name != NOBODY)
    if not names:
        return
    example = " ".join(f"options.roles.{name}={role}" for name, role in zip(names, ("user", "assistant"), strict=False))
    raise DataError(
        f"the speakers are {', '.join(map(repr, names))}, expected user, assistant, system or tool: "
        f"say who is who, such as {example}"
    )


# --- turns -----------------------------------------------------------------------------------------------------------


def of_turns(rows: Dataset, train_on: str) -> Iterator[Finding]:
    """Turns that are out of order, blank or of an unknown role; dialogues of which nothing is learnt."""
    wrong: Rows = {}
    silent: Rows = {}
    cells = (cells_of(rows, "messages"), _cells(rows, "tools"), _cells(rows, dialogues.KEYWORDS))
    for index, (dialogue, tools, keywords) in enumerate(zip(*cells, strict=True)):
        if not dialogue:  # an empty input, which is found without the task
            continue
        if sentence := wrong_row(dialogue, tools, keywords) or _wrong_marks(dialogue, train_on):
            wrong.setdefault(sentence, []).append(index)
        if not dialogues.reply_indices(dialogue):
            silent.setdefault("the assistant says nothing", []).append(index)
        elif not dialogues.learnt_indices(dialogue):
            silent.setdefault("all replies are marked as not to be learnt", []).append(index)
    for sentence, indices in wrong.items():
        yield Finding("error", sentence, indices)
    for sentence, indices in silent.items():
        yield Finding("untrainable", sentence, indices)


def wrong_row(dialogue: Messages, tools: str | None, keywords: str | None) -> str | None:
    """What is wrong with the dialogue of a row, or with what is given besides it; None if nothing is.

    Args:
        dialogue: Messages.
        tools: Schemas as JSON.
        keywords: Of the chat template, as JSON.
    """
    if tools is not None and not are_schemas(tools):
        return "tools cannot be read, expected a list of JSON schemas (rename the column if it holds something else)"
    if keywords is not None and not isinstance(parsed(keywords), dict):
        return f"{dialogues.KEYWORDS} cannot be read, expected a JSON object"
    return dialogues.wrong_order(dialogue)


def refuse_wrong_rows(batch: Batch) -> None:
    """Refuse rows that no template should see. Rows with references were checked before, rows to predict were not.

    Raises:
        DataError: With the first of them.
    """
    nothing = [None] * len(batch["messages"])
    cells = (batch["messages"], batch.get("tools", nothing), batch.get(dialogues.KEYWORDS, nothing))
    for dialogue, tools, keywords in zip(*cells, strict=True):
        if sentence := dialogues.wrong_order(dialogue):
            raise DataError(f"{sentence}: expected turns of user and assistant, one after the other")
        if sentence := wrong_row(dialogue, tools, keywords):
            raise DataError(sentence)


def _cells(rows: Dataset, name: str) -> Any:
    """The cells of a column; None for each row where there is no such column."""
    return cells_of(rows, name) if name in rows.column_names else [None] * len(rows)


def _wrong_marks(dialogue: Messages, train_on: str) -> str | None:
    if train_on == "all" and not all(map(is_learnt, dialogue)):
        return "a turn is marked as not to be learnt, but train_on=all learns all turns: set train_on=assistant"
    return None


def notes_on_turns(rows: Dataset, train_on: str) -> Iterator[Finding]:
    """How marks, alternatives and tools are read."""
    notes: Rows = {}
    cells = (cells_of(rows, "messages"), _cells(rows, "tools"), _cells(rows, "references"))
    for index, (dialogue, tools, replies) in enumerate(zip(*cells, strict=True)):
        for sentence in _notes_on_row(dialogue or [], tools, replies, train_on):
            notes.setdefault(sentence, []).append(index)
    for sentence, indices in notes.items():
        yield Finding("note", sentence, indices)


def _notes_on_row(dialogue: Messages, tools: Any, replies: list[str] | None, train_on: str) -> Iterator[str]:
    begins = dialogue[1:] if dialogue and dialogue[0]["role"] == "system" else dialogue
    if begins and begins[0]["role"] == "assistant":
        yield "the assistant speaks first, which is read and not learnt,"
        begins = begins[1:]
    if not all(map(is_learnt, begins)):
        yield "turns that are marked as not to be learnt (weight 0, train or loss false) are read only,"
    if train_on != "all" and any(turn.get("weight") == 1 for turn in dialogue):
        yield "turns of others than the assistant are marked to be learnt, and are not (train_on=all learns all turns),"
    if replies and len(replies) > 1:
        yield "of several replies the first is learnt, and all of them are references,"
    if tools and lists_tools(dialogue):
        yield "the system message lists the tools, so they are not shown a second time,"


# --- what the template shows -----------------------------------------------------------------------------------------


def of_template(template: Template, rows: Dataset) -> Iterator[Finding]:
    """Dialogues that the template refuses, and what it does not show of their turns."""
    refused: Rows = {}
    changed: Rows = {}
    hidden = _HiddenKeys()
    for index, (dialogue, given) in enumerate(dialogues_of(rows)):
        shown = template.with_given(given)
        if sentence := _refusal(shown, dialogue):
            refused.setdefault(sentence, []).append(index)
            continue
        hidden.look_at(index, shown, dialogue or [])
        for sentence in _changes(template, dialogue or []):
            changed.setdefault(sentence, []).append(index)
    for sentence, indices in refused.items():
        yield Finding("error", sentence, indices)
    yield from hidden.findings()
    for sentence, indices in changed.items():
        yield Finding("note", sentence, indices)


def _changes(template: Template, dialogue: Messages) -> Iterator[str]:
    """What is changed in calls and answers, so that the template takes them."""
    if template.calls.has_short_ids and any(turn.get("tool_calls") for turn in dialogue):
        yield "tool calls are numbered, because the chat template takes ids of 9 characters,"
    if template.calls.adds_tags and any(map(has_tags, dialogue)):
        yield "<tool_response> around what tools answer is left out, because the chat template adds it,"


def _refusal(template: Template, dialogue: Messages) -> str | None:
    """Why the template cannot render a dialogue, with the edit; None where it can."""
    if not dialogue:
        return None
    replies = dialogues.reply_indices(dialogue)
    try:
        template.render(dialogue[: replies[-1] + 1] if replies else dialogue)
    except DataError as error:
        reason = " ".join(str(error.__cause__).split())[:200]
    else:
        return None
    if dialogue[0]["role"] == "system" and _refusal(template, dialogue[1:]) is None:
        return (
            f"the chat template allows no system message ({reason}; options.system=merge puts it before the first turn "
            "of the user, options.system=drop leaves it out)"
        )
    return f"the chat template refuses the dialogue ({reason})"


class _HiddenKeys:
    """Keys of turns, and tools, that the template was not seen to read, with the rows that have them."""

    def __init__(self) -> None:
        # By key and by whether there are tools, without which some templates show no calls.
        self.rows: dict[tuple[str, bool], list[int]] = {}
        self.tried: Counter[tuple[str, bool]] = Counter()
        self.read: set[tuple[str, bool]] = set()

    def look_at(self, index: int, template: Template, dialogue: Messages) -> None:
        """Note the keys of a dialogue, and try whether the template reads them."""
        has_tools = "tools" in template.given
        for number, turn in enumerate(dialogue, 1):
            for key, value in turn.items():
                if value in (None, "", [], {}) or key in _KNOWN_KEYS:
                    continue
                if self._note((key, has_tools), index) and template.reads(dialogue[:number], key):
                    self._note_as_read((key, has_tools))
        if has_tools and self._note(("tools", True), index) and template.reads_tools(dialogue):
            self._note_as_read(("tools", True))

    def _note(self, key: tuple[str, bool], index: int) -> bool:
        """Note that a row has a key; returns whether it is to be tried."""
        if key in self.read:
            return False
        indices = self.rows.setdefault(key, [])
        if not indices or indices[-1] != index:
            indices.append(index)
        self.tried[key] += 1
        return self.tried[key] <= TRIED

    def _note_as_read(self, key: tuple[str, bool]) -> None:
        self.read.add(key)
        del self.rows[key]

    def findings(self) -> Iterator[Finding]:
        """A finding for each key that is not shown: an error for tool calls, which would be learnt as empty replies."""
        merged: Rows = {}
        for (key, _), indices in self.rows.items():
            merged[key] = sorted({*merged.get(key, []), *indices})
        for key, indices in merged.items():
            if key == "tool_calls":
                sentence = "the chat template does not show tool calls (choose a model whose template does)"
                yield Finding("error", sentence, indices)
            else:
                yield Finding("note", f"the chat template does not show {key!r}, so nothing of it is learnt,", indices)
