"""Read any file of rows into a memory-mapped Dataset, by its content rather than its name.

csv, tsv, CoNLL and plain text keep every cell as text ("NA" too), and a row with another number of cells is an error.
Values of JSON stay what they are, and parquet and arrow keep their types.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from ..errors import DataError
from ..log import log, recorded
from ..masking import mask_text
from ..recipe import Row
from . import conll, tagged_records
from .arrow_types import plain_batches, plain_columns
from .batches import in_batches
from .cache import content_key, package_key, remove_damaged
from .json_rows import is_json, write_json, write_rows
from .labelled_lines import labelled_lines
from .markup import refuse_segments
from .numbered_dialogues import Dialogues, dialogue_reader
from .opening import SourceFile, damaged, head_of, is_workbook, open_source
from .tables import Table, batches_of_records, find_separator, workbook_records
from .tagged_records import are_records

if TYPE_CHECKING:
    from datasets import Dataset


T = TypeVar("T")

_BATCH = 10_000  # rows
_LFS = b"version https://git-lfs"
_PARQUET, _ARROW_FILE, _ARROW_STREAM = b"PAR1", b"ARROW1", b"\xff\xff\xff\xff"


def read_file(
    path: str, *, header: bool | None = True, formats: tuple[str, ...] = (), encoding: str | None = None
) -> Dataset:
    """Read one file or fsspec URL.

    Args:
        path: File, or URL such as `s3://bucket/train.csv`.
        header: Whether a table names its columns; if not, they are called "0", "1", …; None to tell it from the rows.
        formats: How a file that is not a table is read, as in `Recipe.formats`.
        encoding: Of a file of text; told from its bytes where not given.

    Raises:
        NotFoundError: There is no such file.
        DataError: The file is empty, unreadable, or its rows have different numbers of cells.
    """
    if is_workbook(path):
        records = workbook_records(path)
        return _cached(path, f"excel{header}", batches_of_records(records, header, path))
    head = head_of(path)
    # The content decides, because files are often renamed; the most reliable tests come first.
    if head.startswith((_PARQUET, _ARROW_FILE, _ARROW_STREAM)):
        return _cached_file(path, "arrow", lambda target: _write_plain(path, head, target))
    if head.startswith(_LFS):
        raise DataError(f"{path} is a pointer of Git LFS to the file, and not the file: run  git lfs pull")
    source = open_source(path, encoding)
    start = _checked_start(source)
    if is_json(start, source):
        return _cached_file(path, f"json{formats}{source.encoding}", lambda target: write_json(source, target, formats))
    if are_records(start):
        read = functools.partial(tagged_records.batches, source)
        return _cached_file(path, f"records{source.encoding}", lambda target: write_rows(read, path, target))
    return _read_text(source, header, formats)


def _read_text(source: SourceFile, header: bool | None, formats: tuple[str, ...]) -> Dataset:
    """Read a file of text that is not JSON."""
    path, how = source.path, source.encoding
    refuse_segments(source)
    if "conll" in formats and source.suffix != ".csv":
        sentences = conll.batches(source.lines, path)
        if sentences is not None:
            return _cached(path, f"conll{how}", sentences)
    dialogues = dialogue_reader(source) if "turns" in formats else None
    if dialogues is not None:
        log(f"{path}: read as ParlAI dialogues, with one exchange per line")
        rows = functools.partial(_batches_of_dialogues, dialogues, source)
        return _cached_file(path, f"dialogues{how}", lambda target: write_rows(rows, path, target))
    labelled = labelled_lines(source, any_label=not formats)
    if labelled is not None:
        return _cached(path, f"labelled{labelled.pattern.pattern}{how}", labelled.batches())
    separator = find_separator(source)
    if separator is not None:
        return _cached(path, f"{separator}{header}{how}", Table(source, separator, header).batches())
    if "file" in formats:
        return _cached(path, f"document{how}", _text_column(_document(source)))
    if "paragraph" in formats:
        return _cached(path, f"paragraphs{how}", _text_column(_paragraphs(source)))
    lines = _lines_with_text(source) if "line" in formats else _lines_to_the_last_text(source)
    return _cached(path, f"text{formats}{how}", _text_column(lines))


def read_lines(path: str, encoding: str | None = None) -> Dataset:
    """Read every line of a text file as a row, whatever it looks like, including blank lines at the end.

    Raises:
        NotFoundError: There is no such file.
        DataError: The file is empty or unreadable.
    """
    source = open_source(path, encoding)
    _checked_start(source)
    refuse_segments(source)
    return _cached(path, f"lines{source.encoding}", _text_column(_every_line(source)))


def read_document(path: str, encoding: str | None = None) -> str:
    """The whole text of a file, without blanks around it.

    Raises:
        NotFoundError: There is no such file.
        DataError: The file is unreadable.
    """
    return next(_document(open_source(path, encoding)))


def _checked_start(source: SourceFile) -> str:
    """The first characters of a file that has any but blanks."""
    start = source.start()
    if not start:
        raise DataError(f"{source.path} is empty: expected rows")
    return start


def _batches_of_dialogues(read: Dialogues, source: SourceFile) -> Iterator[list[Row]]:
    return in_batches(read(source), _BATCH)


# --- parquet and arrow -------------------------------------------------------------------------------------------


def _write_plain(path: str, head: bytes, target: Path) -> None:
    """Copy the rows of a parquet or arrow file, in the types that tasks read."""
    import pyarrow.parquet as pq

    kind = "parquet" if head.startswith(_PARQUET) else "arrow"
    try:
        with SourceFile(path).bytes() as file, contextlib.ExitStack() as stack:
            if kind == "parquet":
                parquet = stack.enter_context(pq.ParquetFile(file))
                schema, batches = parquet.schema_arrow, parquet.iter_batches(_BATCH)
            elif head.startswith(_ARROW_FILE):
                reader = stack.enter_context(pa.ipc.open_file(file))
                schema, batches = reader.schema, map(reader.get_batch, range(reader.num_record_batches))
            else:
                stream = stack.enter_context(pa.ipc.open_stream(file))
                schema, batches = stream.schema, iter(stream)
            columns = plain_columns(schema, path)
            with _writer(target, columns.schema) as writer:
                for batch in plain_batches(batches, columns):
                    writer.write_batch(batch)
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(damaged(path, error, kind)) from error


@contextlib.contextmanager
def _writer(target: Path, schema: pa.Schema) -> Iterator[Any]:
    with pa.OSFile(str(target), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        yield writer


# --- text --------------------------------------------------------------------------------------------------------


def _text_column(texts: Iterable[str]) -> Iterator[dict[str, list[str]]]:
    for batch in in_batches(texts, _BATCH):
        yield {"text": batch}


def _every_line(source: SourceFile) -> Iterator[str]:
    for line in source.lines():
        yield line.rstrip("\r\n")


def _lines_with_text(source: SourceFile) -> Iterator[str]:
    for line in _every_line(source):
        if line.strip():
            yield line


def _lines_to_the_last_text(source: SourceFile) -> Iterator[str]:
    """Every line, blank ones as "", so that row n is line n; blank lines at the end of the file are not rows."""
    blank = 0
    for line in _every_line(source):
        if not line.strip():
            blank += 1
            continue
        yield from [""] * blank
        blank = 0
        yield line


def _paragraphs(source: SourceFile) -> Iterator[str]:
    """Lines between blank lines, joined."""
    lines: list[str] = []
    for line in _every_line(source):
        if line.strip():
            lines.append(line)
        elif lines:
            yield "\n".join(lines)
            lines = []
    if lines:
        yield "\n".join(lines)


def _document(source: SourceFile) -> Iterator[str]:
    yield "".join(source.lines()).strip()


# --- cache -------------------------------------------------------------------------------------------------------


def _cached(path: str, how: str, batches: Iterator[dict[str, list[Any]]]) -> Dataset:
    """Rows of texts, or of lists of texts, that are written to the cache once."""

    def write(target: Path) -> None:
        first = next(batches, None)
        if first is None:
            raise DataError(f"{path} has a header and no rows: expected rows below it")
        _write_texts(target, first, batches)

    return _cached_file(path, how, write)


def _cached_file(path: str, how: str, write: Callable[[Path], None]) -> Dataset:
    """The rows that `write` leaves in a file of the cache of `datasets`, mapped into memory."""
    from datasets import Dataset

    target = cache_folder(package_key(), how, _stamp(path)) / "rows.arrow"
    # What was decided while the rows were read is printed again each time that they are used.
    sentences = target.with_suffix(".json")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"the cache {target.parent} cannot be made ({error.strerror}): set HF_DATASETS_CACHE to another folder"
        ) from error
    remove_damaged(target.parent)
    if target.exists() and sentences.exists():
        for sentence in json.loads(sentences.read_text(encoding="utf-8")):
            log(sentence)
        return Dataset.from_file(str(target))
    # Another process may read or write the same file: it appears under its name only when it is complete.
    draft, printed_draft = (target.with_name(f"{name}.{os.getpid()}.draft") for name in ("rows", "printed"))
    try:
        with recorded() as printed:
            write(draft)
        printed_draft.write_text(json.dumps(printed), encoding="utf-8")
        printed_draft.replace(sentences)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
        printed_draft.unlink(missing_ok=True)
    return Dataset.from_file(str(target))


def _write_texts(target: Path, first: dict[str, list[Any]], others: Iterable[dict[str, list[Any]]]) -> None:
    # A batch of pa.string() may hold 2 GB at most.
    text = pa.large_string()
    columns = []
    for name, cells in first.items():
        columns.append((name, pa.list_(text) if isinstance(cells[0], list) else text))
    schema = pa.schema(columns)
    with _writer(target, schema) as writer:
        for batch in itertools.chain([first], others):
            writer.write_batch(pa.record_batch(batch, schema=schema))


def cache_folder(*key: str) -> Path:
    """Folder in the cache of `datasets` for what is made from files; it is another one where any part of `key` is."""
    from datasets import config

    # Names of files need not be UTF-8.
    whole = hashlib.sha256("|".join(key).encode("utf-8", "surrogatepass"))
    return Path(config.HF_DATASETS_CACHE, "hfrecipes", whole.hexdigest()[:32])


def _stamp(path: str) -> str:
    """A text that changes whenever the content of the file or of the URL does."""
    if "://" not in path:
        return f"{os.path.abspath(path)}|{content_key(path)}"
    # A URL has no modification time that all kinds of storage agree on.
    with SourceFile(path).bytes() as file:
        return f"{mask_text(path)}|{hashlib.file_digest(file, 'sha256').hexdigest()}"  # type: ignore[arg-type]
