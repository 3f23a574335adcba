"""Growing parts of train, for a learning curve: each part contains the one before."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from ..config.blocks import CurveSettings
from ..config.run_config import RunConfig
from ..errors import ConfigError, DataError
from ..log import log
from ..metrics._uncertainty import group_indices
from ..recipe import Recipe
from .rows import Data
from .splits import SHOWN, groups_of, strata_of

if TYPE_CHECKING:
    from datasets import Dataset

LEAST_ROWS = 10  # of the smallest part


def take_part(data: Data, recipe: Recipe, config: RunConfig) -> Data:
    """Keep the part of train that this run of a learning curve is trained on; the other splits stay as they are.

    Raises:
        ConfigError: There is no validation split.
        DataError: There are too few rows for this number of parts.
    """
    settings = config.learning_curve
    if settings is None:
        return data
    if "validation" not in data.splits:
        raise ConfigError("curve: found no validation split, whose scores are extrapolated: add one")
    rows = data.splits["train"]
    _check_size(len(rows), settings)
    if settings.step is None:  # `hfrecipes check` only looks whether the parts can be made
        return data
    number, seed = settings.rows(settings.step, len(rows)), config.training["seed"]
    log(f"part {settings.step} of {settings.steps}: {number} of {len(rows)} rows of train, drawn with seed {seed}")
    return data.with_split("train", rows.select(np.sort(growing_order(rows, recipe, seed)[:number])))


def _check_size(total: int, settings: CurveSettings) -> None:
    smallest = settings.rows(1, total)
    if smallest < LEAST_ROWS:
        raise DataError(
            f"curve: found {total} rows of train, so the smallest of {settings.steps} parts has {smallest}, expected "
            f"{LEAST_ROWS} or more: add rows, or use fewer parts (3 at least)"
        )


def growing_order(rows: Dataset, recipe: Recipe, seed: int) -> np.ndarray:
    """Indices of the rows in an order whose beginnings are the parts, drawn with the seed.

    Labels have about their share of each part. Rows that share a text follow each other, as they would be collected:
    spread over all parts, they would make a small part more varied than so few rows are.
    """
    shuffled = np.random.default_rng(seed).permutation(len(rows))
    groups = groups_of(rows, recipe)
    if groups is not None:
        # Groups in the order in which a row of them is first drawn.
        return shuffled[np.argsort(group_indices([groups[row] for row in shuffled]), kind="stable")]
    labels = [str(label) for label in strata_of(rows, recipe) or [None] * len(rows)]
    total, drawn = Counter(labels), Counter[str]()
    shares = []
    for row in shuffled:
        label = labels[row]
        # The share of the rows of its label that have been drawn by then, of which this row is in the middle.
        shares.append((drawn[label] + 0.5) / total[label])
        drawn[label] += 1
    return shuffled[np.argsort(shares, kind="stable")]


def labels_without_rows(recipe: Recipe, config: RunConfig) -> list[str]:
    """A sentence on the labels that a part of train lacks, so that its model cannot predict them; none where it has
    all of them."""
    settings = config.learning_curve
    missing = [name for name, times in recipe.label_counts.items() if not times]
    if settings is None or settings.step is None or not missing:
        return []
    shown = ", ".join(missing[:SHOWN]) + (", …" if len(missing) > SHOWN else "")
    return [f"part {settings.step} of {settings.steps} has no row of {len(missing)} of the labels: {shown}"]
