"""Texts that a model goes on writing: for scores, for new rows, and piece by piece in the terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from .recipe import Prompt, Recipe, Row

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import Trainer

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


def generate(trainer: Trainer, prompts: list[list[int]], *, seed: int | None = None, **how: Any) -> list[list[int]]:
    """What the model writes behind each prompt, by its own generation settings.

    Args:
        trainer: That holds the model.
        prompts: Ids, none of them empty.
        seed: For draws that are the same each time; None for what the state of torch gives.
        **how: Further keywords of `generate`.
    """
    import torch

    model, size = trainer.model, trainer.args.per_device_eval_batch_size
    if hasattr(model, "active_peft_config"):  # its virtual tokens stand before the padding, which shifts the places
        size = 1
    made: list[list[int]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
    gpus = [model.device] if model.device.type == "cuda" else []
    model.eval()
    with torch.random.fork_rng(gpus, enabled=seed is not None), torch.inference_mode(), _autocast(trainer):
        if seed is not None:
            torch.manual_seed(seed)
        for start in _steps(len(order), size, "Writing"):
            places = order[start : start + size]
            # From the left, so that all prompts end where the model goes on.
            padded = trainer.processing_class.pad(
                {"input_ids": [prompts[place] for place in places]}, padding_side="left", return_tensors="pt"
            )
            batch = {name: padded[name].to(model.device) for name in ("input_ids", "attention_mask")}
            ids = model.generate(**batch, use_cache=True, **how)[:, batch["input_ids"].shape[1] :]
            for place, row in zip(places, ids.tolist(), strict=True):
                made[place] = row
    return made


def _autocast(trainer: Trainer) -> contextlib.AbstractContextManager[Any]:
    """The precision that the model is trained and evaluated in."""
    context: contextlib.AbstractContextManager[Any] = trainer.autocast_smart_context_manager()
    return context


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
