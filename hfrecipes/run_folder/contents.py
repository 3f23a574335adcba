"""What the folder of a run contains, and when it is complete: metrics.json is written last."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..config.recipe_files import recipe_text
from ..config.run_config import RunConfig
from ..errors import ModelError, NotFoundError
from ..log import log
from ..masking import mask
from . import manifest
from .progress import CHECKPOINT, has_checkpoints
from .writing import as_json_line, clear_drafts, draft, write_json, write_text

RECIPE, RUN, METRICS, PREDICTIONS = "recipe.yaml", "run.json", "metrics.json", "predictions.jsonl"
REPORT = "report.json"  # scores by label
CARD = "README.md"
REPORT_PAGE = "report.html"  # for people; it holds rows, so it is never pushed
AUDIT = "audit.json"  # how much the model tells about its training rows
PICTURES = "pictures"  # folder with those of the card
# What the baseline knows of the training rows, and a hash of the input of each; neither is ever pushed.
BASELINE, TRAINED_ON = "baseline.json", "trained_on.npy"
TEACHER_FILE = "teacher.npz"  # what another run says of the training rows, until this one is finished
# Files that a model needs for no prediction: one that has changed does not cost the model.
BESIDE_MODEL = (RECIPE, BASELINE, TRAINED_ON)
# What is written after the model, and can be written again from it.
RESULTS = (METRICS, PREDICTIONS, CARD, BASELINE, TRAINED_ON)
CURVE, CURVE_PICTURE = "curve.json", "curve.png"  # around the runs on parts of train
SLICES = "slices"  # key in metrics.json beside the splits: scores of the rows of each value of a column
NOTES = "notes"  # key in metrics.json beside the splits: split -> what to know about its scores


def check_readable(folder: Path) -> None:
    """Refuse a folder whose files cannot be seen.

    Raises:
        ModelError: There is no permission.
    """
    try:
        os.listdir(folder)
        os.stat(os.path.join(folder, "."))  # the names of files alone are not enough
    except OSError as error:
        raise ModelError(f"cannot read the folder {folder}: {error.strerror}") from error


def is_complete(path: Path) -> bool:
    """Whether the run in this folder was finished."""
    return (path / METRICS).exists()


def deleted(path: Path) -> list[str]:
    """Results that were deleted from a run whose training was over; empty for a complete run, and for one to train."""
    if not is_complete(path) and (has_checkpoints(path) or not has_whole_model(path)):
        return []
    info = RunInfo.read(path)
    # The files of the model are named once all results are written.
    if info is None or not (info.files or info.tokenizer):
        return []
    return [name for name in RESULTS if not (path / name).exists()]


def has_whole_model(path: Path) -> bool:
    """Whether a model was saved to its end, or an adapter alone where nothing can be merged."""
    for file in (path / manifest.MANIFEST, *path.glob(f"*/{manifest.MANIFEST}")):
        if not file.parent.name.startswith(CHECKPOINT) and manifest.read(file.parent) is not None:
            return True
    return False


def write_start(path: Path, config: RunConfig, info: RunInfo) -> None:
    """Write what identifies the run before the first step; run.json makes the folder that of a run."""
    path.mkdir(parents=True, exist_ok=True)
    info.write(path)
    write_recipe(path, config)


def write_recipe(path: Path, config: RunConfig) -> None:
    """Write the settings into a folder, which may not exist."""
    path.mkdir(parents=True, exist_ok=True)
    write_text(path / RECIPE, recipe_text(config))


def mark_complete(
    path: Path, scores: Mapping[str, Any], info: RunInfo, notes: Mapping[str, str], slices: Mapping[str, Any]
) -> None:
    """Mark the run as complete, and delete its checkpoints."""
    info.write(path)
    write_scores(path, scores, notes, slices)
    clear(path)


def clear(path: Path) -> None:
    """Delete what a complete run does not need: checkpoints, what a teacher said, and files that were being written."""
    for checkpoint in path.glob(f"{CHECKPOINT}*"):
        shutil.rmtree(checkpoint, ignore_errors=True)
    (path / TEACHER_FILE).unlink(missing_ok=True)
    clear_drafts(path)


def write_training_data(path: Path, baseline: Mapping[str, Any], inputs: Iterable[int]) -> None:
    """Write what evaluation on other rows needs to know of the training rows.

    Args:
        path: Folder of the run.
        baseline: What the baseline knows of them, as JSON values.
        inputs: A number for the input of each row.
    """
    import numpy as np

    write_json(path / BASELINE, baseline)
    with draft(path / TRAINED_ON) as temporary, open(temporary, "wb") as file:
        np.save(file, np.unique(np.fromiter(inputs, dtype=np.uint64)))


def read_baseline(path: Path) -> dict[str, Any] | None:
    """What the baseline knows of the training rows; None where the folder does not say, or the file is damaged."""
    if not (path / BASELINE).exists() or _is_changed(path, BASELINE):
        return None
    try:
        return read_json(path / BASELINE)
    except DamagedError as error:
        log(f"no baseline: {error}")
        return None


def read_trained_on(path: Path) -> set[int] | None:
    """The numbers of the inputs that the model was trained on; None where they are missing or damaged."""
    import numpy as np

    file = path / TRAINED_ON
    if not file.exists() or _is_changed(path, TRAINED_ON):
        return None
    try:
        # Without pickles, which may run code when they are read.
        return set(np.load(file, allow_pickle=False).tolist())
    except (OSError, ValueError, TypeError, EOFError) as error:
        log(f"{file} is damaged ({error}): rows that the model was trained on are not counted")
        return None


def seen_by_start(config: RunConfig) -> set[int]:
    """The numbers of the inputs that the model to start from was trained on; none where it is not that of a run."""
    if not config.model or not os.path.isdir(config.base.path):
        return set()
    return read_trained_on(Path(config.base.path)) or set()


def _is_changed(path: Path, name: str) -> bool:
    """Whether a file beside the model is not what was saved; it is then printed, and not used."""
    change = manifest.change_of(path, name)
    if change is not None:
        log(f"{path / name} {change}, and is not used")
    return change is not None


def write_predictions(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write one line for each prediction: split, index, row and prediction."""
    with draft(path / PREDICTIONS) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for line in lines:
            file.write(as_json_line(line) + "\n")


def read_predictions(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of predictions.jsonl."""
    with open(path / PREDICTIONS, encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def read_json(path: Path) -> dict[str, Any]:
    """Read a file with a JSON object; empty where there is no file.

    Raises:
        DamagedError: It holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedError(path, " ".join(str(error).split())[:100]) from error
    if not isinstance(content, dict):
        raise DamagedError(path, f"found {content!r:.40}, expected a JSON object")
    return content


class DamagedError(NotFoundError):
    """A file beside the model, which the model itself does not need, cannot be read."""

    def __init__(self, path: Path, reason: str) -> None:
        run = path.parent
        again = "put it back from a copy, or train with another output_dir"
        if path.name in RESULTS:
            again = "delete it and repeat the command of the run, which scores the saved model again"
        super().__init__(
            f"{path} is damaged ({reason}); the saved model is not, and  hfrecipes predict {run}  works; to get the "
            f"file back, {again}"
        )


def _is_like(value: Any, default: Any) -> bool:
    """Whether a value from a file is of the kind of a default; None stands for what may be missing."""
    if default is None:
        return value is None or isinstance(value, str | dict)
    if isinstance(default, float):
        return isinstance(value, int | float)
    return isinstance(value, list if isinstance(default, tuple) else type(default))


def write_scores(
    path: Path, scores: Mapping[str, Any], notes: Mapping[str, str], slices: Mapping[str, Any] | None = None
) -> None:
    """Write the scores by split and metric, with the notes on splits and the scores of parts if there are any."""
    beside = {SLICES: slices, NOTES: notes}
    write_json(path / METRICS, {**scores, **{key: content for key, content in beside.items() if content}})


def kept_settings(path: Path) -> dict[str, Any] | None:
    """Settings as run.json has them, for a model whose recipe.yaml is damaged; None where it does not."""
    try:
        info = RunInfo.read(path)
    except DamagedError:
        return None
    return dict(info.shared) if info is not None and info.shared else None


def read_scores(path: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Content of metrics.json without the notes: split -> metric -> what is known of the score.

    Raises:
        DamagedError: It is not what a run wrote.
    """
    scores = {}
    for split, entries in read_json(path / METRICS).items():
        if split in (NOTES, SLICES):
            continue
        if not isinstance(entries, dict):
            raise DamagedError(path / METRICS, f"{split} holds no scores")
        for name, entry in entries.items():
            if not isinstance(entry, dict) or not _is_score(entry):
                raise DamagedError(path / METRICS, f"{name} of {split} is no score")
        scores[split] = entries
    return scores


def _is_score(entry: Mapping[str, Any]) -> bool:
    """Whether the value of a score, and the values beside it, are numbers or null."""
    interval, runs = entry.get("ci95") or [None, None], entry.get("runs") or []
    if "value" not in entry or not isinstance(interval, list) or not isinstance(runs, list) or len(interval) != 2:
        return False
    change = entry.get("change")
    if change is not None and not (isinstance(change, dict) and _is_score(change)):
        return False
    values = [entry["value"], entry.get("baseline"), entry.get("uncalibrated"), entry.get("sd"), *interval, *runs]
    return all(value is None or isinstance(value, int | float) for value in values)


def audit_tables(known: Mapping[str, Any]) -> list[list[list[str]]]:
    """Tables of an audit, heads first: of attacks, and of planted secrets where there are some."""
    canaries = known.get("canaries")  # audits of older releases have none
    return [known["table"], canaries["table"]] if canaries else [known["table"]]


def read_slices(path: Path) -> dict[str, Any]:
    """What metrics.json has of the rows of each value of a column; empty where the run has no `by`."""
    slices = read_json(path / METRICS).get(SLICES, {})
    return slices if isinstance(slices, dict) else {}


def read_notes(path: Path) -> dict[str, str]:
    """Read what to know about the scores, by split."""
    notes = read_json(path / METRICS).get(NOTES, {})
    return notes if isinstance(notes, dict) else {}


@dataclass(frozen=True)
class RunInfo:
    """Facts about a run: the content of run.json."""

    hfrecipes: str = ""
    """Version."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of the libraries."""
    data: Mapping[str, str] = field(default_factory=dict)
    """Split -> number of rows and hash of their content."""
    origin: Mapping[str, str | None] = field(default_factory=lambda: {"model": None, "dataset": None})
    """Hub ids of `model` and `dataset`; None where they come from elsewhere."""
    base: str | None = None
    """Commit or hash of the weights that an adapter is trained on."""
    shared: Mapping[str, Any] = field(default_factory=dict)
    """Settings as others may see them."""
    machine: str = ""
    limits: Sequence[str] = ()
    """Sentences on what limits the use of the model."""
    files: Sequence[str] = ()
    """Files of the model."""
    tokenizer: Sequence[str] = ()
    """Files next to an adapter: of the tokenizer, and with what distances need."""
    parameters: Mapping[str, float] = field(default_factory=dict)
    """Number of weights, `total` and `trained`, and the `share` of the latter."""
    seconds: float = 0.0
    steps: int = 0
    memory: int = 0
    """Bytes at the peak of the training, of the last try where it was interrupted; 0 where it is not known."""
    energy: Mapping[str, float] | None = None
    distillation: Mapping[str, Any] | None = None
    """Scores and costs of the run and of its teacher; None where it has none."""
    privacy: Mapping[str, Any] | None = None
    """What a private training has spent: epsilon and delta, and what they follow from; None for another one."""
    redacted: Mapping[str, Any] | None = None
    """Split -> kind -> number of `matches` that were replaced in texts, and of `rows`; None without `redact`."""
    canaries: Sequence[Mapping[str, Any]] = ()
    """Secrets that were planted in train: `prefix`, `code`, and the number of `rows` with both."""

    @classmethod
    def read(cls, path: Path) -> RunInfo | None:
        """Content of run.json in a folder, None where there is none; keys of other releases are left out.

        Raises:
            DamagedError: It is not what a run wrote.
        """
        content = read_json(path / RUN)
        known = {name: content[name] for name in cls.__dataclass_fields__ if name in content}
        for name, default in asdict(cls()).items():
            if name in known and not _is_like(known[name], default):
                raise DamagedError(path / RUN, f"{name} is {known[name]!r:.40}")
        return cls(**known) if content else None

    def write(self, path: Path) -> None:
        """Write run.json into a folder."""
        write_json(path / RUN, mask(asdict(self)))
