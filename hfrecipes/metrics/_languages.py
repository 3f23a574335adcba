"""Languages by code, by English name, or by the code of a country: zh-TW, deu_Latn, German, jp."""

from __future__ import annotations

import functools
import re
from typing import Any

# Codes that are used for another language than that of ISO 639: of Korea (Kanuri there), and one of M2M100's own.
_MEANT = {"kr": "ko", "ns": "nso"}


@functools.cache
def parse(name: str) -> Any:
    """The language that is meant, as langcodes has it; None where none is known.

    Example:
        >>> str(parse("zh_CN")), str(parse("Traditional Chinese")), str(parse("jp")), parse("xx")
        ('zh-CN', 'zh-Hant', 'ja-Jpan-JP', None)
    """
    import langcodes

    try:
        tag = langcodes.Language.get(_MEANT.get(name.lower(), name))
    except ValueError:  # of another form than codes have
        tag = None
    if tag is not None and tag.language and tag.is_valid():
        return tag
    known = _tags().get(_key(name))
    if known is None:
        return None
    tag = langcodes.Language.get(known)
    return tag if tag.language else tag.maximize()  # what most people in a country write


def language(name: str) -> str:
    """The language alone, as ISO 639 has it, whatever the spelling: de for deu_Latn and German; empty where unknown."""
    tag = parse(name)
    return tag.language if tag else ""


def script(name: str) -> str:
    """The script that it is written in, as ISO 15924 has it: the usual one where none is given, empty where unknown."""
    tag = parse(name)
    return tag.maximize().script if tag else ""


def is_name(text: str) -> bool:
    """Whether it is the English name of a language with a code of two letters; those of others may be plain words."""
    return len(_tags().get(_key(text), "").partition("-")[0]) == 2


@functools.cache
def _tags() -> dict[str, str]:
    """Names of languages and codes of countries, each with the tag that it stands for, by the registry of IANA."""
    from langcodes.registry_parser import parse_registry

    tags: dict[str, str] = {}
    for entry in parse_registry():
        tag, kind = entry.get("Subtag") or entry["Tag"], entry["Type"]
        if kind == "region" and len(tag) == 2 and entry["Description"] != ["Private use"]:
            tags[tag.lower()] = f"und-{tag}"
        elif kind in ("language", "redundant") and entry.get("Scope") != "collection":
            for name in entry["Description"]:
                tags.setdefault(_key(re.sub(r"\(.*?\)|^Modern ", "", name)), tag)
    return tags


def _key(name: str) -> str:
    """Words in one order: Chinese (Simplified) and simplified_chinese are the same."""
    return " ".join(sorted(re.findall(r"[^\W_]+", name.casefold())))
