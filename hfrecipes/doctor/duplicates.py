"""Rows with the same or nearly the same input, within a split and across splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import islice, product
from typing import Any

import numpy as np

from ..data.checks import input_keys
from ..errors import counted
from ..recipe import Recipe, reference_columns
from .diagnosis import Diagnosis, Grade, share
from .parts import Part
from .similar import SIMILAR, similar_pairs, similarity

MANY = 0.01  # share of a split from which duplicates in it are a warning
FAR = 0.5  # standard deviations between numbers that contradict each other
SHOWN = 40  # characters of a reference
_TOGETHER = 200  # pairs of rows that are compared for each pair of similar texts
# Why the scores of rows are too good whose inputs are in these splits too.
_OPTIMISTIC = {
    "train": "so its scores are optimistic",
    "validation": "which chose checkpoint and thresholds, so the scores are optimistic",
}
Key = tuple[str, ...]


# --- groups ------------------------------------------------------------------------------------------------------


def similar_groups(parts: Mapping[str, Part]) -> dict[str, list[int]]:
    """For each row the number of its group: rows of all splits whose inputs are equal or nearly equal."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    numbers: dict[Key, int] = {}
    for part in parts.values():
        for key in part.keys:
            numbers.setdefault(key, len(numbers))
    pairs = np.array(list(_similar_keys(list(numbers))), dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(numbers), len(numbers)))
    _, groups = connected_components(graph, directed=False)
    of_rows = {}
    for split, part in parts.items():
        of_rows[split] = [int(groups[numbers[key]]) for key in part.keys]
    return of_rows


def _similar_keys(keys: Sequence[Key]) -> Iterator[tuple[int, int]]:
    """Pairs of indices of keys that are similar in each of their texts.

    They are looked for in the column that differs most: questions rather than the text that they are about.
    """
    if not keys:
        return
    columns = list(zip(*keys, strict=True))
    if len(columns) == 1:
        yield from similar_pairs(columns[0])
        return
    distinct = [list(dict.fromkeys(column)) for column in columns]
    best = max(range(len(columns)), key=lambda column: len(distinct[column]))
    with_text = defaultdict(list)
    for index, text in enumerate(columns[best]):
        with_text[text].append(index)
    others = [column for number, column in enumerate(columns) if number != best]
    candidates = [(distinct[best][first], distinct[best][second]) for first, second in similar_pairs(distinct[best])]
    candidates += [(text, text) for text, indices in with_text.items() if len(indices) > 1]
    for text, other in candidates:
        for first, second in islice(product(with_text[text], with_text[other]), _TOGETHER):
            if first != second and all(similarity(column[first], column[second]) >= SIMILAR for column in others):
                yield first, second


# --- what is found -----------------------------------------------------------------------------------------------


def duplicates(parts: Mapping[str, Part], groups: Mapping[str, Sequence[int]]) -> Iterator[Diagnosis]:
    """Equal and nearly equal inputs within each split, of other splits in train, and of test in validation."""
    equal = {split: input_keys(part.rows, part.recipe) for split, part in parts.items()}
    for split, part in parts.items():
        yield from _within(part, equal[split], groups[split])
    for split in parts:
        if split != "train":
            yield from _across(parts, equal, groups, split, "train", _OPTIMISTIC["train"])
    if "validation" in parts and "test" in parts:
        yield from _across(parts, equal, groups, "test", "validation", _OPTIMISTIC["validation"])


def _within(part: Part, equal: Sequence[int], groups: Sequence[int]) -> Iterator[Diagnosis]:
    """Rows of a split that repeat an earlier one."""
    repeated = _repeated(equal)
    nearly = sorted(set(_repeated(groups)) - set(repeated))
    why = "so these inputs weigh more than others"
    total = len(part.numbers)
    for name, indices, verb in (("duplicates", repeated, "duplicate"), ("near-duplicates", nearly, "nearly duplicate")):
        if indices:
            sentence = f"{len(indices)} of {counted(total, 'row')} {verb} the input of another row"
            # Headings and short lines occur many times in texts that are their own reference.
            matters = len(indices) > MANY * total and reference_columns(part.recipe)
            grade: Grade = "warning" if matters and name == "duplicates" else "note"
            edit = "delete them, unless such texts are as frequent in practice"
            yield Diagnosis(grade, name, sentence, part.split, part.numbered(indices), why, edit)


def _repeated(keys: Sequence[int]) -> list[int]:
    """Indices of those that are equal to an earlier one."""
    first: dict[int, int] = {}
    for index, key in enumerate(keys):
        first.setdefault(key, index)
    return [index for index, key in enumerate(keys) if first[key] != index]


def _across(
    parts: Mapping[str, Part],
    equal: Mapping[str, Sequence[int]],
    groups: Mapping[str, Sequence[int]],
    split: str,
    other: str,
    why: str,
) -> Iterator[Diagnosis]:
    """Rows of a split whose input occurs, or nearly occurs, in another one."""
    part = parts[split]
    known, known_groups = set(equal[other]), set(groups[other])
    same = [index for index, key in enumerate(equal[split]) if key in known]
    yield from _also_in(part, same, other, why)
    exact = set(same)
    near = [index for index, group in enumerate(groups[split]) if group in known_groups and index not in exact]
    if near:
        example = _partner(parts[other], groups[other], groups[split][near[0]])
        sentence = f"{_share_of(part, near)} are nearly equal to one of {other}"
        edit = f"compare row {part.numbers[near[0]]} of {split} with row {example} of {other}, and delete such rows"
        yield Diagnosis("warning", f"{other}-near-overlap", sentence, split, part.numbered(near), why, edit)


def _share_of(part: Part, indices: Sequence[int]) -> str:
    """How many of the inputs of a split these are."""
    total = len(part.numbers)
    return f"{len(indices)} of {total} inputs ({share(len(indices), total)})"


def _also_in(part: Part, same: Sequence[int], other: str, why: str) -> Iterator[Diagnosis]:
    """Rows whose input another split has too."""
    if same:
        sentence = f"{_share_of(part, same)} also occur in {other}"
        edit = f"delete from {other} the rows that also occur in other splits"
        yield Diagnosis("warning", f"{other}-overlap", sentence, part.split, part.numbered(same), why, edit)


def in_splits(parts: Mapping[str, Part], sets: Iterable[Part]) -> Iterator[Diagnosis]:
    """Inputs of the sets under `tests` that train or validation has too; nearly equal ones are not looked for there.

    Args:
        parts: The splits of the dataset.
        sets: The sets.
    """
    known = {}
    for other in _OPTIMISTIC:
        if other in parts:
            known[other] = set(input_keys(parts[other].rows, parts[other].recipe))
    for part in sets:
        keys = input_keys(part.rows, part.recipe)
        for other, of_split in known.items():
            same = [index for index, key in enumerate(keys) if key in of_split]
            yield from _also_in(part, same, other, _OPTIMISTIC[other])


def seen_before(parts: Mapping[str, Part], seen: Collection[int]) -> Iterator[Diagnosis]:
    """Rows that are not to train on, but that the model to start from was trained on.

    Args:
        parts: The splits of the dataset, and the sets under `tests`.
        seen: Numbers of the inputs that it was trained on.
    """
    for split, part in parts.items():
        known = [] if split == "train" or not seen else input_keys(part.rows, part.recipe)
        same = [index for index, key in enumerate(known) if key in seen]
        if same:
            sentence = f"{_share_of(part, same)} are in the training rows of the model to start from"
            edit = "start from another model, or split the rows into files before the first training"
            why = _OPTIMISTIC["train"]
            yield Diagnosis("warning", "model-overlap", sentence, split, part.numbered(same), why, edit)


def _partner(part: Part, groups: Sequence[int], group: int) -> int:
    """Number of the first row of a group."""
    return int(part.numbers[list(groups).index(group)])


def shared_texts(parts: Mapping[str, Part]) -> Iterator[Diagnosis]:
    """Texts that several rows are about, such as the contexts of questions, in train and in another split too."""
    train = parts["train"]
    for name, column in train.recipe.columns.items():
        if not column.grouped or name not in train.inputs:
            continue
        known = set(train.inputs[name])
        for split, part in parts.items():
            shared = [index for index, text in enumerate(part.inputs.get(name, [])) if text in known]
            if shared and split != "train":
                sentence = f"the {name} of {len(shared)} of {counted(len(part.numbers), 'row')} also occurs in train"
                why = "so its scores are optimistic for new texts"
                edit = f"keep rows with the same {name} in one split"
                yield Diagnosis("warning", f"shared-{name}", sentence, split, part.numbered(shared), why, edit)


# --- one input, several references -------------------------------------------------------------------------------


def contradictions(parts: Mapping[str, Part]) -> Iterator[Diagnosis]:
    """Inputs that have different references in different rows."""
    recipe = parts["train"].recipe
    if not reference_columns(recipe):
        return
    keys = {split: _compared(part) for split, part in parts.items()}
    seen: dict[Hashable, dict[str, Any]] = defaultdict(dict)
    for split, part in parts.items():
        for key, reference in zip(keys[split], part.references, strict=True):
            if reference is not None:
                seen[key].setdefault(str(reference), reference)
    torn = {key for key, references in seen.items() if _disagree(list(references.values()), recipe)}
    for split, part in parts.items():
        rows = [index for index, key in enumerate(keys[split]) if key in torn and part.references[index] is not None]
        if rows:
            yield _torn(part, rows, list(seen[keys[split][rows[0]]].values()))


def _compared(part: Part) -> Sequence[Hashable]:
    """Keys that are equal for the same inputs; where each word has a tag, every character counts."""
    return input_keys(part.rows, part.recipe) if _has_tags(part.recipe) else part.keys


def _has_tags(recipe: Recipe) -> bool:
    return recipe.auto_model == "AutoModelForTokenClassification"


def _disagree(references: list[Any], recipe: Recipe) -> bool:
    """Whether references of one input contradict each other; numbers do where they are far apart, answers where none is
    the same.
    """
    if recipe.number_scale is not None and references:
        return bool(max(references) - min(references) > FAR * recipe.number_scale[1])
    if recipe.labels or not all(isinstance(reference, list) for reference in references):
        return len(references) > 1
    # Two lists of answers that have one in common agree.
    common = set(map(str, references[0])) if references else set()
    for reference in references[1:]:
        common &= set(map(str, reference))
    return len(references) > 1 and not common


def _torn(part: Part, rows: list[int], references: list[Any]) -> Diagnosis:
    # Several translations of a sentence are right; several labels of a text are not.
    is_label = bool(part.recipe.labels) or part.recipe.number_scale is not None
    what = "labels" if is_label else "references"
    sentence = f"{counted(len(rows), 'row')} whose input has different {what} in another row"
    first, second = _first_difference(references, has_tags=_has_tags(part.recipe))
    why = f"such as {first!r} and {second!r} for the first one" + (", of which one may be wrong" if is_label else "")
    edit = "choose one label, and correct or delete the others" if is_label else ""
    grade: Grade = "warning" if is_label else "note"
    return Diagnosis(grade, "contradictions", sentence, part.split, part.numbered(rows), why, edit)


def _first_difference(references: list[Any], *, has_tags: bool) -> tuple[str, str]:
    """Two references as they are shown; of tags, the first pair that differs."""
    first, second = references[:2]
    if has_tags:
        pairs = [(tag, other) for tag, other in zip(first, second, strict=False) if tag != other]
        return pairs[0] if pairs else (str(first[-1:]), str(second[-1:]))
    shown = []
    for reference in (first, second):
        text = ", ".join(map(str, reference)) if isinstance(reference, list) else str(reference)
        shown.append(text if len(text) <= SHOWN else f"{text[:SHOWN]}…")
    return shown[0], shown[1]
