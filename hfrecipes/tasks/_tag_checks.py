"""Checks of tagged sentences: what may be wrong or odd."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..characters import composed
from ..data.batches import cells_of
from ..data.shapes.label_cells import named
from ..data.shapes.labels import DECOMPOSED, is_decomposed
from ..data.shapes.tags import cuts_words, span_problems
from ..errors import counted
from ..metrics._schemes import OUTSIDE, split_tag, violations
from ..recipe import Finding

if TYPE_CHECKING:
    from datasets import Dataset

_LOOKED_AT = 1_000  # rows
MISSING = {"", "nan", "-100"}  # how files write that there is no tag
SHOWN = 8  # number of types that a sentence names


def tags_in(cell: Any, names: Mapping[str, str] = MappingProxyType({})) -> list[str] | None:
    """Tags of a row, with an empty text for a missing tag; None where the row has none.

    Args:
        cell: Tags as they are in the data.
        names: Names of those that are ids.
    """
    if cell is None:
        return None
    return ["" if tag is None else composed(str(named(tag, names))) for tag in cell]


def _numbered_characters(sentences: Sequence[Any]) -> str | None:
    """The first token, if nearly all are a character with its position in the word, as in the Weibo corpus."""
    tokens = list(itertools.chain.from_iterable(sentence or () for sentence in sentences[:_LOOKED_AT]))
    numbered = [token for token in tokens if len(token or "") == 2 and token[1].isdigit() and not token[0].isascii()]
    return numbered[0] if len(numbered) > 0.8 * len(tokens) else None


def describe_tags(tags: Iterable[str], types: Sequence[str], scheme: str, *, is_guess: bool) -> str:
    """A sentence on what the tags of train are.

    Args:
        tags: The tags, as the rows have them.
        types: Types of entity, or the tags where they stand alone.
        scheme: How tags mark entities.
        is_guess: Whether the scheme was inferred.
    """
    shown = ", ".join(types[:SHOWN]) + (", …" if len(types) > SHOWN else "")
    form, noun = ("one per word", "tag") if scheme == "none" else (scheme, "type")
    sentence = f"tags: {form}, {counted(len(types), noun)}: {shown}"
    if is_guess:
        sentence += "; options.scheme changes that"
    # Ids whose names the dataset keeps elsewhere.
    tags = list(tags)
    if tags and all(map(str.isdigit, tags)):
        sentence += "; they are numbers: options.label_names=[…] gives them names, as entities need"
    return sentence


def check_tags(rows: Dataset, tags: Sequence[list[str] | None], labels: list[str], scheme: str) -> Iterator[Finding]:
    """Tags that are missing, unknown, or break the scheme, and spans of characters that cannot become tags.

    Args:
        rows: With tags.
        tags: Tags of each row, as `tags_in` gives them.
        labels: Tags that the model learns.
        scheme: How they mark entities.
    """
    if len(labels) < 2:
        yield Finding("error", f"only one tag, {', '.join(labels) or 'none'}: expected two or more")
    # A file of one token per line, read as a table, has a row for each token.
    if len(rows) > 1 and {len(tokens or ()) for tokens in cells_of(rows, "tokens")} == {1}:
        sentence = "every row has one token: expected a sentence per row, or blank lines between sentences"
        yield Finding("error", sentence)
    decomposed = [index for index, cell in enumerate(cells_of(rows, "tags")) if is_decomposed(cell)]
    if decomposed:
        yield Finding("note", DECOMPOSED.replace("label", "tag"), decomposed)
    numbered = _numbered_characters(rows["tokens"])
    if numbered is not None:
        yield Finding("note", f"characters have numbers, as in {numbered!r}, which are trained on too: remove them")
    yield from _check_form(rows, tags)
    yield from _check_known(tags, labels, scheme)
    if scheme != "none":
        yield from _check_scheme(tags, scheme)
    if "entities" in rows.column_names:
        cells = zip(cells_of(rows, "text"), cells_of(rows, "entities"), strict=True)
        widened = [index for index, (text, spans) in enumerate(cells) if cuts_words(text or "", spans or [])]
        if widened:
            yield Finding("note", "a span begins or ends within a word and was widened to it", widened)


def _check_form(rows: Dataset, tags_of_rows: Sequence[list[str] | None]) -> Iterator[Finding]:
    """Spans that no tags can express, and words without a tag."""
    problems: dict[str, list[int]] = defaultdict(list)
    for index, (row, tags) in enumerate(zip(rows, tags_of_rows, strict=True)):
        sentences = list(span_problems(row.get("text") or "", row.get("entities") or []))
        # Spans that are wrong have become no tags at all, which is not one more problem.
        if tags is not None and not sentences:
            if len(tags) != len(row["tokens"] or ()):
                sentences.append("there are not as many tags as tokens")
            if not MISSING.isdisjoint(tags):
                sentences.append("a token has no tag")
        for sentence in sentences:
            problems[sentence].append(index)
    for sentence, indices in problems.items():
        yield Finding("label", sentence, indices)


def _check_known(tags_of_rows: Sequence[list[str] | None], labels: list[str], scheme: str) -> Iterator[Finding]:
    """Tags that do not occur in train, or that have another form than most; a row once for each such tag."""
    known = set(MISSING)  # those are reported separately
    for tag in labels:
        # In train too, a tag without a prefix among others with one is a mistake.
        if scheme == "none" or tag == OUTSIDE or split_tag(tag)[0]:
            known.add(tag)
    unknown: dict[str, list[int]] = defaultdict(list)
    for index, tags in enumerate(tags_of_rows):
        for tag in tags or ():
            if tag in known:
                continue
            if scheme == "none" or split_tag(tag)[0]:
                sentence = f"tag {tag!r} does not occur in train"
            else:
                sentence = f"tag {tag!r} has no prefix, as other tags do (options.scheme=none takes tags as they are)"
            unknown[sentence].append(index)
    for sentence, indices in unknown.items():
        yield Finding("unknown", sentence, indices)


def _check_scheme(tags_of_rows: Sequence[list[str] | None], scheme: str) -> Iterator[Finding]:
    """Tags that may not follow the one before them."""
    broken, total, indices = 0, 0, []
    for index, tags in enumerate(tags_of_rows):
        number = violations(tags or [], scheme)
        broken, total = broken + number, total + len(tags or ())
        if number:
            indices.append(index)
    if indices:
        yield Finding("note", f"{broken} of {total} tags break {scheme}", indices)
