"""What the name of an input means: a file, another source of rows, or a text to predict."""

from __future__ import annotations

import glob
import os
import re
from pathlib import PurePath

from ..errors import NotFoundError
from .opening import COMPRESSED_SUFFIXES, suffix_of

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".arrow", ".txt", ".xlsx")
GLOB = re.compile(r"[*?\[]")


def refuse_missing(path: str) -> None:
    """Refuse what looks like a file or folder, and is not there.

    A name such as reviews.csv or a/b/c is a path with a typing error, not a Hub id: Hub ids are <user>/<name>.

    Raises:
        NotFoundError: There is nothing of that name.
    """
    if "://" in path or os.path.exists(path) or glob.glob(path, recursive=True):
        return
    looks_like_file = suffix_of(path) in SUFFIXES or (PurePath(path).suffix and "/" not in path)
    if looks_like_file or path.startswith((".", "/", "~")) or path.count("/") > 1:
        raise NotFoundError(f"there is no file or folder {path} (looked from {os.getcwd()})")


def is_text(name: str) -> bool:
    """Whether an input of the command line is a text to predict, and not the name of a file, a folder or a dataset.

    Example:
        >>> is_text("Where is my parcel?"), is_text("很好，推荐"), is_text("reviews.csv"), is_text("me/reviews")
        (True, True, False, False)
    """
    path = os.path.expanduser(name)
    if "://" in name or os.path.exists(path) or (GLOB.search(path) and glob.glob(path, recursive=True)):
        return False
    if suffix_of(name) in SUFFIXES or name.lower().endswith(COMPRESSED_SUFFIXES):
        return False
    # Names of files may have blanks too, but then they have a suffix, or exist.
    return any(map(str.isspace, name)) or not name.isascii() or not ("/" in name or name.startswith((".", "~")))


def is_data(name: str) -> bool:
    """Whether this is the name of rows, and not of settings: a table, or a file of JSON that starts with a list."""
    suffix = suffix_of(name)
    if suffix != ".json":
        is_folder = os.path.isdir(name) and not os.path.exists(os.path.join(name, "recipe.yaml"))
        return suffix in SUFFIXES or is_folder
    try:
        with open(name, encoding="utf-8-sig") as file:
            return file.read(1000).lstrip().startswith("[")
    except (OSError, UnicodeDecodeError):
        return False
