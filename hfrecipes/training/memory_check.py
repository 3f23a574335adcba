"""Before a training: how much memory it will take, measured with a few rows of its own."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..config.run_config import RunConfig
from ..data import packing
from ..data.features import for_batches
from ..doctor.cost import of_weights, weights_in
from ..errors import counted
from ..evaluation.inference import Inference, collator
from ..memory.estimate import Needed, bytes_of_optimizer, needed
from ..memory.peak import free_bytes, in_words
from ..models import adapters
from ..models.binding import model_to_train
from ..recipe import Recipe

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from transformers import TrainingArguments

# A check is to be quick: above, on a CPU, the rows would take many seconds (weights times tokens of a row).
_MOST_WORK = 2e10
_USABLE = 0.9  # of the free memory: the rest is lost between the tensors


def memory_lines(config: RunConfig, recipe: Recipe, arguments: TrainingArguments, features: Dataset) -> Iterator[str]:
    """Sentences on the memory of a training, and on settings that need less where it will not fit.

    Args:
        config: The settings.
        recipe: The task, with its tokenizer and labels.
        arguments: Arguments of the run.
        features: Training rows after encoding.
    """
    import torch

    examples = for_batches(recipe, features)
    if packing.are_packed(examples):
        examples = packing.pack(examples, recipe.max_length, arguments.seed)
    device, longest = arguments.device, max(examples["length"][:])
    weights = weights_in(config.base.path)
    # Looked at before it is loaded; weights in half precision or less are for GPUs.
    if config.base.is_quantized or (device.type == "cpu" and weights * longest > _MOST_WORK):
        yield of_weights(config, weights)
        return
    # Neither the random state nor the recipe may differ after a check.
    with torch.random.fork_rng():
        model = model_to_train(copy.copy(recipe), config, arguments.seed)
    estimated = _measured(model.to(device), recipe, config, arguments, examples, longest)
    rows = arguments.per_device_train_batch_size
    yield (
        f"memory: about {in_words(estimated.total)} in training: {in_words(estimated.weights)} of weights, "
        f"{in_words(estimated.optimizer)} of optimizer states, {in_words(estimated.batch)} of gradients and "
        f"activations with {counted(rows, 'row')} of {longest} tokens"
    )
    free = free_bytes(device.type)
    if free and estimated.total > _USABLE * free:
        yield _too_much(estimated, free, config, arguments)


def _measured(
    model: Any, recipe: Recipe, config: RunConfig, arguments: TrainingArguments, examples: Dataset, longest: int
) -> Needed:
    import torch

    if arguments.activation_checkpointing:
        of_torch = dict(arguments.activation_checkpointing_kwargs or {})
        of_model = {name: of_torch.pop(name) for name in ("every_n_layers", "offload") if name in of_torch}
        model.activation_checkpointing_enable(activation_checkpointing_kwargs=of_torch or None, **of_model)
        if adapters.is_adapted(model):
            model.enable_input_require_grads()
    inference = Inference.of(model, recipe, config.training)
    lengths = examples["length"][:]
    # Without any padding, models leave the mask out, and attention takes less memory than in most batches.
    short, long = examples[lengths.index(min(lengths))], examples[lengths.index(longest)]
    collate, loss = collator(recipe, model), recipe.loss(arguments.label_smoothing_factor)
    model.train()

    def learn(number: int) -> None:
        batch = {name: values.to(model.device) for name, values in collate([short, *[long] * (number - 1)]).items()}
        labels = batch.pop("labels")
        items = (labels != -100).sum().clamp(min=1)
        with inference.autocast():
            outputs = model(**batch)
        for name, values in outputs.items():
            # As accelerate does after a forward pass in half precision.
            if isinstance(values, torch.Tensor) and values.dtype in (torch.bfloat16, torch.float16):
                outputs[name] = values.float()
        loss(outputs, labels, num_items_in_batch=items).backward()

    with torch.random.fork_rng(), torch.enable_grad():
        return needed(
            model,
            learn,
            arguments.per_device_train_batch_size,
            _optimizer_bytes(arguments),
            accumulates=arguments.gradient_accumulation_steps > 1,
        )


def _optimizer_bytes(arguments: TrainingArguments) -> float:
    """What the optimizer keeps for each trained weight."""
    from transformers import Trainer

    def make(weights: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
        kind, keywords = Trainer.get_optimizer_cls_and_kwargs(arguments)
        optimizer: torch.optim.Optimizer = kind(weights, **keywords)
        return optimizer

    try:
        return bytes_of_optimizer(make)
    except Exception:  # one that looks at layers, or needs a GPU: two moments, of a byte each where it has 8 bits
        return 2.0 if "8bit" in arguments.optim.value else 8.0


def _too_much(estimated: Needed, free: int, config: RunConfig, arguments: TrainingArguments) -> str:
    """A warning, with the settings that need less."""
    edits, rows = [], arguments.per_device_train_batch_size
    left = _USABLE * free - estimated.weights - estimated.optimizer
    fitting = rows
    while fitting > 1 and estimated.batch * fitting / rows > left:
        fitting //= 2
    if fitting < rows:
        accumulated = arguments.gradient_accumulation_steps * rows // fitting
        edits.append(f"per_device_train_batch_size={fitting} gradient_accumulation_steps={accumulated}")
    if not arguments.activation_checkpointing:
        edits.append("activation_checkpointing=true")
    if config.adapter is None:
        edits.append("lora=true")
    edits.append("a lower max_length")
    return (
        f"warning: {in_words(free)} are free: {', '.join(edits[:-1])} or {edits[-1]} needs less; batches that do not "
        "fit are computed in parts"
    )
