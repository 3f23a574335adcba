"""The predictions made so far, in a file next to the output, so that the same command continues after a kill."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .._version import __version__
from ..data.cache import content_key
from ..log import log
from ..recipe import Row
from ..run_folder import contents, manifest
from ..run_folder.lock import locked
from ..run_folder.writing import as_json_line

SUFFIX = ".partial"


class Partial:
    """A JSON line with the keys of model and rows, then a line for each prediction.

    Attributes:
        path: The file, which is deleted once the output is whole.
        done: Number of predictions in it.
    """

    def __init__(self, output: Path, made_of: Mapping[str, str]) -> None:
        self.path = output.with_name(output.name + SUFFIX)
        self.made_of = dict(made_of)
        self.done = 0

    @contextlib.contextmanager
    def opened(self) -> Iterator[Partial]:
        """Keep other processes out, go on from what is there, and start again where that belongs to something else.

        Raises:
            OutputError: Another process writes the same output.
        """
        lock = self.path.with_name(self.path.name + ".lock")
        refusal = f"{self.path} is being written by another command: wait, or write elsewhere"
        with locked(lock, lambda: refusal):
            self._resume()
            yield self

    def _resume(self) -> None:
        if not self.path.exists():
            self.path.write_text(json.dumps(self.made_of) + "\n", encoding="utf-8")
            return
        whole, made_of, lines = self._whole_lines()
        changed = [what for what, key in self.made_of.items() if made_of.get(what) != key]
        if changed:
            log(f"{self.path} belongs to another {' and '.join(changed)}: starting again from the first row")
            self.path.write_text(json.dumps(self.made_of) + "\n", encoding="utf-8")
            return
        with open(self.path, "r+b") as file:
            file.truncate(whole)  # a killed process may have left half a line
        self.done = lines
        log(f"{lines} predictions are in {self.path} already: continuing from there")

    def _whole_lines(self) -> tuple[int, dict[str, Any], int]:
        """Number of bytes that are whole lines, what they are made of, and the number of predictions."""
        size, lines = 0, 0
        made_of: dict[str, Any] = {}
        with open(self.path, "rb") as file:
            for line in file:
                try:
                    content = json.loads(line)
                except ValueError:
                    break
                if not line.endswith(b"\n"):
                    break
                if not size:
                    made_of = content if isinstance(content, dict) else {}
                size += len(line)
                lines += 1
        return size, made_of, lines - 1

    def append(self, predictions: Sequence[Row | None]) -> None:
        """Add predictions, so that they outlive the process."""
        with open(self.path, "a", encoding="utf-8") as file:
            for prediction in predictions:
                file.write(as_json_line(prediction) + "\n")
        self.done += len(predictions)

    def predictions(self) -> Iterator[Row | None]:
        """All predictions, in the order of the rows."""
        with open(self.path, encoding="utf-8") as lines:
            next(lines)
            for line in lines:
                yield json.loads(line)

    def delete(self) -> None:
        """Delete the file."""
        self.path.unlink()


def model_key(folder: Path | None) -> str:
    """A key that changes with the weights and the settings of a saved run."""
    digest = hashlib.sha256(__version__.encode())
    if folder is None:
        return digest.hexdigest()
    names = [name for name in (manifest.MANIFEST, contents.RECIPE) if (folder / name).is_file()]
    # A model without a manifest is known by its files.
    files = [folder / name for name in names] if manifest.MANIFEST in names else sorted(folder.glob("*.*"))
    digest.update(content_key(*(str(file) for file in files if file.is_file())).encode())
    return digest.hexdigest()
