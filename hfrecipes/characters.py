"""Characters of texts that come from data: how they are shown, and which spellings are the same name.

Shown are escapes for characters that a terminal obeys, or that hide others.
"""

from __future__ import annotations

import re
import unicodedata

LONGEST_WORD = 300  # characters of a path or another word without blanks
LONGEST = 2000  # characters of a sentence
MUCH = 100_000  # characters of a text that a sentence is made of

# Control characters but line breaks, line separators, marks that turn the direction of a text, and halves of pairs.
# What joins emoji and letters of Persian stays.
_HIDDEN = "\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff"
_OBEYED = re.compile(f"[{_HIDDEN}]")
_BREAK = re.compile(r"\n(?!- )")
_LONG_WORD = re.compile(rf"\S{{{LONGEST_WORD + 1},}}")


def visible(text: str) -> str:
    """The text with an escape for each character that cannot be seen; line breaks stay.

    Example:
        >>> print(visible("bad" + chr(27) + "[2J"))
        bad\\x1b[2J
    """
    return _OBEYED.sub(_escape, text)


def visible_line(text: str) -> str:
    """As `visible`, on one line, or one for each entry of a list.

    Example:
        >>> print(visible_line("2 labels: a" + chr(10) + "b; models:" + chr(10) + "- me/model"))
        2 labels: a\\nb; models:
        - me/model
    """
    return _BREAK.sub(r"\\n", visible(text))


def visible_json(text: str) -> str:
    """JSON with these characters as JSON escapes, so that reading it gives the same text again.

    Example:
        >>> print(visible_json('{"text": "' + chr(0x202E) + 'cba"}'))
        {"text": "\\u202ecba"}
    """
    return _OBEYED.sub(lambda character: f"\\u{ord(character[0]):04x}", text)


def shortened(text: str, longest: int = LONGEST) -> str:
    """The text without the middle of long words and without its own middle; errors end with what to change.

    Example:
        >>> len(shortened("there is no file " + "x/" * 3000))
        317
        >>> shortened("the cell 'x x x x x x x x x' is too long", 20)
        'the cell … too long'
    """
    return within(_LONG_WORD.sub(_head_and_tail, text), longest)


def within(text: str, longest: int = MUCH) -> str:
    """The text with its middle left out where it is longer.

    The default is far longer than what a sentence shows: it limits the search for secrets, and does not cut a secret
    in the part that is shown.

    Example:
        >>> within("abcdefgh", 5)
        'ab…gh'
    """
    half = (longest - 1) // 2
    return text if len(text) <= longest else f"{text[:half]}…{text[-half:]}"


def composed(name: str) -> str:
    """A name in the form of Unicode that has one character for a letter with its accent (NFC).

    Files of macOS and some keyboards write the accent as a character of its own, which looks the same.

    Example:
        >>> composed("re" + chr(0x301) + "serve") == "réserve"
        True
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _escape(character: re.Match[str]) -> str:
    return character[0].encode("unicode_escape", "surrogatepass").decode("ascii")


def _head_and_tail(word: re.Match[str]) -> str:
    half = LONGEST_WORD // 2
    return f"{word[0][: half - 1]}…{word[0][-half:]}"
