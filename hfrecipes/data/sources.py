"""Read rows, by split, from any source: Hub ids, files, folders, globs, URLs and Python objects."""

from __future__ import annotations

import copy
import glob
import inspect
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa

from .. import _upstream
from ..characters import shortened
from ..config.blocks import local_path
from ..errors import ConfigError, DataError, HFRecipesError, NotFoundError, counted, nearest, when_offline
from ..log import log
from ..masking import cause, mask_text
from . import label_folders, plain
from .cache import content_key
from .files import cache_folder, read_document, read_file, read_lines
from .folders import (
    are_parallel,
    check_same_kind,
    data_files,
    files_by_split,
    is_saved_dataset,
    language_of,
    listed,
    parallel_groups,
)
from .input_names import GLOB, SUFFIXES, refuse_missing
from .label_files import without_label_files
from .markup import without_notes, without_segments
from .opening import suffix_of

if TYPE_CHECKING:
    from datasets import Dataset


# Files that rows were joined from, as long as the rows are used.
_FILES: WeakKeyDictionary[Any, list[tuple[str, int]]] = WeakKeyDictionary()
_FORMATS = ("csv", "json", "parquet", "arrow")  # names of formats for `load_dataset` that are read here


@dataclass(frozen=True)
class _FileReader:
    """How the files of one source are read."""

    header: bool | None
    """Whether tables name their columns; None to tell it from their rows."""
    formats: tuple[str, ...]
    """How files that are not tables are read, as in `Recipe.formats`."""
    encoding: str | None = None
    """Encoding of files of text; told from their bytes where not given."""

    def read(self, path: str) -> Dataset:
        """Read one file."""
        return read_file(path, header=self.header, formats=self.formats, encoding=self.encoding)


def read_source(source: Any, *, header: bool | None = True, formats: tuple[str, ...] = ()) -> dict[str, Dataset]:
    """Read a source into rows by split; a source without splits becomes `train`.

    Args:
        source: Hub id, file, folder, glob, URL, list of files, split -> any of these, keywords of `load_dataset`, or
            rows. A dict of paths may have `encoding` and `header`, which say how files are read.
        header: Whether tables name their columns; None to tell it from their rows.
        formats: How files that are not tables are read, as in `Recipe.formats`.

    Raises:
        ConfigError: A keyword of `load_dataset` does not exist.
        DataError: The rows cannot be read, or the names of the files do not tell their splits.
        NotFoundError: There is no such file, folder or dataset.
    """
    source, reader = _with_settings(source, _FileReader(header, formats))
    return _read(source, reader)


def _read(source: Any, reader: _FileReader) -> dict[str, Dataset]:
    import datasets

    if isinstance(source, datasets.DatasetDict):
        return {str(split): plain.plain_dataset(rows) for split, rows in source.items()}
    if isinstance(source, datasets.Dataset):
        return {"train": plain.plain_dataset(source)}
    # Shuffling, folds and the baseline need to know how many rows there are.
    if isinstance(source, datasets.IterableDataset | datasets.IterableDatasetDict):
        raise DataError("found a streamed dataset, expected one with a length: load it without streaming=True")
    if isinstance(source, Mapping) and set(source) == {"path"}:
        return _read(source["path"], reader)
    # A list is a column of cells that has this name.
    if isinstance(source, Mapping) and "path" in source and not is_column(source["path"]):
        return _from_hub(dict(source), reader)
    if isinstance(source, Mapping) and source and _are_splits(source):
        return {str(split): _read_split(str(split), part, reader) for split, part in source.items()}
    if isinstance(source, str | os.PathLike):
        return _from_path(local_path(os.fspath(source)), reader)
    if _are_files(source):
        return {"train": _read_split("train", source, reader)}
    return {"train": _from_rows(source)}


def _with_settings(source: Any, reader: _FileReader) -> tuple[Any, _FileReader]:
    """The source without the keys that say how its files are read, and a reader that reads them so.

    Raises:
        ConfigError: The value of such a key is of the wrong type.
    """
    if not isinstance(source, Mapping):
        return source, reader
    settings = {name: source[name] for name in ("encoding", "header") if name in source}
    rest = {name: value for name, value in source.items() if name not in settings}
    paths = rest if "path" not in rest else {"path": rest["path"]}
    # Columns of cells may have these names too.
    if not settings or not paths or not all(isinstance(part, str | os.PathLike | list) for part in paths.values()):
        return source, reader
    if _upstream.is_file_format(str(rest.get("path"))) and not _is_read_here(source):
        return source, reader
    if not isinstance(settings.get("encoding", ""), str):
        raise ConfigError(f"dataset.encoding: found {settings['encoding']!r}, expected a name such as latin-1")
    if not isinstance(settings.get("header", True), bool):
        raise ConfigError(f"dataset.header: found {settings['header']!r}, expected true or false")
    return rest, replace(reader, **settings)


def is_column(value: Any) -> bool:
    """Whether the value of a dict is a column of cells, as in {"text": ["a", "b"]}, and not a split."""
    return isinstance(value, list | np.ndarray) and (not len(value) or not isinstance(value[0], Mapping))


def _are_splits(parts: Mapping[Any, Any]) -> bool:
    """Whether the values of a dict are splits, and not columns of cells."""
    first = next(iter(parts.values()))
    return not (is_column(first) or hasattr(first, "dtype")) or _are_files(first)


def _are_files(value: Any) -> bool:
    """Whether this is a list of files, and not a column of texts."""
    if not isinstance(value, list | tuple) or not value:
        return False
    if not all(isinstance(entry, str | os.PathLike) for entry in value):
        return False
    return all(_looks_like_file(local_path(os.fspath(entry))) for entry in value)


def _looks_like_file(path: str) -> bool:
    # A text may be long, which no path is.
    if len(path) > 1000 or "\n" in path:
        return False
    is_named_so = " " not in path and suffix_of(path) in SUFFIXES
    return is_named_so or os.path.isfile(os.path.expanduser(path))


def are_positions(columns: Mapping[str, Any]) -> bool:
    """Whether `columns` names columns by their position, as in a file without header."""
    for name in columns.values():
        if any(isinstance(part, int) for part in (name if isinstance(name, list) else [name])):
            return True
    return False


def header_of(columns: Mapping[str, Any]) -> bool | None:
    """Whether tables are read with a header: always where columns are given by name, else as their rows tell."""
    return None if are_positions(columns) else True


def read_single_split(source: Any, *, header: bool | None = True, formats: tuple[str, ...] = ()) -> Dataset:
    """Read a source that has no splits.

    Raises:
        DataError: It has several.
    """
    source, reader = _with_settings(source, _FileReader(header, formats))
    return _read_split(None, source, reader)


def _read_split(split: str | None, source: Any, reader: _FileReader) -> Dataset:
    """Read the source of one split; several files of it are joined.

    Raises:
        DataError: The source has several splits.
    """
    files = _files_of_split(source)
    if files is not None:
        return _read_several(split or "the rows", files, reader)
    splits = _read(source, reader)
    if len(splits) != 1:
        raise DataError(f"found the splits {', '.join(splits)}, expected a source without splits: name a single file")
    return next(iter(splits.values()))


def _files_of_split(source: Any) -> list[str] | None:
    """The files that a list or a glob names; None for any other source.

    Raises:
        NotFoundError: The glob fits no file.
    """
    if _are_files(source):
        files = []
        for entry in source:
            path = os.path.expanduser(local_path(os.fspath(entry)))
            files += _files_of_split(path) or [path]
        return files
    if not isinstance(source, str | os.PathLike):
        return None
    path = os.path.expanduser(local_path(os.fspath(source)))
    if "://" in path or os.path.exists(path) or not GLOB.search(path):
        return None
    files = sorted(filter(os.path.isfile, glob.glob(path, recursive=True)))
    if not files:
        raise NotFoundError(
            f"no file fits {path} (looked from {os.getcwd()}): expected a pattern such as data/*.csv that some do"
        )
    return files


# --- Python objects ----------------------------------------------------------------------------------------------


def _from_rows(source: Any) -> Dataset:
    import pandas as pd

    if isinstance(source, pd.Series):
        raise DataError("found a Series, expected rows with several columns: to_frame() makes a DataFrame of it")
    # A reader of arrow is read at once.
    if isinstance(source, Iterator) and not hasattr(source, "__arrow_c_stream__"):
        raise DataError("found an iterator, which can be read only once, expected a list of rows: list(…) makes one")
    try:
        if isinstance(source, pd.DataFrame):
            return _from_frame(source)
        # Column by column, as arrow cannot read all types of polars.
        if hasattr(source, "get_columns"):
            return plain.dataset_of_columns({column.name: column for column in source.get_columns()})
        # Tables of arrow, results of a database; a single column has a type.
        if hasattr(source, "__arrow_c_stream__") and not (hasattr(source, "dtype") or hasattr(source, "type")):
            return plain.dataset_of_table(pa.table(source))
        if isinstance(source, Mapping):
            return plain.dataset_of_columns(source)
        if isinstance(source, Sequence) and source and all(isinstance(row, Mapping) for row in source):
            return plain.dataset_of_columns(plain.columns_of(source))
    except (TypeError, ValueError, pa.ArrowException) as error:
        if isinstance(error, HFRecipesError):
            raise
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"the rows do not fit into columns ({reason}): give each column cells of one type, one for each row"
        ) from error
    raise DataError(
        f"found {type(source).__name__}, expected a Hub id, a file, a folder, a DataFrame, a Dataset or a list of dicts"
        + (": collect() makes a DataFrame of it" if hasattr(source, "collect") else "")
    )


def _from_frame(frame: Any) -> Dataset:
    """Rows of a DataFrame of pandas."""
    if frame.index.name is not None:
        log(f"the index {frame.index.name!r} of the DataFrame is not read: reset_index() makes it a column")
    columns: dict[str, Any] = {}
    for name, cells in frame.items():
        if str(name) in columns:
            raise DataError(f"the DataFrame has two columns named {str(name)!r}: rename one of them")
        columns[str(name)] = cells
    return plain.dataset_of_columns(columns)


# --- files and folders -------------------------------------------------------------------------------------------


def _from_path(path: str, reader: _FileReader) -> dict[str, Dataset]:
    path = os.path.expanduser(path)
    if "://" in path:
        return {"train": reader.read(path)}
    if os.path.isdir(path):
        if is_saved_dataset(path):
            return _read(_load_saved(path), reader)
        return _from_files(sorted(data_files(path, reader.formats)), path, reader)
    if os.path.exists(path):
        return {"train": reader.read(path)}
    if GLOB.search(path):
        matches = glob.glob(path, recursive=True)
        return _from_files(sorted(filter(os.path.isfile, matches)), path, reader)
    refuse_missing(path)
    return _from_hub({"path": path}, reader)


def _from_files(files: list[str], source: str, reader: _FileReader) -> dict[str, Dataset]:
    """Group files by the split that their names tell, and read them."""
    files = without_segments(files)
    if not files:
        raise NotFoundError(f"no data file in {source}: expected {', '.join(SUFFIXES)}")
    files_of = files_by_split(without_label_files(files))
    is_parallel = "parallel" in reader.formats and all(map(are_parallel, files_of.values()))
    # All splits are checked before the first is read, which may take minutes.
    for split in files_of:
        if not is_parallel:
            check_same_kind(split, files_of, source, parallel="parallel" in reader.formats)
    return {split: _read_several(split, split_files, reader) for split, split_files in files_of.items()}


def _read_several(split: str, files: Sequence[str], reader: _FileReader) -> Dataset:
    """Read the files of a split, one after the other, or side by side where they differ only in their language.

    Raises:
        DataError: A file is listed twice.
    """
    _refuse_file_twice(split, files)
    groups = parallel_groups(files) if "parallel" in reader.formats else None
    if len(files) > (len(groups[0]) if groups else 1):
        log(f"{split} is read from {counted(len(files), 'file')}: {listed(files)}")
    if groups:
        return plain.joined([_read_parallel(group, reader) for group in groups])
    folders = {} if reader.formats else label_folders.folders_of(files)
    if folders and all(reader.read(texts[0]).column_names == ["text"] for texts in folders.values()):
        label_folders.log_folders(split, files, folders)
        return _read_label_folders(folders, reader)
    parts = [reader.read(file) for file in files]
    rows = plain.joined(parts)
    if len(parts) > 1:
        _FILES[rows] = [(mask_text(file), len(part)) for file, part in zip(files, parts, strict=True)]
    return rows


def _read_label_folders(folders: Mapping[str, Sequence[str]], reader: _FileReader) -> Dataset:
    """A row per file: its text, and its folder as the label."""
    rows: dict[str, list[str]] = {"text": [], "label": []}
    for label, files in folders.items():
        for file in files:
            rows["text"].append(read_document(file, reader.encoding))
            rows["label"].append(label)
    return plain.dataset_of_columns(rows)


def _refuse_file_twice(split: str, files: Sequence[str]) -> None:
    # By name: folders downloaded from the Hub hold links, and two that lead to the same content are two files.
    names = set()
    for file in files:
        name = file if "://" in file else os.path.abspath(file)
        if name in names:
            raise DataError(
                f"{split}: found the file {mask_text(file)} twice, and its rows would count twice: leave it out once"
            )
        names.add(name)


def files_of(rows: Dataset) -> list[tuple[str, int]]:
    """Name and number of rows of each file that rows were joined from, as they were read; empty for a single file."""
    return _FILES.get(rows, [])


def _read_parallel(files: Sequence[str], reader: _FileReader) -> Dataset:
    """Read the lines of the files side by side, into one column for each, named after its suffix.

    Raises:
        DataError: They have different numbers of lines.
    """
    import datasets

    columns, counts = [], {}
    for file in files:
        language = language_of(file)
        lines = read_lines(file, reader.encoding)
        counts[language] = len(lines)
        columns.append(lines.rename_column("text", language))
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{language} {count}" for language, count in counts.items())
        raise DataError(
            f"{', '.join(files)} have different numbers of lines: {shown}; line n of each must be the same text"
        )
    return without_notes(datasets.concatenate_datasets(columns, axis=1))


def _load_saved(path: str) -> Any:
    """A Dataset or DatasetDict that `save_to_disk` wrote.

    Raises:
        DataError: The folder is incomplete, or damaged.
    """
    import datasets

    try:
        saved = datasets.load_from_disk(path)
        for rows in saved.values() if isinstance(saved, datasets.DatasetDict) else [saved]:
            rows.data.validate(full=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        problem = f"is incomplete or damaged ({reason})"
        raise DataError(f"{path} was written by save_to_disk and {problem}: save it again") from error
    return saved


# --- the Hub and `load_dataset` ----------------------------------------------------------------------------------


def _from_hub(keywords: dict[str, Any], reader: _FileReader) -> dict[str, Dataset]:
    import datasets

    keywords = copy.deepcopy(keywords)  # `datasets` adds to the options of the storage, which are compared with others
    # Names such as "csv" or "json" mean a format and not a Hub id.
    is_format = _upstream.is_file_format(keywords["path"])
    if is_format and len(keywords) == 1:
        raise NotFoundError(
            f"there is no file or folder {keywords['path']}; as a format it needs its files: dataset.data_files=<file>"
        )
    if _is_read_here(keywords):
        return _from_data_files(keywords, reader)
    # A format takes keywords of its reader, which the signature of load_dataset does not list.
    if not is_format:
        _check_keywords(keywords)
    keywords["path"] = local_path(keywords["path"])
    if os.path.exists(keywords["path"]) and len(keywords) == 1:
        return _from_path(keywords["path"], reader)
    if keywords["path"].endswith(".py"):
        raise DataError(
            f"{keywords['path']} is a script that loads a dataset, and such scripts are not run: give its files, "
            "dataset=<file or folder>"
        )
    try:
        files = _local_files(keywords, is_format=is_format)
        if files:
            # `datasets` looks only at modification times, and would return the old rows after a file is replaced.
            keywords.setdefault("cache_dir", str(cache_folder(*files, content_key(*files))))
        return _read(datasets.load_dataset(**keywords), reader)
    except HFRecipesError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise NotFoundError(
            f"dataset {keywords['path']!r} is not a file or folder here, and loading it from the Hub failed"
            f"{when_offline()}: {reason}"
        ) from cause(error)


def _is_read_here(keywords: Mapping[str, Any]) -> bool:
    """Whether these are files that are read here, so that their cells stay what they are."""
    if "data_files" not in keywords or not set(keywords) <= {"path", "data_files", "encoding", "header"}:
        return False
    return keywords["path"] in _FORMATS or os.path.isdir(os.path.expanduser(str(keywords["path"])))


def _from_data_files(keywords: Mapping[str, Any], reader: _FileReader) -> dict[str, Dataset]:
    """Read the files of `data_files`: a path or glob, a list of them, or split -> either."""
    folder = "" if keywords["path"] in _FORMATS else os.path.expanduser(keywords["path"])
    files = keywords["data_files"]
    splits = dict(files) if isinstance(files, Mapping) else {"train": files}
    rows = {}
    for split, entries in splits.items():
        paths: list[str] = []
        for entry in _patterns(entries):
            path = os.path.join(folder, local_path(os.fspath(entry)))
            paths += _files_of_split(path) or [path]
        rows[str(split)] = _read_several(str(split), paths, reader)
    return rows


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
        patterns += group if isinstance(group, list | tuple) else [group]
    for pattern in patterns:
        if not isinstance(pattern, str | os.PathLike):
            raise ConfigError(
                f"dataset.data_files: found {shortened(repr(pattern), 80)}, expected a path, a list of paths, or one "
                "of the two for each split"
            )
    return patterns
