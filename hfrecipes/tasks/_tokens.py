"""Tokens of texts, and how well each token is predicted: shared by the tasks that are scored token by token."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ModelError
from ..models.tokenizing import read
from ..recipe import HIGHER, LOWER, Metric, Recipe, Row, detail

if TYPE_CHECKING:
    from datasets import Dataset

SAMPLE_SIZE = 5000  # training rows that a baseline or a guess about the language looks at, at most
TOKEN_METRICS: dict[str, Metric] = {"perplexity": LOWER, "accuracy": HIGHER, "loss": detail(LOWER)}
# How long a good text is depends on the data, so the direction of these two means nothing.
LENGTH_METRICS: dict[str, Metric] = {"at_limit": LOWER, "generated_tokens": detail(Metric(True, maximum=math.inf))}
# Without `verbose`, tokenizers warn about texts that are longer than the model's maximum; these are split later.
_BARE: dict[str, Any] = {
    "add_special_tokens": False,
    "return_attention_mask": False,
    "return_token_type_ids": False,
    "verbose": False,
}
# All values are written out, because others fill in what a saved model leaves open: the text-generation pipeline, for
# one, would sample.
NEUTRAL_GENERATION: dict[str, Any] = {
    "do_sample": False,
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 50,
    "typical_p": 1.0,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "min_length": 0,
}


# --- texts and tokens --------------------------------------------------------------------------------------------


def ids_of(recipe: Recipe, texts: list[str]) -> list[list[int]]:
    """Ids of whole texts, without special tokens and without truncation."""
    ids: list[list[int]] = tokenize_bare(recipe, texts)["input_ids"]
    return ids


def tokenize_bare(recipe: Recipe, texts: list[str]) -> Any:
    """Tokens of whole texts, as the tokenizer returns them, without special tokens and without truncation."""
    if not texts:
        # Tokenizers of transformers 5.23 raise an IndexError for an empty list.
        from transformers import BatchEncoding

        return BatchEncoding({"input_ids": []}, encoding=[])
    return read(recipe, texts, **_BARE)


def text_of(recipe: Recipe, ids: Sequence[int]) -> str:
    """Text of ids, without special tokens."""
    # The clean-up would remove spaces before punctuation, and so change what the model wrote.
    text: str = recipe.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text


def special_tokens_around(recipe: Recipe) -> tuple[list[int], list[int]]:
    """Special tokens that the model expects before and after a text."""
    # Tokenizers do not tell them, so they are what is left of an encoded text around its ids without special tokens.
    (bare,) = ids_of(recipe, ["a"])
    full = recipe.tokenizer("a")["input_ids"]
    start = next(index for index in range(len(full)) if full[index : index + len(bare)] == bare)
    return full[:start], full[start + len(bare) :]


def end_of(recipe: Recipe) -> int:
    """Token that ends a text; in vocabularies like BERT's, which have none, the token that separates texts.

    Raises:
        ModelError: The tokenizer has neither.
    """
    tokenizer = recipe.tokenizer
    end: int | None = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
    if end is None:
        raise ModelError("the model's tokenizer has no token that ends a text: set eos_token in tokenizer_config.json")
    return end


def require_mask_token(recipe: Recipe) -> None:
    """Refuse a tokenizer without a mask token, as those of decoders are.

    Raises:
        ModelError: It is one.
    """
    if recipe.tokenizer.mask_token_id is None:
        raise ModelError("the model's tokenizer has no mask token: use an encoder such as BERT")


def sample_rows(train: Dataset) -> Dataset:
    """At most SAMPLE_SIZE of the training rows, spread evenly."""
    step = max(1, -(-len(train) // SAMPLE_SIZE))
    return train.select(range(0, len(train), step))


# --- how well tokens are predicted -------------------------------------------------------------------------------


def token_sums(logits: Any, labels: Any) -> Any:
    """Summed loss, number of tokens and number of correct ones of each row of a batch, (rows, 3).

    Args:
        logits: (rows, tokens, vocabulary), each at the index of the token that it predicts.
        labels: (rows, tokens), below 0 where nothing is scored.
    """
    import torch

    totals = torch.zeros(len(labels), 3, device=logits.device)
    # Row by row, because a float32 copy of all logits of a batch takes much memory.
    for index, (row_logits, row_labels) in enumerate(zip(logits, labels, strict=True)):
        known = row_labels >= 0
        scores, targets = row_logits[known].float(), row_labels[known]
        loss = torch.nn.functional.cross_entropy(scores, targets, reduction="sum")
        correct = (scores.argmax(-1) == targets).sum().float()
        totals[index] = torch.stack([loss, known.sum().float(), correct])
    return totals


def sum_by_row(outputs: np.ndarray, row_of_piece: Sequence[int], rows: int) -> np.ndarray:
    """Sums of pieces of rows, added up for each row, (rows, 3).

    Args:
        outputs: What `sums` gave for the pieces, (pieces, 3).
        row_of_piece: Index of the row that each piece is from.
        rows: Number of rows.
    """
    totals = np.zeros((rows, 3))
    # `totals[indices] += outputs` would add only one piece of each row.
    np.add.at(totals, np.array(row_of_piece, dtype=int), outputs)
    return totals


def as_prediction(token_sums: np.ndarray) -> Row:
    """Sums of a row as a prediction: number of `tokens`, number of `correct` ones, and mean `loss` in nats."""
    loss, tokens, correct = token_sums
    return {"tokens": int(tokens), "correct": int(correct), "loss": float(loss / max(tokens, 1))}


def columns_of(predictions: Sequence[Row], names: Sequence[str]) -> list[np.ndarray]:
    """Numbers in predictions, an array for each name, (rows,); 0 where a prediction does not have it."""
    columns = []
    for name in names:
        columns.append(np.array([float(prediction.get(name, 0)) for prediction in predictions]))
    return columns


def rates(
    tokens: np.ndarray, correct: np.ndarray, losses: np.ndarray, weights: np.ndarray, *, size: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Mean loss in nats, perplexity and accuracy over all tokens of resamples, (resamples,) each.

    Args:
        tokens: Number of tokens, (rows,).
        correct: How many of them were predicted correctly, (rows,).
        losses: Their summed loss, (rows,).
        weights: How often each row counts, (resamples, rows).
        size: Number of bytes of each text, (rows,), for the perplexity per byte.
    """
    weights = weights.astype(np.float64)
    # A resample may consist of rows without any token.
    total = _or_nan(weights @ tokens)
    loss = weights @ losses / total
    values = {"loss": loss, "perplexity": np.exp(loss), "accuracy": weights @ correct / total}
    if size is not None:
        values["byte_perplexity"] = np.exp(weights @ losses / _or_nan(weights @ size))
    return values


def _or_nan(total: np.ndarray) -> np.ndarray:
    """NaN in place of 0, so that a division by it is no warning."""
    return np.where(total > 0, total, np.nan)


# --- baseline ----------------------------------------------------------------------------------------------------


def count_tokens(pieces: Iterable[Sequence[int]], vocabulary_size: int) -> dict[str, Any]:
    """How often each token occurs, as JSON values: `ids` that occur at all, their `counts`, and `vocabulary_size`.

    Args:
        pieces: Ids of tokens, piece by piece.
        vocabulary_size: Number of tokens that there are.

    Example:
        >>> count_tokens([[1, 3], [3]], 5)
        {'ids': [1, 3], 'counts': [1, 2], 'vocabulary_size': 5}
    """
    counts = np.zeros(vocabulary_size, dtype=np.int64)
    for ids in pieces:
        np.add.at(counts, np.asarray(ids, dtype=np.int64), 1)
    seen = np.flatnonzero(counts)
    return {"ids": seen.tolist(), "counts": counts[seen].tolist(), "vocabulary_size": vocabulary_size}


class Frequencies:
    """Baseline that predicts every token with its frequency in the training rows, whatever comes before it.

    Args:
        counted: What `count_tokens` gave.
    """

    def __init__(self, counted: Mapping[str, Any]) -> None:
        # One is added to each count, so that a token that train does not have gets a finite loss.
        counts = np.ones(counted["vocabulary_size"])
        counts[counted["ids"]] += counted["counts"]
        self.losses = -np.log(counts / counts.sum())
        self.most_frequent = int(counts.argmax())

    def token_sums(self, labels: Sequence[Any]) -> np.ndarray:
        """As the function `sums`, for labels of pieces, (pieces, 3)."""
        totals = np.zeros((len(labels), 3))
        for index, piece in enumerate(labels):
            ids = np.array(piece, dtype=np.int64)
            ids = ids[ids >= 0]
            totals[index] = self.losses[ids].sum(), len(ids), (ids == self.most_frequent).sum()
        return totals
