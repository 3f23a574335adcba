"""The folder that a run leaves: whose it is, what stands in it, and when it is complete.

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
BASELINE = "baseline.json"  # what the baseline knows of the training rows
TRAINED_ON = "trained_on.npy"  # a number for the input of each training row; it stays on this machine
NOTES = "notes"  # in metrics.json beside the splits: split -> what must be known of its scores
_CHECKPOINT = "checkpoint-"
# Settings that do not change what is trained.
_NO_MATTER = ("disable_tqdm", "report_to", "run_name", "logging_steps", "logging_strategy", "dataloader_num_workers")


def is_complete(path: Path) -> bool:
    """Whether the run in this folder ended."""
    return (path / METRICS).exists()


def check_place(path: Path) -> None:
    """See before any work whether the folder can be written.

    Raises:
        OutputError: It is a file, or cannot be made.
    """
    place = next(one for one in (path, *path.absolute().parents) if one.exists())
    if not place.is_dir():
        raise OutputError(f"{place} is a file, expected a folder or a new name: choose another output_dir")
    if not os.access(place, os.W_OK):
        raise OutputError(f"{place} cannot be written to: choose another output_dir")


def claim(path: Path, config: RunConfig, data: Mapping[str, Any]) -> None:
    """Take the folder for this run, or refuse one that holds something else; nothing is written over.

    Args:
        path: Folder, which may not exist.
        config: Resolved settings.
        data: Fingerprint of each split.

    Raises:
        OutputError: The folder holds another run, or files that are no run.
    """
    found = [one.name for one in path.iterdir() if not one.name.startswith(".hub-")] if path.exists() else []
    if not found:
        return
    elsewhere = "choose another output_dir, or delete that folder"
    if not (path / RECIPE).exists():
        raise OutputError(f"{path} holds files and no run ({found[0]}, …): {elsewhere}")
    differing = differences(read_recipe_file(path / RECIPE), asdict(config))
    if not _has_work(path):
        return
    if differing:
        raise OutputError(f"{path} holds another run ({differing}): {elsewhere}")
    before = read_json(path / RUN).get("data")
    if before and before != dict(data):
        changed = ", ".join(split for split in {**before, **data} if before.get(split) != data.get(split))
        raise OutputError(f"{path} holds a run on other rows (the content of {changed} has changed): {elsewhere}")


def differences(settings: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    """In what the settings of a run that is there differ from these; empty where they would train the same."""
    there, here = _comparable(settings), _comparable(own)
    differing = [key for key in sorted({*there, *here}) if there.get(key) != here.get(key)]
    return "; ".join(
        f"{key} is {format_value(there.get(key))} there and {format_value(here.get(key))} here" for key in differing[:4]
    )


def _has_work(path: Path) -> bool:
    """Whether anything stands in the folder that another run would lose."""
    if is_complete(path) or any(path.glob(f"{_CHECKPOINT}*")) or any(path.glob("*.safetensors")):
        return True
    return any(_has_work(part) for kind in ("fold", "seed") for part in path.glob(f"{kind}-*"))


def _comparable(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by dotted name, without the ones that do not change what is trained."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if key in ("output_dir", "hub") or value in (None, {}, [], False):
            continue
        if isinstance(value, Mapping):
            kept = {inner: one for inner, one in value.items() if inner not in _NO_MATTER}
            flat |= {f"{key}.{inner}": json.loads(json.dumps(one)) for inner, one in kept.items()}
        else:
            flat[key] = value
    return flat


def begin(path: Path, config: RunConfig, info: RunInfo) -> None:
    """Write what identifies the run before the first step."""
    write_recipe(path, config)
    info.write(path)


def write_recipe(path: Path, config: RunConfig) -> None:
    """Write the settings into a folder, which may not exist."""
    path.mkdir(parents=True, exist_ok=True)
    write_recipe_file(config, path / RECIPE)


def finish(path: Path, scores: Mapping[str, Any], info: RunInfo, notes: Mapping[str, str]) -> None:
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
    """The newest checkpoint that was written to its end."""
    return next(whole_checkpoints(path), None)


def whole_checkpoints(path: Path) -> Iterator[Path]:
    """Checkpoints that were written to their end, the newest first."""
    return filter(_is_whole, sorted(path.glob(f"{_CHECKPOINT}*"), key=_step, reverse=True))


def _step(checkpoint: Path) -> int:
    number = checkpoint.name.removeprefix(_CHECKPOINT)
    return int(number) if number.isdigit() else -1


def _is_whole(checkpoint: Path) -> bool:
    """Whether the Trainer came to write its state, which it does last, and all else that a resume reads is there."""
    try:
        state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    weights = next(checkpoint.glob("*.safetensors"), None)
    files = [weights, checkpoint / "optimizer.pt", checkpoint / "scheduler.pt"]
    return state.get("global_step") == _step(checkpoint) and all(f and f.exists() and f.stat().st_size for f in files)


def write_predictions(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """A line each: split, place, the row, and what was predicted."""
    with open(path / PREDICTIONS, "w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(_finite(line), ensure_ascii=False, default=str, allow_nan=False) + "\n")


def read_predictions(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of predictions.jsonl."""
    with open(path / PREDICTIONS, encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def read_json(path: Path) -> dict[str, Any]:
    """Content of a JSON object file; empty where there is none."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise NotFoundError(f"{path} is damaged ({error}): delete the folder and run again") from error
    return content


def write_scores(path: Path, scores: Mapping[str, Any], notes: Mapping[str, str]) -> None:
    """Write the scores by split and metric, and the sentences on splits where there are some."""
    write_json(path / METRICS, {**scores, NOTES: notes} if notes else scores)


def read_scores(path: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Content of metrics.json without the notes: split -> metric -> what is known of the score."""
    content = read_json(path / METRICS)
    return {split: entries for split, entries in content.items() if split != NOTES}


def read_notes(path: Path) -> dict[str, str]:
    """Split -> what must be known of its scores."""
    notes: dict[str, str] = read_json(path / METRICS).get(NOTES, {})
    return notes


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write the file whole or not at all; numbers that are none become null."""
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(_finite(content), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(path)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@dataclass(frozen=True)
class RunInfo:
    """What a run says of itself: the content of run.json."""

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
    """Files of the tokenizer beside an adapter."""
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
