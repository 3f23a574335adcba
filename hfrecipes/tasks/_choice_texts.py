"""The two texts that a model reads for a choice: question and choice, and the context where there is one."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..data.shapes.choices import LETTERS, has_equal_choices
from ..losses import choice_loss
from ..models.tokenizing import read, tokenize
from ..recipe import Batch, Finding, Recipe, Row
from ._shorten import shorten

# A gap to be filled with the choice: underscores that are no part of a word such as `snake_case`.
_GAP = re.compile(r"(?<![A-Za-z0-9])_+(?![A-Za-z0-9])")


class ChoiceTexts(NamedTuple):
    """The texts of a choice."""

    first: str
    second: str
    is_shortened: bool
    """Whether a part of the question or of the choice was left out."""


def choice_texts(recipe: Recipe, context: str | None, question: str, choice: str) -> ChoiceTexts:
    """The texts of a choice, the choice in the second one.

    Args:
        recipe: The task, with its tokenizer.
        context: What the question is about; without it, the first text is the question.
        question: Question, or a sentence with a gap.
        choice: One of its answers, continuations or fillings.
    """
    context = (context or "").strip() and context
    # At least a quarter of the tokens is left for the first text.
    room = (recipe.max_length - recipe.tokenizer.num_special_tokens_to_add(pair=True)) * 3 // 4
    kept_choice, kept_question = shorten(recipe, choice, room, keep="start"), question
    has_gap = _GAP.search(question) is not None
    if (context or has_gap) and len(f"{question}{kept_choice}".encode()) >= room:
        # The choice continues the end of the question, so it is the start that is left out.
        room -= len(read(recipe, [kept_choice], add_special_tokens=False)["input_ids"][0]) + 1
        kept_question = shorten(recipe, question, room, keep="end")
    is_shortened = kept_choice != choice or kept_question != question
    if not context and not has_gap:
        return ChoiceTexts(question, kept_choice, is_shortened)
    # The gap of a long question may be in the part that was left out.
    gap = _GAP.search(kept_question)
    if gap:
        second = f"{kept_question[: gap.start()]}{kept_choice}{kept_question[gap.end() :]}"
    else:
        second = f"{kept_question} {kept_choice}".lstrip()
    return ChoiceTexts(context or question, second, is_shortened)


def describe_sizes(choices: Iterable[Any]) -> list[str]:
    """A sentence on how many choices rows have; none without rows."""
    sizes = {len(texts or ()) for texts in choices}
    if not sizes:
        return []
    few, many = min(sizes), max(sizes)
    return [f"choices: {few} per row" if few == many else f"choices: {few} to {many} per row"]


def check_choices(choices: list[Any], references: Iterable[Any]) -> Iterator[Finding]:
    """Rows without at least two choices or with equal ones, and labels that match none of the choices.

    Args:
        choices: Texts of each row.
        references: Of each row: index of the right choice, or a label that matches none.
    """
    most = len(LETTERS)
    wrong_sizes: dict[int, list[int]] = defaultdict(list)
    unknown_labels: dict[str, list[int]] = defaultdict(list)
    with_equals = []
    for index, (texts, reference) in enumerate(zip(choices, references, strict=True)):
        size = len(texts or ())
        if not 2 <= size <= most:
            wrong_sizes[size].append(index)
        if has_equal_choices(texts or ()):
            with_equals.append(index)
        if isinstance(reference, str):
            unknown_labels[reference[:40]].append(index)
    for size, indices in wrong_sizes.items():
        yield Finding("error", f"there are {size} choices, expected 2 to {most}", indices)
    for label, indices in unknown_labels.items():
        yield Finding("unknown", f"label {label!r} is none of the choices", indices)
    if with_equals:
        yield Finding("note", "two choices are equal, of which the first stands for both", with_equals)


def encode_choices(
    recipe: Recipe, contexts: list[str | None] | None, questions: list[str], choices: list[list[str]]
) -> tuple[Batch, list[int]]:
    """Tokens of each question with each of its choices, and the number of choices.

    Args:
        recipe: The task, with its tokenizer.
        contexts: What each question is about; None where no row has a context.
        questions: One per row.
        choices: Texts of each row.

    Returns:
        Features, a list per choice in each row; the number of choices of each row.
    """
    firsts, seconds, shortened, sizes = [], [], [], []
    for context, question, several in zip(contexts or [None] * len(questions), questions, choices, strict=True):
        sizes.append(len(several))
        for choice in several:
            texts = choice_texts(recipe, context, question, choice)
            firsts.append(texts.first)
            seconds.append(texts.second)
            shortened.append(texts.is_shortened)
    # The choice is in the second text, which must stay whole.
    tokens = tokenize(recipe, firsts, seconds, truncation="only_first")
    tokens["over_max_length"] = np.logical_or(tokens["over_max_length"], shortened).tolist()
    features: Batch = {name: split_by_row(values, sizes) for name, values in tokens.items()}
    # A row is as long as its longest choice, and truncated if one of its choices is.
    features["length"] = list(map(max, features["length"]))
    features["over_max_length"] = list(map(any, features["over_max_length"]))
    return features, sizes


def split_by_row(values: list[Any], sizes: list[int]) -> list[list[Any]]:
    """The values of all choices as one list per row."""
    parts, start = [], 0
    for size in sizes:
        parts.append(values[start : start + size])
        start += size
    return parts


def collate(features: list[Row], names: Sequence[str], pad: Callable[[list[Row]], Any]) -> Any:
    """A batch of rows with the same number of choices.

    Args:
        features: One per row, `input_ids` a list per choice.
        names: Features that are one number per row.
        pad: Makes a batch of texts.
    """
    import torch

    rows, most = len(features), max(len(row["input_ids"]) for row in features)
    texts = []
    for row in features:
        inputs = {name: values for name, values in row.items() if name not in names}
        for choice in range(most):
            # A row with fewer choices repeats its first one, which loss and predictions leave out.
            index = choice if choice < len(row["input_ids"]) else 0
            texts.append({name: values[index] for name, values in inputs.items()})
    batch = {name: values.view(rows, most, -1) for name, values in pad(texts).items()}
    for name in names:
        # Rows to predict have no labels.
        if name in features[0]:
            batch[name] = torch.tensor([row[name] for row in features])
    return batch


def sized_choice_loss(
    outputs: Any, labels: Any, num_items_in_batch: Any = None, *, label_smoothing: float = 0.0
) -> Any:
    """Cross entropy over the choices that a row has.

    Args:
        outputs: With `logits`, (rows, choices), and `sizes`, the number of choices of each row, (rows,).
        labels: Index of the right choice, (rows,), -100 where it is not known.
        num_items_in_batch: Labels in the whole batch, of which this may be a part.
        label_smoothing: Share of the target that is spread evenly over the choices of the row.
    """
    import torch

    logits, sizes = outputs["logits"], outputs["sizes"]
    is_choice = torch.arange(logits.shape[1], device=logits.device) < sizes[:, None]
    return choice_loss(
        logits, labels, is_choice, num_items_in_batch=num_items_in_batch, label_smoothing=label_smoothing
    )
