"""Tags of every scheme in the letters of one, so that entities can be compared and counted."""

from __future__ import annotations

from collections.abc import Iterable

from .tags import LETTERS, OUTSIDE, split_tag

# Letter of an entity of one word, in the schemes that have no S for it.
SINGLE_WORD = {"BIO": "B", "IOB1": "I"}


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
    """The reference tags; empty ones, of which none is right, where there are not as many as words."""
    return references if len(references) == len(predicted) else [""] * len(predicted)
