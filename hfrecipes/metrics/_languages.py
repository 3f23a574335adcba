"""Languages by code, by English name, or by the code of a country: zh-TW, deu_Latn, German, jp."""

from __future__ import annotations

import functools
import re
from typing import Any

# Codes that data uses with another meaning than ISO 639, or without one: `kr`, the country's code, for Korean (it is
# Kanuri), `ns`, M2M100's code of Northern Sotho, zhs and zht for both scripts of Chinese; and names that the registry
# does not have.
_CODES_IN_USE = {"kr": "ko", "ns": "nso", "zhs": "zh-Hans", "zht": "zh-Hant"}
_NAMES_IN_USE = {"mandarin": "zh", "farsi": "fa", "castilian": "es", "flemish": "nl", "bahasa indonesia": "id"}


@functools.cache
def parse(name: str) -> Any:
    """The `langcodes.Language` that a code or a name means; None for an unknown one.

    Example:
        >>> str(parse("zh_CN")), str(parse("Traditional Chinese")), str(parse("jp")), parse("xx")
        ('zh-CN', 'zh-Hant', 'ja-Jpan-JP', None)
    """
    import langcodes

    try:
        tag = langcodes.Language.get(_CODES_IN_USE.get(name.lower(), name))
    except ValueError:  # not in the form of a code
        tag = None
    if tag is not None and tag.language and tag.is_valid():
        return tag
    known = _registered_names().get(_name_key(name))
    if known is None:
        return None
    tag = langcodes.Language.get(known)
    if tag.language:
        return tag
    # The code of a country means the language that most people write there.
    return tag.maximize()


def language(name: str) -> str:
    """The ISO 639 code of the language alone, whatever the spelling: de for deu_Latn and German; empty if unknown."""
    tag = parse(name)
    return tag.language if tag else ""


def script(name: str) -> str:
    """The ISO 15924 code of the script: the language's usual script if `name` gives none, empty if unknown."""
    tag = parse(name)
    return tag.maximize().script if tag else ""


def is_name(text: str) -> bool:
    """Whether the text is the English name of a language that has a two-letter code."""
    # Names of the other languages may be plain words, such as "Are" and "Even".
    return len(_registered_names().get(_name_key(text), "").partition("-")[0]) == 2


@functools.cache
def _registered_names() -> dict[str, str]:
    """The tag of each language name and each country code in the IANA registry."""
    from langcodes.registry_parser import parse_registry

    tags: dict[str, str] = dict(_NAMES_IN_USE)
    for entry in parse_registry():
        tag, entry_type = entry.get("Subtag") or entry["Tag"], entry["Type"]
        if entry_type == "region" and len(tag) == 2 and entry["Description"] != ["Private use"]:
            tags[tag.lower()] = f"und-{tag}"
        elif entry_type in ("language", "redundant") and entry.get("Scope") != "collection":
            for name in entry["Description"]:
                # People write "Greek", the registry has "Modern Greek (1453-)".
                tags.setdefault(_name_key(re.sub(r"\(.*?\)|^Modern ", "", name)), tag)
    return tags


def _name_key(name: str) -> str:
    """The words of a name in sorted order, so that Chinese (Simplified) and simplified_chinese are the same."""
    return " ".join(sorted(re.findall(r"[^\W_]+", name.casefold())))
