"""Special tokens that are written out in a text, such as `</s>` in HTML: they are read as text.

A tokenizer takes them for its own, and the model would read an end, or padding, in the middle of a text. These are the
tokens with a role: begin, end, separator, padding, unknown, mask, class. Other tokens that were added to a tokenizer,
such as `<speaker1>` or `<extra_id_0>`, are there to be written into texts, and stay tokens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from .. import _upstream
from ..recipe import Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_HIDDEN = "\0"  # put before an entry of a vocabulary, so that no text matches it


def written_in(recipe: Recipe, texts: Iterable[str], meant: Collection[str] = ()) -> set[str]:
    """The special tokens that are written out in texts; a mask token is a gap where the model fills gaps.

    Args:
        recipe: The task, with its tokenizer.
        texts: Any texts.
        meant: Special tokens that are to be read as such.
    """
    marks = _marks(recipe, meant)
    if not marks:
        return set()
    pattern = _pattern(marks)
    written: set[str] = set()
    for text in texts:
        written.update(pattern.findall(text))
    return written


def reader(recipe: Recipe, meant: Collection[str] = ()) -> PreTrainedTokenizerBase:
    """A copy of the tokenizer for which special tokens are text, if a fast one is called with `split_special_tokens`.

    That keyword alone would not do: it splits all special tokens, and a vocabulary may have them as ordinary pieces.
    """
    tokenizer, marks = recipe.tokenizer, _marks(recipe, meant)
    if not tokenizer.is_fast:
        return _upstream.without_added_tokens(tokenizer, marks)
    backend = _backend(tokenizer.backend_tokenizer, marks)
    # A tokenizer of several languages changes what it puts around a text, and does so more than once.
    backend.post_processor = tokenizer.backend_tokenizer.post_processor
    return _upstream.with_backend(tokenizer, backend)


def _marks(recipe: Recipe, meant: Collection[str]) -> frozenset[str]:
    """The special tokens that are not meant where they are written in a text."""
    tokenizer = recipe.tokenizer
    marks = set()
    for role in tokenizer.SPECIAL_TOKENS_ATTRIBUTES:
        is_gap = role == "mask_token" and recipe.auto_model == "AutoModelForMaskedLM"
        if getattr(tokenizer, role) is not None and not is_gap:
            marks.add(str(getattr(tokenizer, role)))
    return frozenset(marks.difference(meant))


@cache
def _pattern(marks: frozenset[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, sorted(marks, key=len, reverse=True))))


@lru_cache(maxsize=4)  # to build it takes a second where the vocabulary is large
def _backend(backend: Any, marks: frozenset[str]) -> Any:
    """A copy of the backend of a fast tokenizer that finds none of the special tokens in a text."""
    from tokenizers import Tokenizer

    state = json.loads(backend.to_str())
    model = state["model"]
    hidden: set[str] = set()
    if model["type"] == "BPE":
        # Pieces are only reached by merges; renamed ones would be missing in these.
        model["merges"] = [merge for merge in model["merges"] if "".join(merge).replace(" ", "") not in marks]
    else:
        hidden = _hide(model, marks)
    added = []
    for token in state["added_tokens"]:
        # The model knows the ids of hidden ones; without the entry, nothing else moves to another id.
        if token["content"] not in hidden:
            added.append({**token, "special": token["content"] in marks})
    state["added_tokens"] = added
    return Tokenizer.from_str(json.dumps(state))


def _hide(model: dict[str, Any], marks: frozenset[str]) -> set[str]:
    """Rename special tokens in the vocabulary of a model, so that its pieces match them nowhere; returns their names.

    Args:
        model: As the backend of a tokenizer writes it, changed here.
        marks: Special tokens.
    """
    # A list of pieces with their scores in Unigram, where the index is the id; else ids by piece.
    if isinstance(model["vocab"], list):
        hidden = {piece for piece, _ in model["vocab"]} & marks
        for entry in model["vocab"]:
            if entry[0] in hidden:
                entry[0] = _HIDDEN + entry[0]
        return hidden
    hidden = set(model["vocab"]) & marks
    for piece in hidden:
        model["vocab"][_HIDDEN + piece] = model["vocab"].pop(piece)
    if model.get("unk_token") in hidden:
        model["unk_token"] = _HIDDEN + model["unk_token"]
    return hidden


# --- between two texts -------------------------------------------------------------------------------------------


def with_separator(backend: Any, separator: str, number: int) -> Any:
    """What the backend of a fast tokenizer does after tokenizing, and a special token between two texts.

    Args:
        backend: The backend.
        separator: The special token.
        number: Its id.
    """
    from tokenizers import Tokenizer, processors

    # The processor alone can be read and written as a part of some backend only, of which a small one is enough.
    small = Tokenizer.from_str('{"model": {"type": "WordLevel", "vocab": {}, "unk_token": ""}}')
    small.post_processor = processors.TemplateProcessing(
        single="$A", pair=f"$A {separator} $B:1", special_tokens=[(separator, number)]
    )
    if backend.post_processor is None:
        return small.post_processor
    template = json.loads(small.to_str())["post_processor"]
    small.post_processor = backend.post_processor
    state = json.loads(small.to_str())
    state["post_processor"] = _joined(state["post_processor"], template)
    return Tokenizer.from_str(json.dumps(state)).post_processor


def _joined(processor: dict[str, Any], template: dict[str, Any]) -> dict[str, Any]:
    """A post-processor that also puts what a template has between two texts there."""
    if processor["type"] == "Sequence" and processor["processors"]:
        *before, last = processor["processors"]
        joined = _joined(last, template)
        after = joined["processors"] if joined["type"] == "Sequence" else [joined]
        return {"type": "Sequence", "processors": [*before, *after]}
    if processor["type"] == "Sequence":
        return template
    if processor["type"] != "TemplateProcessing":
        return {"type": "Sequence", "processors": [processor, template]}
    second = next(index for index, part in enumerate(processor["pair"]) if part.get("Sequence", {}).get("id") == "B")
    between = template["pair"][1]
    pair = [*processor["pair"][:second], between, *processor["pair"][second:]]
    known = {**processor["special_tokens"], **template["special_tokens"]}
    return {**processor, "pair": pair, "special_tokens": known}
