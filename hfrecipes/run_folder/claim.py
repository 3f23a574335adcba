"""Which run a folder belongs to; nothing is ever written over."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..config.recipe_files import read_recipe_file
from ..config.run_config import RunConfig, is_named_set
from ..config.yaml12 import format_value
from ..errors import HFRecipesError, OutputError
from ..masking import mask_settings
from . import manifest
from .contents import RECIPE, RUN, RunInfo, is_complete
from .lock import LOCK, OWNER
from .progress import has_checkpoints
from .writing import DRAFT

# Of files that are being written, of the lock, and of checkpoints on their way to the Hub, which can be made again.
_TEMPORARY = (DRAFT, LOCK, OWNER, ".hub-")

ELSEWHERE = "choose another output_dir, or delete that folder"
_GUESSED = ("options", "columns", "splits")  # blocks of settings that rows complete
_RATE = "training.learning_rate"  # unknown where none is given and the model, which the default follows, is not there
# Keywords of TrainingArguments that do not change the trained model, so a run may be resumed with other values.
_NOT_COMPARED = (
    "disable_tqdm",
    "report_to",
    "run_name",
    "logging_steps",
    "logging_strategy",
    "dataloader_num_workers",
)


def check_writable(path: Path) -> None:
    """Check before any work that the folder can be made and written to.

    Raises:
        OutputError: It is a file, or cannot be made.
    """
    _refuse_broken_link(path)
    try:
        existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
        if existing.is_dir():
            # Permissions alone do not tell: some folders of the system have them, and take no files.
            with tempfile.TemporaryFile(dir=existing):  # without a name where the system can, so a kill leaves nothing
                return
    except PermissionError as error:
        raise OutputError(f"{path} cannot be written to: choose another output_dir") from error
    except OSError as error:
        # A name longer than any file may have is not repeated.
        raise OutputError(f"{str(path)[:200]} cannot be made ({error.strerror}): choose another output_dir") from error
    raise OutputError(f"{existing} is a file, expected a folder or a new name: choose another output_dir")


def _refuse_broken_link(path: Path) -> None:
    for folder in (path, *path.parents):
        # Both are False for a name that no folder can have.
        if os.path.islink(folder) and not os.path.exists(folder):
            raise OutputError(
                f"{folder} is a link to {os.readlink(folder)}, which is not there: make that folder, delete the link, "
                "or choose another output_dir"
            )


def claim(path: Path, config: RunConfig, info: RunInfo) -> None:
    """Take the folder for this run, or refuse one that holds something else; nothing is overwritten.

    Args:
        path: Folder, which may not exist.
        config: Resolved settings.
        info: What else identifies the run: its rows, and the weights that an adapter is trained on.

    Raises:
        OutputError: The folder contains another run, or files that are not a run.
    """
    names = _names(path)
    if not names:
        return
    # A run writes run.json first, so that a recipe file of the user's own is never taken for a run.
    if RUN not in names or not _is_of_a_run(path):
        raise OutputError(f"{path} contains files that are not a run ({names[0]}, …): {ELSEWHERE}")
    # A run that stopped before its first checkpoint has nothing to lose.
    if not _has_work(path):
        return
    if RECIPE not in names:
        raise OutputError(f"{path} contains a run without its {RECIPE}, which holds its settings: {ELSEWHERE}")
    _refuse_differing(path, _differing(read_recipe_file(path / RECIPE), asdict(config)))
    before = RunInfo.read(path) or info
    if before.data and before.data != dict(info.data):
        splits = {**before.data, **info.data}
        changed = [split for split in splits if before.data.get(split) != info.data.get(split)]
        raise OutputError(
            f"{path} contains a run on other rows (the content of {', '.join(changed)} has changed): {ELSEWHERE}"
        )
    if before.base and info.base and before.base != info.base:
        raise OutputError(
            f"{path} contains a run on other weights (those of {config.base.name} have changed, and its adapter only "
            f"fits the old ones): {ELSEWHERE}"
        )


def other_run(path: Path, known: Mapping[str, Any]) -> dict[str, str]:
    """Settings of the run in a folder that differ, as far as they are known before rows are read, with a sentence each.

    Args:
        path: Folder, which may not exist.
        known: Settings of this run; options, columns and splits only as far as the user gave them.
    """
    # False for a name that no folder can have, which `check_writable` reports.
    if not (os.path.exists(path / RUN) and os.path.exists(path / RECIPE) and _has_work(path)):
        return {}
    try:
        there = read_recipe_file(path / RECIPE)
    except HFRecipesError:  # which `claim` reports
        return {}
    for block in _GUESSED:
        given, kept = known.get(block) or {}, there.get(block)
        if isinstance(kept, Mapping):  # a damaged one is reported when the run is read
            there[block] = {name: value for name, value in kept.items() if name in given}
    return _differing(there, known)


def refuse_other_run(path: Path, known: Mapping[str, Any]) -> None:
    """Refuse a folder with a run of other settings, before any row is read.

    Raises:
        OutputError: It holds one.
    """
    _refuse_differing(path, other_run(path, known))


def _refuse_differing(path: Path, differing: Mapping[str, str]) -> None:
    if not differing:
        return
    if all(map(_is_only_scored, differing)) and is_complete(path) and not _runs_in(path):
        raise OutputError(
            f"{path} contains this run, scored on other sets or parts ({_shown(differing)}): score its model without "
            f"another training,  hfrecipes evaluate {path} tests.<name>=<file> by=<column> , or {ELSEWHERE}"
        )
    raise OutputError(f"{path} contains another run ({_shown(differing)}): {ELSEWHERE}")


def free_folder(path: Path, known: Mapping[str, Any]) -> tuple[Path, str]:
    """The folder if it is free or holds this run, else the first free one with a number, and why the name is taken.

    Args:
        path: Name without a number.
        known: As for `other_run`.

    Raises:
        OutputError: One of them holds this run with other test sets.
    """
    taken = ""
    for number in range(1, 1000):
        candidate = path if number == 1 else path.with_name(f"{path.name}-{number}")
        differing = other_run(candidate, known)
        if not differing:
            return candidate, taken
        if all(map(_is_only_scored, differing)):
            _refuse_differing(candidate, differing)
        taken = taken or f"{path} contains a run with other settings ({_shown(differing)})"
    return path, ""


def _is_of_a_run(path: Path) -> bool:
    """Whether run.json is that of a run; beside trained weights it may be damaged."""
    return "hfrecipes" in (manifest.read_object(path / RUN) or {}) or _has_work(path)


def _names(path: Path) -> list[str]:
    """What the folder contains, without temporary files and an empty recipe file, which say nothing."""
    if not path.exists():
        return []
    names = []
    for entry in path.iterdir():
        is_empty_recipe = entry.name == RECIPE and not entry.stat().st_size
        if not entry.name.startswith(_TEMPORARY) and not is_empty_recipe:
            names.append(entry.name)
    return names


def differences(settings: Mapping[str, Any], own_settings: Mapping[str, Any]) -> str:
    """How the settings of an existing run differ from those of this one; empty if both train the same model.

    Args:
        settings: Settings of the run in the folder, "there".
        own_settings: Settings of this run, "here".
    """
    return _shown(_differing(settings, own_settings))


def _is_only_scored(key: str) -> bool:
    """Whether a setting is about scores alone, so that another training would give the same model."""
    return is_named_set(key) or key == "by"


def _shown(differing: Mapping[str, str]) -> str:
    """The first few, which tell which run it is; a run of another task would differ in dozens."""
    return "; ".join(list(differing.values())[:4])


def _differing(settings: Mapping[str, Any], own_settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings that differ, each with a sentence."""
    # Without secrets: a signature in a URL changes each time that it is asked for.
    there, here = _comparable(mask_settings(settings)), _comparable(mask_settings(own_settings))
    if _RATE not in here:
        there.pop(_RATE, None)
    differing = {}
    for key in sorted({*there, *here}):
        if there.get(key) != here.get(key):
            differing[key] = f"{key} is {format_value(there.get(key))} there and {format_value(here.get(key))} here"
    return differing


def _has_work(path: Path) -> bool:
    """Whether the folder contains trained weights, which another run would overwrite."""
    if is_complete(path) or has_checkpoints(path) or any(path.glob("*.safetensors")):
        return True
    return any(map(_has_work, _runs_in(path)))


def _runs_in(path: Path) -> list[Path]:
    """Folders of each fold, seed, part of train or trial, and of each of several models."""
    return [run for kind in ("fold", "seed", "rows", "model", "trial") for run in path.glob(f"{kind}-*/")]


def _comparable(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted name, without those that do not change the trained model."""
    flat: dict[str, Any] = {}
    training = settings.get("training") or {}
    # Where eval_steps is not given, logging_steps says when validation is scored, and so which checkpoint is kept.
    decides = training.get("eval_strategy") == "steps" and not training.get("eval_steps")
    not_compared = [name for name in _NOT_COMPARED if not (decides and name == "logging_steps")]
    for key, value in settings.items():
        if key in ("output_dir", "hub") or value in (None, {}, [], False):
            continue
        if not isinstance(value, Mapping):
            flat[key] = value
            continue
        for name, entry in value.items():
            # A search may go on with more trials.
            if name not in not_compared and (key, name) != ("search", "trials"):
                # As JSON writes it: a tuple from Python and the list in the recipe file are the same setting.
                flat[f"{key}.{name}"] = json.loads(json.dumps(entry))
    return flat
