"""Windows of a question and its context, and the tokens of the answer in each of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.shapes import answers as answer_shapes
from ..errors import ConfigError
from ..models.heads import compute_logits
from ..models.tokenizing import windows
from ..recipe import IGNORED, Recipe
from ._shorten import shorten

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

NO_ANSWER: tuple[()] = ()  # span of a question without answer
AnswerSpan = tuple[int, int] | tuple[()]
SHORTEST = 32  # tokens of a window that has room for question and context


def check_options(recipe: Any) -> None:
    """Refuse lengths that leave nothing of a question, its context or its answer.

    Raises:
        ConfigError: One is too small.
    """
    for name in ("max_answer_length", "max_query_length"):
        if getattr(recipe, name) < 1:
            raise ConfigError(f"{name}: {getattr(recipe, name)}, expected 1 or more")
    if recipe.max_length < SHORTEST:
        raise ConfigError(
            f"max_length: {recipe.max_length} leaves no room for the context, expected {SHORTEST} or more"
        )


@dataclass(frozen=True)
class Window:
    """A part of the context, with the whole question."""

    row: int
    """Index of the row."""
    is_first: bool
    """Whether the context starts in it."""
    is_last: bool
    """Whether the context ends in it."""
    first_token: int
    """Index of the first token of the context."""
    starts: np.ndarray
    """First character of each token of the context, (tokens,)."""
    ends: np.ndarray
    """Character after each token of the context, (tokens,)."""

    @property
    def context(self) -> list[int]:
        """First and last token of the context."""
        return [self.first_token, self.first_token + len(self.starts) - 1]

    def label(self, span: AnswerSpan | None) -> list[int]:
        """First and last token of the answer; token 0 twice, as in the baselines of SQuAD, where the window has none.

        Args:
            span: Characters of the answer, `NO_ANSWER`, or None where it is not known.
        """
        if span is None:
            return [IGNORED, IGNORED]
        answer = self._tokens_of(span)
        if answer is None:
            return [0, 0]
        first, last = answer
        if first == answer_shapes.UNKNOWN_TOKEN:
            return [IGNORED, IGNORED]
        return [self.first_token + first, self.first_token + last]

    def _tokens_of(self, span: AnswerSpan) -> tuple[int, int] | None:
        """First and last token of a span, counted in the context; None where it is not completely in the window."""
        # Characters without a token, such as a zero width space, may be outside of the first and the last window.
        return answer_shapes.token_span(span or None, self.starts, self.ends, opens=self.is_first, closes=self.is_last)

    def has_one_of(self, spans: list[tuple[int, int]], most_tokens: int) -> bool:
        """Whether one of the spans is in the window, with no more tokens than that."""
        for span in spans:
            tokens = self._tokens_of(span)
            if tokens is not None and tokens[1] - tokens[0] < most_tokens:
                return True
        return False


def question_windows(recipe: Any, questions: list[str], contexts: list[str], *, stride: int) -> tuple[Any, list[bool]]:
    """Tokens of all windows, as the tokenizer returns them, and whether each question was truncated.

    Args:
        recipe: The task, with its tokenizer; a question gets at most half a window.
        questions: One per row.
        contexts: One per row.
        stride: Tokens that neighbouring windows share, at most half of those that are left for the context.
    """
    longest = min(recipe.max_query_length, recipe.max_length // 2)
    kept, truncated = [], []
    for question in questions:
        # Some questions of SQuAD start with spaces, which some tokenizers make tokens of.
        question = question.lstrip()
        kept.append(shorten(recipe, question, longest, keep="start"))
        truncated.append(len(kept[-1]) < len(question))
    room = recipe.max_length - longest - recipe.tokenizer.num_special_tokens_to_add(pair=True)
    stride = max(0, min(stride, room // 2))
    return windows(recipe, kept, contexts, stride=stride, truncation="only_second"), truncated


def context_windows(tokens: Any) -> Iterator[Window]:
    """What is known of each window.

    Args:
        tokens: What `question_windows` gave.
    """
    rows = tokens["overflow_to_sample_mapping"]
    for index, row in enumerate(rows):
        # 0 is the question, 1 the context, None a special token.
        texts = tokens.sequence_ids(index)
        indices = [token for token, text in enumerate(texts) if text == 1]
        offsets = np.array(tokens["offset_mapping"][index], dtype=np.int32)[indices].reshape(-1, 2)
        yield Window(
            row=row,
            is_first=rows[index - 1 : index] != [row],
            is_last=rows[index + 1 : index + 2] != [row],
            first_token=indices[0] if indices else 0,
            starts=offsets[:, 0],
            ends=offsets[:, 1],
        )


def rows_out_of_reach(contexts: list[str], answers: list[Any], windows: list[Window], most_tokens: int) -> set[int]:
    """Indices of the rows whose answers in the context all have more tokens than a prediction can have.

    Args:
        contexts: One per row.
        answers: Answers of each row, as dicts of lists.
        windows: Of all rows.
        most_tokens: Maximum number of tokens of an answer that is predicted.
    """
    spans: dict[int, list[tuple[int, int]]] = {}
    for row, (context, cell) in enumerate(zip(contexts, answers, strict=True)):
        row_spans = list(answer_shapes.spans_of(context, cell or {}))
        if row_spans:
            spans[row] = row_spans
    for window in windows:
        if window.row in spans and window.has_one_of(spans[window.row], most_tokens):
            del spans[window.row]
    return set(spans)


def tokens_after_context(recipe: Recipe) -> int:
    """Number of special tokens after the context; 1 before there is a tokenizer."""
    if recipe.tokenizer is None:
        return 1
    texts: list[int | None] = recipe.tokenizer("a", "a").sequence_ids()
    return texts[::-1].index(1)


def require_reading_ahead(model: PreTrainedModel, config: PretrainedConfig) -> None:
    """Refuse a model whose first token cannot attend to the text after it.

    Raises:
        ConfigError: It reads from left to right.
    """
    import torch

    # A model that reads from left to right gives the first token the same score whatever the last one is.
    first = compute_logits(model, {"input_ids": torch.tensor([[5, 6, 7, 8]])})["start_logits"]
    second = compute_logits(model, {"input_ids": torch.tensor([[5, 6, 7, 9]])})["start_logits"]
    if torch.equal(first[0, 0], second[0, 0]):
        raise ConfigError(
            f"version_2_with_negative: a model of type {config.model_type} reads from left to right, so its "
            "first token, which stands for no answer, sees nothing of the context: use an encoder such as BERT, or "
            "rows that all have an answer"
        )
