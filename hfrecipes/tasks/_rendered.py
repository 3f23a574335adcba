"""Rendered dialogues compared with each other, and dialogues shortened until their tokens fit."""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable

from ..data.shapes.dialogues import Messages, shortened_dialogues

# A tag, or a pair of tags with nothing between them, as of a thought that is closed at once.
_TAG = re.compile(r"<(\w+)>\s*</\1>|[<\[][^<>\[\]\s]*[>\]]")


def index_after(before: str, shown: str, other: str) -> int:
    """Index in a rendered dialogue from which on it follows the prompt.

    Mostly that is the end of the prompt. Some prompts end with an opened thought, or a space, that is not rendered
    before a reply: then it is the end of what both share, which is never inside a tag.

    Args:
        before: The rendered prompt.
        shown: The rendered dialogue.
        other: The same with another reply. Characters that it does not share belong to the reply, not to the template.
    """
    if shown.startswith(before):
        return len(before)
    size = shared_length(before, shown, other)
    for tag in _TAG.finditer(before):
        if tag.start() < size < tag.end():
            size = tag.start()
    opened = before[size:].strip()
    closed = f"{opened[:1]}/{opened[1:]}"
    # The thought that the reply opens is the one that the prompt has opened already.
    if opened and shown[size:].startswith(opened) and closed in shown[size:]:
        size += len(opened)
    return size


def shorten_to_fit(
    dialogue: Messages, read: Callable[[Messages], tuple[list[int], ...]], max_tokens: int
) -> tuple[Messages, tuple[list[int], ...]]:
    """The dialogue without its first exchanges, as few of them as it takes to fit, and what `read` gives for it.

    Args:
        dialogue: Messages.
        read: Function of a dialogue to its ids, and more of the same length.
        max_tokens: Ids that fit; if even the last exchange has more, it is what is left.
    """
    tokens = read(dialogue)
    if len(tokens[0]) <= max_tokens:
        return dialogue, tokens
    # Reading takes long and the candidates get shorter, so the first one that fits is found by bisection.
    candidates = shortened_dialogues(dialogue)
    first = bisect.bisect_left(candidates, True, key=lambda shown: len(read(shown)[0]) <= max_tokens)
    chosen = candidates[min(first, len(candidates) - 1)]
    return chosen, read(chosen)


def shared_length(*texts: str) -> int:
    """Number of characters that all texts begin with.

    Example:
        >>> shared_length("prompt", "profit", "prove")
        3
    """
    shortest = min(texts, key=len)
    sizes = range(1, len(shortest) + 1)

    def differ(size: int) -> bool:
        return not all(text.startswith(shortest[:size]) for text in texts)

    # By bisection, because to compare long texts character by character takes long in Python.
    return bisect.bisect_left(sizes, True, key=differ)
