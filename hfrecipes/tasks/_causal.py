"""What the tasks share that go on writing a text: batches, packing, generation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..recipe import Row
from ._tokens import NO_DRAWS, sums

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


def collator(recipe: Any, model: PreTrainedModel, *, packs: bool) -> Callable[[list[Row]], Any]:
    """Pads; features with `position_ids` are put one behind another instead, as far as `max_length` goes.

    Args:
        recipe: The task.
        model: Whose batches they are.
        packs: Whether there are such features.

    Raises:
        ConfigError: The model would read what stands in one row together.
    """
    flash = "flash" in str(getattr(model.config, "_attn_implementation", ""))
    collate = partial(_collate, filler=recipe.tokenizer.pad_token_id, room=recipe.max_length, one_row=flash)
    if packs and not keeps_apart(model, collate):
        raise ConfigError(
            f"a model of type {model.config.model_type} reads together what is packed into one row: "
            "leave packing to texts that may see each other"
        )
    return collate


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
    """Features one behind another in rows of at most `room` tokens, the longest first, each where it first fits.

    Their `position_ids` start again with each, and so tell them apart.

    Example:
        >>> one = {"input_ids": [5, 6], "position_ids": [0, 1]}
        >>> pack([one, one, one], 4)[0]
        {'input_ids': [5, 6, 5, 6], 'position_ids': [0, 1, 0, 1]}
    """
    rows: list[list[Row]] = []
    free: list[int] = []
    for feature in sorted(features, key=lambda one: len(one["input_ids"]), reverse=True):
        size = len(feature["input_ids"])
        place = next((at for at, left in enumerate(free) if left >= size), len(rows))
        if place == len(rows):
            rows.append([])
            free.append(room)
        rows[place].append(feature)
        free[place] -= size
    return [_joined(row) for row in rows]


def _joined(features: Sequence[Row]) -> Row:
    return {name: [token for one in features for token in one[name]] for name in features[0]}


def keeps_apart(model: PreTrainedModel, collate: Callable[[list[Row]], dict[str, torch.Tensor]]) -> bool:
    """Whether the model gives a text the same logits alone and behind another one in a row.

    Most do by the position ids that start again. Recurrent models, and some with a way of their own, do not.
    """
    import torch

    texts = [[3, 4, 5, 6, 7, 8, 9], [9, 7, 5, 3, 4]]
    features = [{"input_ids": ids, "labels": [-100, *ids[1:]], "position_ids": list(range(len(ids)))} for ids in texts]
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            both, alone = (_logits(model, collate(some)) for some in (features, features[1:]))
    finally:
        model.train(was_training)
    return bool(torch.allclose(both[-len(alone) :], alone, rtol=1e-3, atol=1e-3))


def _logits(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    given = {name: tensor.to(model.device) for name, tensor in batch.items() if name != "labels"}
    logits: torch.Tensor = model(**given, use_cache=False)["logits"][0].float()
    return logits


def reduce(logits: Any, labels: Any) -> Any:
    """Of each row what `_tokens.sums` says; a token is guessed at the place before it."""
    logits = logits[0] if isinstance(logits, tuple) else logits
    return sums(logits[:, :-1], labels[:, 1:])


# --- generation --------------------------------------------------------------------------------------------------


def generation(recipe: Any, ends: list[int]) -> dict[str, Any]:
    """Length and choice of tokens, that scoring, prediction and the saved model share.

    Args:
        recipe: The task, with `max_new_tokens` and `temperature`.
        ends: Tokens that end a text.
    """
    drawn = {"do_sample": True, "temperature": float(recipe.temperature)} if recipe.temperature > 0 else NO_DRAWS
    return {
        "max_new_tokens": recipe.max_new_tokens,
        "max_length": None,
        "num_beams": 1,
        **drawn,
        "pad_token_id": recipe.tokenizer.pad_token_id,
        "eos_token_id": ends[0] if len(ends) == 1 else ends,
    }


def written(recipe: Any, ids: list[int], ends: list[int]) -> tuple[list[int], Row]:
    """The ids up to their end, and what is said of them: `generated_tokens`, and whether they end `at_limit`."""
    end = next((place for place, token in enumerate(ids) if token in ends), None)
    kept = ids[:end]
    tokens = len(kept) + (end is not None)
    return kept, {"generated_tokens": tokens, "at_limit": end is None and tokens >= recipe.max_new_tokens}
