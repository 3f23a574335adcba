"""Parts of the rows that are scored separately: by question word, by whether there is an answer, by length."""

from __future__ import annotations

import re
from typing import Any

from ..data.shapes import answers as answer_shapes

# Question words of some languages; of Chinese and Japanese, which have no blanks, those that are longest come first.
_WORDS = (
    "what who whom whose when where why how which "
    "was wer wann wo warum wie welche welcher welches "
    "que qui quand où pourquoi comment quel quelle "
    "qué quién quiénes cuándo dónde cómo cuál cuánto cuántos "
    "что кто когда где почему как какой сколько"
)
_WORD = re.compile(rf"\b(?:{'|'.join(_WORDS.split())})\b", re.IGNORECASE)
_WITHOUT_BLANKS = re.compile(
    "为什么|為什麼|什么时候|什麼時候|什么|什麼|何时|多少|怎么|怎麼|哪|谁|誰|几|いつ|どこ|なぜ|何"
)
_LENGTHS = (50, 150, 500)  # characters


def question_word(question: Any) -> str | None:
    """The first question word of a question, in lower case.

    Example:
        >>> question_word("In which year was it built?"), question_word("谁写的？"), question_word("Name it.")
        ('which', '谁', 'other')
    """
    if not isinstance(question, str):
        return None
    match = _WORD.search(question) or _WITHOUT_BLANKS.search(question)
    return match[0].lower() if match else "other"


def has_answer(cell: Any) -> str | None:
    """Whether a question has an answer; None where that is not known."""
    if cell is None:
        return None
    return "with answer" if answer_shapes.pairs(cell) else "without answer"


def by_length(text: Any) -> str | None:
    """How long a reference is, in characters.

    Example:
        >>> by_length("short"), by_length("long " * 40), by_length("x" * 600)
        ('up to 50 characters', '151 to 500 characters', 'more than 500 characters')
    """
    if not isinstance(text, str):
        return None
    below = 0
    for limit in _LENGTHS:
        if len(text) <= limit:
            return f"{below + 1} to {limit} characters" if below else f"up to {limit} characters"
        below = limit
    return f"more than {below} characters"
