"""Any source of rows, as rows by split: Hub ids, files, folders, globs, URLs, and what Python holds."""

from __future__ import annotations

import contextlib
import glob
import inspect
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _upstream
from ..config import local_path
from ..errors import ConfigError, DataError, HFRecipesError, NotFoundError, nearest
from ..log import log
from .cache import of_files
from .files import SUFFIXES, cache_folder, read_file, read_lines

if TYPE_CHECKING:
    from datasets import Dataset


ReadFile = partial["Dataset"]
USUAL_NAMES = {
    "train": ("train", "training", "trn"),
    "validation": ("validation", "valid", "val", "dev", "devel", "development"),
    "test": ("test", "testing", "tst"),
}


def read(source: Any, *, header: bool = True, formats: tuple[str, ...] = ()) -> dict[str, Dataset]:
    """Any source as rows by split; a source with one part has the split `train`.

    Args:
        source: Hub id, file, folder, glob, URL, split -> any of these, keywords of `load_dataset`, or rows.
        header: Whether csv and tsv files name their columns.
        formats: How files that are no tables are read, as `Recipe.formats` has it.
    """
    import datasets

    read_one = partial(read_file, header=header, formats=formats)

    if isinstance(source, datasets.DatasetDict):
        return dict(source)
    if isinstance(source, datasets.Dataset):
        return {"train": source}
    if isinstance(source, datasets.IterableDataset | datasets.IterableDatasetDict):
        raise DataError("found a streamed dataset, expected one with a length: load it without streaming=True")
    if isinstance(source, Mapping) and "path" in source:
        return _from_hub(dict(source), read_one)
    if isinstance(source, Mapping) and source and not is_column(next(iter(source.values()))):
        return {str(split): one_part(part, header=header, formats=formats) for split, part in source.items()}
    if isinstance(source, str | os.PathLike):
        return _from_path(local_path(os.fspath(source)), read_one)
    return {"train": _from_rows(source)}


def is_column(value: Any) -> bool:
    """Whether the value of a dict is a column of cells, as in {"text": ["a", "b"]}, and not a split."""
    return isinstance(value, list | np.ndarray) and (not len(value) or not isinstance(value[0], Mapping))


def by_position(columns: Mapping[str, Any]) -> bool:
    """Whether columns are named by position, as in a file without header."""
    return any(isinstance(name, int) for name in columns.values())


def one_part(source: Any, *, header: bool = True, formats: tuple[str, ...] = ()) -> Dataset:
    """Rows of a source that has no splits.

    Raises:
        DataError: It has several.
    """
    parts = read(source, header=header, formats=formats)
    if len(parts) != 1:
        raise DataError(f"found the splits {', '.join(parts)} where one part is expected: name a file, not a folder")
    return next(iter(parts.values()))


@contextlib.contextmanager
def quiet_bars(rows: int) -> Iterator[None]:
    """No progress bar for work that takes a moment."""
    from datasets.utils import logging

    was_on = logging.is_progress_bar_enabled()
    if rows < 50_000:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            logging.enable_progress_bar()


def _from_rows(source: Any) -> Dataset:
    import datasets
    import pandas as pd
    from pyarrow.lib import ArrowException

    try:
        if isinstance(source, pd.DataFrame):
            return datasets.Dataset.from_pandas(source, preserve_index=False)
        if isinstance(source, Mapping):
            return datasets.Dataset.from_dict(dict(source))
        if isinstance(source, Sequence) and source and all(isinstance(row, Mapping) for row in source):
            keys = dict.fromkeys(key for row in source for key in row)
            return datasets.Dataset.from_dict({key: [row.get(key) for row in source] for key in keys})
    except (TypeError, ValueError, ArrowException) as error:
        raise DataError(f"the rows do not fit into columns: {' '.join(str(error).split())[:200]}") from error
    raise DataError(
        f"found {type(source).__name__}, expected a Hub id, a file, a folder, a DataFrame, a Dataset or a list of dicts"
    )


def _from_path(path: str, read_one: ReadFile) -> dict[str, Dataset]:
    import datasets

    path = os.path.expanduser(path)
    if "://" in path:
        return {"train": read_one(path)}
    if os.path.isdir(path):
        if any(Path(path, name).exists() for name in ("dataset_info.json", "dataset_dict.json", "state.json")):
            return read(datasets.load_from_disk(path))
        return _from_files(sorted(_data_files(path, read_one)), path, read_one)
    if os.path.isfile(path):
        return {"train": read_one(path)}
    if any(sign in path for sign in "*?["):
        return _from_files(sorted(filter(os.path.isfile, glob.glob(path, recursive=True))), path, read_one)
    is_file = PurePath(path).suffix.lower() in SUFFIXES or (PurePath(path).suffix and "/" not in path)
    if is_file or path.startswith((".", "/", "~")) or path.count("/") > 1:
        raise NotFoundError(f"there is no file or folder {path} (looked from {os.getcwd()})")
    return _from_hub({"path": path}, read_one)


def _data_files(folder: str, read_one: ReadFile) -> Iterable[str]:
    """Files of rows; where the task reads CoNLL or parallel texts, files of any suffix whose names tell a split."""
    splits = {name for names in USUAL_NAMES.values() for name in names}
    any_suffix = bool({"conll", "parallel"} & set(read_one.keywords["formats"]))
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        for name in names:
            usable = PurePath(name).suffix.lower() in SUFFIXES or (any_suffix and _mentions(name, splits))
            if usable and not name.startswith((".", "_")):
                yield os.path.join(place, name)


def _from_files(files: list[str], where: str, read_one: ReadFile) -> dict[str, Dataset]:
    """Group files by the split that their names tell."""
    import datasets

    if not files:
        raise NotFoundError(f"no data file in {where}: expected {', '.join(SUFFIXES)}")
    root = os.path.commonpath([os.path.dirname(file) for file in files])
    by_split: dict[str, list[str]] = {}
    for split, names in USUAL_NAMES.items():
        exact = [file for file in files if PurePath(file).stem.lower() in names]
        by_split[split] = exact or [file for file in files if _mentions(os.path.relpath(file, root), names)]
    if not any(by_split.values()):
        by_split = {"train": files}
    used = [file for several in by_split.values() for file in several]
    twice = next((file for file in used if used.count(file) > 1), None)
    if twice:
        raise DataError(f"{twice} could be of two splits by its name: say which, dataset.train=… dataset.test=…")
    if len(used) < len(files):
        log(f"files not used: {', '.join(os.path.relpath(file, root) for file in files if file not in used)}")
    if "parallel" in read_one.keywords["formats"] and all(map(_are_parallel, filter(None, by_split.values()))):
        return {split: _parallel(several) for split, several in by_split.items() if several}
    for split, several in by_split.items():
        exact = [file for file in several if PurePath(file).stem.lower() in USUAL_NAMES[split]]
        if len({PurePath(file).suffix for file in several}) > 1 or len(exact) > 1:
            raise DataError(
                f"{where} has several files for {split}: {', '.join(map(os.path.basename, several))}; "
                f"name one of them: dataset.{split}=<file>"
            )
    parts = {split: [read_one(file) for file in several] for split, several in by_split.items()}
    return {
        split: rows[0] if len(rows) == 1 else datasets.concatenate_datasets(rows)
        for split, rows in parts.items()
        if rows
    }


def _are_parallel(files: Sequence[str]) -> bool:
    """Whether the files differ in their language alone, as train.en and train.de, or train.en.txt and train.de.txt."""
    names = [file.removesuffix(".txt") for file in files]
    suffixes = {PurePath(name).suffix.lower() for name in names}
    alike = len({os.path.splitext(name)[0] for name in names}) == 1
    return alike and len(suffixes) == len(files) > 1 and not suffixes & {*SUFFIXES, ""}


def _parallel(files: Sequence[str]) -> Dataset:
    """Lines of the files side by side, in columns called by their suffixes.

    Raises:
        DataError: They have different numbers of lines.
    """
    import datasets

    parts = {PurePath(file.removesuffix(".txt")).suffix.lstrip("."): read_lines(file) for file in files}
    numbers = {name: len(rows) for name, rows in parts.items()}
    if len(set(numbers.values())) > 1:
        shown = ", ".join(f"{name} {number}" for name, number in numbers.items())
        raise DataError(f"{', '.join(files)} have different numbers of lines: {shown}")
    renamed = [rows.rename_column("text", name) for name, rows in parts.items()]
    return datasets.concatenate_datasets(renamed, axis=1)


def _mentions(name: str, words: Iterable[str]) -> bool:
    return any(word in words for word in re.split(r"[^a-z]+", name.lower()))


def _from_hub(keywords: dict[str, Any], read_one: ReadFile) -> dict[str, Dataset]:
    import datasets

    known = inspect.signature(datasets.load_dataset).parameters
    builder = _upstream.is_file_format(keywords["path"])
    if builder and len(keywords) == 1:
        raise NotFoundError(
            f"there is no file or folder {keywords['path']}; as a format it needs its files: dataset.data_files=<file>"
        )
    unknown = [key for key in keywords if key not in known] if not builder else []
    if unknown:
        raise ConfigError([f"dataset: unknown key {key}{nearest(key, known)}" for key in unknown])
    keywords["path"] = local_path(keywords["path"])
    if os.path.exists(keywords["path"]) and len(keywords) == 1:
        return _from_path(keywords["path"], read_one)
    try:
        files = _local_files(keywords, is_format=builder)
        if files:  # of these `datasets` looks at the modification times alone
            keywords.setdefault("cache_dir", str(cache_folder(*files, of_files(*files))))
        return read(datasets.load_dataset(**keywords))
    except HFRecipesError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise NotFoundError(
            f"dataset {keywords['path']!r} is no file or folder here, and loading it from the Hub failed: {reason}"
        ) from error


def _local_files(keywords: Mapping[str, Any], *, is_format: bool) -> list[str]:
    """Files on this machine that `load_dataset` would read; none where the path is a Hub id."""
    if not is_format and not os.path.isdir(keywords["path"]):
        return []
    given = keywords.get("data_files") or []
    groups = given.values() if isinstance(given, Mapping) else [given]
    patterns: list[Any] = []
    for group in groups:
        patterns += [group] if isinstance(group, str | os.PathLike) else group
    folder = os.path.join("" if is_format else keywords["path"], keywords.get("data_dir") or "")
    if not patterns and folder:
        patterns = ["**"]
    files: set[str] = set()
    for pattern in patterns:
        files.update(glob.glob(os.path.join(folder, pattern), recursive=True))
    return sorted(map(os.path.abspath, filter(os.path.isfile, files)))
