"""A dialogue as tokens, by the chat template of a tokenizer, with what is to be learnt of it marked."""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import DataError, ModelError
from ._dialogues import Messages, replies, shortened

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# For tokenizers without a template: each turn under its role, ended by the token that the model knows as an end.
PLAIN = """\
{%- for message in messages -%}
<|{{ message['role'] }}|>
{{ message['content'] | trim }}{{ END }}
{% endfor -%}
{%- if add_generation_prompt -%}
<|assistant|>
{% endif -%}
"""


class Piece(NamedTuple):
    """Tokens of a dialogue, or of a part of it."""

    ids: list[int]
    labels: list[int]
    """-100 where nothing is to be learnt."""
    cut: bool
    """Whether something of the dialogue did not fit."""


@dataclass
class Template:
    """How a tokenizer's chat template shows dialogues.

    Attributes:
        tokenizer: With a chat template.
        end: Token that ends a text.
    """

    tokenizer: PreTrainedTokenizerBase
    end: int

    @cached_property
    def around(self) -> tuple[str, str]:
        """What the template itself puts between a prompt and the reply to it, and behind that.

        Raises:
            ModelError: The template cannot show a request and a reply.
        """
        asked = [{"role": "user", "content": "Question"}]
        try:
            before = self.render(asked, prompt=True)
            full = self.render([*asked, {"role": "assistant", "content": "Reply"}])
        except DataError as error:
            raise ModelError(f"the model's chat template cannot be used: {error.__cause__}") from error
        told, _, behind = full.rpartition("Reply")
        return told[_shared(before, told) :], behind

    @cached_property
    def end_of_turn(self) -> int | None:
        """Special token that stands behind a reply; None where there is none."""
        special = {*self.tokenizer.all_special_ids, *self.tokenizer.added_tokens_decoder}
        behind, _ = self.tokens(self.around[1])
        return next((token for token in behind if token in special), None)

    def reply(self, text: str) -> str:
        """What the assistant says in a text that was written, without what the template puts around it."""
        text, (lead, tail) = text.strip(), (part.strip() for part in self.around)
        if lead.startswith(text):  # not yet all of it
            return ""
        text = text.removeprefix(lead)
        return (text.removesuffix(tail) if tail else text).strip()

    @property
    def ends(self) -> list[int]:
        """Tokens at which a reply is over."""
        found = [self.end] if self.end_of_turn is None else [self.end_of_turn, self.end]
        return list(dict.fromkeys(found))

    def render(self, dialogue: Messages, *, prompt: bool = False) -> str:
        """The dialogue as the model reads it; with `prompt`, up to where the assistant is to speak.

        Raises:
            DataError: The template refuses it, as some do with system messages.
        """
        try:
            text: str = self.tokenizer.apply_chat_template(dialogue, tokenize=False, add_generation_prompt=prompt)
        except Exception as error:  # a template is a program
            start = next((str(turn["content"])[:60] for turn in dialogue if turn["role"] == "user"), "")
            raise DataError(f"the model's chat template refuses the dialogue that starts {start!r}: {error}") from error
        return text

    def tokens(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids of a rendered text, and the characters of each."""
        found = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return found["input_ids"], found["offset_mapping"]

    def prompt(self, dialogue: Messages, room: int) -> list[int]:
        """What the assistant goes on from, in at most `room` tokens: the first exchanges go where it is too long."""
        ids: list[int] = _fitting(dialogue, lambda shown: self.tokens(self.render(shown, prompt=True))[0], room)[1]
        return ids[-room:]

    def pieces(self, dialogue: Messages, room: int, train_on: str) -> list[Piece]:
        """The dialogue in pieces of at most `room` tokens: one, or one for each reply.

        Reply by reply where the template shows an earlier turn otherwise than it was when it was the last (as some do
        with thoughts), and where it does not mark the end of a turn.

        Args:
            dialogue: Messages.
            room: Tokens.
            train_on: What is learnt: `assistant`, `last` or `all`.
        """
        spoken = replies(dialogue)
        if not spoken:
            ids, _ = self.tokens(self.render(dialogue))
            labels = ids if train_on == "all" else [-100] * len(ids)
            return [_piece(ids, labels, room, cut=len(ids) > room)]
        if train_on == "last":
            return [self._last(dialogue[: spoken[-1] + 1], room, everything=False)]
        everything = train_on == "all"
        whole = self._whole(dialogue, spoken, room, everything=everything) if self.end_of_turn is not None else None
        return [whole] if whole else [self._last(dialogue[: at + 1], room, everything=everything) for at in spoken]

    def _whole(self, dialogue: Messages, spoken: list[int], room: int, *, everything: bool) -> Piece | None:
        """All replies marked, without the last turns where it is too long; None where the template shifts them."""
        full = self.render(dialogue[: spoken[-1] + 1])
        spans = []
        for place in spoken:
            before = self.render(dialogue[:place], prompt=True)
            through = self._up_to_end(self.render(dialogue[: place + 1]) if place != spoken[-1] else full)
            if not (through.startswith(before) and full.startswith(through)):
                return None
            spans.append((len(before), len(through)))
        ids, offsets = self.tokens(full[: spans[-1][1]])  # nothing is said behind the last end
        if any(_straddled(offsets, first) for first, _ in spans):
            return None
        starts = [start for start, _ in offsets]
        sizes = [int(size) for size in np.searchsorted(starts, [last for _, last in spans])]
        fitting = [size for size in sizes if size <= room]
        kept = (fitting or [room])[-1]
        labels = ids if everything else _marked(ids, offsets, spans)
        return _piece(ids, labels, kept, cut=sizes[-1] > kept)

    def _up_to_end(self, text: str) -> str:
        """The text without what stands behind the end of its last turn; some templates end the whole text once more."""
        if self.end_of_turn is None:
            return text
        end = self.tokenizer.convert_ids_to_tokens(self.end_of_turn)
        return text[: text.rfind(end) + len(end)]

    def _last(self, dialogue: Messages, room: int, *, everything: bool) -> Piece:
        """The last reply marked, without the first exchanges where it is too long."""
        shown, (ids, start) = _fitting(dialogue, self._answered, room, size=lambda found: len(found[0]))
        labels = ids if everything else [*[-100] * start, *ids[start:]]
        return _piece(ids, labels, room, cut=shown is not dialogue or len(ids) > room)

    def _answered(self, dialogue: Messages) -> tuple[list[int], int]:
        """Tokens of a dialogue, and where those of its last reply begin, just behind what it is to go on from."""
        before, full = self.render(dialogue[:-1], prompt=True), self._up_to_end(self.render(dialogue))
        more = [self.end] if self.end_of_turn is None else []
        if full.startswith(before):
            ids, offsets = self.tokens(full)
            if not _straddled(offsets, len(before)):
                return [*ids, *more], sum(end <= len(before) for _, end in offsets)
        # It asks otherwise than it tells, by an opened thought or a blank: learnt is what follows what is asked.
        given, said = self.tokens(before)[0], self.tokens(full[_shared(before, full) :])[0]
        return [*given, *said, *more], len(given)


def _straddled(offsets: list[tuple[int, int]], place: int) -> bool:
    """Whether a token has letters on both sides of a place in the text."""
    return any(start < place < end for start, end in offsets)


def _fitting(
    dialogue: Messages, read: Callable[[Messages], Any], room: int, size: Callable[[Any], int] = len
) -> tuple[Messages, Any]:
    """The dialogue with as few of its first exchanges missing as it takes to fit, and what `read` makes of it."""
    found = read(dialogue)
    if size(found) <= room:
        return dialogue, found
    shorter = shortened(dialogue)
    place = min(bisect.bisect_left(shorter, True, key=lambda one: size(read(one)) <= room), len(shorter) - 1)
    return shorter[place], read(shorter[place])


def _piece(ids: list[int], labels: list[int], size: int, *, cut: bool) -> Piece:
    return Piece(ids[:size], [-100, *labels[1:size]], cut)  # nothing guesses the first token


def _marked(ids: list[int], offsets: list[tuple[int, int]], spans: list[tuple[int, int]]) -> list[int]:
    """Ids where a token reaches into one of the spans, -100 elsewhere."""
    starts, ends = (np.array([pair[side] for pair in offsets]) for side in (0, 1))
    inside = np.zeros(len(ids), dtype=bool)
    for first, last in spans:
        inside |= (ends > first) & (starts < last)
    labels: list[int] = np.where(inside, ids, -100).tolist()
    return labels


def _shared(one: str, other: str) -> int:
    """Letters that both texts begin with."""
    pairs: Any = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))
