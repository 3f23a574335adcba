"""All that can be told from rows alone, without a model."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ..config.run_config import named_sets, own_splits
from ..data.rows import Data
from ..recipe import Recipe
from .characters import damaged_texts
from .diagnosis import Diagnosis
from .duplicates import contradictions, duplicates, in_splits, seen_before, shared_texts, similar_groups
from .labels import label_table, odd_labels
from .parts import Part, parts_of


@dataclass(frozen=True)
class Examined:
    """Rows with what was found in them."""

    parts: Mapping[str, Part]
    labels: Mapping[str, Mapping[str, int]]
    """Label -> split -> how often it occurs."""
    diagnoses: list[Diagnosis]
    in_train: Sequence[int]
    """Indices of the rows of test whose input is equal, or nearly equal, to one of train."""


def examine_rows(data: Data, recipe: Recipe, seen: Collection[int] = ()) -> Examined:
    """Labels, duplicates, contradictions and damaged texts of all splits.

    Args:
        data: Rows by split, train among them.
        recipe: The task, its labels inferred.
        seen: Numbers of the inputs that the model to start from was trained on.
    """
    every_part = parts_of(data, recipe)
    # Sets under `tests` change nothing that is found in the splits, nor the scores of them.
    parts = own_splits(every_part)
    groups = similar_groups(parts)
    table = label_table(parts)
    diagnoses = [*duplicates(parts, groups), *shared_texts(parts), *contradictions(parts), *odd_labels(parts, table)]
    diagnoses += in_splits(parts, named_sets(every_part).values())
    diagnoses += seen_before(every_part, seen)
    for part in every_part.values():
        diagnoses += damaged_texts(part)
    train = set(groups["train"])
    of_test = [index for index, group in enumerate(groups.get("test", ())) if group in train]
    return Examined(parts, table, diagnoses, of_test)


def examine_texts(data: Data, recipe: Recipe) -> list[Diagnosis]:
    """Findings in the texts of rows whose labels cannot be read."""
    parts = own_splits(parts_of(data, recipe))
    diagnoses = list(duplicates(parts, similar_groups(parts)))
    for part in parts.values():
        diagnoses += damaged_texts(part)
    return diagnoses
