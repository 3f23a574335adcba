"""Schemes of entity tags, and tags of every scheme in the letters of one, so that entities can be compared."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

Scheme = Literal["BIO", "IOB1", "BIOES", "BILOU", "BMES", "none"]
OUTSIDE = "O"
# The letter of BIOES that each prefix of a scheme means.
LETTERS: dict[str, dict[str, str]] = {
    "BIO": {"B": "B", "I": "I"},
    "IOB1": {"B": "B", "I": "I"},
    "BIOES": {"B": "B", "I": "I", "E": "E", "S": "S"},
    "BILOU": {"B": "B", "I": "I", "L": "E", "U": "S"},
    "BMES": {"B": "B", "M": "I", "I": "I", "E": "E", "S": "S"},
}
_PREFIXED = re.compile(r"([BIESLUM])(?:[-_](.+))?", re.DOTALL)
ANY = "_"  # type of tags that are a prefix alone, as B and I; seqeval's name for it
# Letter of an entity of one word, in the schemes that have no S for it.
SINGLE_WORD = {"BIO": "B", "IOB1": "I"}


def split_tag(tag: str) -> tuple[str, str]:
    """Prefix and type; an empty prefix for O and for tags without a scheme.

    Example:
        >>> split_tag("B-person"), split_tag("I"), split_tag("NOUN")
        (('B', 'person'), ('I', '_'), ('', 'NOUN'))
    """
    match = _PREFIXED.fullmatch(tag)
    return (match[1], match[2] or ANY) if match else ("", tag)


def scheme_of(counts: Mapping[str, int], sentences: list[list[str]]) -> Scheme:
    """The scheme that the prefixes of most tags show; of BIO and IOB1 the one that the tags break less often.

    Args:
        counts: How often each tag occurs.
        sentences: Tags of each sentence.
    """
    inside = dict(counts)
    inside.pop(OUTSIDE, None)
    if not _are_bare_prefixes(inside) and _typed_words(inside) <= sum(inside.values()) / 2:
        return "none"
    prefixes = set()
    for tag in inside:
        prefixes.add(split_tag(tag)[0])
    # Letters that a single scheme has decide; B and I alone are both BIO and IOB1.
    if "M" in prefixes:
        return "BMES"
    if prefixes & set("LU"):
        return "BILOU"
    if prefixes & set("ES"):
        return "BIOES"
    if _all_violations(sentences, "BIO") <= _all_violations(sentences, "IOB1"):
        return "BIO"
    return "IOB1"


def _are_bare_prefixes(tags: Mapping[str, int]) -> bool:
    """Whether all tags are prefixes without a type, one of them B."""
    # Without a B, tags such as S and E may well be something else.
    return "B" in tags and all(split_tag(tag) == (tag, ANY) for tag in tags)


def _typed_words(counts: Mapping[str, int]) -> int:
    """Number of words whose tag has a prefix and a type."""
    words = 0
    for tag, count in counts.items():
        prefix, entity_type = split_tag(tag)
        if prefix and entity_type != ANY:
            words += count
    return words


def violations(tags: Sequence[str], scheme: str) -> int:
    """Number of tags that must not follow the tag before them.

    Example:
        >>> violations(["O", "I-person"], "BIO"), violations(["O", "I-person"], "IOB1")
        (1, 0)
    """
    letters, broken, before = LETTERS[scheme], 0, ("", OUTSIDE)
    # The end of the sentence is a tag outside, which may leave an entity of BIOES without its end.
    for tag in [*tags, OUTSIDE]:
        prefix, entity_type = split_tag(tag)
        now = (letters.get(prefix, prefix), entity_type)
        is_open, continues = before[0] in ("B", "I"), now[0] in ("I", "E")
        fits = is_open and before[1] == entity_type
        if scheme == "IOB1":
            # There, B only separates an entity from one of the same type right before it.
            broken += now[0] == "B" and not fits
        elif scheme == "BIO":
            broken += continues and not fits
        else:
            broken += (continues and not fits) or (is_open and not continues)
        before = now
    return broken


def _all_violations(sentences: list[list[str]], scheme: str) -> int:
    return sum(violations(tags, scheme) for tags in sentences)


def ordered_tags(tags: set[str], scheme: str) -> list[str]:
    """O first, then type by type; each type with all the prefixes that any type has, for rows yet unseen."""
    if scheme == "none":
        return sorted(tags)
    prefixes, types, all_underscores = set(), set(), True
    for tag in tags - {OUTSIDE}:
        prefix, entity_type = split_tag(tag)
        if prefix:
            prefixes.add(prefix)
            types.add(entity_type)
        # B_person, as some data has it; tags that are a prefix alone do not tell.
        all_underscores &= "_" in tag[:2] or entity_type == ANY
    joint = "_" if prefixes and all_underscores else "-"
    labels = [OUTSIDE]
    for entity_type in sorted(types):
        for prefix in sorted(prefixes, key="BMIELSU".index):
            labels.append(prefix if entity_type == ANY else f"{prefix}{joint}{entity_type}")
    return labels


def canonical_tags(tags: Iterable[str], scheme: str | None) -> list[str]:
    """Tags in the letters of BIOES and with a hyphen, as seqeval reads them; unchanged where there is no scheme.

    A tag that is none of the scheme becomes an entity of a type that no other tag has, so it counts as wrong wherever
    the other side does not have it too.

    Example:
        >>> canonical_tags(["B_person", "L_person", "O", "thing"], "BILOU")
        ['B-person', 'E-person', 'O', "S-'thing'"]
    """
    if scheme == "none":
        return list(tags)
    # Before the scheme is known, no tag is one of it.
    letters = LETTERS.get(scheme or "", {})
    canonical = []
    for tag in tags:
        prefix, entity_type = split_tag(tag)
        if tag == OUTSIDE:
            canonical.append(tag)
        elif prefix in letters:
            canonical.append(f"{letters[prefix]}-{entity_type}")
        else:
            canonical.append(f"{SINGLE_WORD.get(scheme or '', 'S')}-{tag!r}")
    return canonical


def fit_length(references: list[str], predicted: list[str]) -> list[str]:
    """The reference tags; empty tags, which count as wrong, if there are not as many as words."""
    return references if len(references) == len(predicted) else [""] * len(predicted)
