"""The form in which a chat template takes calls of tools: templates differ in arguments and ids."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from ..data.shapes.dialogues import Messages
from ..data.shapes.tool_calls import are_calls, parsed
from ..recipe import Row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

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
    """How calls are given to a template."""

    are_shown: bool = True
    """Whether the template shows calls at all."""
    has_text_arguments: bool = False
    """Whether arguments are JSON text, as DeepSeek's templates join them to other text."""
    has_short_ids: bool = False
    """Whether ids have nine characters, as Mistral's templates demand; the calls are then numbered."""

    def of(self, dialogue: Messages) -> Messages:
        """The dialogue with its calls in this form."""
        numbers = count(1)
        ids: dict[Any, str] = {}
        waiting: list[str] = []  # ids of calls without an answer, in their order
        turns: Messages = []
        for turn in dialogue:
            if are_calls(turn.get("tool_calls")):
                turn = self._with_calls(turn, numbers, ids, waiting)
            elif turn["role"] == "tool" and self.has_short_ids:
                number = ids.get(turn.get("tool_call_id"))
                if number is None and waiting:
                    number = waiting[0]
                if number is not None:
                    turn = {**turn, "tool_call_id": number}
                if number in waiting:
                    waiting.remove(number)
            turns.append(turn)
        return turns

    def _with_calls(self, turn: Row, numbers: Any, ids: dict[Any, str], waiting: list[str]) -> Row:
        """The turn with its calls in this form; new ids are added to `ids` and `waiting`."""
        calls = []
        for call in turn["tool_calls"]:
            if not self.has_text_arguments:
                function = call["function"]
                call = {**call, "function": {**function, "arguments": parsed(function["arguments"])}}
            if self.has_short_ids:
                number = f"{next(numbers):09d}"
                if call.get("id") is not None:
                    ids[call["id"]] = number
                waiting.append(number)
                call = {**call, "id": number}
            calls.append(call)
        return {**turn, "tool_calls": calls}


def form_of_calls(tokenizer: PreTrainedTokenizerBase) -> CallForm:
    """The first form in which the template takes a call and its answer."""
    for has_short_ids in (False, True):
        for has_text_arguments in (False, True):
            form = CallForm(True, has_text_arguments, has_short_ids)
            try:
                shown = tokenizer.apply_chat_template(form.of(_EXAMPLE), tools=[_TOOL], tokenize=False)
            except Exception:  # a template is a program, and may raise anything
                continue
            return CallForm(_NAME in shown, has_text_arguments, has_short_ids)
    # The checks name each row that it refuses, with the reason.
    return CallForm()
