"""Dialogues as text, by the chat template of a tokenizer: prompts, what ends a turn, and what surrounds a reply."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from ..data.shapes.dialogues import KEYWORDS, Messages, reply_indices
from ..data.shapes.tool_calls import parsed
from ..errors import DataError, ModelError
from ..recipe import Row
from ._chat_calls import CALL, TEMPLATE, CallForm, form_of_calls
from ._rendered import index_after, shared_length, shorten_to_fit
from ._time_limit import time_limit

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


# For tokenizers without a template: each turn after its role, ended by the token that the model knows as an end.
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
# Replaces a turn, to see which part of a rendered dialogue comes from the template. Only letters and digits, because
# templates trim spaces and split at tags; and with a beginning that hardly any real text has.
OTHER = "zQ7other"
_REMEMBERED = 64  # rendered texts: each is asked for up to three times while its dialogue is read
_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
_SPACES = re.compile(r"\s+")


def dialogues_of(rows: Any) -> Iterator[tuple[Messages, Mapping[str, Any]]]:
    """Each dialogue with what the template gets besides it.

    Args:
        rows: A batch or a dataset with `messages`; `tools` and `chat_template_kwargs`, as JSON, where there are some.
    """
    names = getattr(rows, "column_names", rows)
    nothing = [None] * len(rows["messages"])
    tools = rows["tools"] if "tools" in names else nothing
    keywords = rows[KEYWORDS] if KEYWORDS in names else nothing
    for dialogue, row_tools, row_keywords in zip(rows["messages"], tools, keywords, strict=True):
        # What cannot be read is named by the checks.
        given: dict[str, Any] = {}
        if isinstance(parsed(row_keywords), dict):
            given |= parsed(row_keywords)
        if isinstance(parsed(row_tools), list) and not lists_tools(dialogue):
            given["tools"] = parsed(row_tools)
        yield dialogue, given


def lists_tools(dialogue: Messages) -> bool:
    """Whether the system message describes the tools already, as in the data of Hermes."""
    return bool(dialogue) and dialogue[0]["role"] == "system" and "<tools>" in str(dialogue[0]["content"])


class Surroundings(NamedTuple):
    """What a template puts around a reply."""

    opened: str
    """What only a prompt ends with, such as the tag that opens a thought."""
    lead: str
    """What is rendered between prompt and reply."""
    after: str
    """What is rendered after the reply."""


@dataclass
class Template:
    """How the chat template of a tokenizer renders dialogues.

    Attributes:
        tokenizer: With a chat template.
        end: Token that ends a text.
        given: What the template gets besides the dialogue: `tools`, and its own keywords.
    """

    tokenizer: PreTrainedTokenizerBase
    end: int
    given: Mapping[str, Any] = field(default_factory=dict)
    _rendered: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    def with_given(self, given: Mapping[str, Any]) -> Template:
        """The same template for a dialogue with these tools and keywords."""
        if not given:
            return self
        # What is known of the template without them holds with them too, and is looked for once.
        for name in ("around", "calls", "closing", "end_of_turn", "end_of_call"):
            getattr(self, name)
        template = copy.copy(self)
        template.given = given
        return template

    # --- rendering -----------------------------------------------------------------------------------------------

    def render(self, dialogue: Messages, *, prompt: bool = False, **options: Any) -> str:
        """The dialogue as the model reads it; with `prompt`, up to where the assistant speaks.

        Raises:
            DataError: The template refuses it, as some templates refuse system messages.
            ModelError: The template does not come to an end.
        """
        called, given = self._as_called(dialogue), {**self.given, **options}
        key = repr((called, prompt, given))
        if key in self._rendered:
            return self._rendered[key]
        try:
            with time_limit(TEMPLATE):
                text: str = self.tokenizer.apply_chat_template(
                    called, tokenize=False, add_generation_prompt=prompt, **given
                )
        except ModelError:
            raise
        except Exception as error:  # a template is a program, and may raise anything
            start = next((str(turn["content"])[:60] for turn in dialogue if turn["role"] == "user"), "")
            raise DataError(f"the model's chat template refuses the dialogue that starts {start!r}: {error}") from error
        while len(self._rendered) >= _REMEMBERED:
            del self._rendered[next(iter(self._rendered))]
        self._rendered[key] = text
        return text

    @cached_property
    def calls(self) -> CallForm:
        """In which form the template takes calls of tools."""
        return form_of_calls(self.tokenizer)

    def _as_called(self, dialogue: Messages) -> Messages:
        has_calls = any(turn.get("tool_calls") or turn["role"] == "tool" for turn in dialogue)
        return self.calls.of(dialogue) if has_calls else dialogue

    def reads(self, dialogue: Messages, key: str) -> bool:
        """Whether the rendered dialogue depends on what its last turn has under a key."""
        last = {name: value for name, value in dialogue[-1].items() if name != key}
        try:
            return self.render(dialogue) != self.render([*dialogue[:-1], last])
        except DataError:  # it cannot do without
            return True

    def reads_tools(self, dialogue: Messages) -> bool:
        """Whether the rendered dialogue shows the tools."""
        return self.render(dialogue) != self.render(dialogue, tools=None)

    def tokens(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids of a rendered text, and the characters of each."""
        tokens = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return tokens["input_ids"], tokens["offset_mapping"]

    def ids(self, text: str) -> list[int]:
        """Ids of a rendered text."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def prompt(self, dialogue: Messages, max_tokens: int) -> list[int]:
        """Ids that the assistant's turn continues, without the first exchanges where there are too many tokens."""
        _, (ids,) = shorten_to_fit(dialogue, lambda shown: (self.ids(self.render(shown, prompt=True)),), max_tokens)
        return ids[-max_tokens:]

    def shows_all(self, dialogue: Messages) -> bool:
        """Whether the model is shown every turn in full, a reply at least where it is the last turn."""
        last = max(reply_indices(dialogue), default=len(dialogue))
        # Templates trim and add spaces, so these are not compared.
        full = _SPACES.sub("", self.render(dialogue[:last], prompt=True) + self.render(dialogue))
        for index, turn in enumerate(dialogue):
            text = _SPACES.sub("", turn["content"])
            if text in full:
                continue
            # Many templates leave out the thoughts of earlier replies; each reply is then learnt as the last turn.
            if turn["role"] != "assistant" or text not in _SPACES.sub("", self.render(dialogue[: index + 1])):
                return False
        return True

    # --- where a turn ends ---------------------------------------------------------------------------------------

    @cached_property
    def end_of_turn(self) -> int | None:
        """Special token after a reply; None where the template puts none there."""
        special = {*self.tokenizer.all_special_ids, *self.tokenizer.added_tokens_decoder}
        after = self.around.after
        for token in self.ids(after):
            text = self.tokenizer.convert_ids_to_tokens(token)
            # A line break among the added tokens, or an unknown character, ends no turn.
            if token in special and text.strip() and text in after:
                return int(token)
        return None

    @property
    def end_text(self) -> str:
        """Text of the token that ends a turn."""
        return str(self.tokenizer.convert_ids_to_tokens(self.end_of_turn))

    @property
    def ends(self) -> list[int]:
        """Tokens at which a generated reply is complete."""
        ends = [self.end_of_turn, self.end_of_call, self.end]
        return list(dict.fromkeys(end for end in ends if end is not None))

    @cached_property
    def end_of_call(self) -> int | None:
        """Special token after a reply that calls a tool, where that is another; `<|call|>` of gpt-oss is one."""
        if self.end_of_turn is None or not self.calls.are_shown:
            return None
        try:
            before, shown = self.render(EXAMPLE, prompt=True), self.render([*EXAMPLE, CALL])
        except DataError:
            return None
        last = self.ids(shown.rstrip())[-1]
        is_end = last in self.tokenizer.all_special_ids or last in self.tokenizer.added_tokens_decoder
        return last if is_end and self.end_text not in shown[shared_length(before, shown) :] else None

    def up_to_end(self, text: str, start: int = 0) -> str:
        """A rendered text without what comes after the end of its last turn, such as one more end for the text.

        Args:
            text: Of a dialogue that ends with a reply.
            start: Where the reply starts, if that is known.
        """
        if self.end_of_turn is None:
            return text
        index = text.rfind(self.end_text, start)
        # A reply that calls a tool may end with another token.
        return text.rstrip() if index < 0 else text[: index + len(self.end_text)]

    # --- what surrounds a reply ----------------------------------------------------------------------------------

    @cached_property
    def around(self) -> Surroundings:
        """What the template puts around a reply, seen from two replies to one question.

        Raises:
            ModelError: The template cannot render a question and a reply.
        """
        dialogue = [*EXAMPLE, {"role": "assistant", "content": "Reply"}]
        try:
            before, shown = self.render(EXAMPLE, prompt=True), self.render(dialogue)
            other = self.with_other_reply(dialogue)
            start, opened = self.start_of_reply(dialogue, before, shown)
        except DataError as error:
            raise ModelError(f"the model's chat template cannot be used: {error.__cause__}") from error
        after = shared_length(shown[::-1], other[::-1])
        return Surroundings(opened, shown[start : shared_length(shown, other)], shown[len(shown) - after :])

    def with_other_reply(self, dialogue: Messages) -> str:
        """The rendered dialogue with another last reply."""
        return self.render([*dialogue[:-1], {"role": "assistant", "content": OTHER}])

    def start_of_reply(self, dialogue: Messages, before: str, shown: str) -> tuple[int, str]:
        """Index in the rendered dialogue from which on it is learnt, and the end of the prompt that it does not have.

        Args:
            dialogue: Up to the reply.
            before: Its rendered prompt.
            shown: The rendered dialogue.
        """
        if shown.startswith(before):
            return len(before), ""
        other, begin = self.with_other_reply(dialogue), 0
        size = index_after(before, shown, other)
        question = dialogue[-2]["content"].strip()
        if question in before[size:]:
            # The prompt renders earlier turns in another way, as that of Mistral, which puts the system message into
            # the last turn. Only what comes after the question is compared then: what another question does not change.
            changed = [*dialogue[:-2], {**dialogue[-2], "content": OTHER}]
            other_before, other_shown = (
                self.render(changed, prompt=True),
                self.with_other_reply([*changed, dialogue[-1]]),
            )
            before = before[len(before) - shared_length(before[::-1], other_before[::-1]) :]
            begin = len(other) - shared_length(other[::-1], other_shown[::-1])
            size = index_after(before, shown[begin:], other[begin:])
        return begin + size, before[size:]

    @cached_property
    def closing(self) -> str:
        """What closes the thought that a prompt opens, if the template closes it where `enable_thinking` is false."""
        before = self.render(EXAMPLE, prompt=True)
        closed = self.render(EXAMPLE, prompt=True, enable_thinking=False)
        return closed[len(before) :] if closed.startswith(before) else ""

    def closing_of(self, opened: str, shown: str) -> str:
        """What is put before a reply to close the opened thought; empty where none is open, or the reply closes it.

        Args:
            opened: End of the prompt that the rendered dialogue does not have.
            shown: The rendered dialogue from the reply on.
        """
        if not opened.strip() or shown.lstrip().startswith(self.closing.strip()):
            return ""
        return self.closing

    def reply(self, text: str, *, finished: bool = True) -> str:
        """The reply in a generated text, without what the template puts around it.

        Args:
            text: Without special tokens.
            finished: Whether it is complete; until then, it may be the beginning of what the template adds.
        """
        text, (lead, after) = text.strip(), self._generated_around
        if not finished and lead.startswith(text):
            return ""
        return text.removeprefix(lead).removesuffix(after).strip()

    def text_of(self, reply: Row) -> str | None:
        """A reply with its thoughts and calls as the model generates it; None where the template refuses it."""
        dialogue = [*EXAMPLE, reply]
        try:
            before = self.render(EXAMPLE, prompt=True)
            shown = self.up_to_end(self.render(dialogue), len(before))
            start, _ = self.start_of_reply(dialogue, before, shown)
        except DataError:
            return None
        return self.reply(self._without_special(shown[start:]))

    @cached_property
    def _generated_around(self) -> tuple[str, str]:
        """What is before and after a reply in a generated text, which has no special tokens."""
        opened, lead, after = self.around
        lead = self.closing_of(opened, lead) + lead
        if self.end_of_turn is not None:
            after = after.partition(self.end_text)[0]
        return self._without_special(lead), self._without_special(after)

    def _without_special(self, text: str) -> str:
        decoded: str = self.tokenizer.decode(
            self.ids(text), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return decoded.strip()

    # --- {% generation %} marks ----------------------------------------------------------------------------------

    @cached_property
    def has_marks(self) -> bool:
        """Whether the template marks with `{% generation %}` what is learnt."""
        return _GENERATION.search(self.tokenizer.get_chat_template()) is not None

    def marks(self, dialogue: Messages) -> list[tuple[int, int]]:
        """Characters of the rendered dialogue that are between `{% generation %}` marks; empty without marks."""
        if not self.has_marks:
            return []
        # `apply_chat_template` gives a mask of tokens instead, which stops or runs to the end of the text where a mark
        # begins or ends with a space that the tokenizer drops.
        from transformers.utils.chat_template_utils import render_jinja_template

        marks: list[list[tuple[int, int]]]
        _, marks = render_jinja_template(
            [self._as_called(dialogue)],
            chat_template=self.tokenizer.get_chat_template(),
            return_assistant_tokens_mask=True,
            **{**self.tokenizer.special_tokens_map, **self.given},
        )
        return marks[0]
