"""A Trainer whose steps are private: drawn rows, clipped gradients, noise, and a count of what is spent."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config.blocks import PrivacySettings
from ..errors import ConfigError
from ..log import log
from ..run_folder.progress import CHECKPOINT
from ..run_folder.writing import write_json
from . import promise
from .accounting import History, Mechanism, mechanism
from .gradients import Batch, Hooks, clipped_sum, one_by_one, parts, trained, why_not_hooks
from .sampling import FeaturesByRow, PoissonBatches, collate_rows, loader

if TYPE_CHECKING:
    import torch
    from transformers import Trainer

_FILE = "privacy.json"  # in a checkpoint
_TRIED = 4  # rows whose gradients are computed in both ways before training


def make_private(trainer: Trainer, settings: PrivacySettings, rows: Sequence[int]) -> None:
    """Make each step of a Trainer private; it stays a plain Trainer.

    Args:
        trainer: With model and rows; no step was taken yet.
        settings: The block `privacy`.
        rows: Number of the row of train that each feature comes from.

    Raises:
        ConfigError: The model mixes rows, several processes train, or no noise is enough.
    """
    args = trainer.args
    if args.world_size > 1:
        raise ConfigError(f"privacy: found {args.world_size} processes, expected one: start without torchrun")
    _refuse_batch_norm(trainer.model)
    features = FeaturesByRow(trainer.train_dataset, rows)
    accumulated = args.gradient_accumulation_steps
    batch = args.train_batch_size * accumulated
    steps_in_epoch = -(-len(features) // batch)
    steps = args.max_steps if args.max_steps > 0 else -int(-args.num_train_epochs * steps_in_epoch // 1)
    step = mechanism(settings, rows=len(features), batch=batch, steps=steps)
    batches = PoissonBatches(len(features), step.sample_rate, accumulated, steps_in_epoch)
    trainer.get_train_dataloader = loader(trainer, features, batches)
    private = PrivateSteps(trainer, step, features)
    trainer.training_step = private.train
    trainer.add_callback(_counter(private))
    log(promise.plan_of(step))


def spent_by(trainer: Trainer) -> dict[str, Any] | None:
    """What the training has spent, for run.json; None for one that is not private, and before the first step."""
    for callback in trainer.callback_handler.callbacks:
        private: PrivateSteps | None = getattr(callback, "private", None)
        if private is not None and trainer.state.global_step:
            spent = private.spent()
            return {**spent, "promise": promise.sentence(spent)}
    return None


def _refuse_batch_norm(model: Any) -> None:
    """Refuse a model whose layers average over the rows of a batch.

    Raises:
        ConfigError: There is such a layer.
    """
    from torch import nn

    mixing = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    for name, module in model.named_modules():
        if isinstance(module, mixing):
            raise ConfigError(f"privacy: {name} is batch norm, which mixes the rows of a batch: use another model")


class PrivateSteps:
    """Takes the place of `training_step`: adds up clipped gradients of rows, and noise in the last part of a step.

    Args:
        trainer: The Trainer.
        mechanism: What each step does.
        rows: The features of each row, of which a few are tried before training.
    """

    def __init__(self, trainer: Trainer, mechanism: Mechanism, rows: FeaturesByRow) -> None:
        self.trainer, self.mechanism, self.rows = trainer, mechanism, rows
        self.compute: Any = one_by_one
        self.has_hooks = self._try_hooks()
        self.sums: dict[Any, torch.Tensor] = {}
        """Sum of the clipped gradients of the rows of this step, by weight."""
        self.before: History = []
        """Steps that the weights had seen when this training began."""
        self.trained: History = []
        """Those that they had seen when the last one ended."""
        self.start = 0
        """Number that the Trainer gives to the last of them: it counts from 0 unless it resumes."""

    # --- steps -------------------------------------------------------------------------------------------------------

    def train(self, model: Any, inputs: Batch, num_items_in_batch: Any = None) -> torch.Tensor:
        """Summed loss of a part of a batch, divided by the number of rows of a batch on average."""
        import torch

        model.train()
        batch = {name: value.to(self.trainer.args.device) for name, value in inputs.items()}
        total = torch.zeros((), device=self.trainer.args.device)
        for part in parts(batch, self.trainer.args.train_batch_size):
            gradients, losses = self.compute(model, self.trainer.compute_loss_func, part)
            for weight, summed in clipped_sum(gradients, self.mechanism.max_grad_norm).items():
                self.sums[weight] = self.sums[weight] + summed if weight in self.sums else summed
            total += torch.stack(losses).sum()
        if self.trainer.accelerator.sync_gradients:
            self._release(model)
        return total / self.mechanism.batch

    def _release(self, model: Any) -> None:
        """Give the sum with noise to the optimizer; weights that no row changed get noise too."""
        import torch

        deviation = self.mechanism.noise_multiplier * self.mechanism.max_grad_norm
        for weight in trained(model):
            noise = torch.empty(weight.shape, device=weight.device).normal_(0, deviation, generator=self.generator)
            summed = self.sums.pop(weight, 0.0) + noise
            weight.grad = (summed / self.mechanism.batch).to(weight.dtype)

    # --- beginning and end -------------------------------------------------------------------------------------------

    def begin(self, model: Any, folder: Path) -> None:
        """Seed the noise, and read what was spent before: in a checkpoint, or in another training of this Trainer."""
        import torch

        self.sums.clear()
        self._remove_hooks()  # of a training that was interrupted
        # Another seed in each try: noise that was drawn twice could be taken out.
        seed = int.from_bytes(os.urandom(8)) >> 1
        self.generator = torch.Generator(self.trainer.args.device).manual_seed(seed)
        self.start = self.trainer.state.global_step
        self.before = self._read(folder) if self.start else self.trained
        if self.has_hooks:
            self.compute = Hooks(model)

    def _try_hooks(self) -> bool:
        """Whether hooks are right for this model, by a few rows."""
        import torch

        rows = [self.rows[row] for row in range(min(_TRIED, len(self.rows)))]
        batch = collate_rows(self.trainer.data_collator)(rows)
        batch = {name: value.to(self.trainer.args.device) for name, value in batch.items()}
        loss = self.trainer.compute_loss_func
        with torch.random.fork_rng():
            reason = why_not_hooks(self.trainer.model, loss, batch)
        loss.take()
        if reason:
            log(f"privacy: the gradient of each row is computed alone, which is slow: Opacus has none here ({reason})")
        return not reason

    def end(self) -> None:
        """Leave the model as it was."""
        self.trained = self.history()
        self._remove_hooks()

    def _remove_hooks(self) -> None:
        if isinstance(self.compute, Hooks):
            self.compute.remove()
        self.compute = one_by_one

    # --- what is spent -----------------------------------------------------------------------------------------------

    def history(self) -> list[tuple[float, float, int]]:
        """All steps that the weights have seen."""
        taken = self.trainer.state.global_step - self.start
        return [*self.before, *self.mechanism.history(taken)]

    def spent(self) -> dict[str, Any]:
        """What all these steps have spent, as `Mechanism.spent`."""
        return self.mechanism.spent(self.history())

    def _read(self, folder: Path) -> History:
        """Steps up to a checkpoint, by what it holds."""
        file = folder / _FILE
        if not file.exists():
            return self.mechanism.history(self.start)
        kept = json.loads(file.read_text(encoding="utf-8"))["history"]
        return [(float(noise), float(rate), int(steps)) for noise, rate, steps in kept]

    def write(self, folder: Path) -> None:
        """Keep the steps up to a checkpoint in it."""
        write_json(folder / _FILE, {"history": self.history()})


def _counter(private: PrivateSteps) -> Any:
    """Prints what an epoch has spent, and keeps it with each checkpoint."""
    import transformers

    def folder_of(args: Any, state: Any) -> Path:
        return Path(args.output_dir) / f"{CHECKPOINT}{state.global_step}"

    class CountPrivacy(transformers.TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.private = private

        def on_train_begin(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
            private.begin(keywords["model"], folder_of(args, state))

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            private.trained = private.history()  # kept if the training is interrupted, and begun again

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if "loss" in (logs or {}):
                logs["epsilon"] = state.log_history[-1]["epsilon"] = private.spent()["epsilon"]

        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            spent = private.spent()
            epsilon, delta = promise.rounded_up(spent["epsilon"]), promise.rounded_up(spent["delta"])
            log(f"privacy: epsilon {epsilon} after {spent['steps']} steps, delta {delta}")

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            private.write(folder_of(args, state))

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            private.end()

    return CountPrivacy()
