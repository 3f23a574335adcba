"""Read rows, by split, from any source: Hub ids, files, folders, globs, URLs and Python objects."""

from __future__ import annotations

import contextlib
import glob
import inspect
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _upstream
from ..errors import ConfigError, DataError, HFRecipesError, NotFoundError, nearest
from ..log import log
from ..settings import local_path
from .cache import content_key
from .files import SUFFIXES, cache_folder, read_file, read_lines
from .label_files import without_label_files

if TYPE_CHECKING:
    from datasets import Dataset


# Words in the name of a file or of a split that tell which split it is.
SPLIT_NAMES = {
    "train": ("train", "training", "trn"),
    "validation": ("validation", "valid", "val", "dev", "devel", "development", "testa"),
    "test": ("test", "testing", "tst", "testb"),  # CoNLL-2002 and CoNLL-2003 have testa and testb
}
# Files that `Dataset.save_to_disk` and `DatasetDict.save_to_disk` leave in their folder.
_SAVED_DATASET_FILES = ("dataset_info.json", "dataset_dict.json", "state.json")


@dataclass(frozen=True)
class _FileReader:
    """How the files of one source are read."""

    header: bool
    """Whether csv and tsv files name their columns."""
    formats: tuple[str, ...]
    """How files that are not tables are read, as in `Recipe.formats`."""

    def read(self, path: str) -> Dataset:
        """Read one file."""
        return read_file(path, header=self.header, formats=self.formats)


def read_source(source: Any, *, header: bool = True, formats: tuple[str, ...] = ()) -> dict[str, Dataset]:
    """Read a source into rows by split; a source without splits becomes `train`.

    Args:
        source: Hub id, file, folder, glob, URL, split -> any of these, keywords of `load_dataset`, or rows.
        header: Whether csv and tsv files name their columns.
        formats: How files that are not tables are read, as in `Recipe.formats`.

    Raises:
        ConfigError: A keyword of `load_dataset` does not exist.
        DataError: The rows cannot be read, or the names of the files do not tell their splits.
        NotFoundError: There is no such file, folder or dataset.
    """
    import datasets

    reader = _FileReader(header, formats)

    if isinstance(source, datasets.DatasetDict):
        return dict(source)
    if isinstance(source, datasets.Dataset):
        return {"train": source}
    # Shuffling, folds and the baseline need to know how many rows there are.
    if isinstance(source, datasets.IterableDataset | datasets.IterableDatasetDict):
        raise DataError("found a streamed dataset, expected one with a length: load it without streaming=True")
    if isinstance(source, Mapping) and "path" in source:
        return _from_hub(dict(source), reader)
    if isinstance(source, Mapping) and source and not is_column(next(iter(source.values()))):
        splits = {}
        for split, part in source.items():
            splits[str(split)] = read_single_split(part, header=header, formats=formats)
        return splits
    if isinstance(source, str | os.PathLike):
        return _from_path(local_path(os.fspath(source)), reader)
    return {"train": _from_rows(source)}


def is_column(value: Any) -> bool:
    """Whether the value of a dict is a column of cells, as in {"text": ["a", "b"]}, and not a split."""
    return isinstance(value, list | np.ndarray) and (not len(value) or not isinstance(value[0], Mapping))


def are_positions(columns: Mapping[str, Any]) -> bool:
    """Whether `columns` names columns by their position, which means that the file has no header."""
    return any(isinstance(name, int) for name in columns.values())


def read_single_split(source: Any, *, header: bool = True, formats: tuple[str, ...] = ()) -> Dataset:
    """Read a source that has no splits.

    Raises:
        DataError: It has several.
    """
    splits = read_source(source, header=header, formats=formats)
    if len(splits) != 1:
        raise DataError(f"found the splits {', '.join(splits)}, expected a source without splits: name a single file")
    return next(iter(splits.values()))


@contextlib.contextmanager
def hide_progress_bars(rows: int) -> Iterator[None]:
    """Hide the progress bars of `datasets` while work on a small number of rows is done."""
    from datasets.utils import logging

    was_on = logging.is_progress_bar_enabled()
    if rows < 50_000:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            logging.enable_progress_bar()


# --- Python objects ----------------------------------------------------------------------------------------------


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
            return datasets.Dataset.from_dict(_columns_of(source))
    except (TypeError, ValueError, ArrowException) as error:
        raise DataError(f"the rows do not fit into columns: {' '.join(str(error).split())[:200]}") from error
    raise DataError(
        f"found {type(source).__name__}, expected a Hub id, a file, a folder, a DataFrame, a Dataset or a list of dicts"
    )


def _columns_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Columns in order of appearance; a cell that a row does not have is None."""
    columns: dict[str, list[Any]] = {}
    # Not Dataset.from_list: it takes the columns from the first row alone, and would drop the others.
    for row in rows:
        for name in row:
            columns.setdefault(name, [])
    for row in rows:
        for name, cells in columns.items():
            cells.append(row.get(name))
    return columns


# --- files and folders -------------------------------------------------------------------------------------------


def _from_path(path: str, reader: _FileReader) -> dict[str, Dataset]:
    import datasets

    path = os.path.expanduser(path)
    if "://" in path:
        return {"train": reader.read(path)}
    if os.path.isdir(path):
        if any(Path(path, name).exists() for name in _SAVED_DATASET_FILES):
            return read_source(datasets.load_from_disk(path))
        return _from_files(sorted(_data_files(path, reader.formats)), path, reader)
    if os.path.isfile(path):
        return {"train": reader.read(path)}
    if re.search(r"[*?\[]", path):
        matches = glob.glob(path, recursive=True)
        return _from_files(sorted(filter(os.path.isfile, matches)), path, reader)
    # A name such as reviews.csv or a/b/c is a path with a typing error, not a Hub id: Hub ids are <user>/<name>.
    looks_like_file = PurePath(path).suffix.lower() in SUFFIXES or (PurePath(path).suffix and "/" not in path)
    if looks_like_file or path.startswith((".", "/", "~")) or path.count("/") > 1:
        raise NotFoundError(f"there is no file or folder {path} (looked from {os.getcwd()})")
    return _from_hub({"path": path}, reader)


def _data_files(folder: str, formats: Iterable[str]) -> Iterator[str]:
    """Find the files of rows below a folder; hidden files and those that start with "_" are left out.

    CoNLL and parallel texts are published with any suffix, so where the task reads these, a file whose name tells its
    split counts too.
    """
    split_words: set[str] = set()
    if {"conll", "parallel"} & set(formats):
        split_words.update(*SPLIT_NAMES.values())
    for parent, subfolders, names in os.walk(folder):
        # os.walk goes only into the folders that are left in this list.
        subfolders[:] = [name for name in subfolders if not name.startswith((".", "_"))]
        for name in names:
            is_data = PurePath(name).suffix.lower() in SUFFIXES or _mentions(name, split_words)
            if is_data and not name.startswith((".", "_")):
                yield os.path.join(parent, name)


def _from_files(files: list[str], source: str, reader: _FileReader) -> dict[str, Dataset]:
    """Group files by the split that their names tell, and read them."""
    import datasets

    if not files:
        raise NotFoundError(f"no data file in {source}: expected {', '.join(SUFFIXES)}")
    files_of = _files_by_split(without_label_files(files))
    splits = {}
    if "parallel" in reader.formats and all(map(_are_parallel, files_of.values())):
        for split, split_files in files_of.items():
            splits[split] = _read_parallel(split_files)
        return splits
    # All splits are checked before the first is read, which may take minutes.
    for split, split_files in files_of.items():
        _check_same_kind(split, split_files, source)
    for split, split_files in files_of.items():
        parts = [reader.read(file) for file in split_files]
        # A single part keeps its file in the cache, and with it the cached work on its rows.
        splits[split] = datasets.concatenate_datasets(parts) if len(parts) > 1 else parts[0]
    return splits


def _files_by_split(files: Sequence[str]) -> dict[str, list[str]]:
    """Assign files to splits by their names; all are train where no name tells a split.

    Raises:
        DataError: The name of a file fits two splits.
    """
    root = os.path.commonpath(list(map(os.path.dirname, files)))
    files_of: dict[str, list[str]] = {}
    for split, words in SPLIT_NAMES.items():
        # train.csv wins over train-old.csv, which is then not used.
        matches = _files_called(words, files)
        if not matches:
            matches = [file for file in files if _mentions(os.path.relpath(file, root), words)]
        if matches:
            files_of[split] = matches
    if not files_of:
        files_of["train"] = list(files)
    used: set[str] = set()
    for split_files in files_of.values():
        for file in split_files:
            if file in used:
                raise DataError(
                    f"the name of {file} fits more than one split: "
                    "name the file of each split, dataset.train=<file> dataset.test=<file>"
                )
            used.add(file)
    unused = [os.path.relpath(file, root) for file in files if file not in used]
    if unused:
        log(f"files not used: {', '.join(unused)}")
    return files_of


def _files_called(words: Iterable[str], files: Iterable[str]) -> list[str]:
    """Files whose whole name, without the suffix, is one of the words."""
    return [file for file in files if PurePath(file).stem.lower() in words]


def _mentions(name: str, words: Iterable[str]) -> bool:
    """Whether a name has one of the words as a part: `my_train-v2.csv` mentions train, `constrained.csv` does not."""
    return any(part in words for part in re.split(r"[^a-z]+", name.lower()))


def _check_same_kind(split: str, files: Sequence[str], source: str) -> None:
    """Refuse the files of a split that may hold the same rows twice: train.csv and train.jsonl, train and training."""
    several_suffixes = any(PurePath(file).suffix != PurePath(files[0]).suffix for file in files)
    if several_suffixes or len(_files_called(SPLIT_NAMES[split], files)) > 1:
        raise DataError(
            f"{source} has several files for {split}: {', '.join(map(os.path.basename, files))}; "
            f"name one of them: dataset.{split}=<file>"
        )


def _are_parallel(files: Sequence[str]) -> bool:
    """Whether the files differ only in their language, as train.en and train.de, or train.en.txt and train.de.txt."""
    stems, suffixes = set(), set()
    for file in files:
        name = file.removesuffix(".txt")
        stems.add(os.path.splitext(name)[0])
        suffixes.add(PurePath(name).suffix.lower())
    # train.csv and train.json have one stem too, but their suffixes are not languages.
    return len(stems) == 1 and len(suffixes) == len(files) > 1 and not suffixes & {*SUFFIXES, ""}


def _read_parallel(files: Sequence[str]) -> Dataset:
    """Read the lines of the files side by side, into one column for each, named after its suffix.

    Raises:
        DataError: They have different numbers of lines.
    """
    import datasets

    columns, counts = [], {}
    for file in files:
        language = PurePath(file.removesuffix(".txt")).suffix.lstrip(".")
        lines = read_lines(file)
        counts[language] = len(lines)
        columns.append(lines.rename_column("text", language))
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{language} {count}" for language, count in counts.items())
        raise DataError(
            f"{', '.join(files)} have different numbers of lines: {listed}; line n of each must be the same text"
        )
    return datasets.concatenate_datasets(columns, axis=1)


# --- the Hub and `load_dataset` ----------------------------------------------------------------------------------


def _from_hub(keywords: dict[str, Any], reader: _FileReader) -> dict[str, Dataset]:
    import datasets

    # Names such as "csv" or "json" mean a format and not a Hub id.
    is_format = _upstream.is_file_format(keywords["path"])
    if is_format and len(keywords) == 1:
        raise NotFoundError(
            f"there is no file or folder {keywords['path']}; as a format it needs its files: dataset.data_files=<file>"
        )
    # A format takes keywords of its reader, which the signature of load_dataset does not list.
    if not is_format:
        _check_keywords(keywords)
    keywords["path"] = local_path(keywords["path"])
    if os.path.exists(keywords["path"]) and len(keywords) == 1:
        return _from_path(keywords["path"], reader)
    try:
        files = _local_files(keywords, is_format=is_format)
        if files:
            # `datasets` looks only at modification times, and would return the old rows after a file is replaced.
            keywords.setdefault("cache_dir", str(cache_folder(*files, content_key(*files))))
        return read_source(datasets.load_dataset(**keywords))
    except HFRecipesError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise NotFoundError(
            f"dataset {keywords['path']!r} is not a file or folder here, and loading it from the Hub failed: {reason}"
        ) from error


def _check_keywords(keywords: Iterable[str]) -> None:
    """Refuse keywords that `load_dataset` does not have; it would pass them on, and fail with a less clear error."""
    import datasets

    known = inspect.signature(datasets.load_dataset).parameters
    problems = []
    for key in keywords:
        if key not in known:
            problems.append(f"dataset: unknown key {key}{nearest(key, known)}")
    if problems:
        raise ConfigError(problems)


def _local_files(keywords: Mapping[str, Any], *, is_format: bool) -> list[str]:
    """Files on this machine that `load_dataset` would read; none where the path is a Hub id."""
    folder = keywords.get("data_dir") or ""
    if not is_format:
        if not os.path.isdir(keywords["path"]):
            return []
        folder = os.path.join(keywords["path"], folder)
    patterns = _patterns(keywords.get("data_files") or [])
    if not patterns and folder:
        patterns = ["**"]
    files: set[str] = set()
    for pattern in patterns:
        for path in glob.glob(os.path.join(folder, pattern), recursive=True):
            if os.path.isfile(path):
                files.add(os.path.abspath(path))
    return sorted(files)


def _patterns(data_files: Any) -> list[Any]:
    """The paths and globs in `data_files`: a single one, a list of them, or split -> either."""
    groups = list(data_files.values()) if isinstance(data_files, Mapping) else [data_files]
    patterns: list[Any] = []
    for group in groups:
        if isinstance(group, str | os.PathLike):
            patterns.append(group)
        else:
            patterns.extend(group)
    return patterns
