"""A dialogue as tokens, by the chat template of a tokenizer, with what is to be learnt of it marked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import DataError
from ._dialogues import Messages, replies, without_oldest

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
    def end_of_turn(self) -> int | None:
        """Special token that stands behind a reply; None where there is none."""
        text = self.render([{"role": "user", "content": "Question"}, {"role": "assistant", "content": "Reply"}])
        special = {*self.tokenizer.all_special_ids, *self.tokenizer.added_tokens_decoder}
        behind, _ = self.tokens(text.rpartition("Reply")[2])
        return next((token for token in behind if token in special), None)

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
        from jinja2 import TemplateError

        try:
            text: str = self.tokenizer.apply_chat_template(dialogue, tokenize=False, add_generation_prompt=prompt)
        except TemplateError as error:
            start = str(dialogue[0]["content"])[:60] if dialogue else ""
            raise DataError(f"the model's chat template refuses the dialogue that starts {start!r}: {error}") from error
        return text

    def tokens(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids of a rendered text, and the characters of each."""
        found = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return found["input_ids"], found["offset_mapping"]

    def prompt(self, dialogue: Messages, room: int) -> list[int]:
        """What the assistant goes on from, in at most `room` tokens: the first exchanges go where it is too long."""
        while True:
            ids, _ = self.tokens(self.render(dialogue, prompt=True))
            shorter = without_oldest(dialogue) if len(ids) > room else None
            if shorter is None:
                return ids[-room:]
            dialogue = shorter

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
            ids = self.tokens(self.render(dialogue))[0][:room]
            return [_piece(ids, ids if train_on == "all" else [-100] * len(ids), room, cut=False)]
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
            through = self.render(dialogue[: place + 1]) if place != spoken[-1] else full
            if not (through.startswith(before) and full.startswith(through)):
                return None
            spans.append((len(before), len(through.rstrip())))
        ids, offsets = self.tokens(full.rstrip())  # nothing is said behind the last end
        ends = [end for _, end in offsets]
        sizes = [int(size) for size in np.searchsorted(ends, [end for _, end in spans], side="right")]
        fitting = [size for size in sizes if size <= room]
        kept = (fitting or [room])[-1]
        labels = ids if everything else _marked(ids, offsets, spans)
        return _piece(ids, labels, kept, cut=sizes[-1] > kept)

    def _last(self, dialogue: Messages, room: int, *, everything: bool) -> Piece:
        """The last reply marked, without the first exchanges where it is too long."""
        shown, cut = dialogue, False
        while True:
            before, full = self.render(shown[:-1], prompt=True), self.render(shown)
            start = len(before) if full.startswith(before) else _shared(before, full)
            full = full if self.end_of_turn is None else full.rstrip()
            ids, offsets = self.tokens(full)
            labels = ids if everything else _marked(ids, offsets, [(start, len(full))])
            if self.end_of_turn is None:
                ids, labels = [*ids, self.end], [*labels, self.end]
            shorter = without_oldest(shown) if len(ids) > room else None
            if shorter is None:
                return _piece(ids, labels, room, cut=cut or len(ids) > room)
            shown, cut = shorter, True


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
