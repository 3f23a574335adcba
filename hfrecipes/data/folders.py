"""Files of a folder: which of them hold rows, and the split that their names tell."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import NoReturn

from ..errors import DataError
from ..log import log
from .files import SUFFIXES
from .opening import suffix_of, without_compression

# Words in the name of a file or of a split that tell which split it is.
SPLIT_NAMES = {
    "train": ("train", "training", "trn"),
    "validation": ("validation", "valid", "val", "dev", "devel", "development", "testa"),
    "test": ("test", "testing", "tst", "testb"),  # CoNLL-2002 and CoNLL-2003 have testa and testb
}
# What `save_to_disk` leaves in its folder beside the rows.
_SAVED = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
_SHOWN = 8  # files that a line lists
_REFERENCE = re.compile(r"\.\d{1,2}$")  # number of one of several translations, as in test.de.0
_YEAR = re.compile(r"(19|20)\d\d")


def is_saved_dataset(folder: str) -> bool:
    """Whether the folder was written by `save_to_disk`, of a Dataset or of a DatasetDict.

    Raises:
        DataError: The folder cannot be read.
    """
    try:
        names = os.listdir(folder)
    except OSError as error:
        _refuse(error)
    if "dataset_dict.json" in names:
        return True
    # dataset_info.json alone also stands beside files of rows.
    return "state.json" in names and any(name.endswith(".arrow") for name in names)


def data_files(folder: str, formats: Iterable[str]) -> Iterator[str]:
    """Find the files of rows below a folder; hidden files and those that start with "_" are left out.

    CoNLL and parallel texts are published with any suffix, so where the task reads these, a file whose name tells its
    split counts too.

    Raises:
        DataError: A folder cannot be read.
    """
    split_words: set[str] = set()
    if {"conll", "parallel"} & set(formats):
        split_words.update(*SPLIT_NAMES.values())
    for parent, subfolders, names in os.walk(folder, onerror=_refuse):
        # os.walk goes only into the folders that are left in this list.
        subfolders[:] = [name for name in subfolders if not name.startswith((".", "_"))]
        for name in names:
            is_data = suffix_of(name) in SUFFIXES or _mentions(name, split_words)
            if not is_data and name.lower().endswith((".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".rar")):
                log(f"{os.path.join(parent, name)} is not read: unpack it, or name it, dataset.train=<file>")
            if not is_data or name.startswith((".", "_")) or name in _SAVED:
                continue
            path = os.path.join(parent, name)
            if os.path.isfile(path):
                yield path
            # Reading a pipe or a device may never end.
            else:
                log(f"{path} is not used: it is no file that can be read, but a pipe, a device or a link to nothing")


def _refuse(error: OSError) -> NoReturn:
    raise DataError(f"cannot read the folder {error.filename}: {error.strerror}") from error


# --- splits ------------------------------------------------------------------------------------------------------


def files_by_split(files: Sequence[str]) -> dict[str, list[str]]:
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


def _stem(file: str) -> str:
    """Name of a file in lower case, without its suffix and that of a compression."""
    return PurePath(_REFERENCE.sub("", without_compression(file))).stem.lower()


def _files_called(words: Iterable[str], files: Iterable[str]) -> list[str]:
    """Files whose whole name, without the suffix, is one of the words."""
    return [file for file in files if _stem(file) in words]


def _mentions(name: str, words: Iterable[str]) -> bool:
    """Whether a name has one of the words as a part: `my_train-v2.csv` mentions train, `constrained.csv` does not."""
    return any(part in words for part in re.split(r"[^a-z]+", name.lower()))


def check_same_kind(split: str, files_of: Mapping[str, Sequence[str]], source: str, *, parallel: bool) -> None:
    """Refuse the files of a split that may not belong together.

    They may hold the same rows twice, as train.csv and train.jsonl do, or be two sets, as dev-en.csv and dev-de.csv.

    Args:
        split: Name of the split.
        files_of: Files of each split.
        source: The folder, for the error.
        parallel: Whether the task reads parallel texts, of which a pair of files is a whole.
    """
    files = files_of[split]
    pairs = parallel_groups(files) if parallel else None
    if pairs and len(pairs) > 1:
        pair = os.path.join(os.path.dirname(pairs[-1][0]), f"{_pair_stem(pairs[-1][0])}.*")
        raise DataError(
            f"{source} has several pairs of files for {split}: {listed(files)}; name a pair, dataset.{split}='{pair}', "
            f"or all of them, dataset.{split}='{os.path.join(os.path.dirname(pair), '*')}'"
        )
    several_suffixes = len(set(map(suffix_of, files))) > 1
    # Only names that tell the split can tell two sets; in a folder of that name all files are parts.
    names = {_series(file) for file in files if _mentions(_stem(file), SPLIT_NAMES[split])}
    if several_suffixes or len(names) > 1 or len(_files_called(SPLIT_NAMES[split], files)) > 1:
        joined = f"[{','.join(files)}]"
        more = f", or to join them, dataset.{split}={joined}" if len(joined) < 200 and not several_suffixes else ""
        named = []
        for other, other_files in files_of.items():
            named.append(f"dataset.{other}={other_files[0] if len(other_files) == 1 else '<file>'}")
        raise DataError(
            f"{source} has several files for {split}: {listed(files)}; name one of them: {' '.join(named)}{more}"
        )


def _series(file: str) -> str:
    """Name of a file without what numbers the parts of one set; years are no such numbers."""
    parts = []
    for part in re.split(r"[^a-z0-9]+", _stem(file)):
        is_number = re.search(r"\d", part) and not _YEAR.search(part)
        parts.append(re.sub(r"[0-9a-f]*\d[0-9a-f]*", "#", part) if is_number else part)
    return "-".join(parts)


def listed(files: Sequence[str]) -> str:
    """Names of files for a sentence, the first few of many."""
    more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
    return ", ".join(map(os.path.basename, files[:_SHOWN])) + more


# --- parallel texts ----------------------------------------------------------------------------------------------


def _pair_stem(file: str) -> str:
    """Name of a file without its language."""
    return os.path.splitext(os.path.basename(_untexted(file)))[0]


def _untexted(file: str) -> str:
    """Name of a file without the suffix .txt and that of a compression; `x.de0` for `x.de.0`."""
    name = without_compression(file).removesuffix(".txt")
    match = _REFERENCE.search(name)
    return name if match is None else match.string[: match.start()] + match[0].lstrip(".")


def language_of(file: str) -> str:
    """The language that a file of parallel texts has as its suffix: `de` of train.de and train.de.txt.

    Example:
        >>> language_of("train.de.txt"), language_of("test.de.0")
        ('de', 'de0')
    """
    return PurePath(_untexted(file)).suffix.lstrip(".")


def are_parallel(files: Sequence[str]) -> bool:
    """Whether the files differ only in their language, as train.en and train.de, or train.en.txt and train.de.txt."""
    stems, suffixes = set(), set()
    for file in files:
        stems.add(os.path.splitext(_untexted(file))[0])
        suffixes.add(PurePath(_untexted(file)).suffix.lower())
    # train.csv and train.json have one stem too, but their suffixes are not languages.
    return len(stems) == 1 and len(suffixes) == len(files) > 1 and not suffixes & {*SUFFIXES, ""}


def parallel_groups(files: Sequence[str]) -> list[list[str]] | None:
    """The files grouped into parallel texts; None where some of them have no other language beside them."""
    groups: dict[str, list[str]] = {}
    for file in files:
        groups.setdefault(os.path.splitext(_untexted(file))[0], []).append(file)
    languages = {tuple(sorted(map(language_of, group))) for group in groups.values()}
    are_groups = len(languages) == 1 and all(map(are_parallel, groups.values()))
    return list(groups.values()) if are_groups else None
