"""Outputs of a model for encoded rows, in the order of the rows, and the predictions made of them.

The loop over batches knows a model, a task and a few settings, and no Trainer.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import registry
from ..data.features import FEW, encode_to_predict, for_batches
from ..errors import ModelError
from ..garbage import not_collected
from ..memory.parts import in_parts, limit_of
from ..models.cuda_graphs import stop_replaying
from ..models.precision import autocast, mixed_precision, writing
from ..recipe import DEFAULTS, Recipe, Row, batch_names, writes_in_evaluation
from .batching import Limits, batches_of, indices_in_turn

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

SHORT = 2000  # rows: below, no progress bar
TOKENS_ON_GPU = 16_384  # fewer do not keep a GPU busy, and their logits are small where they are not over a vocabulary


@dataclass(frozen=True)
class InferenceSettings:
    """How batches are made and in which precision they are computed; the same after training and after loading."""

    batch_size: int
    """Number of rows of the longest kind in a batch."""
    is_default_size: bool
    """Whether that number is the default of the task, and not one that the user chose."""
    seed: int
    """Seed of texts that are drawn for scores."""
    group_by_length: bool
    """Whether rows of similar length share a batch."""
    precision: str | None
    """`bf16` or `fp16` for mixed precision, None for the precision of the weights."""
    full_precision: str | None
    """The same for the weights themselves, which are converted permanently."""
    workers: Mapping[str, Any]
    """Keywords of the DataLoader about processes that make batches."""

    @classmethod
    def of(cls, training: Mapping[str, Any], recipe: type[Recipe] | Recipe) -> InferenceSettings:
        """The settings that follow from `TrainingArguments` keywords.

        Args:
            training: The keywords that a run has; those that it has not, as in old runs, take the defaults of the task.
            recipe: The task.
        """
        default = {**DEFAULTS, **recipe.defaults}
        known = {**default, **training}
        workers = {}
        for name in ("num_workers", "multiprocessing_context", "prefetch_factor"):
            if f"dataloader_{name}" in known:
                workers[name] = known[f"dataloader_{name}"]
        return cls(
            batch_size=known["per_device_eval_batch_size"],
            is_default_size=known["per_device_eval_batch_size"] == default["per_device_eval_batch_size"],
            seed=known.get("seed", 42),
            group_by_length=known.get("train_sampling_strategy", "group_by_length") == "group_by_length",
            precision=mixed_precision(training),
            full_precision=next((kind for kind in ("bf16", "fp16") if known.get(f"{kind}_full_eval")), None),
            workers=workers,
        )


@dataclass(frozen=True)
class Inference:
    """A model with its task, ready to predict."""

    model: Any
    recipe: Recipe
    settings: InferenceSettings
    keeps_logits: bool = False
    """Whether all logits are kept, and not what the recipe says that evaluation needs of them."""

    @classmethod
    def of(cls, model: Any, recipe: Recipe, training: Mapping[str, Any]) -> Inference:
        """The model with the settings that follow from `TrainingArguments` keywords of its run."""
        return cls(model, recipe, InferenceSettings.of(training, recipe))

    def keep(self, logits: Any, labels: Any) -> Any:
        """What is kept of a batch of logits; arguments as for `Recipe.preprocess_logits`."""
        if self.keeps_logits:
            return Recipe.preprocess_logits(self.recipe, logits, labels)
        return self.recipe.preprocess_logits(logits, labels)

    def autocast(self) -> AbstractContextManager[Any]:
        """Context in which the model computes in the precision of the settings."""
        return autocast(self.settings.precision, self.model.device)

    def writing(self) -> AbstractContextManager[None]:
        """Context in which the model generates the texts of a batch, in the precision of the settings."""
        return writing(self.settings.precision, self.model)

    def batches(self, features: Dataset, processes: int = 1) -> list[list[int]]:
        """Indices of the features of each batch; the Trainer evaluates in the same ones, so that scores are the same.

        Args:
            features: What batches are made of.
            processes: Number of processes that share the batches.
        """
        return batches_of(features, self._limits(), processes)

    def _limits(self) -> Limits:
        settings = self.settings
        has_small_logits = not self.recipe.auto_model.endswith("LM")
        fills_gpu = self.model.device.type == "cuda" and settings.is_default_size and has_small_logits
        return Limits(
            rows=settings.batch_size,
            tokens=TOKENS_ON_GPU if fills_gpu else 0,
            # What is written for a row takes memory, however short the row is.
            shares_tokens=not (writes_in_evaluation(self.recipe) or self.recipe.pads_to_max_length),
            by_length=settings.group_by_length,
        )


# --- predictions -------------------------------------------------------------------------------------------------


@not_collected()
def predict_rows(inference: Inference, rows: Dataset) -> list[Row]:
    """One prediction per row, in their order, calibrated as on validation; texts are added by `generation`."""
    recipe = inference.recipe
    encoded = encode_to_predict(recipe, rows)
    predictions = recipe.decode(outputs(inference, encoded), rows, encoded)
    return recipe.calibrated(predictions, recipe.calibration)


@not_collected()
def outputs(inference: Inference, encoded: Dataset) -> Any:
    """What `preprocess_logits` keeps of each feature, in the order of the features.

    An array where all have one size, else a list: padding all of them to the longest one costs memory, and much time.
    """
    model = inference.model
    # The collator leaves out what does not belong in batches; for one text, to leave out columns takes longer.
    features = encoded if len(encoded) <= FEW else for_batches(inference.recipe, encoded)
    rank, processes = _processes()
    batches = inference.batches(features, processes)
    _convert(model, inference.settings)
    if model.training:  # to ask each layer takes as long as a small model for one text
        model.eval()
    loader = _with_progress(_loader(inference, features, batches[rank::processes]), len(features))
    kept = list(_one_behind(_in_parts(inference, batch) for batch in loader))
    return in_row_order(list(itertools.chain.from_iterable(_gathered(kept))), indices_in_turn(batches))


def in_row_order(batches: Sequence[Any], order: Sequence[int]) -> Any:
    """Outputs of batches to one per feature, in their order.

    Args:
        batches: Numpy arrays, or tuples of them, whose first dimension counts the features.
        order: Index of the feature of each output; one that several outputs belong to gets the first of them.

    Raises:
        ModelError: There is not one output for each index.
    """
    if isinstance(batches[0], tuple):
        return tuple(in_row_order(part, order) for part in zip(*batches, strict=True))
    sizes = {batch.shape[1:] for batch in batches}
    number = sum(len(batch) for batch in batches)
    if number != len(order):
        raise ModelError(
            f"the model gave {number} outputs for {len(order)} rows, expected one for each: leave "
            "num_return_sequences of its generation_config at 1"
        )
    _, indices = np.unique(order, return_index=True)
    if len(sizes) == 1:
        return np.concatenate(batches)[indices]
    rows = [row for batch in batches for row in batch]
    return [rows[index] for index in indices]


# --- batches -----------------------------------------------------------------------------------------------------


def _loader(inference: Inference, features: Dataset, batches: list[list[int]]) -> Iterable[Any]:
    from torch.utils.data import DataLoader

    collate = collator(inference.recipe, inference.model)
    if len(batches) == 1 and not inference.settings.workers:
        # For one text, a DataLoader takes longer than the tokenizer.
        return [collate(features.__getitems__(batches[0]))]
    loader: Iterable[Any] = DataLoader(
        features,
        batch_sampler=batches,
        collate_fn=collate,
        pin_memory=inference.model.device.type == "cuda",
        **inference.settings.workers,
    )
    return loader


def _in_parts(inference: Inference, batch: Mapping[str, Any]) -> Callable[[], list[Any]]:
    """Begin to compute the outputs of a batch, in parts where it does not fit into memory."""
    model = inference.model
    compute, limit = partial(_outputs_of_batch, inference), limit_of(model, "evaluation")
    begun = in_parts(compute, batch, limit, partial(stop_replaying, model))
    return lambda: [outputs_of_part() for outputs_of_part in begun]


def _outputs_of_batch(inference: Inference, batch: Mapping[str, Any]) -> Callable[[], Any]:
    """Begin to compute the outputs that are kept of a batch; what is returned waits for them, as numpy arrays."""
    import torch

    device = inference.model.device
    is_pinned = device.type == "cuda"
    inputs = {name: values.to(device, non_blocking=is_pinned) for name, values in batch.items()}
    labels = inputs.pop("labels", None)
    if writes_in_evaluation(inference.recipe):
        inputs.pop("decoder_input_ids", None)  # made of the labels, and so the answer itself
        with inference.writing():
            kept = inference.model.generate(**inputs)
    else:
        with torch.inference_mode(), inference.autocast():
            kept = inference.keep(_logits(inference.model, inputs), labels)
    if isinstance(kept, tuple):
        parts = [_to_numpy(part) for part in kept]
        return lambda: tuple(part() for part in parts)
    return _to_numpy(kept)


def _one_behind(waiting: Iterable[Callable[[], Any]]) -> Iterator[Any]:
    """What each of them returns, asked for when the next one has begun, so that a GPU always has work."""
    before = None
    for after in waiting:
        if before is not None:
            yield before()
        before = after
    if before is not None:
        yield before()


def _logits(model: Any, inputs: Mapping[str, Any]) -> Any:
    """All outputs except the loss and those that transformers leaves out in evaluation; a single one is not a tuple."""
    ignored = {"loss", *getattr(model.config, "keys_to_ignore_at_inference", ["past_key_values"])}
    logits = tuple(_as_float32(value) for name, value in model(**inputs).items() if name not in ignored)
    return logits[0] if len(logits) == 1 else logits


def _as_float32(value: Any) -> Any:
    """Half precision to float32, as accelerate does with what a prepared model gives."""
    import torch

    if isinstance(value, tuple | list):
        return type(value)(_as_float32(part) for part in value)
    is_half = isinstance(value, torch.Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if is_half else value


def _to_numpy(values: Any) -> Callable[[], np.ndarray]:
    """Begin to copy values to the CPU; what is returned waits for them."""
    import torch

    values = _as_float32(values)
    if values.device.type != "cuda":
        return lambda: np.asarray(values.cpu().numpy())
    copied = values.to("cpu", non_blocking=True)
    is_copied = torch.cuda.current_stream(values.device).record_event()

    def wait() -> np.ndarray:
        is_copied.synchronize()
        return np.array(copied)  # a copy, so that the locked memory is free for the next batch

    return wait


def _convert(model: Any, settings: InferenceSettings) -> None:
    """Convert the weights where that was asked for, as the Trainer does outside of training."""
    import torch

    if settings.full_precision is not None:
        model.to({"bf16": torch.bfloat16, "fp16": torch.float16}[settings.full_precision])


def _with_progress(batches: Iterable[Any], rows: int) -> Iterable[Any]:
    if rows < SHORT:
        return batches
    from transformers.utils import logging

    rank, _ = _processes()
    shown: Iterable[Any] = logging.tqdm(batches, desc="Predicting", disable=rank > 0)
    return shown


# --- several processes -------------------------------------------------------------------------------------------


def _processes() -> tuple[int, int]:
    """Rank of this process, and number of all that share the work."""
    import torch

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def _gathered(kept: list[Any]) -> list[Any]:
    """Outputs of all processes, batch after batch."""
    import torch

    _, processes = _processes()
    if processes == 1:
        return kept
    parts: list[Any] = [None] * processes
    torch.distributed.all_gather_object(parts, kept)
    return [part[step] for step in range(len(kept)) for part in parts]


# --- collator ----------------------------------------------------------------------------------------------------


def collator(recipe: Recipe, model: PreTrainedModel) -> Collator:
    """The collator of the recipe, which gets only the features of a batch; it can be pickled for DataLoader workers."""
    return Collator(
        type(recipe).__module__, registry.file_of(type(recipe)), recipe.collator(model), batch_names(recipe)
    )


@dataclass
class Collator:
    """Makes batches from the features that belong in them."""

    module: str
    """Name of the module of the task."""
    file: Path | None
    """File of the module, where it cannot be imported by name."""
    collate: Callable[[list[Row]], Any]
    kept: set[str]

    def __call__(self, features: list[Row]) -> Any:
        """The batch."""
        rows = []
        for feature in features:
            rows.append({name: values for name, values in feature.items() if name in self.kept})
        return self.collate(rows)

    def __reduce__(self) -> Any:
        # A worker calls the function before it reads the rest, which may hold classes of the module.
        return _empty_collator, (self.module, self.file), vars(self)


def _empty_collator(module: str, file: Path | None) -> Collator:
    if file is not None and module not in sys.modules:
        registry.import_file(file, module)
    return Collator.__new__(Collator)
