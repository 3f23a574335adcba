"""Which labels macro scores are means over: those that every scored split has, so that splits can be compared."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..errors import counted
from ..metrics._schemes import split_tag
from ..recipe import Recipe

SHOWN = 8  # labels that a sentence names


def leave_out(recipe: Recipe, references: Mapping[str, Sequence[Any]]) -> list[str]:
    """Leave labels out of macro scores if validation or test has no row with them, and return a sentence on it.

    A label that a split lacks has no recall there. Were the mean of each split over its own labels, one split would
    look better only because of its labels. Labels that the model does not know stay, and count as missed.

    Args:
        recipe: The task, with its labels; it is told which ones are left out.
        references: By split.
    """
    recipe.not_averaged = []
    known = label_names(recipe)
    scored = {split: names_in(recipe, of_split) for split, of_split in references.items() if split != "train"}
    scored = {split: names for split, names in scored.items() if names}
    lacking: dict[str, list[str]] = {}
    for name in known:
        without = [split for split, names in scored.items() if name not in names]
        if without:
            lacking[name] = without
    if not lacking or not any(metric.endswith("_macro") for metric in recipe.metrics):
        return []
    kept = len(known) - len(lacking)
    if not kept:
        return ["no label occurs in all splits, so the macro scores of different splits are over different labels"]
    recipe.not_averaged = list(lacking)
    shown = [f"{name} (not in {' and '.join(splits)})" for name, splits in list(lacking.items())[:SHOWN]]
    more = ", …" if len(lacking) > SHOWN else ""
    return [
        f"macro scores of all splits are means over the {kept} of {counted(len(known), 'label')} that "
        f"{' and '.join(scored)} {'have' if len(scored) > 1 else 'has'}; left out: {', '.join(shown)}{more}"
    ]


def left_out_here(recipe: Recipe, references: Iterable[Any]) -> list[str]:
    """A sentence where other rows have labels that macro scores of the run leave out."""
    names = names_in(recipe, references)
    present = [name for name in recipe.not_averaged if name in names]
    if not present:
        return []
    more = ", …" if len(present) > SHOWN else ""
    return [f"macro scores leave out {', '.join(present[:SHOWN])}{more}, as those of the run do"]


@contextlib.contextmanager
def over_labels_of(recipe: Recipe, references: Iterable[Any]) -> Iterator[None]:
    """Macro scores inside the block are means over the labels that these rows have, and that those of the run are over.

    A part of the rows may lack labels, as rows with one label lack all others: a wrong prediction would add a label
    with an F1 of 0 to the mean. The label that it misses has a lower recall already.
    """
    before, present = recipe.not_averaged, names_in(recipe, references)
    kept = present - set(before) or present
    recipe.not_averaged = [name for name in label_names(recipe) if name not in kept]
    try:
        yield
    finally:
        recipe.not_averaged = before


def about_parts(recipe: Recipe, references: Sequence[Any], parts: Iterable[Sequence[Any]]) -> list[str]:
    """A sentence where parts of rows lack labels that the rows have, so that macro scores are over fewer labels.

    Args:
        recipe: The task.
        references: Of all rows.
        parts: References of the rows of each part.
    """
    names = names_in(recipe, references) - set(recipe.not_averaged)
    has_macro = any(metric.endswith("_macro") for metric in recipe.metrics)
    if not has_macro or all(names <= names_in(recipe, part) for part in parts):
        return []
    return ["macro scores of the parts are means over the labels that each part has, so they are not comparable"]


def label_names(recipe: Recipe) -> list[str]:
    """Labels of the model; types of entity where its labels are tags of them."""
    return list(getattr(recipe, "entity_types", recipe.labels))


def names_in(recipe: Recipe, references: Iterable[Any]) -> set[str]:
    """Labels, or types of entity, that occur in references; none where they are no labels."""
    names: set[str] = set()
    if not recipe.labels:
        return names
    for reference in references:
        names.update(reference if isinstance(reference, list) else [reference])
    names.discard(None)
    if label_names(recipe) == recipe.labels:
        return names
    return {split_tag(tag)[1] for tag in names if tag and tag != "O"}
