"""How long texts are, as a histogram in text, and what the limits of model and options cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ..data.features import BEYOND, HIDDEN, OVER, rows_where, unknown_share
from ..errors import counted
from ..models import suggestions
from ..recipe import Recipe
from .diagnosis import Diagnosis, Grade, share
from .parts import Part

if TYPE_CHECKING:
    from datasets import Dataset

BINS, WIDTH = 6, 24  # lines of a histogram, and characters of its longest bar
MUCH = 0.1  # share of truncated rows from which it is a warning
UNKNOWN = 0.05  # share of unknown tokens from which a tokenizer hardly knows the language


def histogram(lengths: Sequence[int]) -> list[str]:
    """Lines with ranges of lengths, bars and numbers of rows; each range is twice as wide as the one before.

    Example:
        >>> print("\\n".join(histogram([3, 5, 6, 7, 12])))
        2–3   ████████  1
        4–7   ████████████████████████  3
        8–15  ████████  1
    """
    values = np.asarray(lengths)
    # The last of the ranges has the longest text, and the first one all that are shorter than the second.
    top = int(np.floor(np.log2(max(1, values.max()))))
    edges = [0, *(2**power for power in range(max(1, top - BINS + 2), top + 2))]
    counts = np.histogram(values, edges)[0]
    ranges: list[str] = []
    numbers: list[int] = []
    for (low, high), count in zip(pairwise(edges), counts.tolist(), strict=True):
        if count or ranges:
            ranges.append(f"{low}–{high - 1}")
            numbers.append(count)
    width = max(map(len, ranges))
    lines = []
    for name, count in zip(ranges, numbers, strict=True):
        bar = "█" * round(WIDTH * count / max(numbers)) or ("▏" if count else "")
        lines.append(f"{name:<{width}}  {bar}  {count}")
    return lines


def cut_texts(part: Part, features: Dataset) -> Iterator[Diagnosis]:
    """Texts that an option truncates or leaves out, and references too long to be predicted; each with its rows."""
    recipe, total = part.recipe, len(part.numbers)
    for name in features.column_names:
        rows = part.numbered(rows_where(features, name)) if name.startswith((OVER, BEYOND)) else []
        if not rows:
            continue
        option = name.removeprefix(OVER).removeprefix(BEYOND)
        value = f"{option}={getattr(recipe, option)}"
        amount = f"{len(rows)} of {counted(total, 'row')} ({share(len(rows), total)})"
        if name.startswith(BEYOND):
            sentence = f"in {amount} the reference has more tokens than {value}"
            why, edit = "so no prediction can match it", f"increase options.{option}"
            yield Diagnosis("warning", f"beyond-{option}", sentence, part.split, rows, why, edit)
        else:
            sentence = f"{amount} truncated at {value}"
            why, edit = "so their ends are not read", f"increase options.{option}, or shorten the texts"
            grade: Grade = "warning" if len(rows) > MUCH * total else "note"
            yield Diagnosis(grade, f"truncated-{option}", sentence, part.split, rows, why, edit)
    yield from _not_seen(part, features)


def _not_seen(part: Part, features: Dataset) -> Iterator[Diagnosis]:
    hidden = part.numbered(rows_where(features, HIDDEN))
    if hidden:
        rows = f"{len(hidden)} of {counted(len(part.numbers), 'row')}"
        sentence = f"in {rows} the chat template leaves out text, such as thoughts"
        yield Diagnosis("note", "hidden", sentence, part.split, hidden, "which is not trained on")
    if "row" in features.column_names:
        left = sorted(set(range(len(part.numbers))) - set(np.asarray(features["row"][:]).tolist()))
        if left:
            sentence = f"{counted(len(left), 'row')} left out, too long for max_length={part.recipe.max_length}"
            edit = "increase options.max_length, or shorten the texts"
            yield Diagnosis("warning", "left-out", sentence, part.split, part.numbered(left), "", edit)


def unknown_tokens(recipe: Recipe, part: Part, features: Dataset) -> Iterator[Diagnosis]:
    """A finding if the tokenizer does not know the characters of the texts, with models that do."""
    portion = unknown_share(features, recipe)
    if portion > UNKNOWN:
        sentence = f"{portion:.0%} of the tokens are unknown to the model"
        why = "this tokenizer does not know this language"
        edit = f"use a model for this language, {suggested(recipe, part)}"
        yield Diagnosis("warning", "unknown-tokens", sentence, part.split, (), why, edit)


def no_model(recipe: Recipe, part: Part) -> Iterator[Diagnosis]:
    """A note that no model is given, with models for the language of the texts."""
    sentence = "no model given"
    yield Diagnosis("note", "no-model", sentence, None, (), "so nothing was tokenized", suggested(recipe, part))


def suggested(recipe: Recipe, part: Part) -> str:
    """Models to start from, for the task and the language of the texts."""
    rows: list[Mapping[str, str]] = []
    for texts in part.inputs.values():
        rows += [{"text": text} for text in texts[:200]]
    return suggestions.sentence(recipe.task, recipe.auto_model, rows)
