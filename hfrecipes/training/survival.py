"""A training goes on where a batch does not fit into memory: it is computed in parts, with the same gradients."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import _upstream
from ..errors import OutOfMemoryError
from ..log import log
from ..memory.parts import Batch, Limit, in_parts, limit_of, rows_in, shape_of
from ..memory.shortage import EDITS, is_out_of_memory, release
from ..models.cuda_graphs import stop_replaying
from ..models.precision import writing
from ..run_folder.progress import CHECKPOINT
from ..run_folder.writing import write_json

if TYPE_CHECKING:
    import torch
    from transformers import Trainer, TrainerCallback

_FILE = "memory.json"  # in a checkpoint
# Optimizers that change the weights while gradients are computed, so that a step cannot be taken back.
_IN_BACKWARD = ("lomo", "layerwise")


def survive(trainer: Trainer) -> None:
    """Make a Trainer compute a batch in parts where the whole does not fit into memory, in training and evaluation.

    Only the two methods of this object change that the Trainer has for this purpose: its order of rows, its number of
    steps and its learning rates stay what they are.
    """
    steps = _Steps(trainer)
    trainer.training_step = steps.train
    trainer.prediction_step = _prediction_step(trainer, steps)
    trainer.add_callback(_keeper(steps))


class _Steps:
    """Takes the place of `training_step`, which computes the gradients of one batch."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.step = trainer.training_step
        self.training, self.evaluation = Limit(), limit_of(trainer.model, "evaluation")
        self.replays = True
        """Whether there was memory for recordings of batches."""
        self.done: list[Batch] = []
        """Batches whose gradients the model holds since the optimizer's last step."""

    def train(self, model: Any, inputs: Batch, num_items_in_batch: Any = None) -> torch.Tensor:
        """The loss of a batch, after its gradients were added to those of the model.

        Raises:
            OutOfMemoryError: It does not fit into memory, and cannot be computed in smaller parts.
        """
        todo, before = [inputs], self.training.tokens
        while True:
            try:
                for batch in todo:
                    loss = self._learn(model, batch, num_items_in_batch)
                break
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                reason = " ".join(str(error).split())[:200]
            # Here the error and its frames, which hold the activations, are gone.
            if not self.stop_replaying(model):
                self._lower(batch, num_items_in_batch, reason)
            # A backward pass that stopped half-way has added to the gradients of the batches before this one. A copy of
            # them would cost memory in every step, so they are computed again.
            model.zero_grad()
            release()
            todo = [*self.done, inputs]
        self.done.append(inputs)
        if self.training.tokens != before:
            self._log_parts(inputs)
        return loss

    def stop_replaying(self, model: Any) -> bool:
        """Give back the memory of recordings; whether there were any."""
        were_any = stop_replaying(model)
        self.replays = self.replays and not were_any
        return were_any

    def _learn(self, model: Any, inputs: Batch, num_items_in_batch: Any) -> torch.Tensor:
        # The Trainer takes the labels out of what it is given.
        losses = [self.step(model, dict(part), num_items_in_batch) for part in self.training.parts(inputs)]
        # Each is a sum divided by the number of items of the whole batch.
        total: torch.Tensor = losses[0] if len(losses) == 1 else sum(losses)
        return total

    def _lower(self, batch: Batch, num_items_in_batch: Any, reason: str) -> None:
        """Make the parts smaller."""
        args, problem = self.trainer.args, ""
        if args.world_size > 1:
            problem = "parts need a run in one process, since all processes wait for each other"
        elif any(word in args.optim.value for word in _IN_BACKWARD):
            problem = f"optim={args.optim.value} has changed the weights, so it cannot be computed again in parts"
        elif num_items_in_batch is None or not self.training.lower(batch):
            problem = "it cannot be computed in smaller parts"
        if problem:
            raise OutOfMemoryError(
                f"out of memory in step {self.trainer.state.global_step + 1} at {shape_of(batch)}, and {problem}: "
                f"{EDITS}. The last checkpoint is unchanged ({reason})"
            )

    def _log_parts(self, batch: Batch) -> None:
        """Print how batches are computed from here on, and the settings of a run that begins so."""
        parts = list(self.training.parts(batch))
        rows = max(map(rows_in, parts))
        step = self.trainer.state.global_step + 1
        accumulated = self.trainer.args.gradient_accumulation_steps * len(parts)
        log(
            f"out of memory in step {step} at {shape_of(batch)}: from here on, batches of more than "
            f"{self.training.tokens:,} tokens are computed in parts; up to rounding and dropout, the gradients are "
            f"those of per_device_train_batch_size={rows} gradient_accumulation_steps={accumulated}"
        )


def _prediction_step(trainer: Trainer, steps: _Steps) -> Any:
    """Takes the place of `prediction_step`, which computes loss and outputs of one batch."""
    step = trainer.prediction_step

    def predict(model: Any, inputs: Batch, *args: Any, **keywords: Any) -> Any:
        """Loss, outputs and labels of a batch."""

        def compute(part: Batch) -> Any:
            with _writing(trainer):
                computed = step(model, dict(part), *args, **keywords)
            # The outputs of all parts together may be what does not fit.
            return computed if part is inputs else (rows_in(part), computed[0], *map(_to_cpu, computed[1:]))

        parts = in_parts(compute, inputs, steps.evaluation, partial(steps.stop_replaying, model))
        return parts[0] if len(parts) == 1 else _joined(parts)

    return predict


def _writing(trainer: Trainer) -> AbstractContextManager[None]:
    """Context in which the Trainer generates texts as they are generated after training, where it does."""
    if not getattr(trainer.args, "predict_with_generate", False):
        return nullcontext()
    kind = trainer.accelerator.mixed_precision
    return _upstream.generating_in(partial(writing, None if kind == "no" else kind, trainer.model), trainer)


def _joined(parts: list[tuple[Any, ...]]) -> tuple[Any, Any, Any]:
    """Mean loss, outputs and labels of a batch, from the number of rows, the loss, outputs and labels of its parts."""
    from transformers.trainer_pt_utils import nested_concat

    rows, losses, *kept = zip(*parts, strict=True)
    joined = []
    for values in kept:
        whole = values[0]
        for more in values[1:]:
            whole = None if whole is None else nested_concat(whole, more, padding_index=-100)
        joined.append(whole)
    mean = None
    if losses[0] is not None:
        mean = sum(loss * number for number, loss in zip(rows, losses, strict=True)) / sum(rows)
    return mean, *joined


def _to_cpu(values: Any) -> Any:
    if isinstance(values, tuple | list):
        return type(values)(_to_cpu(part) for part in values)
    return None if values is None else values.cpu()


def _keeper(steps: _Steps) -> TrainerCallback:
    """Keeps the limits with each checkpoint, so that a resumed run computes the same parts."""
    import transformers

    class KeepLimits(transformers.TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
            steps.training.tokens, steps.replays = None, True
            file = Path(args.output_dir) / f"{CHECKPOINT}{state.global_step}" / _FILE
            if state.global_step and file.exists():
                kept = json.loads(file.read_text(encoding="utf-8"))
                steps.training.tokens, steps.evaluation.tokens = kept["training"], kept["evaluation"]
                steps.replays = kept["replays"]
                if not steps.replays:
                    stop_replaying(keywords["model"])

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            steps.done.clear()

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            limits = {"training": steps.training.tokens, "evaluation": steps.evaluation.tokens}
            if state.is_world_process_zero and (any(limits.values()) or not steps.replays):
                kept = {**limits, "replays": steps.replays}
                write_json(Path(args.output_dir) / f"{CHECKPOINT}{state.global_step}" / _FILE, kept)

    return KeepLimits()
