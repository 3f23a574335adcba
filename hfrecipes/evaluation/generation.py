"""Texts that a model goes on writing: for scores, for new rows, and piece by piece in the terminal."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from ..errors import ModelError
from ..log import log
from ..models.hardware import rounding
from ..models.padding import precision_of
from ..recipe import Prompt, Recipe, Row

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from transformers import Trainer


_READS_PADDING: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()  # what was seen of each model
LOOKED_AT = 8  # rows whose prompts are tried before training
MANY = 200  # texts to write: below, no progress bar
HELD = 12  # letters that a text that is being written is shown behind


def with_texts(
    trainer: Trainer, recipe: Recipe, rows: Dataset, predictions: list[Row], *, scored: bool = True
) -> list[Row]:
    """The predictions with what the model writes for them, where the task is one that goes on writing.

    Of rows to be scored it is some, spread evenly and the same each time.
    """
    if recipe.written_rows is None:
        return predictions
    some = min(recipe.written_rows, len(rows)) if scored else len(rows)
    places = [int(place) for place in np.linspace(0, len(rows) - 1, some)]
    found = zip(places, recipe.prompts(rows.select(places), scored=scored), strict=True)
    prompts = {place: prompt for place, prompt in found if prompt is not None}
    ids = generate(trainer, [one.input_ids for one in prompts.values()], seed=trainer.args.seed if scored else None)
    texts = {place: recipe.decode_generated(prompts[place], made) for place, made in zip(prompts, ids, strict=True)}
    return [{**prediction, **texts.get(place, {})} for place, prediction in enumerate(predictions)]


def look_at_padding(trainer: Trainer, recipe: Recipe, rows: Dataset) -> None:
    """See before training whether texts can be written together, and print it where they cannot."""
    if recipe.written_rows:
        prompts = recipe.prompts(rows.select(range(min(LOOKED_AT, len(rows)))), scored=True)
        _batch_size(trainer, [prompt.input_ids for prompt in prompts if prompt is not None])


def generate(trainer: Trainer, prompts: list[list[int]], *, seed: int | None = None, **how: Any) -> list[list[int]]:
    """What the model writes behind each prompt, by its own generation settings.

    Args:
        trainer: That holds the model.
        prompts: Ids, none of them empty.
        seed: For draws that are the same each time; None for what the state of torch gives.
        **how: Further keywords of `generate`.

    Raises:
        ModelError: It writes more than one text for a prompt.
    """
    import torch

    model, size = trainer.model, _batch_size(trainer, prompts)
    made: list[list[int]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
    gpus = [model.device] if model.device.type == "cuda" else []
    model.eval()
    with torch.random.fork_rng(gpus, enabled=seed is not None), torch.inference_mode(), trainer.accelerator.autocast():
        if seed is not None:
            torch.manual_seed(seed)
        for start in _steps(len(order), size, "Writing"):
            places = order[start : start + size]
            batch = _padded(trainer, [prompts[place] for place in places])
            ids = model.generate(**batch, use_cache=True, **how)[:, batch["input_ids"].shape[1] :]
            if len(ids) != len(places):
                raise ModelError(
                    f"the model wrote {len(ids)} texts for {len(places)} prompts, expected one for each: leave "
                    "num_return_sequences of its generation_config at 1"
                )
            for place, row in zip(places, ids.tolist(), strict=True):
                made[place] = row
    return made


def _padded(trainer: Trainer, prompts: list[list[int]]) -> dict[str, Any]:
    """The prompts in one batch, padded on the left, so that all end where the model goes on."""
    padded = trainer.processing_class.pad({"input_ids": prompts}, padding_side="left", return_tensors="pt")
    return {name: padded[name].to(trainer.model.device) for name in ("input_ids", "attention_mask")}


def _batch_size(trainer: Trainer, prompts: list[list[int]]) -> int:
    """How many prompts are gone on with together: a single one where padding would change the text."""
    model, size = trainer.model, int(trainer.args.per_device_eval_batch_size)
    if hasattr(model, "active_peft_config"):  # its virtual tokens stand before the padding, which shifts the places
        return 1
    if size == 1 or len(set(map(len, prompts))) < 2:
        return size
    if model not in _READS_PADDING:
        _READS_PADDING[model] = _reads_padding(trainer, min(prompts, key=len), max(prompts, key=len))
        if _READS_PADDING[model]:
            log("this model reads padding, so texts are written one at a time")
    return 1 if _READS_PADDING[model] else size


def _reads_padding(trainer: Trainer, short: list[int], long: list[int]) -> bool:
    """Whether a longer prompt in the batch changes what comes next, as in models that ignore the attention mask."""
    import torch

    # In half precision every batch shape gives other logits. The copy shares the weights, and lacks the autocast that
    # accelerate put around the forward of the model.
    model = trainer.accelerator.unwrap_model(copy.copy(trainer.model), keep_fp32_wrapper=False)
    model.eval()
    with torch.inference_mode(), precision_of(trainer):
        alone, beside = (_next_logits(model, _padded(trainer, prompts)) for prompts in ([short], [short, long]))
        return float((alone - beside).abs().max()) > rounding(model) * float(alone.abs().max())


def _next_logits(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    """Logits of the first prompt's next two tokens, the first of which is always the same, (2, vocabulary)."""
    import torch

    token = int(batch["input_ids"][0, -1])
    made = model.generate(
        **batch,
        max_new_tokens=2,
        eos_token_id=None,
        do_sample=False,
        prefix_allowed_tokens_fn=lambda *_: [token],
        output_logits=True,
        return_dict_in_generate=True,
    )
    return torch.stack([logits[0].float() for logits in made.logits])


def _steps(number: int, size: int, desc: str) -> Iterable[int]:
    """Where each batch starts, with a progress bar where there are many."""
    from transformers.utils import logging

    steps: Iterable[int] = logging.tqdm(range(0, number, size), desc=desc, disable=number < MANY)
    return steps


class Streamer:
    """Shows a text while it is written; what `generate` takes as `streamer`."""

    def __init__(self, recipe: Recipe, prompt: Prompt, show: Callable[[str], None]) -> None:
        self.recipe, self.prompt, self.show = recipe, prompt, show
        self.ids: list[int] | None = None
        self.shown = ""

    def put(self, value: Any) -> None:
        """Take the next ids; the prompt comes first."""
        if self.ids is None:
            self.ids = []
            return
        self.ids += value.flatten().tolist()
        self._show(HELD)

    def end(self) -> None:
        """Show what was held back."""
        self._show(0)

    def _show(self, held: int) -> None:
        """Show what is new but for the last letters, which may turn out to be no part of the text."""
        text = str(self.recipe.decode_generated(self.prompt, self.ids or [])["generated_text"])
        text = text[: len(text) - held] if held else text
        if text.startswith(self.shown):
            self.show(text[len(self.shown) :])
            self.shown = text
