"""Texts from data in Markdown."""

from __future__ import annotations

import re

from ..characters import visible

_MARKUP = re.compile(r"[\\`*<>|\[\]#~&$]")  # characters that Markdown reads as more than themselves


def plain_text(text: str) -> str:
    """A text from data as Markdown that shows it: no link, no HTML, no cell of a table, on one line.

    Example:
        >>> plain_text("a|b <img src=x>"), plain_text("f1[person]"), plain_text("not_spam")
        ('a\\\\|b \\\\<img src=x\\\\>', 'f1\\\\[person\\\\]', 'not_spam')
    """
    return _MARKUP.sub(r"\\\g<0>", visible(" ".join(text.split())))
