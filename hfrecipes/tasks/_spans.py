"""Spans of a context as answers: their loss, the best of them, and when there is no answer."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..losses import span_loss
from ..recipe import Row
from ._answer_probabilities import RankedAnswer

BEST = 20  # spans that are kept of each question, as in the baselines of SQuAD


def window_loss(
    outputs: Any,
    labels: Any,
    num_items_in_batch: Any = None,
    *,
    label_smoothing: float = 0.0,
    tokens_after: int = 1,
) -> Any:
    """Mean cross entropy of first and last token of the answer, over the windows whose answer is known.

    Args:
        outputs: With `start_logits` and `end_logits`, (windows, tokens), and `context`, its first and last token,
            (windows, 2).
        labels: First and last token of the answer, (windows, 2), -100 where it is not known.
        num_items_in_batch: Labels in the whole batch, of which this may be a part.
        label_smoothing: Share of the target that is spread evenly over the context and token 0.
        tokens_after: Special tokens after the context.
    """
    import torch

    starts, ends, context = outputs["start_logits"], outputs["end_logits"], outputs["context"]
    indices = torch.arange(starts.shape[1], device=starts.device)
    readable = (indices >= context[:, :1]) & (indices <= context[:, 1:])
    # The Trainer counts both labels of a window.
    windows_in_batch = None if num_items_in_batch is None else num_items_in_batch / 2
    return span_loss(
        starts,
        ends,
        labels,
        readable,
        windows_in_batch=windows_in_batch,
        tokens_after=tokens_after,
        label_smoothing=label_smoothing,
    )


def best_spans(starts: Any, ends: Any, context: Any, max_answer_length: int) -> tuple[Any, Any, Any]:
    """The best spans of each window: their scores, and their first and last token in the context, (windows, BEST) each.

    Args:
        starts: Score of each token as the first one of the answer, (windows, tokens).
        ends: Score of each token as the last one, (windows, tokens).
        context: First and last token of the context, (windows, 2).
        max_answer_length: Maximum number of tokens of an answer.
    """
    import torch

    first, last = context[:, :1], context[:, 1:]
    indices = torch.arange(starts.shape[1], device=starts.device)
    outside = (indices < first) | (indices > last)
    # Filled up on the right, so that every token has as many ends to go with, and a short window BEST spans.
    after_ends, after_starts = (0, max_answer_length + BEST), (0, BEST)
    ends = torch.nn.functional.pad(ends.masked_fill(outside, -torch.inf), after_ends, value=-torch.inf)
    starts = torch.nn.functional.pad(starts.masked_fill(outside, -torch.inf), after_starts, value=-torch.inf)
    # (windows, first token, number of tokens from there to the last one)
    spans = starts[:, :, None] + ends.unfold(1, max_answer_length, 1)[:, : starts.shape[1]]
    scores, best = spans.flatten(1).topk(BEST)
    firsts = (best // max_answer_length - first).int()
    return scores, firsts, firsts + (best % max_answer_length).int()


def best_answers(rows: Iterable[Row], windows: Iterable[Sequence[Any]], *, may_have_none: bool) -> list[RankedAnswer]:
    """A prediction per row, from the windows of its context.

    Args:
        rows: With the context.
        windows: Index of the row of each window, and the arguments of `Candidates.add`.
        may_have_none: Whether a question may have no answer.
    """
    candidates: dict[int, Candidates] = defaultdict(Candidates)
    for row, *window in windows:
        candidates[row].add(*window)
    predictions = []
    for index, row in enumerate(rows):
        predictions.append(candidates[index].prediction(row["context"], may_have_none=may_have_none))
    return predictions


class Candidates:
    """Spans of a context in characters, and their scores, collected from all of its windows."""

    def __init__(self) -> None:
        self.spans: dict[tuple[int, int], float] = {}
        self.no_answer = np.inf

    def add(self, starts: Any, ends: Any, no_answer: Any, scores: Any, firsts: Any, lasts: Any) -> None:
        """Add the spans of a window.

        Args:
            starts: First character of each token of the context in this window.
            ends: Character after each of these tokens.
            no_answer: Score of no answer, (1,).
            scores: Scores of the best spans, (BEST,).
            firsts: First token of each span in the context, (BEST,).
            lasts: Last token, (BEST,).
        """
        # The window with the answer scores no answer lowest; the others are right that they do not have it.
        self.no_answer = min(self.no_answer, no_answer[0])
        for score, first, last in zip(scores.tolist(), firsts.tolist(), lasts.tolist(), strict=True):
            if score > -np.inf:
                span = (starts[first], ends[last])
                self.spans[span] = max(score, self.spans.get(span, score))

    def prediction(self, context: str, *, may_have_none: bool) -> RankedAnswer:
        """The best span, or no answer.

        Args:
            context: The text.
            may_have_none: Whether the question may have no answer.
        """
        no_answer = float(self.no_answer)
        ranked = sorted(((score, *span) for span, score in self.spans.items()), reverse=True)[:BEST]
        if not ranked:
            # A context without a token has no span.
            ranked = [(no_answer - 1e4, 0, 0)]
        _, start, end = ranked[0]
        scores = [score for score, _, _ in ranked]
        if may_have_none:
            scores.append(no_answer)
        # Tokens of some models have the whitespace before them.
        start, end = end - len(context[start:end].lstrip()), start + len(context[start:end].rstrip())
        span = {"answer": context[start:end], "start": start, "end": end}
        return RankedAnswer(span, np.array(scores), may_have_none=may_have_none)


def best_threshold(null_odds: np.ndarray, gains: np.ndarray) -> float:
    """Threshold of no answer that gives the best F1, as the official script of SQuAD 2.0 finds it.

    It lies midway to the next row: at the odds of a row itself, rounding would decide whether that has an answer.

    Args:
        null_odds: Score of no answer minus that of the best span, (rows,).
        gains: F1 of the best span minus that of no answer, (rows,).
    """
    order = np.argsort(null_odds, kind="stable")
    # F1 that is gained if the rows up to this one get their span, and the others no answer.
    totals = np.cumsum(gains[order])
    # A threshold cannot separate rows with equal odds.
    is_last = np.append(np.diff(null_odds[order]) > 0, True)
    totals = np.where(is_last, totals, -np.inf)
    best = int(np.argmax(totals))
    if totals[best] > 0:
        ranked = np.append(null_odds[order], null_odds.max() + 1)
        return float((ranked[best] + ranked[best + 1]) / 2)
    # No answer is best for all rows.
    return float(null_odds.min() - 1)


def nearest_sentence(question: str, context: str) -> Row:
    """Prediction of the sentence that shares most words with the question."""
    words = question.lower().split()
    # Chinese and Japanese are written without spaces between words, so characters are compared.
    if not re.search(r"\w \w", question):
        words = re.findall(r"\w", question)
    start, end, most = 0, len(context), -1
    for sentence in re.finditer(r"[^.!?。！？]+", context):
        text = sentence[0].lower()
        shared = sum(word in text for word in set(words))
        if shared > most:
            (start, end), most = sentence.span(), shared
    start += len(context[start:end]) - len(context[start:end].lstrip())
    # How often that is an exact match is not known.
    return {"answer": context[start:end], "score": math.nan, "start": start, "end": end}


def tuned_threshold(predictions: list[Row], references: list[Any], *, characters: bool) -> float:
    """The threshold of no answer with the best F1.

    Args:
        predictions: With `null_odds` and `best_span`.
        references: Texts of the answers, none for a question without answer.
        characters: Whether F1 counts characters.
    """
    from ..metrics import _squad

    odds = np.array([prediction["null_odds"] for prediction in predictions])
    spans = [prediction["best_span"] for prediction in predictions]
    _, gains = _squad.agreement(spans, references, version_2_with_negative=True, characters=characters)
    for index, reference in enumerate(references):
        # Where there is no answer, a span gains nothing, and loses what no answer would score.
        if not reference:
            gains[index] = -float(bool(spans[index]))
    return best_threshold(odds, gains)
