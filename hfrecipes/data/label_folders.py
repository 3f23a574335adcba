"""Folders that are labels and hold a file for each text, as reviews and news are published: pos/1.txt, neg/1.txt."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from ..errors import counted
from ..log import log
from .opening import suffix_of

_FEWEST = 2  # folders that are labels, and files in each of them
_UNLABELLED = ("unsup", "unlabeled", "unlabelled")  # folders of texts without a label


def folders_of(files: Sequence[str]) -> dict[str, list[str]]:
    """Label -> files of its folder; empty where the files of a split are not in such folders.

    Example:
        >>> folders_of(["reviews/neg/1.txt", "reviews/neg/2.txt", "reviews/pos/3.txt", "reviews/pos/4.txt"])
        {'neg': ['reviews/neg/1.txt', 'reviews/neg/2.txt'], 'pos': ['reviews/pos/3.txt', 'reviews/pos/4.txt']}
    """
    root = os.path.commonpath(list(map(os.path.dirname, files)))
    folders: dict[str, list[str]] = {}
    for file in files:
        label, *inside = os.path.relpath(file, root).split(os.sep)
        if suffix_of(file) != ".txt":
            return {}
        # Files beside the folders, such as lists of addresses, are no texts to classify.
        if inside and label.lower() not in _UNLABELLED:
            folders.setdefault(label, []).append(file)
    are_labels = len(folders) >= _FEWEST and min(map(len, folders.values())) >= _FEWEST
    return folders if are_labels else {}


def log_folders(split: str, files: Sequence[str], folders: Mapping[str, Sequence[str]]) -> None:
    """Print that folders are read as labels, and how many files have none."""
    without = len(files) - sum(map(len, folders.values()))
    left_out = f"; {counted(without, 'file')} without such a folder not used" if without else ""
    log(f"{split}: each file is read as a text, with its folder as the label{left_out}")
