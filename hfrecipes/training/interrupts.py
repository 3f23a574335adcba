"""Signals in training: the step is finished and a checkpoint saved before the process ends."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from ..log import is_main, log
from ..run_folder.progress import CHECKPOINT
from .history import is_whole_epoch

if TYPE_CHECKING:
    from transformers import Trainer, TrainerCallback

# Ctrl-C, and what machines and schedulers send before they take a process away: SIGUSR1 is Slurm's.
_NAMES = ("SIGINT", "SIGTERM", "SIGUSR1")


@contextlib.contextmanager
def at_step_end(trainer: Trainer, path: Path) -> Iterator[None]:
    """Finish the step and save a checkpoint after a signal, then end as the signal asks; a second one ends at once.

    Args:
        trainer: About to train.
        path: Folder of the run.

    Raises:
        KeyboardInterrupt: After Ctrl-C.
        SystemExit: After another signal, with 128 and its number.
    """
    # Only the main thread of a process may set handlers.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught = _Caught()
    callback = _save_and_stop(caught)
    trainer.add_callback(callback)
    before = {}
    for name in _NAMES:
        number = getattr(signal, name, None)  # Windows has no SIGUSR1
        # A process in the background of a shell ignores Ctrl-C, and goes on doing so.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, caught)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        trainer.remove_callback(callback)
    # A signal in the last step finds the training over: what follows it can be done later, from its checkpoint.
    is_saved = caught.stopped or (path / f"{CHECKPOINT}{trainer.state.global_step}").is_dir()
    if caught.number is not None and is_saved:
        log(f"stopped at step {trainer.state.global_step}: the same command goes on from the checkpoint in {path}")
        _leave(caught.number)


class _Caught:
    """Remembers the first signal; the second one ends the process."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.saves = False  # at the next occasion, in all processes
        self.stopped = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            _leave(number)
        self.number = number
        # The signal may come while another line is being written, into which none can be put.
        with contextlib.suppress(RuntimeError):
            if is_main():
                log(f"{signal.Signals(number).name}: saving a checkpoint after this step; once more ends at once")


def _leave(number: int) -> None:
    """End as a process does after the signal, so that whoever started it can tell."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def _save_and_stop(caught: _Caught) -> TrainerCallback:
    import transformers

    class SaveAndStop(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            # What the end of an epoch brings, such as its evaluation, belongs to the checkpoint after its last step.
            if not is_whole_epoch(state.epoch) and _any_process(caught.number is not None):
                caught.saves = control.should_save = True

        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if caught.stopped:  # the Trainer calls this for an epoch that it leaves too
                control.should_log = control.should_evaluate = control.should_save = False
            elif _any_process(caught.number is not None):
                caught.saves = control.should_save = True

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            # Only now: a checkpoint whose state says that training is over would never be resumed from.
            if caught.saves:
                caught.stopped = control.should_training_stop = True

    return SaveAndStop()


def _any_process(value: bool) -> bool:
    """Whether any process has caught a signal: all of them must save and stop at the same step."""
    import torch

    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return value
    values = [False] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return any(values)
