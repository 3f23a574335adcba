"""What reads text that others wrote, each as a function of bytes that raises no error but ours."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

# Each text is a file of its own in the cache, which is thrown away.
os.environ.setdefault("HF_DATASETS_CACHE", tempfile.mkdtemp(prefix="hfrecipes-fuzz-"))
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from hfrecipes import HFRecipesError
from hfrecipes.config.overrides import parse_overrides
from hfrecipes.config.recipe_files import read_recipe_file
from hfrecipes.data.sources import read_source
from hfrecipes.data.standard_input import read_rows
from hfrecipes.training.configuration import configure

FOLDER = Path(tempfile.mkdtemp(prefix="hfrecipes-fuzz-"))
LONGEST = 2000  # characters of a sentence
_CACHED = 2000  # texts after which the cache is emptied
_number = 0


def recipe(content: bytes) -> None:
    """A recipe file, and the settings that it gives."""
    file = FOLDER / "recipe.yaml"
    file.write_bytes(content)
    read_recipe_file(file)
    configure(str(file), {})


def recipe_alone(content: bytes) -> None:
    """A recipe file, of which the settings are not looked at."""
    file = FOLDER / "recipe.yaml"
    file.write_bytes(content)
    read_recipe_file(file)


def words_alone(content: bytes) -> None:
    """Words of a command line, of which the settings are not looked at."""
    parse_overrides(content.decode("utf-8", "surrogateescape").split("\n"))


def words(content: bytes) -> None:
    """Words of a command line, a line each."""
    given = content.decode("utf-8", "surrogateescape").split("\n")
    configure("text-classification", parse_overrides(given))


def standard_input(content: bytes) -> None:
    """Rows to predict on standard input."""
    read_rows(io.BytesIO(content))


def rows_as(suffix: str) -> Callable[[bytes], None]:
    """A file of rows with a suffix."""

    def read(content: bytes) -> None:
        global _number
        _number += 1
        if _number % _CACHED == 0:
            shutil.rmtree(os.environ["HF_DATASETS_CACHE"], ignore_errors=True)
        file = FOLDER / f"rows.{suffix}"
        file.write_bytes(content)
        for split in read_source(str(file)).values():
            split[: min(len(split), 3)]

    return read


TARGETS: dict[str, Callable[[bytes], None]] = {
    "recipe": recipe,
    "recipe_alone": recipe_alone,
    "words": words,
    "words_alone": words_alone,
    "standard_input": standard_input,
    **{suffix: rows_as(suffix) for suffix in ("jsonl", "json", "csv", "tsv", "txt", "conll", "zip", "jsonl.gz")},
}


def try_on(name: str, content: bytes) -> None:
    """Read bytes; an error of ours is an answer."""
    try:
        TARGETS[name](content)
    except HFRecipesError as error:
        if not 0 < len(str(error)) <= LONGEST:
            raise ValueError(f"a sentence of {len(str(error))} characters") from error
