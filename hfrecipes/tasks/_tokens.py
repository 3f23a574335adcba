"""What the tasks share that are scored token by token: how well each one was guessed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ModelError
from ..recipe import Recipe, Row

if TYPE_CHECKING:
    from datasets import Dataset

COUNTED = 5000  # training rows that a trivial prediction is learnt from at most
_ALONE = {"add_special_tokens": False, "return_attention_mask": False, "return_token_type_ids": False, "verbose": False}
# Said outright, since what the saved model does not say others fill in: the pipeline for text-generation would draw.
PLAINLY: dict[str, Any] = {
    "do_sample": False,
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 50,
    "typical_p": 1.0,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "min_length": 0,
}


def ids_of(recipe: Recipe, texts: list[str]) -> list[list[int]]:
    """Ids of texts alone, without special tokens, however long."""
    ids: list[list[int]] = alone(recipe, texts)["input_ids"]
    return ids


def alone(recipe: Recipe, texts: list[str]) -> Any:
    """Tokens of texts without special ones."""
    if not texts:  # which tokenizers of transformers 5.23 answer with an IndexError
        from transformers import BatchEncoding

        return BatchEncoding({"input_ids": []}, encoding=[])
    return recipe.tokenizer(texts, **_ALONE)


def text_of(recipe: Recipe, ids: Sequence[int]) -> str:
    """Text of ids, without special tokens, and without mending its blanks."""
    text: str = recipe.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text


def some(train: Dataset) -> Dataset:
    """Rows of train, spread evenly, as many as the trivial prediction is learnt from."""
    return train.select(range(0, len(train), max(1, -(-len(train) // COUNTED))))


def frame(recipe: Recipe) -> tuple[list[int], list[int]]:
    """Special tokens that the model expects before and behind a text."""
    (bare,) = ids_of(recipe, ["a"])
    full = recipe.tokenizer("a")["input_ids"]
    start = next(place for place in range(len(full)) if full[place : place + len(bare)] == bare)
    return full[:start], full[start + len(bare) :]


def end_of(recipe: Recipe) -> int:
    """Token that ends a text: BERT's vocabularies have one between texts in its place.

    Raises:
        ModelError: The tokenizer has none.
    """
    tokenizer = recipe.tokenizer
    end: int | None = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
    if end is None:
        raise ModelError("the model's tokenizer has no token that ends a text: set eos_token in tokenizer_config.json")
    return end


def sums(logits: Any, labels: Any) -> Any:
    """Summed loss, number and hits of the tokens with a label, of each row of a batch, (rows, 3).

    Args:
        logits: (rows, tokens, vocabulary), each at the place of the token that it guesses.
        labels: (rows, tokens), below 0 where nothing is scored.
    """
    import torch

    found = torch.zeros(len(labels), 3, device=logits.device)
    for row, (scores, wanted) in enumerate(zip(logits, labels, strict=True)):  # one by one: float32 copies are large
        known = wanted >= 0
        guesses, truth = scores[known].float(), wanted[known]
        losses = torch.nn.functional.cross_entropy(guesses, truth, reduction="sum")
        found[row] = torch.stack([losses, known.sum().float(), (guesses.argmax(-1) == truth).sum().float()])
    return found


def by_row(outputs: np.ndarray, places: Sequence[int], rows: int) -> np.ndarray:
    """What `sums` gave for pieces of rows, added up for each row, (rows, 3)."""
    found = np.zeros((rows, 3))
    np.add.at(found, np.array(places, dtype=int), outputs)
    return found


def rates(tokens: np.ndarray, right: np.ndarray, losses: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Mean loss in nats, perplexity and accuracy over all tokens of resamples.

    Args:
        tokens: Number of tokens, (rows,).
        right: How many of them were guessed, (rows,).
        losses: Their summed loss, (rows,).
        weights: How often each row counts, (resamples, rows).
    """
    weights = weights.astype(np.float64)
    total = weights @ tokens
    total = np.where(total > 0, total, np.nan)
    loss = weights @ losses / total
    return {"loss": loss, "perplexity": np.exp(loss), "accuracy": weights @ right / total}


class Frequencies:
    """Every token as likely as it is frequent, whatever stands before it; one is added to each count.

    Args:
        ids: Tokens, piece by piece.
        size: Of the vocabulary.
    """

    def __init__(self, ids: Iterable[Sequence[int]], size: int) -> None:
        counts = np.ones(size)
        for piece in ids:
            np.add.at(counts, np.asarray(piece, dtype=np.int64), 1)
        self.losses = -np.log(counts / counts.sum())
        self.guess = int(counts.argmax())

    def sums(self, labels: Sequence[Any]) -> np.ndarray:
        """As `sums` gives them, for labels of pieces, (pieces, 3)."""
        known = [np.array(piece)[np.array(piece) >= 0] for piece in labels]
        return np.array([[self.losses[ids].sum(), len(ids), (ids == self.guess).sum()] for ids in known])


def as_prediction(sums: np.ndarray) -> Row:
    """Number of `tokens`, how many of them were guessed, and their mean loss."""
    loss, tokens, right = sums
    return {"tokens": int(tokens), "correct": int(right), "loss": float(loss / max(tokens, 1))}
