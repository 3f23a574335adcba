"""Tags and what they stand for: schemes of entity tags, spans of characters, words of a text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from ...errors import DataError
from ...recipe import Batch, Row
from .cells import spelled, whole

Scheme = Literal["BIO", "IOB1", "BIOES", "BILOU", "BMES", "none"]
OUTSIDE = "O"
# What each scheme calls the parts of an entity, in the letters of BIOES.
LETTERS: dict[str, dict[str, str]] = {
    "BIO": {"B": "B", "I": "I"},
    "IOB1": {"B": "B", "I": "I"},
    "BIOES": {"B": "B", "I": "I", "E": "E", "S": "S"},
    "BILOU": {"B": "B", "I": "I", "L": "E", "U": "S"},
    "BMES": {"B": "B", "M": "I", "I": "I", "E": "E", "S": "S"},
}
_PREFIXED = re.compile(r"([BIESLUM])(?:[-_](.+))?", re.DOTALL)
ANY = "_"  # type of tags that have none, as B and I alone; seqeval calls it so
_START, _END, _LABEL = ("start", "start_offset", "begin"), ("end", "end_offset"), ("label", "type", "entity", "tag")


# --- tags and schemes ------------------------------------------------------------------------------------------------


def split(tag: str) -> tuple[str, str]:
    """Prefix and type; no prefix for O and for tags that stand alone."""
    match = _PREFIXED.fullmatch(tag)
    return (match[1], match[2] or ANY) if match else ("", tag)


def scheme_of(counts: Mapping[str, int], sentences: list[list[str]]) -> Scheme:
    """The scheme that the prefixes of most tags tell; of BIO and IOB1 the one that the tags break less often."""
    inside = {tag: number for tag, number in counts.items() if tag != OUTSIDE}
    typed = sum(number for tag, number in inside.items() if split(tag)[0] and split(tag)[1] != ANY)
    bare = "B" in inside and all(split(tag) == (tag, ANY) for tag in inside)
    if not bare and typed <= sum(inside.values()) / 2:
        return "none"
    prefixes = {split(tag)[0] for tag in inside}
    if prefixes & set("MESLU"):
        return "BMES" if "M" in prefixes else "BILOU" if prefixes & set("LU") else "BIOES"
    plain, old = (sum(violations(tags, scheme) for tags in sentences) for scheme in ("BIO", "IOB1"))
    return "BIO" if plain <= old else "IOB1"


def violations(tags: Sequence[str], scheme: str) -> int:
    """Number of tags that may not stand behind the one before them."""
    letters, broken, before = LETTERS[scheme], 0, ("", OUTSIDE)
    for tag in [*tags, OUTSIDE]:
        prefix, kind = split(tag)
        now = (letters.get(prefix, prefix), kind)
        is_open, goes_on = before[0] in ("B", "I"), now[0] in ("I", "E")
        fits = is_open and before[1] == kind
        if scheme == "IOB1":
            broken += now[0] == "B" and not fits
        elif scheme == "BIO":
            broken += goes_on and not fits
        else:
            broken += (goes_on and not fits) or (is_open and not goes_on)
        before = now
    return broken


def ordered(tags: set[str], scheme: str) -> list[str]:
    """O first, then type by type; of each type all the prefixes that any type has, for rows yet unseen."""
    if scheme == "none":
        return sorted(tags)
    pairs = [pair for tag in tags if (pair := split(tag))[0]]
    prefixes = sorted({prefix for prefix, _ in pairs}, key="BMIELSU".index)
    joint = "_" if pairs and all("_" in tag[:2] for tag in tags - {OUTSIDE} if split(tag)[1] != ANY) else "-"
    kinds = sorted({kind for _, kind in pairs})
    return [OUTSIDE, *(prefix if kind == ANY else f"{prefix}{joint}{kind}" for kind in kinds for prefix in prefixes)]


# --- words of a text -------------------------------------------------------------------------------------------------


def split_words(text: str) -> list[tuple[int, int]]:
    """Start and end of each word: runs of letters and digits, and every other sign, and each CJK letter, alone."""
    import regex

    cjk = r"\p{Han}\p{Hiragana}\p{Katakana}"
    pattern = rf"[{cjk}]|[[\p{{L}}\p{{M}}\p{{N}}_]--[{cjk}]]+|\S"
    return [match.span() for match in regex.finditer(pattern, text, flags=regex.VERSION1)]


def find_words(text: str, tokens: list[str]) -> list[tuple[int, int]]:
    """Start and end of each token in the text; nothing where one of them does not stand there."""
    spans, end = [], 0
    for token in tokens:
        start = text.find(token, end)
        if start < 0:
            return []
        end = start + len(token)
        spans.append((start, end))
    return spans


# --- spans of characters ---------------------------------------------------------------------------------------------


def from_texts(batch: Batch, text: str, spans: str | None = None, beside: str | None = None) -> Batch:
    """Words of each text; with spans also tags in BIO, a span widened to whole words."""
    texts = [one or "" for one in batch[text]]
    words = [split_words(one) for one in texts]
    made: Batch = {
        "tokens": [[one[a:b] for a, b in several] for one, several in zip(texts, words, strict=True)],
        "text": batch[text],
    }
    if spans is not None:
        entities = [None if several is None else [_entity(one) for one in several] for several in batch[spans]]
        pairs = zip(words, entities, strict=True)
        made["tags"] = [
            None if several is None else _bio(text, borders, several)
            for text, (borders, several) in zip(texts, pairs, strict=True)
        ]
        made["entities"] = entities
    return made if beside is None else {**made, beside: batch[beside]}


def from_cells(batch: Batch, lists: list[str], text: str | None = None) -> Batch:
    """Lists that cells of text hold, as csv files have them: spelled as lists, or parted by blanks.

    Args:
        batch: Rows.
        lists: Columns of such cells.
        text: The one of them that holds the tokens, where it is called otherwise.
    """
    made = {**batch, **{name: [_listed(cell) for cell in batch[name]] for name in lists}}
    return made if text is None else {"tokens": made.pop(text), **made}


def _listed(cell: Any) -> list[Any] | None:
    value = spelled(cell) if isinstance(cell, str) else cell
    if isinstance(value, list):
        return [None if one is None else str(one) for one in value]
    return None if cell is None else cell.split()


def _entity(span: Any) -> Row:
    """A span as published: start, end and label under one of their usual names each, or these three in a list."""
    if isinstance(span, dict):
        cells = [next((span[name] for name in names if name in span), None) for names in (_START, _END, _LABEL)]
    else:
        cells = [*span, None, None, None][:3] if isinstance(span, list | tuple) else [None] * 3
    try:
        start, end = whole(cells[0]), whole(cells[1])
    except (TypeError, ValueError):
        start = end = None
    if start is None or end is None:
        raise DataError(
            f'found the span {str(span)[:80]!r}, expected {{"start": 0, "end": 5, "label": "person"}} in characters'
        )
    return {"start": start, "end": end, "label": "" if cells[2] is None else str(cells[2])}


def _bio(text: str, borders: list[tuple[int, int]], entities: list[Row]) -> list[str]:
    """A tag for each word; none at all where no tags can stand for the spans."""
    if any(span_problems(text, entities)):
        return []
    tags = [OUTSIDE] * len(borders)
    for entity in entities:
        inside = _covered(borders, entity)
        for place in inside:
            tags[place] = f"{'B' if place == inside[0] else 'I'}-{entity['label']}"
    return tags


def _covered(words: list[tuple[int, int]], entity: Row) -> list[int]:
    """Places of the words that the span touches."""
    return [place for place, (a, b) in enumerate(words) if a < entity["end"] and b > entity["start"]]


def span_problems(text: str, entities: list[Row]) -> Iterator[str]:
    """Sentences on spans that no tags can stand for."""
    words, last, taken = split_words(text), -1, -1
    for entity in sorted(entities, key=lambda one: (one["start"], one["end"])):
        inside = _covered(words, entity)
        if not 0 <= entity["start"] < entity["end"] <= len(text):
            yield "a span lies outside of its text, or holds nothing"
        elif not entity["label"]:
            yield "a span has no label"
        elif not inside:
            yield "a span holds blanks alone"
        elif entity["start"] < last:
            yield "spans lie over each other, which no tags can stand for"
        elif inside[0] <= taken:
            yield "two spans share a word, which one tag cannot stand for"
        last, taken = max(last, entity["end"]), max(taken, *inside, -1)


def cuts_words(text: str, entities: list[Row]) -> bool:
    """Whether a span begins or ends within a word."""
    borders = {border for span in split_words(text) for border in span}
    blanks = {place for place, sign in enumerate(text) if sign.isspace()}
    return any(not {one["start"], one["end"]} <= borders | blanks for one in entities)
