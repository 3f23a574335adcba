"""Checkpoints in the folder of a run: which ones are whole, which one a run goes on from, and whether it had ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..log import log
from . import manifest
from .manifest import MANIFEST
from .writing import write_json

CHECKPOINT = "checkpoint-"
STATE = "trainer_state.json"
_NEEDED = ("optimizer.pt", "scheduler.pt")  # missing where only weights are saved
# A pickle and a card, which no resumed run reads, and the state, in which the name of the best checkpoint may change.
_NOT_LISTED = ("training_args.bin", "README.md", STATE, MANIFEST)


def last_checkpoint(path: Path) -> Path | None:
    """The newest whole checkpoint; damaged ones that are newer are printed."""
    for checkpoint in _newest_first(path):
        damage = _damage(checkpoint, "full")
        if damage is None:
            return checkpoint
        log(f"{checkpoint} is not used: {damage}")
    return None


def complete_checkpoints(path: Path) -> Iterator[Path]:
    """Checkpoints whose files are all there, the newest first; their content is not looked at."""
    for checkpoint in _newest_first(path):
        if _damage(checkpoint, "size") is None:
            yield checkpoint


def has_checkpoints(path: Path) -> bool:
    """Whether there are checkpoints, whole or damaged."""
    return any(path.glob(f"{CHECKPOINT}*"))


def _newest_first(path: Path) -> list[Path]:
    return sorted(path.glob(f"{CHECKPOINT}*"), key=_step, reverse=True)


def _step(checkpoint: Path) -> int:
    """Number of the training step in the name; -1 where there is none, so that such a folder comes last."""
    number = checkpoint.name.removeprefix(CHECKPOINT)
    return int(number) if number.isdigit() else -1


# --- whether a checkpoint is whole -------------------------------------------------------------------------------


def write_manifest(checkpoint: Path) -> None:
    """List the files of a checkpoint that was just saved, and that a resumed run reads; written last."""
    names = []
    for file in checkpoint.rglob("*"):
        if file.is_file() and file.name not in _NOT_LISTED:
            names.append(file.relative_to(checkpoint).as_posix())
    manifest.write(checkpoint, names)


def update_manifest(checkpoint: Path) -> None:
    """Follow a copy in which files were left out, or JSON files changed; the other files are not read again."""
    manifest.follow(checkpoint, manifest.read(checkpoint) or {})


def _damage(checkpoint: Path, depth: manifest.Depth) -> str | None:
    """What is wrong with the files of a checkpoint; None for a whole one."""
    state = manifest.read_object(checkpoint / STATE)
    if state is None or state.get("global_step") != _step(checkpoint):
        return f"{STATE} is missing or damaged"
    files = manifest.read(checkpoint)
    if files is None:
        return f"{MANIFEST}, which is written last, is missing or damaged"
    for name in _NEEDED:
        if name not in files:
            return f"it has no {name}, without which training cannot go on"
    # Sizes first: they are known at once, also where gigabytes of weights are whole and a small file is missing.
    levels: tuple[manifest.Depth, ...] = ("size",) if depth == "size" else ("size", depth)
    for level in levels:
        for name, difference in manifest.differences(checkpoint, files, level):
            return f"{name} {difference}"
    return None


# --- what the state of a checkpoint says -------------------------------------------------------------------------


def is_at_end(checkpoint: Path) -> bool:
    """Whether training was over when it was saved: at its last step, or by early stopping."""
    state = manifest.read_object(checkpoint / STATE) or {}
    control = state.get("stateful_callbacks", {}).get("TrainerControl", {}).get("args", {})
    return bool(control.get("should_training_stop")) or state["global_step"] >= state["max_steps"]


def name_best(checkpoint: Path, path: Path | None) -> None:
    """Write the best checkpoint into the Trainer's state by its folder name, below `path` if given.

    The Trainer writes a path, which does not hold on another machine, in a folder that was moved, or from another
    working directory.
    """
    state = manifest.read_object(checkpoint / STATE) or {}
    best = state.get("best_model_checkpoint")
    if not best:
        return
    name = Path(best).name
    named = str(path / name) if path else name
    if named != best:
        # The file may be a link to that of the run, which must not change: it is replaced, not written to.
        write_json(checkpoint / STATE, {**state, "best_model_checkpoint": named})
