"""The two texts that a model reads for a choice: question and choice, and the context where there is one."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..recipe import Recipe
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
    # At least a quarter of the tokens is left for the first text.
    room = (recipe.max_length - recipe.tokenizer.num_special_tokens_to_add(pair=True)) * 3 // 4
    kept_choice, kept_question = shorten(recipe, choice, room, keep="start"), question
    has_gap = _GAP.search(question) is not None
    if (context or has_gap) and len(f"{question}{kept_choice}".encode()) >= room:
        # The choice continues the end of the question, so it is the start that is left out.
        room -= len(recipe.tokenizer(kept_choice, add_special_tokens=False)["input_ids"]) + 1
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
