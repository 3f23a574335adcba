"""Labels: how often each occurs in each split, and which of them are rare, no labels at all, or the same one twice."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..config.yaml12 import typed_text
from ..data.shapes.label_cells import is_placeholder
from ..errors import counted
from ..recipe import option_types
from .diagnosis import Diagnosis, share
from .parts import Part

RARE = 10  # training rows below which a label is hardly learnt
SKEWED = 10  # times that the most frequent label is as frequent as the least frequent one
DOMINANT = 0.8  # share of rows with the same label
NAMED = 8  # labels that a sentence lists
OUTSIDE = "O"  # tag of words outside of entities
_BETWEEN = re.compile(r"[\s_\-]+")
Counts = Mapping[str, Mapping[str, int]]  # label -> split -> rows


def label_table(parts: Mapping[str, Part]) -> dict[str, dict[str, int]]:
    """Label -> split -> how often it occurs; empty for tasks without labels, and for numbers."""
    recipe = parts["train"].recipe
    table: dict[str, dict[str, int]] = {name: dict.fromkeys(parts, 0) for name in recipe.labels}
    if not table:
        return {}
    for split, part in parts.items():
        for name, times in _count(part.references).items():
            table.setdefault(name, dict.fromkeys(parts, 0))[split] = times
    return table


def _count(references: Sequence[Any]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for reference in references:
        if reference is not None:
            counts.update(map(str, reference if isinstance(reference, list) else [reference]))
    return counts


def odd_labels(parts: Mapping[str, Part], table: Counts) -> Iterator[Diagnosis]:
    """Labels that are rare, placeholders, variants of each other, or much more frequent than others."""
    if not table:
        return
    yield from _rare(parts, table)
    yield from _placeholders(parts, table)
    yield from _variants(parts, table)
    yield from _skew(parts, table)


def _rare(parts: Mapping[str, Part], table: Counts) -> Iterator[Diagnosis]:
    rare = {name: counts["train"] for name, counts in table.items() if 0 < counts["train"] < RARE}
    if rare:
        shown = _listed({name: rare[name] for name in sorted(rare, key=lambda label: rare[label])})
        sentence = f"{counted(len(rare), 'label')} with fewer than {RARE} rows: {shown}"
        why = "too few to learn or to score these labels"
        yield Diagnosis("warning", "rare-labels", sentence, "train", (), why, "add rows, or merge rare labels")
    # Tags that begin or end an entity are missing by chance in small splits.
    if "test" in parts and not _are_tags(parts):
        absent = {name: counts["train"] for name, counts in table.items() if counts["train"] and not counts["test"]}
        known = any(counts["test"] for counts in table.values())
        if absent and known:
            sentence = f"{counted(len(absent), 'label')} of train without a row in this split: {_listed(absent)}"
            yield Diagnosis(
                "note", "labels-not-tested", sentence, "test", (), "so no score shows how well they are predicted"
            )


def _are_tags(parts: Mapping[str, Part]) -> bool:
    return parts["train"].recipe.auto_model == "AutoModelForTokenClassification"


def _listed(counts: Mapping[str, int]) -> str:
    shown = [f"{name} ({times})" for name, times in list(counts.items())[:NAMED]]
    return ", ".join(shown) + (", …" if len(counts) > NAMED else "")


def _placeholders(parts: Mapping[str, Part], table: Counts) -> Iterator[Diagnosis]:
    names = list(filter(is_placeholder, table))
    for split, part in parts.items():
        for name in names:
            if name == part.recipe.learned.get("out_of_scope"):
                continue
            rows = _rows_with(part, {name})
            if rows:
                can_ignore = "ignore_labels" in option_types(type(part.recipe))
                ignore = (
                    f", or treat it as no label with options.ignore_labels={typed_text(name)}" if can_ignore else ""
                )
                sentence = f"label {name!r} looks like a placeholder"
                why = "and is trained on and predicted like any label"
                edit = f"delete these rows{ignore}"
                yield Diagnosis("warning", "placeholder-labels", sentence, split, part.numbered(rows), why, edit)


def _variants(parts: Mapping[str, Part], table: Counts) -> Iterator[Diagnosis]:
    variants = defaultdict(list)
    for name in table:
        variants[_folded(name)].append(name)
    for names in variants.values():
        if len(names) < 2:
            continue
        names.sort(key=lambda name: -sum(table[name].values()))
        counts = ", ".join(f"{name!r} ({sum(table[name].values())})" for name in names)
        sentence = f"labels {counts} differ only in case, spaces or Unicode form"
        edit = "use one spelling everywhere, such as the first of each line"
        rows = parts["train"].numbered(_rows_with(parts["train"], set(names[1:])))
        why = "and are trained on as different labels"
        yield Diagnosis("warning", "label-variants", sentence, "train", rows, why, edit)


def _folded(name: str) -> str:
    """The label as it is read aloud: what differs by no more than that is most likely the same one."""
    return _BETWEEN.sub(" ", unicodedata.normalize("NFKC", name).casefold()).strip()


def _rows_with(part: Part, names: set[str]) -> list[int]:
    """Indices of the rows that have one of these labels."""
    rows = []
    for index, reference in enumerate(part.references):
        labels = reference if isinstance(reference, list) else [reference]
        if not names.isdisjoint(map(str, labels)):
            rows.append(index)
    return rows


def _skew(parts: Mapping[str, Part], table: Counts) -> Iterator[Diagnosis]:
    counts = {name: of_splits["train"] for name, of_splits in table.items() if of_splits["train"]}
    if len(counts) < 2 or _are_tags(parts):
        return
    most, least = max(counts, key=lambda name: counts[name]), min(counts, key=lambda name: counts[name])
    known = sum(reference is not None for reference in parts["train"].references)
    first, last = share(counts[most], known), share(counts[least], known)
    sentence = f"{first} of the rows have the label {most!r}, {last} have {least!r}"
    has_weights = "class_weights" in option_types(type(parts["train"].recipe))
    edit = "look at the macro scores" + (", or try options.class_weights=balanced" if has_weights else "")
    if counts[most] > DOMINANT * known:
        why = "so a model that always predicts the first one looks good"
        yield Diagnosis("warning", "skewed-labels", sentence, "train", (), why, edit)
    elif counts[most] > SKEWED * counts[least]:
        yield Diagnosis("note", "skewed-labels", sentence, "train", (), "so rare ones are learnt less well", edit)
