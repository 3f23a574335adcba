"""What a run costs, as far as it is known beforehand: steps, and the memory that weights and optimizer take."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

from ..config.run_config import RunConfig
from ..errors import counted

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


def projected(config: RunConfig, features: int, model: str | None) -> list[str]:
    """Sentences on the steps of a training and the memory that it needs.

    Args:
        config: The settings.
        features: Number of training examples after encoding; number of training rows if there is no model.
        model: Folder of the model; None where there is none.
    """
    epochs, size = config.training["num_train_epochs"], config.training["per_device_train_batch_size"]
    number = steps_of(config, features)
    sentences = [f"training: {counted(number, 'step')}, {epochs:g} epochs of {features} examples in batches of {size}"]
    weights = weights_in(model) if model else 0
    if weights:
        each = _FROZEN if config.adapter is not None else _FULL
        memory = f"{weights * each / 1e9:.1f} GB" if weights * each > 1e8 else f"{weights * each / 1e6:.0f} MB"
        sentences.append(
            f"memory: {memory} for {weights / 1e6:.1f}M weights and the optimizer, plus the memory of each batch"
        )
    return sentences


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
    memory = _peak_memory()
    if memory:
        sentences.append(f"memory: peak of {memory / 1e9:.1f} GB in the rehearsal")
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


def _peak_memory() -> int:
    """Peak memory of this process in bytes, on the GPU if there is one; 0 if the system does not report it."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    try:
        import resource
    except ImportError:  # as on Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes, Linux kilobytes.
    return peak if sys.platform == "darwin" else 1024 * peak
