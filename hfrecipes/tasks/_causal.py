"""Shared by the tasks that continue a text: batches, packing, the check of the model, generation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _upstream
from ..collate import pad_rows
from ..errors import ConfigError, ModelError
from ..losses import ItemLoss, cross_entropy, token_loss
from ..recipe import IGNORED, Recipe, Row, Writer
from ._tokens import NEUTRAL_GENERATION, token_sums

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

DEFAULTS: dict[str, Any] = {"per_device_train_batch_size": 8, "per_device_eval_batch_size": 8}


def check_options(recipe: Any) -> None:
    """Refuse options that no text can be generated with.

    Raises:
        ConfigError: One is too small.
    """
    for name, least in (("max_new_tokens", 1), ("generated_rows", 0), ("temperature", 0)):
        if getattr(recipe, name) < least:
            raise ConfigError(f"{name}: {getattr(recipe, name)}, expected {least} or more")


def fit_new_tokens(recipe: Any) -> list[str]:
    """Leave at least half of the model's maximum length to the prompt."""
    limit = max(1, recipe.max_length // 2)
    if recipe.max_new_tokens <= limit:
        return []
    recipe.max_new_tokens = limit
    return [f"max_new_tokens: {limit}, half of max_length"]


# --- batches -----------------------------------------------------------------------------------------------------


def positions(lengths: Sequence[int]) -> list[list[int]]:
    """Position ids of texts that share rows: they start at 0 with each text, which is how models tell them apart."""
    return [list(range(length)) for length in lengths]


def collator(recipe: Recipe, model: PreTrainedModel) -> Callable[[list[Row]], Any]:
    """Function that pads features; rows of packed texts get `position_ids` in place of an attention mask."""
    # Flash attention finds where packed texts begin in a single row only.
    single_row = _upstream.uses_flash_attention(model)
    padding = recipe.tokenizer.pad_token_id
    size = recipe.max_length if recipe.pads_to_max_length else 0
    return partial(_collate, padding=padding, single_row=single_row, size=size)


def _collate(features: list[Row], padding: int, single_row: bool, size: int) -> dict[str, Any]:
    packed = "position_ids" in features[0]
    batch = {}
    for name, filler in (("input_ids", padding), ("labels", IGNORED), ("position_ids", 0)):
        if name not in features[0]:
            continue
        rows = [row[name] for row in features]
        if packed and single_row:
            rows = [np.concatenate(rows)]
        batch[name] = pad_rows(rows, filler, size)
    if not packed:
        # Packed rows get no mask: models only look for packed texts where there is none.
        batch["attention_mask"] = pad_rows([np.ones(len(row["input_ids"]), np.int64) for row in features], 0, size)
    return batch


# --- model and loss ----------------------------------------------------------------------------------------------


def check_model(model: PreTrainedModel, *, packs: bool) -> None:
    """Refuse a model with bidirectional attention, such as BERT, or one in which packed texts attend to each other.

    Most models tell packed texts apart by position ids that start at 0 again; recurrent models and some others do not.

    Args:
        model: As it is to be trained.
        packs: Whether texts that must not see each other share rows.

    Raises:
        ModelError: A token changes the logits before it.
        ConfigError: A text changes the logits of the next text in its row.
    """
    import torch

    text = [9, 7, 5, 3, 4]
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            alone = _logits(model, text)
            changed = _logits(model, [*text[:-1], 6])
            after_first = after_second = alone
            if packs:
                after_first = _logits(model, [3, 4, 5, 6, 7, 8, 9], text)
                after_second = _logits(model, [8, 8, 4, 4, 6, 6, 3], text)
    finally:
        model.train(was_training)
    kind, spread = model.config.model_type, float(alone.float().std())
    # In half precision every shape of a batch gives slightly other logits.
    tolerance = 1e-5 if alone.dtype == torch.float32 else 0.05 * spread
    if not torch.allclose(alone[:-1].float(), changed[:-1].float(), atol=tolerance):
        raise ModelError(
            f"a model of type {kind} sees the tokens that it should predict: use a model that generates text, such as "
            "Qwen or GPT-2"
        )
    same = torch.allclose(after_first.float(), after_second.float(), atol=tolerance)
    # Two texts of the same length may shift the positions alike, so the text alone is compared too: roughly, because
    # half precision also depends on the length of the row.
    if not same or float((after_first.float() - alone.float()).abs().max()) > 0.2 * spread:
        raise ConfigError(
            f"a model of type {kind} lets texts that are packed into one row see each other: set packing=false (chat) "
            "or across_documents=true (text-generation)"
        )


def _logits(model: PreTrainedModel, *texts: list[int]) -> torch.Tensor:
    """Logits of the last text, in a row with all the texts."""
    import torch

    ids: list[int] = []
    positions: list[int] = []
    for text in texts:
        ids += text
        positions += range(len(text))
    input_ids = torch.tensor([ids]).to(model.device)
    position_ids = torch.tensor([positions]).to(model.device)
    logits: torch.Tensor = model(input_ids=input_ids, position_ids=position_ids)["logits"][0]
    return logits[-len(texts[-1]) :]


def loss(recipe: Recipe, label_smoothing: float = 0.0) -> Callable[..., Any]:
    """Cross entropy over the tokens to learn."""
    return partial(_loss, item_loss=partial(cross_entropy, label_smoothing=label_smoothing))


def _loss(outputs: Any, labels: Any, num_items_in_batch: Any = None, *, item_loss: ItemLoss) -> Any:
    from torch.nn.functional import pad

    # The labels move, not the logits: to leave out the last ones would copy all of them. Prompt tuning puts virtual
    # tokens before the text, so they are counted from the end.
    logits, shifted = outputs["logits"][:, -labels.shape[1] :], pad(labels[:, 1:], (0, 1), value=IGNORED)
    return token_loss({"logits": logits}, shifted, num_items_in_batch, item_loss=item_loss)


def _shifted(logits: Any, labels: Any) -> Any:
    """Logits that predict each label but the first one: those one token before it."""
    # Counted from the end, because prompt tuning puts virtual tokens before the text.
    return logits[:, -labels.shape[1] : -1]


def preprocess_logits(logits: Any, labels: Any) -> Any:
    """Summed loss, number of tokens and number of correct ones of each row, (rows, 3), as `_tokens.sums` gives them."""
    logits = logits[0] if isinstance(logits, tuple) else logits
    return token_sums(_shifted(logits, labels), labels[:, 1:])


# --- generation --------------------------------------------------------------------------------------------------


class CausalWriter(Writer):
    """Continues a prompt up to a token that ends a text, for at most `max_new_tokens`.

    Args:
        recipe: The task, with `max_new_tokens`, `temperature` and `generated_rows`.
    """

    def __init__(self, recipe: Any) -> None:
        self.recipe = recipe
        self.generated_rows = recipe.generated_rows

    @property
    def ends(self) -> list[int]:
        """Tokens that end a text."""
        raise NotImplementedError

    def generation(self) -> dict[str, Any]:
        """Length, temperature, and the tokens that end a text."""
        recipe, ends = self.recipe, self.ends
        settings: dict[str, Any] = {"max_new_tokens": recipe.max_new_tokens, **NEUTRAL_GENERATION}
        if recipe.temperature > 0:
            settings |= {"do_sample": True, "temperature": float(recipe.temperature), "top_k": 0}
        settings["pad_token_id"] = recipe.tokenizer.pad_token_id
        settings["eos_token_id"] = ends[0] if len(ends) == 1 else ends
        return settings

    def until_end(self, ids: list[int]) -> tuple[list[int], Row]:
        """Generated ids before the first end, and what a prediction tells of them.

        Returns:
            The ids; `generated_tokens`, the end included, and whether the text stops `at_limit` without an end.
        """
        ends = self.ends
        for index, token in enumerate(ids):
            if token in ends:
                return ids[:index], {"generated_tokens": index + 1, "at_limit": False}
        return ids, {"generated_tokens": len(ids), "at_limit": len(ids) >= self.recipe.max_new_tokens}
