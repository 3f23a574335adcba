"""What the tasks share that go on writing a text: batches, packing, generation."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from .. import _upstream
from ..errors import ConfigError, ModelError
from ..losses import ItemLoss, cross_entropy, token_loss
from ..recipe import Recipe, Row
from ._tokens import PLAINLY, sums

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

# What every one of them trains with.
DEFAULTS: dict[str, Any] = {
    "learning_rate": 5e-5,
    "num_train_epochs": 3,
    "per_device_train_batch_size": 8,
    "per_device_eval_batch_size": 8,
    "warmup_steps": 0.1,
    "weight_decay": 0.01,
}
_FILL = {"input_ids": 0, "labels": -100, "position_ids": 0}


def check(recipe: Any) -> None:
    """Refuse options that no text can be generated with.

    Raises:
        ConfigError: One is too small.
    """
    for name, least in (("max_new_tokens", 1), ("generated_rows", 0), ("temperature", 0)):
        if getattr(recipe, name) < least:
            raise ConfigError(f"{name}: {getattr(recipe, name)}, expected {least} or more")


def settle_length(recipe: Any) -> list[str]:
    """Leave half of what the model reads to the text that it goes on from."""
    most = max(1, recipe.max_length // 2)
    if recipe.max_new_tokens <= most:
        return []
    recipe.max_new_tokens = most
    return [f"max_new_tokens: {most}, half of max_length"]


# --- batches -----------------------------------------------------------------------------------------------------


def collator(recipe: Recipe, model: PreTrainedModel) -> Callable[[list[Row]], Any]:
    """Pads; features with `position_ids` are put one behind another instead, as far as `max_length` goes."""
    return partial(
        _collate,
        filler=recipe.tokenizer.pad_token_id,
        room=recipe.max_length,
        one_row=_upstream.uses_flash_attention(model),
    )


def _collate(features: list[Row], filler: int, room: int, one_row: bool) -> dict[str, Any]:
    import torch

    packed = "position_ids" in features[0]
    rows = pack(features, room) if packed else features
    if packed and one_row:  # flash attention finds the borders in a single row only
        rows = [_joined(rows)]
    fill = {**_FILL, "input_ids": filler}
    batch = {
        name: torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(row[name]) for row in rows], batch_first=True, padding_value=fill[name]
        )
        for name in fill
        if name in rows[0]
    }
    if not packed:  # with a mask of ones, packed texts would see each other
        lengths = torch.tensor([len(row["input_ids"]) for row in rows])
        batch["attention_mask"] = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
    return batch


def pack(features: Sequence[Row], room: int) -> list[Row]:
    """Features one behind another in rows of at most `room` tokens, the longest first, each where least is left.

    Their `position_ids` start again with each, and so tell them apart.

    Example:
        >>> one = {"input_ids": [5, 6], "position_ids": [0, 1]}
        >>> pack([one, one, one], 4)[0]
        {'input_ids': [5, 6, 5, 6], 'position_ids': [0, 1, 0, 1]}
    """
    rows: list[list[Row]] = []
    open_rows: list[tuple[int, int]] = []  # tokens left, place
    for feature in sorted(features, key=lambda one: len(one["input_ids"]), reverse=True):
        size = len(feature["input_ids"])
        fit = bisect.bisect_left(open_rows, (size, 0))
        left, place = open_rows.pop(fit) if fit < len(open_rows) else (room, len(rows))
        if place == len(rows):
            rows.append([])
        rows[place].append(feature)
        if left > size:
            bisect.insort(open_rows, (left - size, place))
    return [_joined(row) for row in rows]


def _joined(features: Sequence[Row]) -> Row:
    return {name: [token for one in features for token in one[name]] for name in features[0]}


def check_model(model: PreTrainedModel, *, packs: bool) -> None:
    """Refuse a model that sees what it is to guess, as BERT does, or that reads together what is packed into one row.

    Most tell packed texts apart by position ids that start again; recurrent models, and some others, do not.

    Args:
        model: As it is to be trained.
        packs: Whether texts that must not see each other share rows.

    Raises:
        ModelError: What stands behind a token changes its logits.
        ConfigError: What stands before a text in its row changes them.
    """
    import torch

    text, before, other = [9, 7, 5, 3, 4], [3, 4, 5, 6, 7, 8, 9], [8, 8, 4, 4, 6, 6, 3]
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            alone, changed = _logits(model, text), _logits(model, [*text[:-1], 6])
            behind, behind_other = (_logits(model, one, text) for one in (before, other)) if packs else (alone, alone)
    finally:
        model.train(was_training)
    kind, is_exact = model.config.model_type, alone.dtype == torch.float32
    alone, changed, behind, behind_other = (logits.float() for logits in (alone, changed, behind, behind_other))
    limit = 1e-5 if is_exact else 0.05 * float(alone.std())
    if not torch.allclose(alone[:-1], changed[:-1], atol=limit):
        raise ModelError(
            f"a model of type {kind} sees the tokens that it is to guess: use one that writes, as Qwen or GPT-2"
        )
    apart = torch.allclose(behind, behind_other, atol=limit)
    if not apart or float((behind - alone).abs().max()) > 0.2 * float(alone.std()):  # half precision is coarse
        raise ConfigError(
            f"a model of type {kind} reads together what is packed into one row: "
            "leave packing to texts that may see each other"
        )


def _logits(model: PreTrainedModel, *texts: list[int]) -> torch.Tensor:
    """Logits of the last text in a row with all of them, as the model gives them."""
    import torch

    ids, places = [token for ids in texts for token in ids], [place for ids in texts for place in range(len(ids))]
    given = {"input_ids": torch.tensor([ids]), "position_ids": torch.tensor([places])}
    logits: torch.Tensor = model(**{name: one.to(model.device) for name, one in given.items()})["logits"][0]
    return logits[-len(texts[-1]) :]


def loss_function(recipe: Recipe, label_smoothing: float = 0.0) -> Callable[..., Any]:
    """Cross entropy over the tokens to learn."""
    return partial(_loss, item_loss=partial(cross_entropy, label_smoothing=label_smoothing))


def _loss(outputs: Any, labels: Any, num_items_in_batch: Any = None, *, item_loss: ItemLoss) -> Any:
    guesses = _before(outputs["logits"], labels)
    return token_loss({"logits": guesses}, labels[:, 1:], num_items_in_batch, item_loss=item_loss)


def _before(logits: Any, labels: Any) -> Any:
    """Logits at the place before each label but the first; what adapters put in front of the text is left out."""
    return logits[:, -labels.shape[1] : -1]


def preprocess_logits(logits: Any, labels: Any) -> Any:
    """Of each row what `_tokens.sums` says; a token is guessed at the place before it."""
    logits = logits[0] if isinstance(logits, tuple) else logits
    return sums(_before(logits, labels), labels[:, 1:])


# --- generation --------------------------------------------------------------------------------------------------


def generation(recipe: Any, ends: list[int]) -> dict[str, Any]:
    """Length and choice of tokens, that scoring, prediction and the saved model share.

    Args:
        recipe: The task, with `max_new_tokens` and `temperature`.
        ends: Tokens that end a text.
    """
    drawn = {"do_sample": True, "temperature": float(recipe.temperature), "top_k": 0} if recipe.temperature > 0 else {}
    return {
        "max_new_tokens": recipe.max_new_tokens,
        **PLAINLY,
        **drawn,
        "pad_token_id": recipe.tokenizer.pad_token_id,
        "eos_token_id": ends[0] if len(ends) == 1 else ends,
    }


def illustrate(recipe: Recipe, features: Row) -> str:
    """Encoded row as the model reads it, with what is learnt between ⟦ and ⟧."""
    pairs = zip(features["labels"], features["input_ids"], strict=True)
    parts = []
    for learnt, run in itertools.groupby(pairs, key=lambda pair: pair[0] >= 0):
        text = recipe.tokenizer.decode([token for _, token in run], clean_up_tokenization_spaces=False)
        parts.append(f"⟦{text}⟧" if learnt else text)
    return "".join(parts)


def up_to_end(recipe: Any, ids: list[int], ends: list[int]) -> tuple[list[int], Row]:
    """The ids before their end, and what is said of them: `generated_tokens`, and whether they end `at_limit`."""
    end = next((place for place, token in enumerate(ids) if token in ends), None)
    kept = ids[:end]
    tokens = len(kept) + (end is not None)
    return kept, {"generated_tokens": tokens, "at_limit": end is None and tokens >= recipe.max_new_tokens}
