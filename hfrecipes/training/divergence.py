"""Stop training when loss or weights are no longer finite, before such weights are saved or scored."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..data import packing
from ..errors import DivergedError
from . import order

if TYPE_CHECKING:
    import torch
    from transformers import Trainer, TrainerCallback


SHOWN = 8  # number of rows that are named


class WatchedLoss:
    """A loss function of the Trainer that remembers whether it was finite, and what evaluation adds up to.

    The Trainer's own `eval_loss` is a mean over batches of their means, so that an item of a batch of few weighs more.
    """

    def __init__(self, loss: Callable[..., Any]) -> None:
        self.loss = loss
        self.finite: torch.Tensor | None = None
        self.evaluated: torch.Tensor | None = None

    def __call__(self, outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
        """The loss itself."""
        import torch

        loss = self.loss(outputs, labels, num_items_in_batch=num_items_in_batch)
        if torch.is_grad_enabled():
            finite = torch.isfinite(loss.detach())
            self.finite = finite if self.finite is None else self.finite & finite
        elif labels is not None:
            items = torch.as_tensor(getattr(loss, "items", len(labels)), device=loss.device)
            sums = torch.stack([loss.double() * items, items.double()])
            self.evaluated = sums if self.evaluated is None else self.evaluated + sums
        return loss

    def take(self) -> Flag | None:
        """Whether all losses since the last call were finite; None where there were none."""
        finite, self.finite = self.finite, None
        return None if finite is None else Flag(finite)

    def take_mean(self) -> float | None:
        """Mean over all items evaluated since the last call, of all processes; None where there were none."""
        import torch

        sums, self.evaluated = self.evaluated, None
        if sums is None:
            return None
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            sums[0] *= torch.distributed.get_world_size()  # `mean_over_batch` divides by it, for the Trainer
            torch.distributed.all_reduce(sums)
        return float(sums[0] / sums[1])


class Flag:
    """A flag that a GPU computes, read without waiting for what the GPU was given to do after it.

    Args:
        value: A tensor with one boolean.
    """

    def __init__(self, value: torch.Tensor) -> None:
        import torch

        self.is_on_cpu, self.computed, self.value = value.device.type == "cpu", None, value
        if value.device.type == "cuda":
            self.value = torch.empty_like(value, device="cpu", pin_memory=True)
            self.value.copy_(value, non_blocking=True)
            self.computed = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self.computed.record()

    def __bool__(self) -> bool:
        if self.computed is not None:
            self.computed.synchronize()
        return bool(self.value)


def watch(trainer: Trainer, rows: list[int]) -> None:
    """Make the Trainer stop when its loss or its weights are not finite.

    Args:
        trainer: With a `WatchedLoss`.
        rows: Number of the row that each training feature comes from; nothing where features hold several rows.
    """
    trainer.add_callback(_stopper(trainer.compute_loss_func, rows))


def are_finite(model: torch.nn.Module) -> bool:
    """Whether all trained weights are finite."""
    import torch

    flags = [torch.isfinite(weights).all() for weights in model.parameters() if weights.requires_grad]
    return not flags or bool(torch.stack([flag.to(flags[0].device) for flag in flags]).all())


def _stopper(loss: WatchedLoss, rows: list[int]) -> TrainerCallback:
    import transformers

    class StopWhenDiverged(transformers.TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
            self.running: tuple[int, float, Flag] | None = None
            loss.take()

        def on_step_begin(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
            self.rate = max(group["lr"] for group in keywords["optimizer"].param_groups)

        def on_step_end(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
            finite, before = loss.take(), self.running
            if finite is None:
                return
            self.running = (state.global_step, self.rate, finite)
            # To wait for a GPU after each step would slow it down: a step is looked at while the next one runs.
            last = finite.is_on_cpu or control.should_save or control.should_evaluate
            for step in (before, self.running if last else None):
                self._check_loss(step, args, keywords["train_dataloader"])
            self._check_weights(args, state, control, keywords["model"])

        def on_epoch_end(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
            self._check_loss(self.running, args, keywords["train_dataloader"])
            self._check_weights(args, state, control, keywords["model"])

        def _check_loss(self, step: tuple[int, float, Flag] | None, args: Any, batches: Any) -> None:
            if step is None or bool(step[2]):
                return
            number, rate, _ = step
            raise DivergedError(_sentence(f"the loss of step {number} is", rate, _rows_of(number, args, batches, rows)))

        def _check_weights(self, args: Any, state: Any, control: Any, model: Any) -> None:
            is_looked_at = control.should_save or control.should_evaluate or state.global_step >= state.max_steps
            if is_looked_at and not are_finite(model):
                raise DivergedError(_sentence(f"the weights after step {state.global_step} are", self.rate, []))

    return StopWhenDiverged()


def _rows_of(step: int, args: Any, dataloader: Any, rows: list[int]) -> list[int]:
    """Numbers of the rows that a step learns from, in this process."""
    if not rows:
        return []
    parts = args.gradient_accumulation_steps
    epoch, step_in_epoch = divmod(step - 1, -(-len(dataloader) // parts))
    batches = order.batches_of(dataloader.batch_sampler, args, epoch)
    examples = [example for batch in batches[step_in_epoch * parts :][:parts] for example in batch]
    features = packing.features_in(dataloader.dataset, examples, epoch)
    return sorted({rows[feature] for feature in features})


def _sentence(what: str, rate: float, rows: list[int]) -> str:
    named = ", ".join(map(str, rows[:SHOWN])) + ", …" * (len(rows) > SHOWN)
    where = f", rows {named} of train, counted from 0" if rows else ""
    return (
        f"{what} not finite (learning rate {rate:g}{where}): training has diverged and was stopped; the last "
        "checkpoint is unchanged. Lower learning_rate, or raise warmup_steps; if these rows contain extreme values, "
        "fix them"
    )
