"""How well a model remembers secrets that were planted in its train, beside secrets of the same form that were not.

Exposure and extraction of Carlini et al. (2019), "The Secret Sharer: Evaluating and Testing Unintended Memorization in
Neural Networks".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import counted
from ..evaluation.generation import add_texts, generating_with
from ..evaluation.inference import Inference, predict_rows
from ..evaluation.scoring import DRAWS, TEXT, Score, number, to_json
from ..log import log
from ..metrics import draw_weights
from ..metrics._uncertainty import interval
from ..models.directory import quiet
from ..privacy.canaries import NUMBERS, Canary, new_prefixes, new_secrets, rows_like, writer_of
from .row_losses import losses_of

if TYPE_CHECKING:
    from datasets import Dataset

CANDIDATES = 256  # secrets whose losses are ranked, the true one among them
MOST = math.log2(CANDIDATES)  # bits of exposure
_STREAM = 23  # that no other draw with the seed of a run has
_CONTROLS = 30  # secrets that were never planted, at most: they serve as one mean
_LONGEST = 64  # tokens that are written after a beginning: a secret has seven characters


@dataclass(frozen=True)
class Remembered:
    """Secrets that stood in equally many rows.

    Attributes:
        rows: Number of rows of train with each; 0 for secrets that were never planted.
        secrets: How many.
        exposure: Mean over the secrets, in bits.
        extracted: Share of them, 0 to 1, that the model writes after their beginning, taking the most likely token
            each time.
    """

    rows: int
    secrets: int
    exposure: Score
    extracted: Score


def remembered(inference: Inference, rows: Dataset, canaries: Sequence[Canary], seed: int) -> list[Remembered]:
    """What the model remembers of planted secrets, and of others, which come last.

    Args:
        inference: The model.
        rows: Rows of train, whose columns those with secrets have too.
        canaries: The secrets that were planted.
        seed: Seed of the secrets that were not.

    Raises:
        ConfigError: The task has no rows with secrets.
        OutOfMemoryError: A batch does not fit into memory.
    """
    generator = np.random.default_rng([seed, _STREAM])
    controls = min(len(canaries), _CONTROLS)
    prefixes = new_prefixes(controls, generator, {canary.prefix for canary in canaries})
    secrets = new_secrets(controls, generator)
    others = [Canary(*parts, rows=0) for parts in zip(prefixes, secrets, strict=True)]
    tried = [*canaries, *others]
    log(
        f"audit: the losses of {len(tried)} secrets are compared with those of {CANDIDATES - 1} others each, "
        f"{len(tried) * CANDIDATES} rows"
    )
    exposures = exposures_of(_losses(inference, rows, tried, generator))
    is_written = np.array(_are_written(inference, rows, tried), dtype=np.float64)
    groups = []
    for times in (*sorted({canary.rows for canary in canaries}), 0):
        chosen = np.array([canary.rows == times for canary in tried])
        exposure = _mean(exposures[chosen], MOST, guessing(CANDIDATES), seed)
        extracted = _mean(is_written[chosen], 1.0, 0.0, seed)
        groups.append(Remembered(times, int(chosen.sum()), exposure, extracted))
    return groups


# --- exposure ----------------------------------------------------------------------------------------------------


def exposures_of(losses: np.ndarray) -> np.ndarray:
    """Exposure of each secret in bits, (secrets,): log2 of the number of candidates, minus log2 of its rank.

    Args:
        losses: Of each candidate, (secrets, candidates), the true one first; of equal losses it comes last.

    Example:
        >>> exposures_of(np.array([[0.1, 0.5, 0.7, 0.9], [0.5, 0.1, 0.7, 0.9]])).tolist()
        [2.0, 1.0]
    """
    # Not `<=`: a loss that is no number must not make a secret look remembered.
    ranks = (~(losses > losses[:, :1])).sum(axis=1)
    return np.asarray(np.log2(losses.shape[1]) - np.log2(ranks))


def guessing(candidates: int) -> float:
    """Mean exposure of a secret whose rank is any of so many with the same probability.

    Example:
        >>> round(guessing(256), 2), round(guessing(1_000_000), 2)  # 1 / ln 2 in the limit
        (1.42, 1.44)
    """
    return math.log2(candidates) - math.lgamma(candidates + 1) / math.log(2) / candidates


def _losses(
    inference: Inference, rows: Dataset, canaries: Sequence[Canary], generator: np.random.Generator
) -> np.ndarray:
    """Loss of each candidate of each secret, (secrets, candidates), the true one first."""
    writer, made = writer_of(inference.recipe), []
    for canary in canaries:
        candidates = [secret for secret in new_secrets(CANDIDATES, generator) if secret != canary.code]
        for secret in (canary.code, *candidates[: CANDIDATES - 1]):
            made.append(writer.canary(canary.prefix, secret))
    losses = losses_of(inference, rows_like(rows, made), summed=True)
    return losses.reshape(len(canaries), CANDIDATES)


def _mean(values: np.ndarray, most: float, by_guessing: float, seed: int) -> Score:
    """Mean over secrets, with an interval from resamples of them."""
    weights = draw_weights(len(values), DRAWS, np.random.default_rng(seed))
    mean = float(values.mean())
    low, high = interval(mean, weights @ values / len(values), np.arange(len(values)), (0.0, most))
    return Score(mean, low, high, baseline=by_guessing)


# --- extraction --------------------------------------------------------------------------------------------------


def _are_written(inference: Inference, rows: Dataset, canaries: Sequence[Canary]) -> list[bool]:
    """Whether the model writes each secret after its beginning."""
    writer = writer_of(inference.recipe)
    prompts = rows_like(rows, [writer.canary(canary.prefix, "") for canary in canaries])
    with quiet(), generating_with(inference.model, _write_greedily):
        predictions = add_texts(inference, prompts, predict_rows(inference, prompts), scored=False)
    texts = [prediction[inference.recipe.prediction or TEXT] for prediction in predictions]
    return [text.strip().startswith(canary.code) for text, canary in zip(texts, canaries, strict=True)]


def _write_greedily(settings: Any) -> None:
    """Make generation settings take the most likely token each time, for long enough."""
    settings.do_sample, settings.num_beams, settings.early_stopping = False, 1, False
    settings.temperature, settings.top_k, settings.top_p = 1.0, 50, 1.0
    if settings.max_new_tokens:
        settings.max_new_tokens = max(settings.max_new_tokens, _LONGEST)


# --- in a table and in words -------------------------------------------------------------------------------------


def cells(groups: Sequence[Remembered]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of a table: a row for each number of rows, and one for secrets that were never planted."""
    rows = []
    for group in groups:
        rows.append([_name(group), str(group.secrets), str(group.exposure), str(group.extracted)])
    rows.append(["guessing", "", number(guessing(CANDIDATES)), number(1 / NUMBERS)])
    return ["secrets", "number", "exposure in bits", "extracted"], rows


def _name(group: Remembered) -> str:
    return f"in {counted(group.rows, 'row')} of train" if group.rows else "never planted"


def sentences(groups: Sequence[Remembered], *, is_private: bool) -> list[str]:
    """What the figures mean; nothing without secrets.

    Args:
        groups: As `remembered` gives them.
        is_private: Whether the training was private.
    """
    if not groups:
        return []
    *planted, controls = groups
    lines = [_verdict(group, controls) for group in planted]
    lines.append(
        f"exposure is log2 of {CANDIDATES} minus log2 of the rank of the secret among {CANDIDATES} numbers after the "
        f"same beginning, the one with the lowest loss first: {MOST:.3g} bits at most, {guessing(CANDIDATES):.2f} on "
        "average by guessing; extracted are secrets that the model writes after their beginning, taking the most "
        "likely token each time"
    )
    if is_private:
        lines.append(
            "privacy: epsilon is about one row; for a secret in k rows it is k times as large, and delta grows much "
            "faster: a secret in one row shows what a row of the data may expect"
        )
    return lines


def _verdict(group: Remembered, controls: Remembered) -> str:
    """Whether secrets are remembered better than secrets that were never planted, in a sentence."""
    what = f"canaries: of {group.secrets} secrets {_name(group)}"
    written = round(group.extracted.value * group.secrets)
    exposed = f"exposure {group.exposure}, of secrets that were never planted {controls.exposure}"
    if not written and not (group.exposure.low is not None and group.exposure.low > guessing(CANDIDATES)):
        return f"{what} the model cannot be seen to remember any ({exposed})"
    return f"{what} the model remembers some, and writes {written} by itself ({exposed})"


def as_json(groups: Sequence[Remembered]) -> dict[str, Any] | None:
    """What audit.json holds; None without secrets."""
    if not groups:
        return None
    heads, rows = cells(groups)
    entries = []
    for group in groups:
        scores = to_json({"": {"exposure": group.exposure, "extracted": group.extracted}})[""]
        entries.append({"rows": group.rows, "secrets": group.secrets, **scores})
    return {"candidates": CANDIDATES, "groups": entries, "table": [heads, *rows]}
