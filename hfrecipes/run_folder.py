"""The folder of a run: which run it belongs to, what it contains, and when it is complete.

metrics.json is written last: a folder that has it is complete.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .config import RunConfig, read_recipe_file, write_recipe_file
from .errors import NotFoundError, OutputError
from .yaml12 import format_value

RECIPE, RUN, METRICS, PREDICTIONS = "recipe.yaml", "run.json", "metrics.json", "predictions.jsonl"
CARD = "README.md"
# What the baseline knows of the training rows, and a hash of the input of each; neither is ever pushed.
BASELINE, TRAINED_ON = "baseline.json", "trained_on.npy"
NOTES = "notes"  # key in metrics.json beside the splits: split -> what to know about its scores
_CHECKPOINT = "checkpoint-"
# Keywords of TrainingArguments that do not change the trained model, so a run may be resumed with other values.
_NOT_COMPARED = ("disable_tqdm", "report_to", "run_name", "logging_steps", "logging_strategy", "dataloader_num_workers")


def is_complete(path: Path) -> bool:
    """Whether the run in this folder was finished."""
    return (path / METRICS).exists()


def check_writable(path: Path) -> None:
    """Check before any work that the folder is writable.

    Raises:
        OutputError: It is a file, or cannot be made.
    """
    existing = path
    if not path.exists():
        # The folder will be made inside its nearest parent that exists.
        existing = next(parent for parent in path.absolute().parents if parent.exists())
    if not existing.is_dir():
        raise OutputError(f"{existing} is a file, expected a folder or a new name: choose another output_dir")
    if not os.access(existing, os.W_OK):
        raise OutputError(f"{existing} cannot be written to: choose another output_dir")


def claim(path: Path, config: RunConfig, data: Mapping[str, Any]) -> None:
    """Take the folder for this run, or refuse one that holds something else; nothing is overwritten.

    Args:
        path: Folder, which may not exist.
        config: Resolved settings.
        data: Fingerprint of each split.

    Raises:
        OutputError: The folder contains another run, or files that are not a run.
    """
    # Folders named .hub-… are copies of checkpoints on their way to the Hub, which can be made again.
    names = [entry.name for entry in _entries(path) if not entry.name.startswith(".hub-")]
    if not names:
        return
    elsewhere = "choose another output_dir, or delete that folder"
    if not (path / RECIPE).exists():
        raise OutputError(f"{path} contains files that are not a run ({names[0]}, …): {elsewhere}")
    differing = differences(read_recipe_file(path / RECIPE), asdict(config))
    # A run that stopped before its first checkpoint has nothing to lose.
    if not _has_work(path):
        return
    if differing:
        raise OutputError(f"{path} contains another run ({differing}): {elsewhere}")
    before = read_json(path / RUN).get("data")
    if before and before != dict(data):
        changed = [split for split in {**before, **data} if before.get(split) != data.get(split)]
        raise OutputError(
            f"{path} contains a run on other rows (the content of {', '.join(changed)} has changed): {elsewhere}"
        )


def _entries(path: Path) -> list[Path]:
    """What the folder contains; nothing where there is no folder."""
    if not path.exists():
        return []
    return list(path.iterdir())


def differences(settings: Mapping[str, Any], own_settings: Mapping[str, Any]) -> str:
    """How the settings of an existing run differ from those of this one; empty if both train the same model.

    Args:
        settings: Settings of the run in the folder, "there".
        own_settings: Settings of this run, "here".
    """
    there, here = _comparable(settings), _comparable(own_settings)
    differing = []
    for key in sorted({*there, *here}):
        if there.get(key) != here.get(key):
            differing.append(f"{key} is {format_value(there.get(key))} there and {format_value(here.get(key))} here")
    # The first few tell which run it is; a run of another task would differ in dozens.
    return "; ".join(differing[:4])


def _has_work(path: Path) -> bool:
    """Whether the folder contains trained weights, which another run would overwrite."""
    if is_complete(path) or any(path.glob(f"{_CHECKPOINT}*")) or any(path.glob("*.safetensors")):
        return True
    # Each fold, and each seed, has a folder like that of a single run.
    runs = [*path.glob("fold-*"), *path.glob("seed-*")]
    return any(map(_has_work, runs))


def _comparable(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted name, without those that do not change the trained model."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if key in ("output_dir", "hub") or value in (None, {}, [], False):
            continue
        if not isinstance(value, Mapping):
            flat[key] = value
            continue
        for name, entry in value.items():
            if name not in _NOT_COMPARED:
                # As JSON writes it: a tuple from Python and the list in the recipe file are the same setting.
                flat[f"{key}.{name}"] = json.loads(json.dumps(entry))
    return flat


def write_start(path: Path, config: RunConfig, info: RunInfo) -> None:
    """Write what identifies the run before the first step."""
    write_recipe(path, config)
    info.write(path)


def write_recipe(path: Path, config: RunConfig) -> None:
    """Write the settings into a folder, which may not exist."""
    path.mkdir(parents=True, exist_ok=True)
    write_recipe_file(config, path / RECIPE)


def mark_complete(path: Path, scores: Mapping[str, Any], info: RunInfo, notes: Mapping[str, str]) -> None:
    """Mark the run as complete, and delete its checkpoints."""
    info.write(path)
    write_scores(path, scores, notes)
    for checkpoint in path.glob(f"{_CHECKPOINT}*"):
        shutil.rmtree(checkpoint)


def write_training_data(path: Path, baseline: Mapping[str, Any], inputs: Iterable[int]) -> None:
    """Write what evaluation on other rows needs to know of the training rows.

    Args:
        path: Folder of the run.
        baseline: What the baseline knows of them, as JSON values.
        inputs: A number for the input of each row.
    """
    import numpy as np

    write_json(path / BASELINE, baseline)
    np.save(path / TRAINED_ON, np.unique(np.fromiter(inputs, dtype=np.uint64)))


def read_baseline(path: Path) -> dict[str, Any] | None:
    """What the baseline knows of the training rows; None where the folder does not say."""
    return read_json(path / BASELINE) if (path / BASELINE).exists() else None


def read_trained_on(path: Path) -> set[int] | None:
    """The numbers of the inputs that the model was trained on; None where the folder does not have them."""
    import numpy as np

    file = path / TRAINED_ON
    return set(np.load(file, allow_pickle=False).tolist()) if file.exists() else None


def last_checkpoint(path: Path) -> Path | None:
    """The newest checkpoint that was written completely."""
    return next(complete_checkpoints(path), None)


def complete_checkpoints(path: Path) -> Iterator[Path]:
    """Checkpoints that were written completely, the newest first."""
    for checkpoint in sorted(path.glob(f"{_CHECKPOINT}*"), key=_step, reverse=True):
        if _is_whole(checkpoint):
            yield checkpoint


def _step(checkpoint: Path) -> int:
    """Number of the training step in the name; -1 where there is none, so that such a folder comes last."""
    number = checkpoint.name.removeprefix(_CHECKPOINT)
    return int(number) if number.isdigit() else -1


def _is_whole(checkpoint: Path) -> bool:
    """Whether the Trainer wrote its state, which it does last, and every other file that resuming reads."""
    try:
        state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if state.get("global_step") != _step(checkpoint):
        return False
    # After a power cut a file may be there and empty.
    weights = next(checkpoint.glob("*.safetensors"), None)
    for file in (weights, checkpoint / "optimizer.pt", checkpoint / "scheduler.pt"):
        if file is None or not file.exists() or not file.stat().st_size:
            return False
    return True


def write_predictions(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write one line for each prediction: split, index, row and prediction."""
    with open(path / PREDICTIONS, "w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(_finite(line), ensure_ascii=False, default=str, allow_nan=False) + "\n")


def read_predictions(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of predictions.jsonl."""
    with open(path / PREDICTIONS, encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def read_json(path: Path) -> dict[str, Any]:
    """Read a file with a JSON object; empty where there is no file."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise NotFoundError(f"{path} is damaged ({error}): delete the folder and run again") from error
    return content


def write_scores(path: Path, scores: Mapping[str, Any], notes: Mapping[str, str]) -> None:
    """Write the scores by split and metric, with the notes on splits if there are any."""
    write_json(path / METRICS, {**scores, NOTES: notes} if notes else scores)


def read_scores(path: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Content of metrics.json without the notes: split -> metric -> what is known of the score."""
    content = read_json(path / METRICS)
    return {split: entries for split, entries in content.items() if split != NOTES}


def read_notes(path: Path) -> dict[str, str]:
    """Read what to know about the scores, by split."""
    notes: dict[str, str] = read_json(path / METRICS).get(NOTES, {})
    return notes


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file completely or not at all; NaN and infinite numbers become null."""
    # A file is renamed in one step, so that no reader and no power cut sees half of it.
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(_finite(content), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(path)


def _finite(value: Any) -> Any:
    """The value with null for NaN and infinite numbers, which JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_finite, value))
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@dataclass(frozen=True)
class RunInfo:
    """Facts about a run: the content of run.json."""

    hfrecipes: str
    """Version."""
    versions: Mapping[str, str]
    """Versions of the libraries."""
    data: Mapping[str, str]
    """Split -> number of rows and hash of their content."""
    origin: Mapping[str, str | None]
    """Hub ids of `model` and `dataset`; None where they come from elsewhere."""
    shared: Mapping[str, Any] = field(default_factory=dict)
    """Settings as others may see them."""
    machine: str = ""
    limits: Sequence[str] = ()
    """Sentences on what limits the use of the model."""
    files: Sequence[str] = ()
    """Files of the model."""
    tokenizer: Sequence[str] = ()
    """Files of the tokenizer next to an adapter."""
    parameters: Mapping[str, float] = field(default_factory=dict)
    """Number of weights, `total` and `trained`, and the `share` of the latter."""
    seconds: float = 0.0
    steps: int = 0
    energy: Mapping[str, float] | None = None

    @classmethod
    def read(cls, path: Path) -> RunInfo | None:
        """Content of run.json in a folder, None where there is none; keys of other releases are left out."""
        content = read_json(path / RUN)
        known = {name: content[name] for name in cls.__dataclass_fields__ if name in content}
        return cls(**known) if content else None

    def write(self, path: Path) -> None:
        """Write run.json into a folder."""
        write_json(path / RUN, asdict(self))
