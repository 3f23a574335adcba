"""A dialogue as tokens, by the chat template of a tokenizer, with what is to be learnt of it marked."""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..data.shapes.dialogues import Messages, replies, shortened
from ..errors import DataError, ModelError
from ..recipe import Row

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
EXAMPLE: Messages = [{"role": "user", "content": "Question"}]
# Stands in for a turn, to see which part of a rendering is the template's. Letters and digits alone, since templates
# trim blanks and split at tags, and with a beginning that hardly any real text has.
OTHER = "zQ7other"
# A tag, or a pair of tags with nothing between them, as of a thought that is closed at once.
_TAG = re.compile(r"<(\w+)>\s*</\1>|[<\[][^<>\[\]\s]*[>\]]")
_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
_BLANKS = re.compile(r"\s+")


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
    def around(self) -> tuple[str, str, str]:
        """What only a prompt ends with, as an opened thought; what is shown between prompt and reply; what after that.

        Raises:
            ModelError: The template cannot show a request and a reply.
        """
        dialogue = [*EXAMPLE, _reply("Reply")]
        try:
            before, shown, other = self.render(EXAMPLE, prompt=True), self.render(dialogue), self._with_other(dialogue)
            start, opened = self._start_of_reply(dialogue, before, shown)
        except DataError as error:
            raise ModelError(f"the model's chat template cannot be used: {error.__cause__}") from error
        after = _shared(shown[::-1], other[::-1])
        return opened, shown[start : _shared(shown, other)], shown[len(shown) - after :]

    @cached_property
    def end_of_turn(self) -> int | None:
        """Special token that stands behind a reply; None where there is none."""
        special = {*self.tokenizer.all_special_ids, *self.tokenizer.added_tokens_decoder}
        _, _, after = self.around
        for token in self.ids(after):
            text = self.tokenizer.convert_ids_to_tokens(token)
            if token in special and text.strip() and text in after:  # a line break or an unknown sign ends no turn
                return int(token)
        return None

    @cached_property
    def notes(self) -> list[str]:
        """Sentences on what is learnt of a reply, where the template decides it."""
        notes = []
        if self._has_marks:
            notes.append("chat template: its {% generation %} marks say what is learnt of a reply")
        opened, lead, _ = self.around
        if opened:
            closing = f"{self._closing!r} and then " if self._closing_of(opened, lead) else ""
            notes.append(
                f"chat template: prompts end with {opened!r}, and replies are shown without it: {closing}the reply is "
                "learnt right after it, because that is where a generated reply starts"
            )
        return notes

    @cached_property
    def _written_around(self) -> tuple[str, str]:
        """What stands before and after a reply in a generated text, from which special tokens are removed."""
        opened, lead, after = self.around
        lead = self._closing_of(opened, lead) + lead
        if self.end_of_turn is not None:
            after = after.partition(self._end)[0]
        decode = partial(self.tokenizer.decode, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return decode(self.ids(lead)).strip(), decode(self.ids(after)).strip()

    def reply(self, text: str, *, finished: bool = True) -> str:
        """What the assistant says in a text that was written, without what the template puts around it.

        Args:
            text: Without special tokens.
            finished: Whether nothing more comes; until then, a text may be the beginning of what the template adds.
        """
        text, (lead, tail) = text.strip(), self._written_around
        if not finished and lead.startswith(text):
            return ""
        text = text.removeprefix(lead)
        return (text.removesuffix(tail) if tail else text).strip()

    @property
    def ends(self) -> list[int]:
        """Tokens at which a reply is over."""
        found = [self.end] if self.end_of_turn is None else [self.end_of_turn, self.end]
        return list(dict.fromkeys(found))

    def render(self, dialogue: Messages, *, prompt: bool = False, **more: Any) -> str:
        """The dialogue as the model reads it; with `prompt`, up to where the assistant is to speak.

        Raises:
            DataError: The template refuses it, as some do with system messages.
        """
        try:
            text: str = self.tokenizer.apply_chat_template(
                dialogue, tokenize=False, add_generation_prompt=prompt, **more
            )
        except Exception as error:  # a template is a program
            start = next((str(turn["content"])[:60] for turn in dialogue if turn["role"] == "user"), "")
            raise DataError(f"the model's chat template refuses the dialogue that starts {start!r}: {error}") from error
        return text

    def tokens(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids of a rendered text, and the characters of each."""
        tokens = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return tokens["input_ids"], tokens["offset_mapping"]

    def ids(self, text: str) -> list[int]:
        """Ids of a rendered text."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def prompt(self, dialogue: Messages, room: int) -> list[int]:
        """What the assistant goes on from, in at most `room` tokens: the first exchanges go where it is too long."""
        ids: list[int] = _fitting(dialogue, lambda shown: self.ids(self.render(shown, prompt=True)), room)[1]
        return ids[-room:]

    def shows_all(self, dialogue: Messages) -> bool:
        """Whether the model is shown every turn in full, a reply at least where it is the last turn."""
        last = max(replies(dialogue), default=len(dialogue))
        full = _BLANKS.sub("", self.render(dialogue[:last], prompt=True) + self.render(dialogue))
        for index, turn in enumerate(dialogue):
            text = _BLANKS.sub("", turn["content"])
            if text in full:
                continue
            # Many templates leave out the thoughts of earlier replies; these are then learnt one by one.
            if turn["role"] != "assistant" or text not in _BLANKS.sub("", self.render(dialogue[: index + 1])):
                return False
        return True

    def pieces(self, dialogue: Messages, room: int, train_on: str) -> list[Piece]:
        """The dialogue in pieces of at most `room` tokens: one, or one for each reply.

        Reply by reply where the template shows an earlier turn otherwise than it was when it was the last (as some do
        with thoughts), where a prompt alone has other tokens than before its reply, and where the template does not
        mark the end of a turn.

        Args:
            dialogue: Messages.
            room: Tokens.
            train_on: What is learnt: `assistant`, `last` or `all`.
        """
        spoken = replies(dialogue)
        if not spoken:
            ids = self.ids(self.render(dialogue))
            labels = ids if train_on == "all" else [-100] * len(ids)
            return [_piece(ids, labels, room, cut=len(ids) > room)]
        if train_on == "last":
            return [self._last(dialogue[: spoken[-1] + 1], room, everything=False)]
        everything = train_on == "all"
        whole = self._whole(dialogue, spoken, room, everything=everything) if self.end_of_turn is not None else None
        return [whole] if whole else [self._last(dialogue[: at + 1], room, everything=everything) for at in spoken]

    def _whole(self, dialogue: Messages, spoken: list[int], room: int, *, everything: bool) -> Piece | None:
        """All replies marked, without the last turns where it is too long.

        None where the template shifts them, or where a prompt alone has other tokens than before its reply.
        """
        dialogue = dialogue[: spoken[-1] + 1]
        full = self.render(dialogue)
        spans = []
        for index in spoken:
            before = self.render(dialogue[:index], prompt=True)
            through = self._up_to_end(self.render(dialogue[: index + 1]) if index != spoken[-1] else full)
            if not (through.startswith(before) and full.startswith(through)):
                return None
            spans.append((len(before), len(through)))
        ids, offsets = self.tokens(full[: spans[-1][1]])  # nothing is said behind the last end
        parts = self._parts(full, spans, ids, offsets)
        if parts is None:
            return None
        sizes = [last for _, last in parts]
        fitting = [size for size in sizes if size <= room]
        kept = (fitting or [room])[-1]
        labels = ids if everything else _labels(ids, offsets, parts, self._marks(dialogue))
        return _piece(ids, labels, kept, cut=sizes[-1] > kept)

    def _parts(
        self, full: str, spans: list[tuple[int, int]], ids: list[int], offsets: list[tuple[int, int]]
    ) -> list[tuple[int, int]] | None:
        """First token of each reply, and the first one after it; None where the prompt of a reply has other tokens.

        Args:
            full: The rendered text.
            spans: Characters of each reply: where its prompt ends, and where its turn ends.
            ids: Tokens of the text.
            offsets: Characters of the tokens.
        """
        starts = [start for start, _ in offsets]
        parts, size, at = [], 0, 0
        for first, last in spans:
            # The end of a turn is a token of its own whatever stands around it, so that it is enough to compare the
            # tokens from the last one on; to tokenize each prompt anew would take quadratic time.
            given = self.ids(full[at:first])
            if ids[size : size + len(given)] != given:
                return None
            stop = bisect.bisect_left(starts, last)
            parts.append((size + len(given), stop))
            size, at = stop - 1, last - len(self._end)
        return parts

    @property
    def _end(self) -> str:
        """Text of the token that ends a turn."""
        return str(self.tokenizer.convert_ids_to_tokens(self.end_of_turn))

    def _up_to_end(self, text: str) -> str:
        """The text without what stands behind the end of its last turn; some templates end the whole text once more."""
        return text if self.end_of_turn is None else text[: text.rfind(self._end) + len(self._end)]

    @cached_property
    def _has_marks(self) -> bool:
        return _GENERATION.search(self.tokenizer.get_chat_template()) is not None

    def _marks(self, dialogue: Messages) -> list[tuple[int, int]]:
        """Characters that the template marks by `{% generation %}`; none where it has no such marks.

        As characters: the masks of `apply_chat_template` stop, or run to the end, where a mark begins or ends with a
        blank that the tokenizer drops.
        """
        if not self._has_marks:
            return []
        from transformers.utils.chat_template_utils import render_jinja_template

        marks: list[list[tuple[int, int]]]
        _, marks = render_jinja_template(
            [dialogue],
            chat_template=self.tokenizer.get_chat_template(),
            return_assistant_tokens_mask=True,
            **self.tokenizer.special_tokens_map,
        )
        return marks[0]

    @cached_property
    def _closing(self) -> str:
        """What closes the thought that a prompt opens, if the template does so where `enable_thinking` is false."""
        before = self.render(EXAMPLE, prompt=True)
        closed = self.render(EXAMPLE, prompt=True, enable_thinking=False)
        return closed[len(before) :] if closed.startswith(before) else ""

    def _closing_of(self, opened: str, said: str) -> str:
        """What is put before a reply to close an opened thought; nothing where none is open, or the reply closes it."""
        closes = not opened.strip() or said.lstrip().startswith(self._closing.strip())
        return "" if closes else self._closing

    def _last(self, dialogue: Messages, room: int, *, everything: bool) -> Piece:
        """The last reply marked, without the first exchanges where it is too long."""
        read = partial(self._answered, everything=everything)
        shown, (ids, labels) = _fitting(dialogue, read, room, size=lambda answered: len(answered[0]))
        return _piece(ids, labels, room, cut=shown is not dialogue or len(ids) > room)

    def _answered(self, dialogue: Messages, *, everything: bool) -> tuple[list[int], list[int]]:
        """Tokens and labels of a dialogue: those of the last prompt, and then those of the reply to it."""
        before, shown = self.render(dialogue[:-1], prompt=True), self._up_to_end(self.render(dialogue))
        start, opened = self._start_of_reply(dialogue, before, shown)
        closing = self._closing_of(opened, shown[start:])
        prompt = self.ids(before)
        ids, offsets, index = self._tokens_after(before, closing + shown[start:])
        if self.end_of_turn is None:
            ids, offsets = [*ids, self.end], [*offsets, (0, 0)]
        marks = self._marks(dialogue)
        if marks:
            shift = index + len(closing) - start
            marks = [(index, index + len(closing)), *((first + shift, last + shift) for first, last in marks)]
        labels = _labels(ids, offsets, [(0, len(ids))], marks)
        given = self._new_labels(dialogue, before) if everything else [-100] * len(prompt)
        return [*prompt, *ids], [*given, *labels]

    def _with_other(self, dialogue: Messages) -> str:
        """The dialogue with another last reply."""
        return self.render([*dialogue[:-1], _reply(OTHER)])

    def _start_of_reply(self, dialogue: Messages, before: str, shown: str) -> tuple[int, str]:
        """Index in the rendered dialogue from which on it is learnt, and what the prompt has there instead.

        Args:
            dialogue: Up to the reply.
            before: Its rendered prompt.
            shown: The rendered dialogue.
        """
        if shown.startswith(before):
            return len(before), ""
        other, begin = self._with_other(dialogue), 0
        size = _index_after(before, shown, other)
        asked = dialogue[-2]["content"].strip()
        if asked in before[size:]:
            # The prompt shows earlier turns otherwise, as Mistral's, which has the system message in the last one. Only
            # what comes after the question is compared then: what stays where another question is asked.
            changed = [*dialogue[:-2], {**dialogue[-2], "content": OTHER}]
            other_prompt, other_shown = self.render(changed, prompt=True), self._with_other([*changed, dialogue[-1]])
            before = before[len(before) - _shared(before[::-1], other_prompt[::-1]) :]
            begin = len(other) - _shared(other[::-1], other_shown[::-1])
            size = _index_after(before, shown[begin:], other[begin:])
        return begin + size, before[size:]

    def _tokens_after(self, before: str, said: str) -> tuple[list[int], list[tuple[int, int]], int]:
        """Tokens of a text that follows a prompt, the characters of each, and the index of the text among these.

        The prompt keeps its tokens. Where they would merge with those of the text, that is tokenized after another
        context, since some tokenizers put a blank before a text that stands alone.
        """
        last_turn = before if self.end_of_turn is None else before[max(before.rfind(self._end), 0) :]
        for context in (last_turn, ":", "\n", "a"):
            given = self.ids(context)
            ids, offsets = self.tokens(context + said)
            if ids[: len(given)] == given and len(ids) > len(given):
                return ids[len(given) :], offsets[len(given) :], len(context)
        return *self.tokens(said), 0

    def _new_labels(self, dialogue: Messages, before: str) -> list[int]:
        """Labels of a prompt where all is learnt: the turns after the reply before, which is in a piece of its own."""
        ids, offsets = self.tokens(before)
        earlier = replies(dialogue)[:-1]
        if not earlier:
            return ids
        new = earlier[-1] + 1
        changed = [*dialogue[:new], {**dialogue[new], "content": OTHER}, *dialogue[new + 1 : -1]]
        start = _shared(before, self.render(changed, prompt=True))
        return _marked(ids, offsets, [(start, len(before))])


def _reply(text: str) -> Row:
    return {"role": "assistant", "content": text}


def _index_after(before: str, shown: str, other: str) -> int:
    """Index in a rendered dialogue from which on it follows the prompt.

    Mostly that is the end of the prompt. Some prompts end with an opened thought, or a blank, that is not shown before
    a reply: then it is the end of what both have in common, which is never inside a tag.

    Args:
        before: The rendered prompt.
        shown: The rendered dialogue.
        other: The same with another reply. Characters that it does not share are the reply's, not the template's.
    """
    if shown.startswith(before):
        return len(before)
    size = _shared(before, shown, other)
    for tag in _TAG.finditer(before):
        if tag.start() < size < tag.end():
            size = tag.start()
    opened = before[size:].strip()
    closed = f"{opened[:1]}/{opened[1:]}"
    if opened and shown[size:].startswith(opened) and closed in shown[size:]:
        size += len(opened)  # the thought that the reply opens is the one that the prompt opened
    return size


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
    # Some tokenizers trim blanks off the characters of a token, until nothing is left of one that is blank.
    starts = np.where(starts == ends, np.concatenate([[0], ends])[: len(ends)], starts)
    inside = np.zeros(len(ids), dtype=bool)
    for first, last in spans:
        inside |= (ends > first) & (starts < last)
    labels: list[int] = np.where(inside, ids, -100).tolist()
    return labels


def _labels(
    ids: list[int], offsets: list[tuple[int, int]], parts: list[tuple[int, int]], marks: list[tuple[int, int]]
) -> list[int]:
    """Ids of the replies, -100 elsewhere; where there are marks, only what they cover, and the last token of a reply.

    Without that token, which ends the turn, the model would not learn to stop.
    """
    covered = _marked(ids, offsets, marks) if marks else ids
    labels = [-100] * len(ids)
    for first, last in parts:
        labels[first:last] = covered[first:last]
        if max(labels[first:last], default=-100) >= 0:
            labels[last - 1] = ids[last - 1]
    return labels


def _shared(*texts: str) -> int:
    """Number of characters that all texts begin with."""
    shortest = min(texts, key=len)
    sizes = range(1, len(shortest) + 1)
    return bisect.bisect_left(sizes, True, key=lambda size: not all(text.startswith(shortest[:size]) for text in texts))
