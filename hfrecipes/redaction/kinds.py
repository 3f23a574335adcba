"""What patterns recognise: one kind of identifier each, most of them confirmed by a check of the library for it.

`phonenumbers` is Google's library of numbering plans, `python-stdnum` has the check digits. Presidio was weighed: its
recognizers import spaCy (seven seconds, 390 MB with what it needs), and the one for e-mail downloads a list of domains.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

Spans = Iterator[tuple[int, int]]
# Countries whose national numbers are read without a country code; any number with one is recognised.
REGIONS = ("US", "GB", "DE", "FR", "IN", "CN")
_ENOUGH_DIGITS = re.compile(r"(?:\d[^\w\n]{0,3}){6}\d")  # which a text with a phone number has, and few other texts


@dataclass(frozen=True)
class Kind:
    """A kind of identifier.

    Attributes:
        noun: What one is called in sentences, as `e-mail address`; with `s`, several.
        find: First character and end of each one in a text.
    """

    noun: str
    find: Callable[[str, Sequence[str]], Spans]


def _confirmed(
    pattern: str, check: Callable[[str], bool] = bool, needs: str = r"\d"
) -> Callable[[str, Sequence[str]], Spans]:
    """What a pattern matches, where the check confirms it; texts without what it `needs` are not searched."""

    def find(text: str, regions: Sequence[str]) -> Spans:
        # Compiled when first used, and kept by `re`: every command imports this module, and few of them redact.
        # Most texts have none, which is seen in a tenth of the time.
        if re.search(needs, text, re.IGNORECASE) is None:
            return
        for match in re.finditer(pattern, text, re.IGNORECASE):
            if check(match.group()):
                yield match.span()

    return find


def _is_card(text: str) -> bool:
    from stdnum import luhn

    digits = re.sub(r"\D", "", text)
    return 13 <= len(digits) <= 19 and bool(luhn.is_valid(digits))


def _is_resident_id(text: str) -> bool:
    from stdnum.cn import ric

    return bool(ric.is_valid(text))


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_date(text: str) -> bool:
    """Whether numbers are a day, a month and a year in some order; dates with the name of a month are taken as read."""
    parts = [int(part) for part in re.findall(r"\d+", text)]
    if len(parts) != 3 or re.search(r"[a-z]", text, re.IGNORECASE):
        return True
    if len(re.findall(r"\d+", text)[0]) == 4:
        orders = [(parts[0], parts[1], parts[2])]
    else:
        year = parts[2] if parts[2] > 99 else 2000 + parts[2]
        orders = [(year, parts[1], parts[0]), (year, parts[0], parts[1])]
    return any(_exists(*order) for order in orders)


def _exists(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def _find_ibans(text: str, regions: Sequence[str]) -> Spans:
    """Account numbers with their check digits; words that follow one are no part of it."""
    from stdnum import iban

    for match in _IBAN.finditer(text):
        end = match.end()
        while end > match.start() + 14 and not (text[end - 1].isalnum() and iban.is_valid(text[match.start() : end])):
            end -= 1
        # A longer word that begins like one is none.
        if iban.is_valid(text[match.start() : end]) and not text[end : end + 1].isalnum():
            yield match.start(), end


def _find_phones(text: str, regions: Sequence[str]) -> Spans:
    """Numbers that a numbering plan knows: of any country with its code, of the regions without."""
    from phonenumbers import Leniency, PhoneNumberMatcher

    if _ENOUGH_DIGITS.search(text) is None:
        return
    for match in _CN_MOBILE.finditer(text):  # which stand between Chinese characters without a space
        yield match.span()
    for region in regions:
        for number in PhoneNumberMatcher(text, region, leniency=Leniency.VALID):
            yield number.start, number.end


_CN_MOBILE = re.compile(r"(?<![0-9.])1[3-9]\d[ -]?\d{4}[ -]?\d{4}(?![0-9])")
_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\.?"
)
_DATE = (
    r"(?<![\d./-])(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}([-/.])\d{1,2}\1(?:\d{4}|\d{2}))(?![\d/-]|\.\d)"
    rf"|\b\d{{1,2}}(?:st|nd|rd|th)?(?: of)? {_MONTH},? \d{{4}}\b|\b{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}\b"
    r"|(?<!\d)\d{4} ?年 ?\d{1,2} ?月(?: ?\d{1,2} ?[日号])?"
)
# Neither `\w` nor `\b` where a text may be Chinese: there the character before an address counts as a letter.
_URL = r"(?:https?://|ftp://|(?<![a-z0-9@.])www\.)[^\s<>\"'，。；、）】》一-鿿]+(?<![.,;:!?)\]])"
_LETTERS = "a-z\u00c0-\u024f"  # of European languages; a Chinese character before an address is none of it
_HOST = rf"[{_LETTERS}0-9](?:[{_LETTERS}0-9-]{{0,61}}[{_LETTERS}0-9])?"
_EMAIL = (
    rf"(?<![{_LETTERS}0-9])[{_LETTERS}0-9][{_LETTERS}0-9._%+'-]*@(?:{_HOST}\.)+[{_LETTERS}]{{2,24}}(?![{_LETTERS}0-9])"
)
_IP = (
    r"(?:(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?!\d|\.\d)"
    r"|(?<![\d.a-f:])(?:[0-9a-f]{1,4}:){2,7}(?::?[0-9a-f]{1,4}|:)(?![0-9a-f:]))"
)
# Digits without a gap, or three groups with hyphens, as of a social security number; no decimals.
_NUMBER = r"(?<!\d)(?<!\d\.)(?:(?<!\d,)|(?<=,\d,)|(?<=,\d\d,))(?:\d{6,}|\d{2,}(?:-\d{2,}){2,})(?!\d)"
_IBAN = re.compile(r"(?<![A-Z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{1,4}){2,8}", re.IGNORECASE)

# The order decides where several kinds match the same characters: the more exact one first.
KINDS: dict[str, Kind] = {
    "url": Kind("URL", _confirmed(_URL, needs=r"://|www")),
    "email": Kind("e-mail address", _confirmed(_EMAIL, needs="@")),
    "iban": Kind("IBAN", _find_ibans),
    "resident_id": Kind("Chinese resident ID", _confirmed(r"(?<!\d)\d{17}[\dX](?![\dX])", _is_resident_id)),
    "credit_card": Kind("credit card", _confirmed(r"(?<![\d.])[3-6]\d{3}(?:[ -]?\d{2,6}){2,4}(?!\d)", _is_card)),
    "ip": Kind("IP address", _confirmed(_IP, _is_ip, r"[\da-f][.:]")),
    "date": Kind("date", _confirmed(_DATE, _is_date)),
    "phone": Kind("phone number", _find_phones),
    "handle": Kind("user name", _confirmed(r"(?<![a-z0-9_.@/&])@[a-z0-9_][a-z0-9_.]{1,29}(?<!\.)", needs="@")),
    "number": Kind("long number", _confirmed(_NUMBER)),
}


def several(noun: str, number: int) -> str:
    """The number with its noun.

    Example:
        >>> several("e-mail address", 2), several("IBAN", 1)
        ('2 e-mail addresses', '1 IBAN')
    """
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{ending}"
