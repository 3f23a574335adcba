"""How much memory a training took, printed when it ends and kept in run.json."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..log import log
from ..memory.peak import Meter, bytes_of, in_words

if TYPE_CHECKING:
    from transformers import Trainer, TrainerCallback


def meter() -> TrainerCallback:
    """Measures the peak of a training, as `peak_bytes`."""
    import transformers

    class MeasureMemory(transformers.TrainerCallback):  # type: ignore[misc]
        peak_bytes = 0

        def on_train_begin(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
            self.meter = Meter(args.device.type)
            # What the process has grown by lacks the weights, which were there before.
            model = keywords["model"]
            self.weights = 0 if args.device.type == "cuda" else bytes_of((*model.parameters(), *model.buffers()))

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            measured = self.meter.peak()
            if measured:
                self.peak_bytes = self.weights + measured
                log(f"memory: peak of {in_words(self.peak_bytes)} in training, weights included")

    return MeasureMemory()


def peak_of(trainer: Trainer) -> int:
    """Bytes at the peak of the training; 0 where nothing was trained, or the system does not tell."""
    for callback in trainer.callback_handler.callbacks:
        if hasattr(callback, "peak_bytes"):
            return int(callback.peak_bytes)
    return 0
