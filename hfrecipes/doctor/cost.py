"""What a run costs, as far as it is known beforehand: steps, time, and the memory of weights and optimizer."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

from ..config.run_config import RunConfig
from ..errors import counted
from ..memory.peak import in_words, peak_so_far

_LARGEST_HEADER = 100_000_000  # bytes; a longer one is no header
_FULL, _FROZEN = 16, 4  # bytes for each weight in float32: with gradient and the two moments of AdamW, and alone


def steps_of(config: RunConfig, features: int) -> int:
    """Steps of the whole training in one process."""
    training = config.training
    most = int(training.get("max_steps") or -1)
    if most > 0:
        return most
    batches = math.ceil(features / int(training["per_device_train_batch_size"]))
    updates = max(1, math.ceil(batches / int(training.get("gradient_accumulation_steps") or 1)))
    return math.ceil(updates * float(training["num_train_epochs"]))


def projected(config: RunConfig, features: int) -> list[str]:
    """Sentences on the steps of a training.

    Args:
        config: The settings.
        features: Number of training examples after encoding; number of training rows if there is no model.
    """
    epochs, size = config.training["num_train_epochs"], config.training["per_device_train_batch_size"]
    number = steps_of(config, features)
    of = "epoch of" if epochs == 1 else "epochs of"
    return [f"training: {counted(number, 'step')}, {epochs:g} {of} {features} examples in batches of {size}"]


def of_weights(config: RunConfig, weights: int) -> str:
    """A sentence on the memory of weights and optimizer alone."""
    memory = in_words(weights * (_FROZEN if config.adapter is not None else _FULL))
    return f"memory: {memory} for {weights / 1e6:.1f}M weights and the optimizer, plus the memory of each batch"


def weights_in(model: str) -> int:
    """Number of weights in the files of a folder, by their headers; 0 where it cannot be known without loading them."""
    total = 0
    for file in sorted(Path(model).glob("*.safetensors")) if Path(model).is_dir() else []:
        total += _weights_of_file(file)
    return total


def _weights_of_file(file: Path) -> int:
    with open(file, "rb") as content:
        size = int.from_bytes(content.read(8), "little")
        if size > _LARGEST_HEADER:
            return 0
        try:
            header = json.loads(content.read(size))
            shapes = [entry["shape"] for name, entry in header.items() if name != "__metadata__"]
            return sum(map(math.prod, shapes))
        except (ValueError, KeyError, TypeError):  # loading it says what is wrong
            return 0


def step_timer() -> Any:
    """A callback of the Trainer with the `seconds` of each step."""
    from transformers import TrainerCallback

    class StepTimer(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.seconds: list[float] = []
            self.start = 0.0

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.start = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.seconds.append(time.perf_counter() - self.start)

    return StepTimer()


def measured(config: RunConfig, seconds: list[float], features: int) -> list[str]:
    """Sentences on time and memory of a training, after a few of its steps.

    Args:
        config: The settings of the whole training.
        seconds: Time of each step of a short training with the same batches.
        features: Number of training examples after encoding.
    """
    each = seconds[-1]  # the first step takes longer
    whole = _duration(each * steps_of(config, features))
    sentences = [f"time: {each:.2g} s a step, so about {whole} of training on this machine, without evaluations"]
    memory = peak_so_far()
    if memory:
        sentences.append(f"memory: peak of {in_words(memory)} in the rehearsal")
    return sentences


def _duration(seconds: float) -> str:
    """Seconds, minutes or hours.

    Example:
        >>> _duration(42.4), _duration(600), _duration(9000)
        ('42 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
