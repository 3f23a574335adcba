"""Texts that a model generates: for scores, for new rows, and piece by piece in the terminal."""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from ..errors import ModelError
from ..log import log
from ..memory.parts import in_parts, limit_of
from ..models import adapters
from ..models.hardware import rounding_tolerance
from ..models.precision import for_checks
from ..recipe import Prompt, Row, Writer
from .inference import Inference

if TYPE_CHECKING:
    import torch
    from datasets import Dataset

# Result of the test for each model, which is tested once.
_READS_PADDING: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
TRIED = 8  # rows whose prompts are tried before training
MANY = 200  # texts to generate: below, no progress bar
HELD_BACK = 12  # characters of a text in progress that are not shown yet


def add_texts(inference: Inference, rows: Dataset, predictions: list[Row], *, scored: bool = True) -> list[Row]:
    """The predictions with the texts that the model generates for them; as they are where the task generates none.

    Args:
        inference: The model.
        rows: Raw rows.
        predictions: One per row.
        scored: Whether the texts are for scores. Then only some rows get one, spread evenly and the same each time.
    """
    writer = inference.recipe.writer
    if writer is None or writer.generated_rows is None:
        return predictions
    number = min(writer.generated_rows, len(rows)) if scored else len(rows)
    indices = [int(index) for index in np.linspace(0, len(rows) - 1, number)]
    prompts: dict[int, Prompt] = {}
    for index, prompt in zip(indices, writer.prompts(rows.select(indices), scored=scored), strict=True):
        if prompt is not None:
            prompts[index] = prompt
    ids = [prompt.input_ids for prompt in prompts.values()]
    generated = generate(inference, ids, seed=inference.settings.seed if scored else None)
    completed = list(predictions)
    for index, made in zip(prompts, generated, strict=True):
        completed[index] = {**predictions[index], **writer.decode(prompts[index], made)}
    return completed


def check_padding(inference: Inference, rows: Dataset) -> None:
    """Test before training whether texts can be generated in batches, and print it if they cannot."""
    writer = inference.recipe.writer
    if writer is not None and writer.generated_rows:
        prompts = writer.prompts(rows.select(range(min(TRIED, len(rows)))), scored=True)
        _batch_size(inference, [prompt.input_ids for prompt in prompts if prompt is not None])


def generate(
    inference: Inference, prompts: list[list[int]], *, seed: int | None = None, **settings: Any
) -> list[list[int]]:
    """What the model writes after each prompt, by its own generation settings.

    Args:
        inference: The model.
        prompts: Token ids, none of them empty.
        seed: Seed of draws that are the same each time; None for the random state of torch.
        **settings: Further keywords of `generate`.

    Raises:
        ModelError: It writes several texts for one prompt.
    """
    import torch

    model, size = inference.model, _batch_size(inference, prompts)
    generated: list[list[int]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    gpus = [model.device] if model.device.type == "cuda" else []
    model.eval()
    with torch.random.fork_rng(gpus, enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        for start in _steps(len(order), size):
            indices = order[start : start + size]
            batch = _padded(inference, [prompts[index] for index in indices])
            continued = in_parts(partial(_continued, inference, settings), batch, limit_of(model, "generation"))
            ids = list(itertools.chain.from_iterable(continued))
            if len(ids) != len(indices):
                raise ModelError(
                    f"the model wrote {len(ids)} texts for {len(indices)} prompts, expected one for each: leave "
                    "num_return_sequences of its generation_config at 1"
                )
            for index, row in zip(indices, ids, strict=True):
                generated[index] = row
    return generated


@contextlib.contextmanager
def generating_with(model: Any, change: Callable[[Any], None]) -> Iterator[None]:
    """Generate texts with other settings inside the block.

    Args:
        model: The model, which may have adapters around it.
        change: Changes a copy of the generation settings.
    """
    parts = [model, model.get_base_model()] if adapters.is_adapted(model) else [model]
    before = [(part, part.generation_config) for part in parts if getattr(part, "generation_config", None) is not None]
    for part, settings in before:
        part.generation_config = copy.deepcopy(settings)
        change(part.generation_config)
    try:
        yield
    finally:
        for part, settings in before:
            part.generation_config = settings


def _continued(inference: Inference, settings: Mapping[str, Any], batch: Mapping[str, Any]) -> list[list[int]]:
    """What the model writes after each prompt of a batch."""
    with inference.writing():
        ids = inference.model.generate(**batch, use_cache=True, **settings)[:, batch["input_ids"].shape[1] :]
    rows: list[list[int]] = ids.tolist()
    return rows


def _steps(number: int, size: int) -> Iterable[int]:
    """Where each batch starts, with a progress bar where there are many."""
    from transformers.utils import logging

    steps: Iterable[int] = logging.tqdm(range(0, number, size), desc="Writing", disable=number < MANY)
    return steps


# --- batches of prompts ------------------------------------------------------------------------------------------


def _padded(inference: Inference, prompts: list[list[int]]) -> dict[str, Any]:
    """The prompts in one batch, padded on the left, so that the model continues each of them at its end."""
    tokenizer, device = inference.recipe.tokenizer, inference.model.device
    padded = tokenizer.pad({"input_ids": prompts}, padding_side="left", return_tensors="pt")
    return {name: padded[name].to(device) for name in ("input_ids", "attention_mask")}


def _batch_size(inference: Inference, prompts: list[list[int]]) -> int:
    """How many prompts are continued together: one at a time where padding would change the text."""
    model, size = inference.model, inference.settings.batch_size
    # Virtual tokens of prompt learning are put before the padding, which shifts the positions.
    if hasattr(model, "active_peft_config"):
        return 1
    if size == 1 or len(set(map(len, prompts))) < 2:
        return size
    if model not in _READS_PADDING:
        _READS_PADDING[model] = _reads_padding(inference, min(prompts, key=len), max(prompts, key=len))
        if _READS_PADDING[model]:
            log("the output of this model depends on padding, so texts are generated one at a time")
    return 1 if _READS_PADDING[model] else size


def _reads_padding(inference: Inference, short: list[int], long: list[int]) -> bool:
    """Whether a longer prompt in the batch changes what comes next, as in models that ignore the attention mask."""
    import torch
    from accelerate.utils import extract_model_from_parallel

    # In half precision every batch shape gives other logits, so this is tried without the autocast that accelerate put
    # around the forward of the model. The copy shares the weights.
    model = extract_model_from_parallel(copy.copy(inference.model), keep_fp32_wrapper=False)
    model.eval()
    with torch.inference_mode(), for_checks(model, inference.settings.precision):
        alone = _next_logits(model, _padded(inference, [short]))
        beside = _next_logits(model, _padded(inference, [short, long]))
        return float((alone - beside).abs().max()) > rounding_tolerance(model) * float(alone.abs().max())


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


# --- in the terminal ---------------------------------------------------------------------------------------------


class Streamer:
    """Shows a text while it is generated; what `generate` takes as `streamer`."""

    def __init__(self, writer: Writer, prompt: Prompt, show: Callable[[str], None]) -> None:
        self.writer, self.prompt, self.show = writer, prompt, show
        self.ids: list[int] | None = None
        self.shown = ""

    def put(self, value: Any) -> None:
        """Take the next ids; those of the prompt come first, and are not shown."""
        if self.ids is None:
            self.ids = []
            return
        self.ids += value.flatten().tolist()
        self._show_all_but(HELD_BACK)

    def end(self) -> None:
        """Show the characters that were not shown yet."""
        self._show_all_but(0)

    def _show_all_but(self, held_back: int) -> None:
        """Show new text, except the last characters, which may change or not belong to the text."""
        text = str(self.writer.decode(self.prompt, self.ids or [])["generated_text"])
        text = text[: len(text) - held_back] if held_back else text
        if text.startswith(self.shown):
            self.show(text[len(self.shown) :])
            self.shown = text
