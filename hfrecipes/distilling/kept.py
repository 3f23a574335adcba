"""What the teacher says of the training rows, kept beside a run until it is finished."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..config.blocks import sha256_of
from ..data.checks import fingerprint
from ..log import log
from ..models.directory import ADAPTER, weight_files
from ..run_folder.contents import RECIPE, TEACHER_FILE
from ..run_folder.writing import draft

if TYPE_CHECKING:
    from datasets import Dataset

# What was asked for last: the trials of a search, and runs with other seeds, ask the same.
_last: dict[str, list[np.ndarray]] = {}


def key_of(runs: Sequence[Path], rows: Dataset, labels: Sequence[str]) -> str:
    """A text that changes with everything that soft labels depend on: the models, the rows, the labels."""
    digest = hashlib.sha256("\0".join([fingerprint(rows), *labels]).encode())
    for run in runs:
        for file in (run / RECIPE, *weight_files(run), *weight_files(run / ADAPTER)):
            digest.update(bytes.fromhex(sha256_of(file)))
    return digest.hexdigest()


def read(folder: Path | None, key: str) -> list[np.ndarray] | None:
    """What was kept under this key, in the folder of the run or in this process; None where there is nothing."""
    if key in _last:
        return _last[key]
    if folder is None or not (folder / TEACHER_FILE).exists():
        return None
    file = folder / TEACHER_FILE
    try:
        with np.load(file, allow_pickle=False) as kept:
            if str(kept["key"]) != key:
                log(f"{file} is of another teacher, or of other rows: the teacher is asked again")
                return None
            return _split(kept["values"], kept["shapes"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        log(f"{file} is damaged ({error}): the teacher is asked again")
        return None


def write(folder: Path, key: str, soft_labels: list[np.ndarray]) -> None:
    """Keep it in the folder of the run."""
    with draft(folder / TEACHER_FILE) as temporary, open(temporary, "wb") as file:
        values = np.concatenate([cell.ravel() for cell in soft_labels])
        np.savez(file, key=np.array(key), values=values, shapes=np.array([cell.shape for cell in soft_labels]))


def remember(key: str, soft_labels: list[np.ndarray]) -> None:
    """Keep it in this process."""
    _last.clear()
    _last[key] = soft_labels


def _split(values: np.ndarray, shapes: np.ndarray) -> list[np.ndarray]:
    """The values of each row, in its shape."""
    ends = np.cumsum(shapes.prod(axis=1))
    if ends[-1] != len(values) or not np.isfinite(values).all():
        raise ValueError(f"found {len(values)} values, expected {ends[-1]} numbers")
    parts = np.split(values, ends[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes.tolist(), strict=True)]
