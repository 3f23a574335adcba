"""What is trained on in a dialogue: its tokens in pieces, with labels for the assistant's turns."""

from __future__ import annotations

import bisect
from typing import NamedTuple

import numpy as np

from ..data.shapes.dialogues import Messages, learnt_indices, reply_indices
from ..recipe import IGNORED
from ._chat_template import OTHER, Template
from ._rendered import shared_length, shorten_to_fit

Spans = list[tuple[int, int]]  # start and end, end exclusive


class Piece(NamedTuple):
    """Tokens of a dialogue, or of a part of it."""

    ids: list[int]
    labels: list[int]
    """IGNORED where nothing is to be learnt."""
    truncated: bool
    """Whether a part of the dialogue did not fit."""


def notes(template: Template) -> list[str]:
    """Sentences on what the template decides about the labels."""
    sentences = []
    if template.has_marks:
        sentences.append("chat template: only the part of a reply inside its {% generation %} marks is trained on")
    opened, lead, _ = template.around
    if opened:
        closing = f"{template.closing!r} and then " if template.closing_of(opened, lead) else ""
        sentences.append(
            f"chat template: prompts end with {opened!r}, which is not rendered before replies: {closing}the reply is "
            "trained right after it, because a generated reply starts there"
        )
    return sentences


def pieces(template: Template, dialogue: Messages, max_tokens: int, train_on: str) -> list[Piece]:
    """The dialogue in one piece, or in one piece for each reply.

    There is a piece for each reply if the template renders an earlier turn in another way than as the last one (some
    leave out its thoughts), if a prompt by itself has other tokens than before its reply, or if the template does not
    mark the end of a turn.

    Args:
        template: Of the tokenizer.
        dialogue: Messages; turns with a `weight` of 0 are not learnt.
        max_tokens: Tokens of a piece at most.
        train_on: What is learnt: `assistant`, `last` or `all`.
    """
    turns = learnt_indices(dialogue)
    everything = train_on == "all"
    if not turns:
        ids = template.ids(template.render(dialogue))
        labels = ids if everything else [IGNORED] * len(ids)
        return [_piece(ids, labels, max_tokens, truncated=len(ids) > max_tokens)]
    if train_on == "last":
        return [_last_reply(template, dialogue[: turns[-1] + 1], max_tokens, everything=False)]
    if template.end_of_turn is not None:
        piece = _all_replies(template, dialogue, turns, max_tokens, everything=everything)
        if piece is not None:
            return [piece]
    # Every reply as the last one.
    return [_last_reply(template, dialogue[: turn + 1], max_tokens, everything=everything) for turn in turns]


def _piece(ids: list[int], labels: list[int], size: int, *, truncated: bool) -> Piece:
    return Piece(ids[:size], [IGNORED, *labels[1:size]], truncated)  # nothing predicts the first token


# --- all replies in one piece ------------------------------------------------------------------------------------


def _all_replies(
    template: Template, dialogue: Messages, turns: list[int], max_tokens: int, *, everything: bool
) -> Piece | None:
    """All replies with labels, without the last turns where the dialogue is too long.

    None where the template does not render a reply right after its prompt, or a prompt by itself has other tokens.

    Args:
        template: Of the tokenizer.
        dialogue: Messages.
        turns: Indices of the replies.
        max_tokens: Tokens that fit.
        everything: Whether all turns are learnt.
    """
    dialogue = dialogue[: turns[-1] + 1]
    full = template.render(dialogue)
    spans: Spans = []
    for turn in turns:
        before = template.render(dialogue[:turn], prompt=True)
        shown = full if turn == turns[-1] else template.render(dialogue[: turn + 1])
        through = template.up_to_end(shown, len(before))
        if not (through.startswith(before) and full.startswith(through)):
            return None
        spans.append((len(before), len(through)))
    ids, offsets = template.tokens(full[: spans[-1][1]])  # nothing is learnt after the last end
    parts = _reply_tokens(template, full, spans, ids, offsets)
    if parts is None:
        return None
    # Truncated after a reply, or within the first one if not even that fits.
    kept = max_tokens
    for _, last in parts:
        if last <= max_tokens:
            kept = last
    labels = ids if everything else _labels(ids, offsets, parts, template.marks(dialogue))
    return _piece(ids, labels, kept, truncated=parts[-1][1] > kept)


def _reply_tokens(template: Template, full: str, spans: Spans, ids: list[int], offsets: Spans) -> Spans | None:
    """Tokens of each reply; None where the prompt of a reply by itself has other tokens.

    Args:
        template: Of the tokenizer.
        full: The rendered dialogue.
        spans: Characters of each reply: from the end of its prompt to the end of its turn.
        ids: Tokens of the dialogue.
        offsets: Characters of the tokens.
    """
    starts = [start for start, _ in offsets]
    parts: Spans = []
    size = begin = 0
    for first, last in spans:
        # The end of a turn is always a token by itself, so that it is enough to compare the tokens from the last end
        # on; to tokenize every prompt from the start would take quadratic time.
        given = template.ids(full[begin:first])
        if ids[size : size + len(given)] != given:
            return None
        stop = bisect.bisect_left(starts, last)
        parts.append((size + len(given), stop))
        size, begin = stop - 1, last - len(template.end_text)
    return parts


# --- one reply in a piece ----------------------------------------------------------------------------------------


def _last_reply(template: Template, dialogue: Messages, max_tokens: int, *, everything: bool) -> Piece:
    """The last reply with labels, without the first exchanges where the dialogue is too long."""

    def read(shown: Messages) -> tuple[list[int], list[int]]:
        return _answered(template, shown, everything=everything)

    shown, (ids, labels) = shorten_to_fit(dialogue, read, max_tokens)
    return _piece(ids, labels, max_tokens, truncated=shown is not dialogue or len(ids) > max_tokens)


def _answered(template: Template, dialogue: Messages, *, everything: bool) -> tuple[list[int], list[int]]:
    """Tokens and labels of a dialogue: those of the last prompt, and then those of the reply to it."""
    before = template.render(dialogue[:-1], prompt=True)
    rendered = template.render(dialogue)
    start, opened = template.start_of_reply(dialogue, before, rendered)
    shown = template.up_to_end(rendered, start)
    closing = template.closing_of(opened, shown[start:])
    prompt = template.ids(before)
    ids, offsets, begin = _tokens_after(template, before, closing + shown[start:])
    if template.end_of_turn is None:
        ids, offsets = [*ids, template.end], [*offsets, (0, 0)]
    marks = template.marks(dialogue)
    if marks:
        # From characters of the rendered dialogue to those of the text that was tokenized; its closing is learnt too.
        shift = begin + len(closing) - start
        marks = [(begin, begin + len(closing)), *((first + shift, last + shift) for first, last in marks)]
    labels = _labels(ids, offsets, [(0, len(ids))], marks)
    prompt_labels = [IGNORED] * len(prompt)
    if everything:
        prompt_labels = _prompt_labels(template, dialogue, before)
    return [*prompt, *ids], [*prompt_labels, *labels]


def _tokens_after(template: Template, before: str, text: str) -> tuple[list[int], Spans, int]:
    """Tokens of a text that follows a prompt, the characters of each, and the index of the text among these.

    Args:
        template: Of the tokenizer.
        before: The rendered prompt, which keeps its tokens.
        text: What follows it.
    """
    last_turn = before
    if template.end_of_turn is not None:
        last_turn = before[max(before.rfind(template.end_text), 0) :]
    # Where the tokens of prompt and text would merge, the text is tokenized after something else, because some
    # tokenizers put a space before a text that has nothing before it.
    for context in (last_turn, ":", "\n", "a"):
        given = template.ids(context)
        ids, offsets = template.tokens(context + text)
        if ids[: len(given)] == given and len(ids) > len(given):
            return ids[len(given) :], offsets[len(given) :], len(context)
    return *template.tokens(text), 0


def _prompt_labels(template: Template, dialogue: Messages, before: str) -> list[int]:
    """Labels of a prompt where everything is learnt: its turns after the reply before, which has a piece by itself."""
    ids, offsets = template.tokens(before)
    earlier = reply_indices(dialogue)[:-1]
    if not earlier:
        return ids
    new = earlier[-1] + 1
    # Where the new turn begins shows in a prompt that differs in this turn alone.
    changed = [*dialogue[:new], {**dialogue[new], "content": OTHER}, *dialogue[new + 1 : -1]]
    start = shared_length(before, template.render(changed, prompt=True))
    return _inside(ids, offsets, [(start, len(before))])


# --- labels ------------------------------------------------------------------------------------------------------


def _labels(ids: list[int], offsets: Spans, parts: Spans, marks: Spans) -> list[int]:
    """Ids of the replies, IGNORED elsewhere; with marks only what they cover, and the last token of a reply.

    Args:
        ids: Tokens.
        offsets: Characters of the tokens.
        parts: Tokens of each reply.
        marks: Characters that the template marks.
    """
    covered = _inside(ids, offsets, marks) if marks else ids
    labels = [IGNORED] * len(ids)
    for first, last in parts:
        labels[first:last] = covered[first:last]
        # Without the token that ends the turn, the model would not learn to stop.
        if max(labels[first:last], default=IGNORED) >= 0:
            labels[last - 1] = ids[last - 1]
    return labels


def _inside(ids: list[int], offsets: Spans, spans: Spans) -> list[int]:
    """Ids of the tokens that share characters with one of the spans, IGNORED elsewhere."""
    starts = np.array([start for start, _ in offsets])
    ends = np.array([end for _, end in offsets])
    # Some tokenizers trim spaces off the characters of a token, until a token of spaces has none left: it then gets the
    # characters after the token before it.
    starts = np.where(starts == ends, np.concatenate([[0], ends])[: len(ends)], starts)
    inside = np.zeros(len(ids), dtype=bool)
    for first, last in spans:
        inside |= (ends > first) & (starts < last)
    labels: list[int] = np.where(inside, ids, IGNORED).tolist()
    return labels
