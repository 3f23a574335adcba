"""The words of a row with what each of them adds to its prediction."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..characters import visible_line
from ..recipe import Row
from .contract import ScoreToExplain, Span
from .gradients import TOLERANCE, TokenAttributions
from .words import joined_by_tokens, spans_of_cell, word_of_token

FOR, AGAINST = (31, 119, 180), (255, 127, 14)  # blue and orange, which everybody can tell apart


@dataclass(frozen=True)
class Word:
    """A word of a text."""

    text: str
    start: int
    """First character in the text of the column."""
    end: int
    column: str = "text"


@dataclass(frozen=True)
class Attribution:
    """What each word adds to one thing that is predicted."""

    target: str
    """The label, the type of the entity, or `answer`."""
    values: list[float]
    """One for each word; above 0 where the word speaks for the target. Their sum is `score - baseline_score`."""
    score: float
    """What the model gives the target, before it becomes a probability."""
    baseline_score: float
    """The same for a text of which no word is known."""
    delta: float
    """By how much the sum of the values differs from `score - baseline_score`."""
    steps: int
    """Steps of the integration."""
    span: tuple[int, int] | None = None
    """Characters of the entity or answer in the text of its column."""
    text: str = ""
    """The entity or answer."""

    @property
    def largest(self) -> float:
        """The largest value without its sign; 1 where all are 0."""
        return max(map(abs, self.values), default=0.0) or 1.0


@dataclass(frozen=True)
class Explanation:
    """Why a row is predicted as it is: words, and the attributions of each target to them.

    Attributes:
        prediction: What `predict` gives.
        texts: Column -> text that the words are from.
        words: All words, in the order of the columns.
        targets: Attributions for each thing that is predicted.
        baseline: Token that stands for each word in the baseline.
        notes: Sentences on what limits the explanation.
    """

    prediction: Row
    texts: dict[str, str]
    words: list[Word]
    targets: list[Attribution]
    baseline: str
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return asdict(self)

    def pieces(self, target: Attribution) -> Iterable[tuple[str, str, float | None]]:
        """Column and text of each word with its value, and of what stands between words with None."""
        index = 0
        for column, text in self.texts.items():
            shown = 0
            while index < len(self.words) and self.words[index].column == column:
                word = self.words[index]
                if word.start > shown:
                    yield column, text[shown : word.start], None
                yield column, word.text, target.values[index]
                shown = word.end
                index += 1
            if shown < len(text):
                yield column, text[shown:], None

    def as_html(self) -> str:
        """The text of each target, with the words that speak for it and against it."""
        parts = []
        for target in self.targets:
            parts.append(f"<p><b>{_escaped(described(target))}</b></p>")
            parts.append(_html_text(self, target))
        parts += [f"<p><small>{_escaped(note)}</small></p>" for note in self.notes]
        return "".join(parts)

    _repr_html_ = as_html  # what a notebook shows


def described(target: Attribution) -> str:
    """`delivery: score 4.21, 0.35 with no word known`."""
    named = f"{target.target} {target.text!r}" if target.text else target.target
    return f"{named}: score {target.score:.2f}, {target.baseline_score:.2f} with no word known"


def opacity(value: float, target: Attribution) -> float:
    """How strongly a word is coloured, from 0 to 1."""
    return abs(value) / target.largest


def _html_text(explanation: Explanation, target: Attribution) -> str:
    lines: dict[str, str] = dict.fromkeys(explanation.texts, "")
    for column, text, value in explanation.pieces(target):
        shown = _escaped(text)
        if value is not None:
            colour = ",".join(map(str, FOR if value > 0 else AGAINST))
            style = f"background:rgba({colour},{0.7 * opacity(value, target):.2f})"
            shown = f'<span style="{style}" title="{value:+.3f}">{shown}</span>'
        lines[column] += shown
    named = [text if len(lines) == 1 else f"{_escaped(column)}: {text}" for column, text in lines.items()]
    return "".join(f"<p>{text}</p>" for text in named)


def _escaped(text: str) -> str:
    return html.escape(visible_line(text))


# --- from tokens to words ----------------------------------------------------------------------------------------


def explanation_of(
    row: Row, prediction: Row, attributed: Sequence[tuple[ScoreToExplain, TokenAttributions]], baseline: str
) -> Explanation:
    """The attributions of tokens, summed up for each word.

    Args:
        row: Under the column names of the task.
        prediction: That of the row.
        attributed: Each score with the attributions of its tokens.
        baseline: Token that stands for each word in the baseline.
    """
    read: dict[str, list[Span]] = {}
    for explained, _ in attributed:
        for span in explained.tokens:
            if span is not None:
                read.setdefault(span.column, []).append(span)
    texts: dict[str, str] = {}
    words: list[Word] = []
    for column in [name for name in row if name in read]:
        text, spans = spans_of_cell(row[column])
        texts[column] = text
        for start, end in joined_by_tokens(spans, [span[1:] for span in read[column]]):
            words.append(Word(text[start:end], start, end, column))
    targets, notes = [], []
    for explained, attributions in attributed:
        indices = word_indices(explained, words)
        targets.append(_attribution(explained, attributions, _word_values(attributions, indices, len(words)), texts))
        notes += _limits(explained, attributions, len(words) - len(set(indices) - {None}), len(words))
    if not attributed:
        notes.append("nothing is predicted in this row that words could speak for")
    return Explanation(prediction, texts, words, targets, baseline, list(dict.fromkeys(notes)))


def word_indices(explained: ScoreToExplain, words: Sequence[Word]) -> list[int | None]:
    """Index of the word that each token belongs to; None for special tokens."""
    first: dict[str, int] = {}
    spans: dict[str, list[tuple[int, int]]] = {}
    for index, word in enumerate(words):
        first.setdefault(word.column, index)
        spans.setdefault(word.column, []).append((word.start, word.end))
    indices: list[int | None] = []
    for token in explained.tokens:
        known = None
        if token is not None and token.column in spans:
            known = word_of_token(spans[token.column], token.start, token.end)
        indices.append(None if token is None or known is None else first[token.column] + known)
    return indices


def _word_values(attributions: TokenAttributions, indices: Sequence[int | None], words: int) -> list[float]:
    """Sum of the attributions of the tokens of each word."""
    values = [0.0] * words
    for index, value in zip(indices, attributions.values.tolist(), strict=True):
        if index is not None:
            values[index] += value
    return values


def _attribution(
    explained: ScoreToExplain, attributions: TokenAttributions, values: list[float], texts: Mapping[str, str]
) -> Attribution:
    numbers = attributions.score, attributions.baseline_score, attributions.delta, attributions.steps
    if explained.span is None:
        return Attribution(explained.target, values, *numbers)
    column, start, end = explained.span
    return Attribution(explained.target, values, *numbers, (start, end), texts[column][start:end])


def _limits(explained: ScoreToExplain, attributions: TokenAttributions, unread: int, words: int) -> list[str]:
    """Sentences on what an explanation leaves out."""
    sentences = []
    if unread:
        sentences.append(
            f"{explained.target}: {unread} of {words} words are outside of the {len(explained.tokens)} tokens that the "
            "model read at once for it, and have no attribution"
        )
    if not attributions.is_complete:
        difference = attributions.score - attributions.baseline_score
        sentences.append(
            f"{explained.target}: after {attributions.steps} steps the attributions sum up to "
            f"{difference + attributions.delta:.3f}, and the score differs from that of the baseline by "
            f"{difference:.3f}: they are off by more than {TOLERANCE:.0%}"
        )
    return sentences
