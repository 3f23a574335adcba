"""The form in which a chat template takes calls of tools: templates differ in arguments and ids."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from ..data.shapes.dialogues import Messages
from ..data.shapes.tool_calls import are_calls, parsed
from ..errors import ModelError
from ..recipe import Row
from ._time_limit import time_limit

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEMPLATE = "the model's chat template"
_OPEN, _CLOSE = "<tool_response>", "</tool_response>"
_NAME = "zQ7call"  # of the function in the example, to see whether calls are shown
CALL: Row = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"type": "function", "id": "call_0", "function": {"name": _NAME, "arguments": "{}"}}],
}
# Some templates show calls only where there are tools.
_TOOL: Row = {
    "type": "function",
    "function": {"name": "zQ7tool", "description": "", "parameters": {"type": "object", "properties": {}}},
}
_EXAMPLE: Messages = [
    {"role": "user", "content": "Question"},
    CALL,
    {"role": "tool", "name": _NAME, "tool_call_id": "call_0", "content": "Answer"},
]


@dataclass(frozen=True)
class CallForm:
    """How calls, and what tools answer, are given to a template."""

    are_shown: bool = True
    """Whether the template shows calls at all."""
    has_text_arguments: bool = False
    """Whether arguments are JSON text, as DeepSeek's templates join them to other text."""
    has_short_ids: bool = False
    """Whether ids have nine characters, as Mistral's templates demand; the calls are then numbered."""
    adds_tags: bool = False
    """Whether the template puts `<tool_response>` around an answer, which data such as Hermes' has already."""

    def of(self, dialogue: Messages) -> Messages:
        """The dialogue with its calls and answers in this form."""
        numbers = _Numbers()
        turns: Messages = []
        for turn in dialogue:
            if are_calls(turn.get("tool_calls")):
                turn = self._with_calls(turn, numbers)
            if turn["role"] == "tool" and self.has_short_ids:
                turn = {**turn, "tool_call_id": numbers.of_answer(turn.get("tool_call_id"))}
            if self.adds_tags and has_tags(turn):
                turn = {**turn, "content": turn["content"].strip().removeprefix(_OPEN).removesuffix(_CLOSE).strip()}
            turns.append(turn)
        return turns

    def _with_calls(self, turn: Row, numbers: _Numbers) -> Row:
        calls = []
        for call in turn["tool_calls"]:
            if not self.has_text_arguments:
                function = call["function"]
                call = {**call, "function": {**function, "arguments": parsed(function["arguments"])}}
            if self.has_short_ids:
                call = {**call, "id": numbers.of_call(call.get("id"))}
            calls.append(call)
        return {**turn, "tool_calls": calls}


class _Numbers:
    """Numbers of nine digits for the calls of a dialogue, in their order."""

    def __init__(self) -> None:
        self.number_of: dict[Any, str] = {}
        self.unanswered: list[str] = []
        self.calls = 0

    def of_call(self, given: Any) -> str:
        """The number of the next call, which may have an id in the data."""
        self.calls += 1
        number = f"{self.calls:09d}"
        self.number_of[given] = number
        self.unanswered.append(number)
        return number

    def of_answer(self, given: Any) -> str:
        """The number of the call that is answered: the one with the same id, else the first without an answer."""
        waiting = self.unanswered[0] if self.unanswered else f"{self.calls:09d}"
        number = waiting if given is None else self.number_of.get(given, waiting)
        if number in self.unanswered:
            self.unanswered.remove(number)
        return number


def has_tags(turn: Row) -> bool:
    """Whether the answer of a tool is in tags in the data itself."""
    content = str(turn["content"]).strip()
    return turn["role"] == "tool" and content.startswith(_OPEN) and content.endswith(_CLOSE)


def form_of_calls(tokenizer: PreTrainedTokenizerBase) -> CallForm:
    """The first form in which the template takes a call and its answer."""
    for tools, has_short_ids, has_text_arguments in product(([_TOOL], None), (False, True), (False, True)):
        form = CallForm(True, has_text_arguments, has_short_ids)
        try:
            with time_limit(TEMPLATE):
                shown = tokenizer.apply_chat_template(form.of(_EXAMPLE), tools=tools, tokenize=False)
        except ModelError:
            raise
        except Exception:  # a template is a program, and may raise anything
            continue
        return CallForm(_NAME in shown, has_text_arguments, has_short_ids, _OPEN in shown)
    # The checks name each row that it refuses, with the reason.
    return CallForm()
