"""Integrated gradients (Sundararajan et al. 2017) by Captum: how much each token adds to a score of the model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ModelError
from ..evaluation.inference import Inference, collator
from ..models.loading import input_embeddings
from .contract import Score, ScoreToExplain

if TYPE_CHECKING:
    import torch

STEPS = (32, 64, 128, 256)  # points on the way from the baseline to the text; more where they do not suffice
TOLERANCE = 0.05  # share of the difference of the scores that may be missing from the sum of the attributions
_ROUNDING = 1e-3  # difference of scores that float32 cannot resolve in a sum of many terms
_TOKENS_AT_ONCE = 4096  # tokens of a batch of points, which bounds the memory


@dataclass(frozen=True)
class TokenAttributions:
    """What each token adds to a score."""

    values: np.ndarray
    """(tokens,); 0 for special tokens, which are the same in the baseline."""
    score: float
    """The score of the text."""
    baseline_score: float
    """The score of the baseline."""
    steps: int

    @property
    def delta(self) -> float:
        """By how much the sum of the attributions differs from the difference of the two scores."""
        return float(self.values.sum() - (self.score - self.baseline_score))

    @property
    def is_complete(self) -> bool:
        """Whether the attributions add up to the difference of the scores, within the tolerance."""
        return abs(self.delta) <= max(TOLERANCE * abs(self.score - self.baseline_score), _ROUNDING)


class Attributor:
    """Attributes scores of a model to the tokens that it reads.

    Attributes:
        stand_in: Token that stands for each token of the text in the baseline.
        inference: The model in float32, with its task.
    """

    def __init__(self, inference: Inference) -> None:
        self.inference = Inference(in_float32(inference.model), inference.recipe, inference.settings)
        self.stand_in, self._stand_in_id = stand_in_token(inference.recipe.tokenizer)
        self._collate = collator(inference.recipe, self.inference.model)
        self._table = _embeddings_of(self.inference.model)

    def attribute(self, explained: ScoreToExplain) -> TokenAttributions:
        """Attributions of the tokens, with as many steps as it takes until they are complete.

        Raises:
            ModelError: The model does not look its tokens up once.
        """
        text = self._text_of(explained)
        score, baseline_score = self._scores(explained.score, text, text.with_stand_in(text.is_text[None])).tolist()
        for steps in STEPS:
            values = self._integrated(explained, text, steps)[text.tokens]
            attributions = TokenAttributions(values, score, baseline_score, steps)
            if attributions.is_complete:
                break
        return attributions

    def probabilities(self, explained: ScoreToExplain, hidden: np.ndarray) -> np.ndarray:
        """Probability with the whole text, and with some of its tokens replaced by the stand-in, (1 + variants,).

        Args:
            explained: A score that has a probability.
            hidden: Whether each token is replaced in each variant, (variants, tokens).
        """
        text = self._text_of(explained)
        replaced = text.is_text.new_zeros(len(hidden), len(text.is_text))
        replaced[:, text.tokens] = replaced.new_tensor(hidden)
        return self._scores(explained.probability or explained.score, text, text.with_stand_in(replaced))

    def _text_of(self, explained: ScoreToExplain) -> _Text:
        """The row as a batch of its own, and the embeddings of its tokens.

        Raises:
            ModelError: The model does not look its tokens up once.
        """
        import torch

        tokenizer, model = self.inference.recipe.tokenizer, self.inference.model
        names = set(tokenizer.model_input_names)
        features = {name: values for name, values in explained.features.items() if name in names}
        inputs = {name: values.to(model.device) for name, values in self._collate([features]).items()}
        ids = inputs["input_ids"]
        # Padding, where a model needs all rows of one length, is like a special token: the same in the baseline.
        first = ids.shape[1] - len(explained.tokens) if tokenizer.padding_side == "left" else 0
        tokens = slice(first, first + len(explained.tokens))
        is_text = torch.zeros_like(ids[0], dtype=torch.bool)
        is_text[tokens] = is_text.new_tensor([span is not None for span in explained.tokens])
        model.eval()
        with torch.no_grad():
            stand_in = self._table(ids.new_tensor([self._stand_in_id]))
            return _Text(inputs, tokens, is_text, self._table(ids)[0], stand_in[0], self._has_columns(inputs))

    def _has_columns(self, inputs: Mapping[str, Any]) -> bool:
        """Whether a text is a column of the table's output, as in XLNet, and not a row.

        Raises:
            ModelError: Tokens are looked up in several places, or nowhere.
        """
        model = self.inference.model
        shapes: list[Any] = []
        with _hooked(self._table, lambda table, given, output: shapes.append(output.shape)):
            model(**inputs)
        if len(shapes) != 1:
            raise ModelError(
                f"predictions of a model of type {model.config.model_type} cannot be explained: it looks its tokens up "
                f"{len(shapes)} times, expected once, as encoders such as BERT do"
            )
        return bool(shapes[0][0] > 1)

    # --- outputs -------------------------------------------------------------------------------------------------

    def _scores(self, score: Score, text: _Text, embeddings: torch.Tensor) -> np.ndarray:
        """Scores of variants of a text, some at a time."""
        import torch

        scores = []
        at_once = _variants_at_once(text)
        with torch.no_grad():
            for start in range(0, len(embeddings), at_once):
                part = self._score(score, text, embeddings[start : start + at_once])
                scores.append(part.float().cpu().numpy())
        return np.concatenate(scores)

    def _integrated(self, explained: ScoreToExplain, text: _Text, steps: int) -> np.ndarray:
        """Sum over the embedding of each token of the integrated gradients, (tokens of the batch,)."""
        from captum.attr import IntegratedGradients

        both = text.with_stand_in(text.is_text[None])
        values = IntegratedGradients(partial(self._score, explained.score, text)).attribute(
            both[:1], baselines=both[1:], n_steps=steps, internal_batch_size=_variants_at_once(text)
        )
        array: np.ndarray = values.sum(-1)[0].detach().double().cpu().numpy()
        return array

    def _score(self, score: Score, text: _Text, embeddings: torch.Tensor) -> Any:
        """Scores of variants of a text, (variants,).

        Args:
            score: From the outputs of the model.
            text: The text. Its ids stay, since some models find the end of a text by them.
            embeddings: Of the tokens of each variant, (variants, tokens, width).
        """
        batch = {}
        for name, values in text.inputs.items():
            batch[name] = values.expand(len(embeddings), *values.shape[1:])
        shown = embeddings.transpose(0, 1) if text.has_columns else embeddings
        with _hooked(self._table, partial(_instead, shown)):
            return score(self.inference.model(**batch))


@dataclass(frozen=True)
class _Text:
    """A text as the model reads it."""

    inputs: Mapping[str, Any]
    """A batch of it alone."""
    tokens: slice
    """Where the tokens that are known stand in the batch, beside padding."""
    is_text: torch.Tensor
    """Which tokens of the batch are text, (tokens,); the others are special."""
    embeddings: torch.Tensor
    """(tokens, width)."""
    stand_in: torch.Tensor
    """Embedding of the token that stands for one of which nothing is known, (width,)."""
    has_columns: bool
    """Whether the model looks up a batch with a column for each text."""

    def with_stand_in(self, replaced: torch.Tensor) -> torch.Tensor:
        """Embeddings of the whole text, and of its variants, (1 + variants, tokens, width).

        Args:
            replaced: Which tokens of each variant have the embedding of the stand-in, (variants, tokens).
        """
        import torch

        variants = torch.where(replaced.unsqueeze(-1), self.stand_in, self.embeddings)
        return torch.cat([self.embeddings.unsqueeze(0), variants])


@contextlib.contextmanager
def _hooked(module: Any, hook: Callable[..., Any]) -> Iterator[None]:
    """Let a function see, and change, the output of a module inside the block."""
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _instead(embeddings: torch.Tensor, table: Any, ids: Any, output: Any) -> Any:
    """Forward hook: these embeddings, and those of the padding that some models add to what they get."""
    import torch

    if output.shape == embeddings.shape:
        return embeddings
    return torch.cat([embeddings, output[:, embeddings.shape[1] :]], dim=1)


def _variants_at_once(text: _Text) -> int:
    return max(1, _TOKENS_AT_ONCE // len(text.is_text))


# --- the model ---------------------------------------------------------------------------------------------------


def in_float32(model: Any) -> Any:
    """The model itself where it computes in float32, else a copy that does.

    Sums of gradients in half precision would not add up. Quantized weights stay as they are.
    """
    import torch

    half = (torch.float16, torch.bfloat16)
    is_quantized = getattr(model, "is_quantized", False)
    if is_quantized or not any(weights.dtype in half for weights in model.parameters()):
        return model
    return deepcopy(model).float()


def stand_in_token(tokenizer: Any) -> tuple[str, int]:
    """The token that stands for a token of the text of which nothing is known, and its id.

    The mask token: encoders have learnt in pretraining that any word may stand there. Models without one get padding,
    which no text has.
    """
    if tokenizer.mask_token_id is not None:
        return tokenizer.mask_token, tokenizer.mask_token_id
    return tokenizer.pad_token, tokenizer.pad_token_id


def _embeddings_of(model: Any) -> Any:
    """The table of the tokens' embeddings.

    Raises:
        ModelError: The model has none.
    """
    table = input_embeddings(model)
    if table is None:
        raise ModelError(
            f"a model of type {model.config.model_type} has no table of embeddings, so its predictions cannot be "
            "attributed to tokens: use a model such as BERT"
        )
    return table
