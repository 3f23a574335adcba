"""The history of a training from the Trainer's log, the same whether the training was interrupted or not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import _upstream
from ..run_folder.history import FIRST, History
from ..run_folder.progress import CHECKPOINT
from ..run_folder.writing import write_json
from .display import ending, when

if TYPE_CHECKING:
    from transformers import Trainer, TrainerCallback

# Ends of names of what differs from one machine, or one try, to the next.
_OF_TIME = ("_runtime", "_per_second", "_flos")


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
            if not name.endswith(_OF_TIME) and "_mem_" not in name:
                row[name] = value
    # The Trainer sorts the names in a checkpoint, and no others: their order would tell that there was a resume.
    return [{name: rows[step][name] for name in sorted(rows[step], key=_rank)} for step in sorted(rows)]


def _rank(name: str) -> tuple[int, str]:
    """Step, epoch, loss and rate first, then the scores by name."""
    return (FIRST.index(name) if name in FIRST else len(FIRST), name)


def loss_keeper(trainer: Trainer) -> TrainerCallback:
    """Keeps, with each checkpoint, the losses since the last one that was logged.

    The Trainer forgets them: after a resume it would log the mean of the steps since then as that of an epoch.
    """
    import transformers

    class KeepLoss(transformers.TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            file = _loss_file(args, state)
            if state.global_step and file.exists():
                kept = json.loads(file.read_text(encoding="utf-8"))
                _upstream.loss_to_log(trainer, (kept["loss"], kept["since_step"]))

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            loss, step = _upstream.loss_to_log(trainer)
            write_json(_loss_file(args, state), {"loss": loss, "since_step": step})

    return KeepLoss()


def _loss_file(args: Any, state: Any) -> Path:
    """In the checkpoint of a step, one for each process."""
    return Path(args.output_dir) / f"{CHECKPOINT}{state.global_step}" / f"logged_loss-{args.process_index}.json"
