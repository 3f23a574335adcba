"""Predict a text, a file or other rows, in blocks: memory does not grow, and a killed command can continue."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ..config.blocks import local_path
from ..data.checks import fingerprint
from ..data.features import without_references
from ..data.input_names import is_text, refuse_missing
from ..data.standard_input import read_rows
from ..errors import ConfigError
from ..log import log
from ..models.int8 import is_int8
from ..predictor import Predictor
from ..recipe import Row
from ..saved.rows import InputRows
from .output_files import write_output
from .partial import Partial, model_key
from .records import records_of

BLOCK = 4096  # rows that are predicted at once; more of them would make batches of more equal length
MINUTE = 60.0  # seconds between lines of progress where there is no terminal for a bar
BLOCK_OF_TEXTS = 64  # the same where each prediction is a text that is written word by word


def input_of(source: str, reading: Any, stream: IO[bytes]) -> Any:
    """The rows that an input of the command line means.

    Args:
        source: A text, an object in JSON, the name of a file, or `-`.
        reading: How the file is read: its encoding, whether it has a header.
        stream: Standard input.

    Raises:
        NotFoundError: There is no such file.
    """
    if reading is not None and not isinstance(reading, Mapping):
        raise ConfigError("dataset: give the file as INPUT; dataset.encoding= and dataset.header= set how it is read")
    if source == "-":
        return read_rows(stream)
    if source.lstrip().startswith("{"):
        return read_rows(io.BytesIO(source.encode(errors="surrogateescape")))
    if is_text(source):
        if source.isascii() and not any(map(str.isspace, source)):
            log(f"there is no file {source!r}, so it is predicted as a text")
        return source
    path = local_path(source)
    refuse_missing(path)
    return {"path": path, **reading} if reading else Path(path)


def print_predictions(
    predictor: Predictor, rows: Any, settings: Mapping[str, Any], show: Callable[[Any], None]
) -> None:
    """Show each prediction, with the columns that are kept where the user named some."""
    given = predictor.read([rows] if isinstance(rows, str) else rows, settings.get("columns"))
    keep = _kept(settings)
    if keep is None:
        for block in predicted_blocks(predictor, given):
            for prediction in block:
                show(prediction)
        return
    records = records_of(given, predictor.recipe, predictor.config.columns, keep)
    lines = iter(records)
    for block in predicted_blocks(predictor, given):
        for prediction in block:
            show({**next(lines), records.names["prediction"]: records.spelled(prediction)})


def listed_predictions(predictor: Predictor, rows: Any, settings: Mapping[str, Any]) -> list[Any]:
    """What `print_predictions` shows, as a list."""
    shown: list[Any] = []
    print_predictions(predictor, rows, settings, shown.append)
    return shown


def predict_to(output: Path, predictor: Predictor, rows: Any, settings: Mapping[str, Any]) -> int:
    """Write rows with their predictions to a file.

    Args:
        output: File that does not exist; its suffix tells its form.
        predictor: The model.
        rows: What `input_of` gives.
        settings: `keep`, the columns that are written too, and `columns`, as for `Predictor.predict`.

    Returns:
        Number of rows.

    Raises:
        DataError: The rows cannot be predicted, or do not have a column that is to be kept.
        OutputError: Another process writes the same output.
    """
    columns = settings.get("columns")
    given = predictor.read([rows] if isinstance(rows, str) else rows, columns)
    records = records_of(given, predictor.recipe, {**predictor.config.columns, **(columns or {})}, _kept(settings))
    made_of = {
        "input": fingerprint(without_references(given.rows, predictor.recipe)),
        "model": model_key(predictor.folder),
        "precision": "int8" if is_int8(predictor.model) else "of the run",
    }
    with Partial(output, made_of).opened() as partial:
        for block in predicted_blocks(predictor, given, partial.done):
            partial.append(block)
        write_output(output, records, partial, rows)
        partial.delete()
    return len(given.rows)


def _kept(settings: Mapping[str, Any]) -> Sequence[str] | None:
    """The columns that `keep` names, of which one may be given alone."""
    keep = settings.get("keep")
    if keep is None or isinstance(keep, list):
        return keep
    return [str(keep)]


def predicted_blocks(predictor: Predictor, given: InputRows, start: int = 0) -> Iterator[list[Row | None]]:
    """Predictions of some rows after the other, from `start` on, with one bar for all of them on a terminal."""
    size = BLOCK if predictor.recipe.writer is None else BLOCK_OF_TEXTS
    rows = len(given.rows)
    if rows - start <= size:
        yield predictor.predicted(given, start)
        return
    from tqdm import tqdm
    from transformers.utils import logging

    said = time.monotonic()
    with tqdm(total=rows, initial=start, desc="Predicting", unit=" rows", disable=not sys.stderr.isatty()) as bar:
        for first in range(start, rows, size):
            # Each block would show a bar of its own.
            logging.disable_progress_bar()
            block = predictor.predicted(given, first, first + size)
            logging.enable_progress_bar()
            bar.update(len(block))
            if bar.disable and time.monotonic() - said > MINUTE:
                said = time.monotonic()
                log(f"{first + len(block)} of {rows} rows are predicted")
            yield block
