"""Generated replies: prompts, texts of generated ids, and scores."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.shapes.dialogues import before_last_reply, learnt_indices
from ..data.shapes.tool_calls import are_calls, as_text
from ..recipe import Measure, Prompt, Row
from . import _tokens
from ._causal import CausalWriter
from ._chat_template import Template, dialogues_of

if TYPE_CHECKING:
    from datasets import Dataset


class ChatWriter(CausalWriter):
    """Generates the assistant's next turn, or its last one again if that is scored."""

    @property
    def ends(self) -> list[int]:
        """Tokens that end a turn."""
        ends: list[int] = self.recipe.template.ends
        return ends

    def prompts(self, rows: Dataset, *, scored: bool) -> list[Prompt | None]:
        """The dialogue up to the assistant's turn, without the first exchanges where it is too long."""
        space = max(1, self.recipe.max_length - self.recipe.max_new_tokens)
        prompts: list[Prompt | None] = []
        for dialogue, given in dialogues_of(rows):
            shown = before_last_reply(dialogue, scored=scored)
            template = self.recipe.template.with_given(given)
            prompt = Prompt(shown[-1]["content"], template.prompt(shown, space)) if shown else None
            prompts.append(prompt)
        return prompts

    def canary(self, prefix: str, secret: str) -> Row:
        """A turn of the user, answered by the secret."""
        turns = [{"role": "user", "content": prefix}, {"role": "assistant", "content": secret}]
        return {"messages": turns if secret else turns[:1]}

    def decode(self, prompt: Prompt, ids: list[int]) -> Row:
        """`generated_text` answers `prompt`, the last turn before it."""
        kept, facts = self.until_end(ids)
        # While a reply is streamed, its last tokens are still to come.
        finished = len(kept) < len(ids) or facts["at_limit"]
        text = self.recipe.template.reply(_tokens.text_of(self.recipe, kept), finished=finished)
        return {"prompt": prompt.text, "generated_text": text, **facts}


def reference(row: Row, template: Template | None) -> Any:
    """The last reply that is learnt, or all of several alternatives; None where there is none.

    Args:
        row: With `messages`, and `references` where there are several.
        template: Of the model, which decides how thoughts and tool calls are written; None before a model is loaded.
    """
    if row.get("references"):
        return row["references"]
    turns = learnt_indices(row["messages"] or [])
    if not turns:
        return None
    reply = row["messages"][turns[-1]]
    is_plain = set(reply) <= {"role", "content", "weight"}
    shown = None if is_plain or template is None else template.text_of(reply)
    if shown is None and are_calls(reply.get("tool_calls")):
        shown = "\n".join(filter(None, [reply["content"], as_text(reply["tool_calls"])]))
    return reply["content"] if shown is None else shown


def first_reference(row: Row, template: Template | None) -> str | None:
    """The reply that is learnt, of several the first."""
    replies = reference(row, template)
    first: str | None = replies[0] if isinstance(replies, list) else replies
    return first


def measure(predictions: list[Row], references: list[Any], *, characters: bool) -> tuple[Measure, dict[str, str]]:
    """ROUGE-L, chrF and lengths of generated replies.

    Args:
        predictions: With `generated_text`.
        references: One per prediction, or a list of alternatives.
        characters: Whether ROUGE counts words of any script.

    Returns:
        The metrics as a function of weights, and the signature of chrF.
    """
    from ..metrics import _text

    texts: list[str] = []
    reference_lists: list[list[str]] = []  # the scorers take several references per row
    for prediction, replies in zip(predictions, references, strict=True):
        texts.append(prediction["generated_text"])
        reference_lists.append(replies if isinstance(replies, list) else [replies])
    values = {"rougeL": _text.rouge(texts, reference_lists, letters=characters)["rougeL"]}
    if "at_limit" in predictions[0]:  # the baseline does not tell it
        values["generated_tokens"], values["at_limit"] = _tokens.columns_of(
            predictions, ("generated_tokens", "at_limit")
        )
    corpus = _text.Corpus(texts, reference_lists, names=["chrf"])
    return partial(_measure, values, corpus), corpus.signatures


def _measure(values: dict[str, np.ndarray], corpus: Any, weights: np.ndarray) -> dict[str, np.ndarray]:
    weights = weights.astype(np.float64)
    drawn = weights.sum(1)
    # A resample may have none of the rows with a generated reply.
    drawn = np.where(drawn > 0, drawn, np.nan)
    means = {name: weights @ column / drawn for name, column in values.items()}
    return {"rougeL": means.pop("rougeL"), **corpus.measure(weights), **means}
