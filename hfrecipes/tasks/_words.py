"""Sentences as lists of words: the token by which each word is tagged, and entities that the tags make of words.

Long sentences are read in overlapping windows, so that most words have tokens in several of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ..data.shapes.tags import find_words
from ..metrics._schemes import canonical_tags
from ..models.tokenizing import windows
from ..recipe import Recipe, Row

Owned = dict[int, tuple[int, int]]  # word -> window, and index of its token in the window


def tokenize_words(recipe: Recipe, sentences: list[list[str]], stride: int) -> tuple[Any, list[list[int]]]:
    """Tokens of each sentence in windows, with one token for each word that it is tagged by.

    Args:
        recipe: The task, with its tokenizer.
        sentences: Words of each row.
        stride: Tokens that neighbouring windows share; at most half a window.

    Returns:
        What the tokenizer gives; and for each token of each window the index of the word that is tagged by it, or -1.
    """
    tokens, tagged_words, _ = read_words(recipe, sentences, stride)
    return tokens, tagged_words


def read_words(recipe: Recipe, sentences: list[list[str]], stride: int) -> tuple[Any, list[list[int]], list[list[str]]]:
    """As `tokenize_words`, and the words as the tokenizer gets them, of which the offsets of its tokens are."""
    tokens, owned = _windows(recipe, sentences, stride)
    visible = sentences
    if list(map(len, owned)) != list(map(len, sentences)):
        # A word of nothing but unusual characters can leave no token; the unknown one is there to tag it by.
        unknown = recipe.tokenizer.unk_token or recipe.tokenizer.mask_token or "?"
        visible = []
        for known, words in zip(owned, sentences, strict=True):
            visible.append([word if index in known else unknown for index, word in enumerate(words)])
        tokens, owned = _windows(recipe, visible, stride, meant={unknown})
    tagged_words = []
    for ids in tokens["input_ids"]:
        tagged_words.append([-1] * len(ids))
    for known in owned:
        for word, (window, token) in known.items():
            tagged_words[window][token] = word
    return tokens, tagged_words, visible


def word_of_tokens(offsets: Sequence[Sequence[int]], words: list[str]) -> list[int | None]:
    """Index of the word of each token, None for a special token.

    Args:
        offsets: First character and end of each token.
        words: As `read_words` gives them.
    """
    starts = _word_starts(words)
    indices: list[int | None] = []
    for start, end in offsets:
        # By its last character, since a token may include the space before its word.
        indices.append(int(np.searchsorted(starts, end - 1, side="right")) - 1 if end > start else None)
    return indices


def join_windows(windows: Iterable[Sequence[Any]], rows: int) -> list[list[tuple[Any, ...]]]:
    """What is known of each word of each row, from the windows of its tokens.

    Args:
        windows: Index of the row of each window, the words of its tokens as `tokenize_words` gives them, and what is
            known of each token, such as its label and its score.
        rows: Number of rows.
    """
    tagged: list[dict[int, tuple[Any, ...]]] = [{} for _ in range(rows)]
    for row, words, *outputs in windows:
        for token, word in enumerate(words):
            if word >= 0:
                tagged[row][word] = tuple(output[token] for output in outputs)
    joined = []
    for words in tagged:
        joined.append([words[word] for word in sorted(words)])
    return joined


def _windows(
    recipe: Recipe, sentences: list[list[str]], stride: int, meant: Collection[str] = ()
) -> tuple[Any, list[Owned]]:
    """Tokens of all windows, and for each sentence the token that each word is tagged by."""
    size = recipe.max_length - recipe.tokenizer.num_special_tokens_to_add()
    stride = max(0, min(stride, size // 2))
    tokens = windows(recipe, list(map(" ".join, sentences)), stride=stride, meant=meant)
    return tokens, _choose_tokens(tokens, sentences)


def _choose_tokens(tokens: Any, sentences: list[list[str]]) -> list[Owned]:
    """The first token of each word, in the window where it has most context on both sides."""
    word_starts = list(map(_word_starts, sentences))
    rows = tokens["overflow_to_sample_mapping"]
    owned: list[Owned] = [{} for _ in sentences]
    # By row and word: tokens of context, and the character that the token begins with.
    best: dict[tuple[int, int], tuple[float, int]] = {}
    for window, (row, offsets) in enumerate(zip(rows, tokens["offset_mapping"], strict=True)):
        is_first = window == 0 or rows[window - 1] != row
        is_last = window + 1 == len(rows) or rows[window + 1] != row
        for token, word, start in _first_tokens(np.array(offsets), word_starts[row]):
            # Where the sentence itself ends, no context is missing.
            left = np.inf if is_first else token
            right = np.inf if is_last else len(offsets) - token
            context = min(left, right)
            known = best.get((row, word))
            # A later window may begin within the word: its first token there is not the first of the word.
            if known is None or (context > known[0] and start == known[1]):
                best[row, word] = (context, start)
                owned[row][word] = (window, token)
    return owned


def _word_starts(words: list[str]) -> np.ndarray:
    """First character of each word of a sentence, with a space after each."""
    starts = [0]
    for word in words[:-1]:
        starts.append(starts[-1] + len(word) + 1)
    return np.array(starts)


def _first_tokens(offsets: np.ndarray, word_starts: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Token, word and first character of the first token of each word in a window.

    Args:
        offsets: First character and end of each token, (tokens, 2); equal for special tokens.
        word_starts: First character of each word, (words,).
    """
    real = np.flatnonzero(offsets[:, 1] > offsets[:, 0])
    # By its last character, since a token may include the space before its word.
    words = np.searchsorted(word_starts, offsets[real, 1] - 1, side="right") - 1
    present, firsts = np.unique(words, return_index=True)
    yield from zip(real[firsts].tolist(), present.tolist(), offsets[real[firsts], 0].tolist(), strict=True)


def entities_of_text(row: Row, prediction: Row, scheme: str | None) -> list[Row]:
    """Entities with their characters in the text of a row; none where the tokens do not occur in it.

    Args:
        row: With `text` and `tokens`.
        prediction: With the `tags` of the tokens and their `scores`.
        scheme: Of the tags; with `none`, each word is an entity.
    """
    text, scores = row["text"], prediction["scores"]
    spans = find_words(text, row["tokens"])
    if not spans:  # rows to predict may have tokens that are not of their text
        return []
    entities: list[Row] = []
    for entity_type, first, last in _words_of_entities(prediction["tags"], scheme):
        start, end = spans[first][0], spans[last][1]
        score = _entity_score(scores, first, last)
        entities.append({"label": entity_type, "score": score, "text": text[start:end], "start": start, "end": end})
    return entities


def with_word_scores(prediction: Row, scores: list[float], scheme: str | None) -> Row:
    """The prediction with other scores of its words, from which its entities get theirs.

    Args:
        prediction: With `tags`, and `entities` if its row has a text.
        scores: Probability of the tag of each word.
        scheme: Of the tags.
    """
    changed: Row = {**prediction, "scores": scores}
    if prediction.get("entities"):
        changed["entities"] = []
        chunks = _words_of_entities(prediction["tags"], scheme)
        for entity, (_, first, last) in zip(prediction["entities"], chunks, strict=True):
            changed["entities"].append({**entity, "score": _entity_score(scores, first, last)})
    return changed


def _words_of_entities(tags: list[str], scheme: str | None) -> list[tuple[str, int, int]]:
    """Type, first and last word of each entity."""
    from ..metrics import _entities

    if scheme == "none":
        words = range(len(tags))
        return list(zip(tags, words, words, strict=True))
    return _entities.entities_in(canonical_tags(tags, scheme))


def _entity_score(scores: list[float], first: int, last: int) -> float:
    """Mean of the scores of its words."""
    return float(np.mean(scores[first : last + 1]))
