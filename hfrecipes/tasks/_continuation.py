"""How texts are continued, and the beginnings of texts that are scored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..recipe import Prompt, Row
from . import _causal, _tokens

if TYPE_CHECKING:
    from datasets import Dataset

OPENING = 60  # characters of a scored text at most that the model continues


class ContinuationWriter(_causal.CausalWriter):
    """Continues texts, or the beginnings of texts that are scored."""

    @property
    def ends(self) -> list[int]:
        """The token that ends a text."""
        return [_tokens.end_of(self.recipe)]

    def prompts(self, rows: Dataset, *, scored: bool) -> list[Prompt | None]:
        """The text, or its beginning where it is scored, after the tokens that texts start from in training."""
        texts = [_opening(text) for text in rows["text"]] if scored else rows["text"][:]
        # One of the tokens is the one that a text starts from.
        space = max(1, self.recipe.max_length - self.recipe.max_new_tokens - 1)
        prompts: list[Prompt | None] = []
        for text, (start, tokens) in zip(texts, self.recipe.documents(texts), strict=True):
            prompts.append(Prompt(text, [*start, *tokens[:-1][-space:]]))
        return prompts

    def canary(self, prefix: str, secret: str) -> Row:
        """A text that ends with the secret."""
        return {"text": f"{prefix} {secret}".rstrip()}

    def decode(self, prompt: Prompt, ids: list[int]) -> Row:
        """`generated_text` starts where `prompt` ends."""
        kept, facts = self.until_end(ids)
        # Decoded after the prompt, because by itself the first word would lose the space before it.
        given = _tokens.text_of(self.recipe, prompt.input_ids)
        whole = _tokens.text_of(self.recipe, [*prompt.input_ids, *kept])
        text = whole[len(given) :] if whole.startswith(given) else _tokens.text_of(self.recipe, kept)
        return {"prompt": prompt.text, "generated_text": text, **facts}


def _opening(text: str) -> str:
    """The first half of a text, or the start of a long one, in whole words where there are spaces between words."""
    start = text[: max(1, min(OPENING, len(text) // 2))]
    return start.rpartition(" ")[0].rstrip() or start
