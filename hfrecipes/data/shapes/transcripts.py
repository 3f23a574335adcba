"""Dialogues written as one text, with the speaker before each turn, such as `### Human: …### Assistant: …`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ...recipe import Row

_SYSTEM, _USER, _ASSISTANT = "system", "user", "assistant"


@dataclass(frozen=True)
class Marks:
    """How a kind of transcript marks its turns."""

    name: str
    """The marks, for a sentence."""
    pattern: re.Pattern[str]
    """Start of a turn, with the speaker as its only group."""
    roles: dict[str, str]
    """Speaker, in small letters -> role."""
    ends: tuple[str, ...] = ()
    """Texts at the end of a turn that are no part of it."""


_HUMAN = {"human": _USER, "user": _USER, "assistant": _ASSISTANT, "bot": _ASSISTANT, "gpt": _ASSISTANT}
_HUMAN |= {"system": _SYSTEM, "chatgpt": _ASSISTANT, "ai": _ASSISTANT}
_TASK = {"instruction": _USER, "input": _USER, "response": _ASSISTANT, "output": _ASSISTANT}
_KINDS = (
    Marks("### Human: … ### Assistant: …", re.compile(r"###\s*(Human|User|Assistant|System|Bot|GPT):", re.I), _HUMAN),
    Marks("### Instruction: … ### Response: …", re.compile(r"###\s*(Instruction|Input|Response|Output):", re.I), _TASK),
    Marks("<|im_start|>user …", re.compile(r"<\|im_start\|>\s*(\w+)\n"), _HUMAN, ("<|im_end|>", "<|endoftext|>")),
    Marks("<|user|> … <|assistant|> …", re.compile(r"<\|(user|assistant|system)\|>"), _HUMAN, ("</s>", "<|end|>")),
    Marks("<human>: … <bot>: …", re.compile(r"<(human|bot|user|assistant|system)>:", re.I), _HUMAN),
    # With a blank line before them, or at the start of a line, since these words stand in prose too.
    Marks("Human: … Assistant: …", re.compile(r"(?:^|\n)\s*(Human|Assistant|System|User|AI|Bot):"), _HUMAN),
    Marks("USER: … ASSISTANT: …", re.compile(r"(?:^|\s|</s>)(USER|ASSISTANT|SYSTEM):"), _HUMAN, ("</s>",)),
)
_INSTRUCTIONS = re.compile(r"(?:<s>\s*)?\[INST\](.*?)\[/INST\]", re.DOTALL)
_LLAMA_SYSTEM = re.compile(r"\s*<<SYS>>(.*?)<</SYS>>", re.DOTALL)
_END_OF_UTTERANCE = "__eou__"


def turns_of(text: str) -> list[Row] | None:
    r"""The turns of a transcript; None for any other text.

    Example:
        >>> turns_of("### Human: Hi### Assistant: Hello.")
        [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Hello.'}]
        >>> turns_of("Hi __eou__ Hello . __eou__")
        [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Hello .'}]
    """
    if _END_OF_UTTERANCE in text:
        return _in_turn(text.split(_END_OF_UTTERANCE))
    if "[INST]" in text:
        return _of_instructions(text)
    for marks in _KINDS:
        turns = _marked(text, marks)
        if turns is not None:
            return turns
    return None


def marks_of(texts: Iterable[Any]) -> str | None:
    """The marks of the turns, where most of the texts that are not blank are transcripts; None for other texts."""
    transcripts = others = 0
    name = None
    for text in texts:
        if not isinstance(text, str) or not text.strip():
            continue
        if turns_of(text) is None:
            others += 1
            continue
        transcripts += 1
        name = name or _name_of(text)
    return name if transcripts > others else None


def _name_of(text: str) -> str:
    if _END_OF_UTTERANCE in text:
        return _END_OF_UTTERANCE
    if "[INST]" in text:
        return "[INST] … [/INST]"
    return next(marks.name for marks in _KINDS if _marked(text, marks) is not None)


def _in_turn(texts: Iterable[str]) -> list[Row]:
    turns: list[Row] = []
    for content in filter(None, map(str.strip, texts)):
        turns.append({"role": (_USER, _ASSISTANT)[len(turns) % 2], "content": content})
    return turns


def _of_instructions(text: str) -> list[Row] | None:
    """Turns of the template of Llama 2."""
    turns: list[Row] = []
    parts = _INSTRUCTIONS.split(text)
    if parts[0].strip():
        return None
    for asked, reply in zip(parts[1::2], parts[2::2], strict=True):
        system = _LLAMA_SYSTEM.match(asked)
        if system is not None:
            turns.append({"role": _SYSTEM, "content": system[1].strip()})
            asked = asked[system.end() :]
        turns.append({"role": _USER, "content": asked.strip()})
        turns.append({"role": _ASSISTANT, "content": _without_ends(reply, ("</s>", "<s>"))})
    return _without_open_reply(turns)


def _marked(text: str, marks: Marks) -> list[Row] | None:
    """Turns between marks; None unless the text begins with one, or with a system message before it, and has replies.

    A request that only quotes a dialogue has other text before the first speaker.
    """
    parts = marks.pattern.split(text)
    if len(parts) < 5 or (parts[0].strip() and marks.roles is not _TASK and marks.name[:5] != "USER:"):
        return None
    turns: list[Row] = []
    if parts[0].strip():
        turns.append({"role": _SYSTEM, "content": parts[0].strip()})
    for speaker, content in zip(parts[1::2], parts[2::2], strict=True):
        role = marks.roles.get(speaker.lower())
        if role is None:
            return None
        content = _without_ends(content, marks.ends)
        # Alpaca writes an instruction, and the input that it is about, as two parts of one turn.
        if marks.roles is _TASK and turns and turns[-1]["role"] == role:
            turns[-1] = {"role": role, "content": f"{turns[-1]['content']}\n\n{content}".strip()}
        else:
            turns.append({"role": role, "content": content})
    if not {_USER, _ASSISTANT} <= {turn["role"] for turn in turns}:
        return None
    return _without_open_reply(turns)


def _without_ends(content: str, ends: tuple[str, ...]) -> str:
    for end in ends:
        content = content.replace(end, "")
    return content.strip()


def _without_open_reply(turns: list[Row]) -> list[Row]:
    """The turns without a last one of the assistant that says nothing: prompts end where it is to speak."""
    return turns[:-1] if turns[-1]["role"] == _ASSISTANT and not turns[-1]["content"] else turns
