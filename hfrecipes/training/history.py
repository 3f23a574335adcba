"""The history of a training from the Trainer's log, the same whether the training was interrupted or not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import _upstream
from ..run_folder.history import FIRST, History
from ..run_folder.progress import CHECKPOINT
from ..run_folder.writing import write_json
from .display import ending, when

if TYPE_CHECKING:
    from transformers import Trainer, TrainerCallback

_LOSS = "logged_loss-"  # files in a checkpoint, one for each process
# Ends of names of what differs from one try to the next; the last is not known of an epoch that a resume logs.
_LEFT_OUT = ("_runtime", "_per_second", "_flos", "grad_norm")


def history_of(trainer: Trainer) -> History:
    """What the Trainer logged during a training."""
    state = trainer.state
    log = by_step(state.log_history)
    best_step = state.best_global_step if trainer.args.load_best_model_at_end else None
    best_epoch = None
    for row in log:
        if row["step"] == best_step:
            best_epoch = row.get("epoch")
    sentence = ending(trainer.args, state) or f"ended after {when(trainer.args, state).replace('/', ' of ')}"
    return History(log, best_step, best_epoch, sentence)


def by_step(entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Entries of the Trainer's log joined by step, without seconds and without the summary at the end.

    Example:
        >>> by_step([{"loss": 0.5, "step": 2}, {"eval_loss": 0.6, "eval_runtime": 1.2, "step": 2}])
        [{'step': 2, 'loss': 0.5, 'eval_loss': 0.6}]
    """
    rows: dict[int, dict[str, Any]] = {}
    for entry in entries:
        if "train_runtime" in entry:
            continue
        row = rows.setdefault(entry["step"], {"step": entry["step"]})
        for name, value in entry.items():
            if not name.endswith(_LEFT_OUT) and "_mem_" not in name:
                row[name] = value
    # The Trainer sorts the names in a checkpoint, but not elsewhere: their order would differ after a resume.
    return [dict(sorted(rows[step].items(), key=_rank)) for step in sorted(rows)]


def scores_at_start(trainer: Trainer) -> dict[str, float]:
    """Scores of validation before the first step, where `eval_on_start` asked for them; empty otherwise."""
    for row in trainer.state.log_history:
        if row["step"] == 0:
            return {name.removeprefix("eval_"): value for name, value in row.items() if name.startswith("eval_")}
    return {}


def _rank(entry: tuple[str, Any]) -> tuple[int, str]:
    """Step, epoch, loss and rate first, then the scores by name."""
    name = entry[0]
    return (FIRST.index(name) if name in FIRST else len(FIRST), name)


# --- resumes -----------------------------------------------------------------------------------------------------


def loss_keeper(trainer: Trainer) -> TrainerCallback:
    """Save, with each checkpoint, the sum of the losses since the last logged mean.

    The Trainer forgets it: after a resume, the mean that it logs would lack the steps before the checkpoint.
    """
    import transformers

    class KeepLoss(transformers.TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            kept = _kept(args, state)
            # A resume starts with the next epoch, so the Trainer never logs the loss of this one.
            if is_whole_epoch(state.epoch) and _add_to_log(args, state, kept):
                return
            if args.process_index < len(kept):
                logged = kept[args.process_index]
                _upstream.loss_to_log(trainer, (logged["loss"], logged["since_step"]))

        def on_step_begin(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:
            # The Trainer logs the rate of the last step, and not that of the next one.
            self.rate = float(keywords["optimizer"].param_groups[0]["lr"])

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            loss, step = _upstream.loss_to_log(trainer)
            file = _folder(args, state) / f"{_LOSS}{args.process_index}.json"
            write_json(file, {"loss": loss, "since_step": step, "learning_rate": self.rate})

    return KeepLoss()


def log_last_loss(trainer: Trainer) -> None:
    """Log, for a training that was over when its last checkpoint was saved, what the Trainer logs after that."""
    _add_to_log(trainer.args, trainer.state, _kept(trainer.args, trainer.state))


def _add_to_log(args: Any, state: Any, kept: Sequence[Mapping[str, Any]]) -> bool:
    """Add the mean loss of an epoch that had ended, but was not logged, when the checkpoint was saved."""
    if args.logging_strategy != "epoch" or not kept or kept[0]["since_step"] >= state.global_step:
        return False
    import torch

    # As the Trainer does: the mean over the processes, in float32.
    total = torch.tensor([entry["loss"] for entry in kept]).mean().item()
    loss, rate = total / (state.global_step - kept[0]["since_step"]), kept[0]["learning_rate"]
    state.log_history.append({"loss": loss, "learning_rate": rate, "epoch": state.epoch, "step": state.global_step})
    return True


def _kept(args: Any, state: Any) -> list[dict[str, Any]]:
    """What each process kept with the checkpoint that training goes on from; empty where there is none."""
    kept: list[dict[str, Any]] = []
    while state.global_step and (file := _folder(args, state) / f"{_LOSS}{len(kept)}.json").exists():
        kept.append(json.loads(file.read_text(encoding="utf-8")))
    return kept


def _folder(args: Any, state: Any) -> Path:
    return Path(args.output_dir) / f"{CHECKPOINT}{state.global_step}"


def is_whole_epoch(epoch: float | None) -> bool:
    """Whether an epoch ends here."""
    return epoch is not None and abs(epoch - round(epoch)) < 1e-6
