"""Read any file of rows into a memory-mapped Dataset, by its content rather than its name.

csv, tsv, CoNLL and plain text are read here: every cell stays text ("NA" too), and a row with another number of cells
is an error. json, parquet and arrow are left to `datasets`.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, TypeVar

from ..errors import DataError, NotFoundError
from ..recipe import Row
from . import conll
from .cache import content_key, package_key
from .shapes.questions import rows_without_names

if TYPE_CHECKING:
    from datasets import Dataset


SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".arrow", ".txt")
T = TypeVar("T")

_SEPARATORS = ("\t", ",", ";")
_BATCH = 10_000  # rows
_COMPRESSED = (b"\x1f\x8b", b"PK\x03\x04")  # first bytes of gzip and of zip, which xlsx files are too
# Keys under which a JSON document on one line, as SQuAD is published, has its rows.
_ROW_KEYS = {"data", "rows", "examples", "records"}


def read_file(path: str, *, header: bool = True, formats: tuple[str, ...] = ()) -> Dataset:
    """Read one file or fsspec URL.

    Args:
        path: File, or URL such as `s3://bucket/train.csv`.
        header: Whether a csv or tsv file names its columns; if not, they are called "0", "1", ….
        formats: How a file that is not a table is read, as in `Recipe.formats`.

    Raises:
        NotFoundError: There is no such file.
        DataError: The file is empty, unreadable, not UTF-8, or its rows have different numbers of cells.
    """
    head = _checked_head(path)
    # The content decides, because files are often renamed; the most reliable tests come first.
    if head.startswith(b"PAR1"):
        return _load("parquet", path)
    if head.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return _load("arrow", path)
    if _is_json(head, path):
        return _read_json(path)
    if "conll" in formats and PurePosixPath(path).suffix.lower() != ".csv":
        sentences = conll.batches(lambda: _lines(path), path)
        if sentences is not None:
            return _cached(path, "conll", sentences)
    separator = _separator(path)
    if separator is not None:
        return _cached(path, f"{separator}{header}", _table_batches(path, separator, header))
    if "file" in formats:
        return _cached(path, "document", _text_column(_document(path)))
    if "paragraph" in formats:
        return _cached(path, "paragraphs", _text_column(_paragraphs(path)))
    lines = _lines_with_text(path) if "line" in formats else _lines_to_the_last_text(path)
    return _cached(path, f"text{formats}", _text_column(lines))


def read_lines(path: str) -> Dataset:
    """Read every line of a text file as a row, whatever it looks like, including blank lines at the end.

    Raises:
        NotFoundError: There is no such file.
        DataError: The file is empty, unreadable or not UTF-8.
    """
    _checked_head(path)
    return _cached(path, "lines", _text_column(_every_line(path)))


def _checked_head(path: str) -> bytes:
    """The first bytes of a file that can be read."""
    head = _head(path)
    if not head.strip():
        raise DataError(f"{path} is empty: expected rows")
    if head.startswith(_COMPRESSED):
        raise DataError(f"{path} is compressed, or a spreadsheet: unpack it, or save it as csv")
    return head


def _open(path: str, mode: str = "rb", newline: str | None = None) -> IO[Any]:
    import fsspec

    text: dict[str, Any] = {}
    if "b" not in mode:
        # Excel writes a byte order mark, which would become part of the first column's name.
        text = {"encoding": "utf-8-sig", "newline": newline}
    try:
        if "://" in path:
            file: IO[Any] = fsspec.open(path, mode, **text).open()
            return file
        return open(path, mode, **text)
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {path}") from error
    # ImportError: fsspec needs a package for this kind of URL, and says which.
    except (OSError, ValueError, ImportError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"cannot read {path}: {reason}") from error


def _head(path: str, size: int = 65536) -> bytes:
    with _open(path) as file:
        try:
            content: bytes = file.read(size)
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    return content


def _is_json(head: bytes, path: str) -> bool:
    """Whether the file is JSON: by its suffix, or because its first line is an object or a list of them."""
    if PurePosixPath(path).suffix.lower() in (".json", ".jsonl", ".ndjson"):
        return True
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start.startswith((b'{"', b"[{", b"[\n", b"{\n")):
        return False
    try:
        json.loads(start.split(b"\n", 1)[0])
    except ValueError:
        # An indented document has no complete value on its first line.
        return start.startswith((b"[\n", b"{\n", b"[{"))
    return True


def _load(kind: str, path: str, **keywords: Any) -> Dataset:
    import datasets

    is_remote = "://" in path
    is_small = not is_remote and os.path.getsize(path) < 20_000_000
    if not is_remote:
        # `datasets` looks only at the modification time, and would return the old rows after a file is replaced.
        keywords["cache_dir"] = str(cache_folder(_stamp(path)))
    try:
        with contextlib.ExitStack() as stack:
            if is_small and datasets.utils.logging.is_progress_bar_enabled():
                datasets.utils.logging.disable_progress_bar()
                stack.callback(datasets.utils.logging.enable_progress_bar)
            return datasets.load_dataset(kind, data_files=path, split="train", **keywords)
    except (datasets.exceptions.DatasetGenerationError, OSError, ValueError) as error:
        cause = error.__cause__ or error
        raise DataError(f"cannot read {path} as {kind}: {' '.join(str(cause).split())[:300]}") from error


# --- JSON --------------------------------------------------------------------------------------------------------


def _read_json(path: str) -> Dataset:
    from datasets import Dataset

    key = _check_json(path)
    if isinstance(key, list):
        return Dataset.from_list(key)
    return _load("json", path, field=key) if key else _load("json", path)


def _check_json(path: str) -> str | list[Row] | None:
    """Find mistakes that `datasets` would report without a line number.

    Returns:
        The key that holds the rows, where the file is one object around them; the rows, where they have no keys.
    """
    number = 0
    try:
        with _open(path, "r") as file:
            first = next((line for line in file if line.strip()), "")
            second = next((line for line in file if line.strip()), "")
            row = _parsed(first)
            is_document = not isinstance(row, dict) or (not second and _ROW_KEYS & set(row))
            file.seek(0)
            if is_document:
                content = json.load(file)
                return rows_without_names(content) or _check_json_document(content, path)
            for number, line in enumerate(file, 1):
                if line.strip() and not isinstance(json.loads(line), dict):
                    raise DataError(f'{path} line {number} is not a JSON object: expected {{"text": …, "label": …}}')
    except UnicodeDecodeError as error:
        raise DataError(_not_utf8(path)) from error
    except json.JSONDecodeError as error:
        # Of a document read whole, the error knows the line; of a file read by lines, the loop does.
        at = number or error.lineno
        raise DataError(f"{path} line {at} is not valid JSON ({error.msg}): fix or delete that line") from error
    return None


def _parsed(text: str) -> Any:
    """The JSON value that a text is; None where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def _check_json_document(content: Any, path: str) -> str | None:
    """Check a file that is a single JSON value; returns the key that holds the rows, where there is one."""
    if isinstance(content, list):
        for index, row in enumerate(content):
            if not isinstance(row, dict):
                raise DataError(f"{path}: entry {index} of the list is not a JSON object", rows=[index])
        return None
    if not isinstance(content, dict):
        raise DataError(
            f"{path} holds a single {type(content).__name__}: expected one JSON object per line, or a list of them"
        )
    row_keys = []
    for key, value in content.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            row_keys.append(str(key))
    if len(row_keys) == 1:
        return row_keys[0]
    raise DataError(
        f"{path} is one JSON object: expected one object per line, a list of objects, or one key with a list"
    )


# --- tables ------------------------------------------------------------------------------------------------------


def _separator(path: str) -> str | None:
    """The separator that gives all of the first records the same number of cells; None for plain text."""
    fallback = {".tsv": "\t", ".csv": ","}.get(PurePosixPath(path).suffix.lower())
    # In a file of another suffix, a comma in every line may be prose; a tab in every line is not.
    candidates = _SEPARATORS if fallback else ("\t",)
    for separator in candidates:
        try:
            widths = _first_widths(path, separator, quoted=True)
        except (csv.Error, DataError):
            widths = set()
        if separator == "\t" and (len(widths) != 1 or widths == {1}):
            widths = _first_widths(path, separator, quoted=False)
        if len(widths) == 1 and widths != {1}:
            return separator
    return fallback


def _first_widths(path: str, separator: str, *, quoted: bool) -> set[int]:
    """Numbers of cells that the first records have."""
    return set(map(len, itertools.islice(_records(path, separator, quoted=quoted), 50)))


def _records(path: str, separator: str, *, quoted: bool) -> Iterator[list[str]]:
    """Cells of each record, without blank lines.

    Args:
        path: The file.
        separator: What separates the cells of a line.
        quoted: Whether quotes wrap cells, or are part of the text.
    """
    # The limit of Python is 131,072 characters a cell, which long documents exceed.
    csv.field_size_limit(2**31 - 1)
    # csv.reader wants line ends as they are, for those inside quotes; without quotes only "\n" ends a line.
    with _open(path, "r", newline="" if quoted else "\n") as file:
        try:
            if quoted:
                yield from filter(None, csv.reader(file, delimiter=separator, strict=True))
                return
            for line in file:
                if line.strip():
                    yield line.rstrip("\r\n").split(separator)
        except UnicodeDecodeError as error:
            raise DataError(_not_utf8(path)) from error


def _not_utf8(path: str) -> str:
    encoding = "UTF-16" if _head(path, 2) in (b"\xff\xfe", b"\xfe\xff") else "another encoding"
    return f"{path} is not UTF-8 text (it looks like {encoding}): save it as UTF-8"


def _is_quoted(path: str, separator: str) -> bool:
    """Whether quotes wrap cells, as in csv, or are part of the text, as in many published tsv files.

    They are part of the text where every line by itself has as many cells as the first, and reading quotes as wrappers
    either fails or joins lines.
    """
    if separator != "\t":
        return True
    widths, lines, has_quotes = set(), 0, False
    for cells in _records(path, separator, quoted=False):
        widths.add(len(cells))
        lines += 1
        has_quotes = has_quotes or any(cell.startswith('"') for cell in cells)
    if not has_quotes:
        return False
    # Lines of different lengths: quotes may hide separators and line ends.
    if len(widths) != 1:
        return True
    try:
        return sum(1 for _ in _records(path, separator, quoted=True)) == lines
    except csv.Error:
        return False


def _table_batches(path: str, separator: str, header: bool) -> Iterator[dict[str, list[str]]]:
    records = _records(path, separator, quoted=_is_quoted(path, separator))
    number = int(header)  # the header is a record too
    try:
        first = next(records)
        if header:
            names = _column_names(first, path)
        else:
            names = list(map(str, range(len(first))))
            records = itertools.chain([first], records)
        for batch in _in_batches(records):
            for cells in batch:
                number += 1
                if len(cells) != len(names):
                    raise DataError(_ragged(path, number, cells, names))
            columns = zip(*batch, strict=True)
            yield {name: list(column) for name, column in zip(names, columns, strict=True)}
    except csv.Error as error:
        raise DataError(f"{path} is not well-formed after record {number}: {error}; fix the quotes there") from error


def _ragged(path: str, number: int, cells: list[str], names: list[str]) -> str:
    start = " ".join(cells)[:60]
    return (
        f"{path} record {number} has {len(cells)} cells, expected {len(names)} ({', '.join(names)}): "
        f'"{start}…"; put quotes around cells that contain the separator'
    )


def _column_names(cells: list[str], path: str) -> list[str]:
    """Names of the columns from the first record; a column without a name, as pandas writes its index, gets one."""
    names: list[str] = []
    for index, cell in enumerate(cells):
        names.append(cell.strip().strip('"').strip() or f"column {index}")
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{path} has two columns named {name!r}: rename one of them in its first line")
    return names


def _in_batches(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, _BATCH)):
        yield batch


# --- text --------------------------------------------------------------------------------------------------------


def _lines(path: str) -> Iterator[str]:
    # Only "\n" ends a line: a "\r" inside a line is part of the text.
    with _open(path, "r", newline="\n") as file:
        try:
            yield from file
        except UnicodeDecodeError as error:
            raise DataError(_not_utf8(path)) from error


def _text_column(texts: Iterable[str]) -> Iterator[dict[str, list[str]]]:
    for batch in _in_batches(texts):
        yield {"text": batch}


def _every_line(path: str) -> Iterator[str]:
    for line in _lines(path):
        yield line.rstrip("\r\n")


def _lines_with_text(path: str) -> Iterator[str]:
    for line in _every_line(path):
        if line.strip():
            yield line


def _lines_to_the_last_text(path: str) -> Iterator[str]:
    """Every line, blank ones as "", so that row n is line n; blank lines at the end of the file are not rows."""
    blank = 0
    for line in _every_line(path):
        if not line.strip():
            blank += 1
            continue
        yield from [""] * blank
        blank = 0
        yield line


def _paragraphs(path: str) -> Iterator[str]:
    """Lines between blank lines, joined."""
    lines: list[str] = []
    for line in _every_line(path):
        if line.strip():
            lines.append(line)
        elif lines:
            yield "\n".join(lines)
            lines = []
    if lines:
        yield "\n".join(lines)


def _document(path: str) -> Iterator[str]:
    yield "".join(_lines(path)).strip()


# --- cache -------------------------------------------------------------------------------------------------------


def _cached(path: str, how: str, batches: Iterator[dict[str, list[Any]]]) -> Dataset:
    """Write the batches to the cache of `datasets` once, and map the file into memory."""
    from datasets import Dataset

    target = cache_folder(package_key(), how, _stamp(path)) / "rows.arrow"
    if not target.exists():
        first = next(batches, None)
        if first is None:
            raise DataError(f"{path} has a header and no rows: expected rows below it")
        target.parent.mkdir(parents=True, exist_ok=True)
        # Another process may read or write the same file: it appears under its name only when it is complete.
        draft = target.with_name(f"rows.{os.getpid()}.draft")
        try:
            _write_arrow(draft, first, batches)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
    return Dataset.from_file(str(target))


def _write_arrow(target: Path, first: dict[str, list[Any]], others: Iterable[dict[str, list[Any]]]) -> None:
    import pyarrow as pa

    # A batch of pa.string() may hold 2 GB at most.
    text = pa.large_string()
    columns = []
    for name, cells in first.items():
        columns.append((name, pa.list_(text) if isinstance(cells[0], list) else text))
    schema = pa.schema(columns)
    with pa.OSFile(str(target), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for batch in itertools.chain([first], others):
            writer.write_batch(pa.record_batch(batch, schema=schema))


def cache_folder(*key: str) -> Path:
    """Folder in the cache of `datasets` for what is made from files; it is another one where any part of `key` is."""
    from datasets import config

    return Path(config.HF_DATASETS_CACHE, "hfrecipes", hashlib.sha256("|".join(key).encode()).hexdigest()[:32])


def _stamp(path: str) -> str:
    """A text that changes whenever the content of the file or of the URL does."""
    if "://" not in path:
        return f"{os.path.abspath(path)}|{content_key(path)}"
    # A URL has no modification time that all kinds of storage agree on.
    with _open(path) as file:
        return f"{path}|{hashlib.file_digest(file, 'sha256').hexdigest()}"  # type: ignore[arg-type]
