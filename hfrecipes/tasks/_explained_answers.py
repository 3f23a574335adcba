"""The score that a predicted answer rests on."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..explaining.contract import ScoreToExplain, Span
from ..recipe import Row
from ._windows import Window, context_windows, question_windows

ANSWER, NO_ANSWER = "answer", "no answer"


def score_of_answer(recipe: Any, row: Row, prediction: Row) -> ScoreToExplain:
    """The logits of the first and last token of the answer, in the window where most of the context is around it.

    No answer stands at the first token, and is explained in the first window.

    Args:
        recipe: The task, with its tokenizer.
        row: With `question` and `context`.
        prediction: With `answer`, and its `start` and `end` in the context.
    """
    tokens, _ = question_windows(recipe, [row["question"]], [row["context"]], stride=recipe.doc_stride)
    windows = list(context_windows(tokens))
    target, index, (first, last), span = NO_ANSWER, 0, (0, 0), None
    # An empty span is that of a context without tokens.
    if prediction.get("start") is not None and prediction["start"] < prediction["end"]:
        target, span = ANSWER, Span("context", prediction["start"], prediction["end"])
        index = _best_window(windows, span)
        first, last = windows[index].label((span.start, span.end))
    features = {name: tokens[name][index] for name in ("input_ids", "token_type_ids") if name in tokens}
    places = _places(tokens, index, row["question"])
    score, probability = partial(_logits, first, last), partial(_probability, first, last)
    return ScoreToExplain(target, score, features, places, probability, span)


def _best_window(windows: list[Window], span: Span) -> int:
    """Index of the window that has the answer with most tokens on its shorter side; the first where none has it."""
    best, most = 0, -1
    for index, window in enumerate(windows):
        first, last = window.label((span.start, span.end))
        start, end = window.context
        around = min(first - start, end - last)
        if first > 0 and around > most:
            best, most = index, around
    return best


def _places(tokens: Any, window: int, question: str) -> list[Span | None]:
    """Characters of each token of a window."""
    before = len(question) - len(question.lstrip())  # spaces that the tokenizer does not get
    places: list[Span | None] = []
    for text, (start, end) in zip(tokens.sequence_ids(window), tokens["offset_mapping"][window], strict=True):
        if text is None:
            places.append(None)
        elif text == 0:
            places.append(Span("question", before + start, before + end))
        else:
            places.append(Span("context", start, end))
    return places


def _logits(first: int, last: int, outputs: Any) -> Any:
    """Logits of first and last token, (rows,)."""
    return outputs["start_logits"][:, first] + outputs["end_logits"][:, last]


def _probability(first: int, last: int, outputs: Any) -> Any:
    """Probability that the answer begins and ends with these tokens, (rows,)."""
    starts, ends = outputs["start_logits"].softmax(-1), outputs["end_logits"].softmax(-1)
    return starts[:, first] * ends[:, last]
