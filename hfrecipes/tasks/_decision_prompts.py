"""Prompts of questions, as transformers' decision pipeline makes them, and the features of rows with them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ..data.batches import rows_of
from ..errors import DataError
from ..recipe import IGNORED, Batch, Finding, Recipe
from ._decision_answers import likeliest, shares_of
from ._decision_checks import problem_of
from ._decision_config import MOST, is_encoder
from ._decision_heads import has_head, rows_of_head
from ._decision_learning import weight_of
from ._decision_questions import TYPES, Question
from ._shorten import shorten

if TYPE_CHECKING:
    from transformers import PretrainedConfig
    from transformers.decision import DecisionConfig

_FEATURES = ("input_ids", "mark", "candidates", "options", "row", "length", "over_max_length")
_ABOUT_ANSWERS = ("labels", "targets", "is_ranked", "weights")


@dataclass(frozen=True)
class Prompt:
    """What the model reads of a question."""

    ids: list[int]
    """Tokens of the whole prompt."""
    mark: int
    """Index of the token whose logits tell the label: the last one, or the mask token of an encoder."""
    options: list[str]
    """The options in the order in which they are shown."""
    labels: list[int]
    """The token of each option's label; of a decision head the row that scores the option."""
    is_shortened: bool
    """Whether a part of the state was left out."""


class Prompts:
    """Makes prompts with the template and the labels of a decision config.

    Args:
        config: Decision config of the model.
        recipe: The task, with a tokenizer that has a chat template, and the maximum number of tokens of a prompt.
        model_config: Config of the model, or of its decision head.
    """

    def __init__(self, config: DecisionConfig, recipe: Recipe, model_config: PretrainedConfig) -> None:
        self.is_encoder = is_encoder(model_config)
        self.rows_of_head = rows_of_head(model_config) if has_head(model_config) else None
        self.config, self.recipe, self.max_length = config, recipe, recipe.max_length
        # A copy, since `prepare_inputs` adds its marks, which the saved tokenizer must not have.
        self.tokenizer = copy.deepcopy(recipe.tokenizer)
        self.tokenizer.model_max_length = int(1e30)  # no warning: what is too long is shortened here
        self._keep_vocabulary()

    def _keep_vocabulary(self) -> None:
        """Add the marks once, and keep the vocabulary, which `prepare_inputs` would make anew for each prompt."""
        self._prepared("", Question("noul"))
        self.tokenizer.get_vocab = partial(_kept, self.tokenizer.get_vocab())

    @property
    def most(self) -> dict[str, int]:
        """Number of labels of each type of question."""
        most: dict[str, int] = {kind: len(self.config.labels.get(kind) or ()) or MOST[kind] for kind in TYPES}
        for kind, rows in (self.rows_of_head or {}).items():
            most[kind] = min(most[kind], len(rows))
        return most

    def read(self, state: str, question: Question) -> Prompt:
        """The prompt of a question; of one that is too long, the end of the state is left out."""
        prompt = self._prepared(state, question)
        if len(prompt.ids) <= self.max_length:
            return prompt
        kept = self._prepared("", question)
        room, text = self.max_length - len(kept.ids), state
        # Pieces of the state may be other tokens in the prompt: what is still too long is shortened again.
        while room > 0 and text:
            text = shorten(self.recipe, text, room, keep="start")
            shortened = self._prepared(text, question)
            if len(shortened.ids) <= self.max_length:
                kept = shortened
                break
            room -= len(shortened.ids) - self.max_length
        return self._cut(kept)

    def _cut(self, prompt: Prompt) -> Prompt:
        """What fits of a prompt, with its mark; what follows the state is read last, and is kept where not all fits."""
        # Encoders read the whole prompt at its first token, which is kept too.
        start = int(self.is_encoder and prompt.mark > 0)
        dropped = min(max(0, len(prompt.ids) - self.max_length), max(0, prompt.mark - start))
        ids = [*prompt.ids[:start], *prompt.ids[start + dropped :]][: self.max_length]
        return replace(prompt, ids=ids, mark=prompt.mark - dropped, is_shortened=True)

    def _prepared(self, state: str, question: Question) -> Prompt:
        from transformers.decision import label_token_ids

        request = {"state": _as_given(state), "questions": {"question": question.as_request()}}
        ((inputs, (asked,)),) = self.config.prepare_inputs(request, self.tokenizer)
        ids, mark = inputs["input_ids"][0].tolist(), int(inputs["marks"][0]) - 1
        if not self.is_encoder:
            ids = ids[: mark + 1]  # the rest does not change the logits there
        if self.rows_of_head is None:
            labels = label_token_ids(self.tokenizer, tuple(asked.labels))
        else:
            labels = list(self.rows_of_head[asked.type][: len(asked.labels)])
        return Prompt(ids, mark, list(asked.options), labels, False)

    def written_control_tokens(self, states: Sequence[str]) -> Iterator[Finding]:
        """A note on control tokens that are written in states, which the template reads as text or leaves out."""
        special = [token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special]
        rows, written = [], set[str]()
        for index, state in enumerate(states):
            in_state = {token for token in special if token in (state or "")}
            if in_state:
                rows.append(index)
                written |= in_state
        if rows:
            marks = ", ".join(sorted(written))
            yield Finding("note", f"control tokens in the state ({marks}) are read as text, not as tokens", rows)


def _kept(vocabulary: dict[str, int]) -> dict[str, int]:
    return vocabulary


def _as_given(state: str) -> Any:
    """The object that a state in JSON stands for, as templates may show its parts; any other text as it is."""
    if state[:1] not in "{[":
        return state
    try:
        value = json.loads(state)
    except ValueError:
        return state
    # Texts that would be rendered differently after a round trip stay texts.
    return value if json.dumps(value, ensure_ascii=False) == state else state


def features_of(recipe: Any, batch: Batch, orders: Callable[[str, Question], Sequence[Question]]) -> Batch:
    """The prompt of each question, with the tokens of the labels, and what the loss needs where there are answers.

    Args:
        recipe: The task, with its `prompts`.
        batch: Raw rows.
        orders: State and question to the questions that are asked in its place.

    Raises:
        DataError: A question cannot be asked.
    """
    features: Batch = {name: [] for name in (*_FEATURES, *(_ABOUT_ANSWERS if "answer" in batch else ()))}
    for index, row in enumerate(rows_of(batch)):
        question = recipe.question(row)
        problem = problem_of(row, question, recipe.prompts.most)
        if problem:
            raise DataError(f"{problem}: the question about {str(row['state'])[:60]!r}")
        reference = recipe.reference(row)
        right, weight = likeliest(reference), weight_of(recipe, row, question, reference)
        for asked in orders(row["state"], question):
            prompt = recipe.prompts.read(row["state"], asked)
            cells = {
                "input_ids": prompt.ids,
                "mark": prompt.mark,
                "candidates": prompt.labels,
                "options": prompt.options,
                "row": index,
                "length": len(prompt.ids),
                "over_max_length": prompt.is_shortened,
                "labels": prompt.options.index(right) if right in prompt.options else IGNORED,
                "targets": shares_of(reference, prompt.options),
                "is_ranked": int(question.type == "score"),
                "weights": weight,
            }
            for name, values in features.items():
                values.append(cells[name])
    return features
