"""Read any file of rows into a memory-mapped Dataset, by its content rather than its name.

csv, tsv, CoNLL and plain text are read here: every cell stays text ("NA" too), and a ragged row is an error, not a
guess. json, parquet and arrow are left to `datasets`.
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
from typing import IO, TYPE_CHECKING, Any

from ..errors import DataError, NotFoundError
from . import conll
from .cache import code, of_files

if TYPE_CHECKING:
    from datasets import Dataset


SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".arrow", ".txt")
_SEPARATORS = ("\t", ",", ";")
_BATCH = 10_000
# Keys of a whole document on one line, as SQuAD is published, rather than of a single row.
_ROWS = {"data", "rows", "examples", "records"}


def read_file(path: str, *, header: bool = True, formats: tuple[str, ...] = ()) -> Dataset:
    """Read one file or fsspec URL.

    Args:
        path: File, or URL such as `s3://bucket/train.csv`.
        header: Whether a csv or tsv file names its columns; without, they are called "0", "1", ….
        formats: How a file that is no table is read, as `Recipe.formats` has it.

    Raises:
        NotFoundError: There is no such file.
        DataError: It is empty, unreadable, no UTF-8, or ragged.
    """
    head = _readable(path)
    if head.startswith(b"PAR1"):
        return _load("parquet", path)
    if head.startswith(b"ARROW1") or head.startswith(b"\xff\xff\xff\xff"):
        return _load("arrow", path)
    if _is_json(head, path):
        return _read_json(path)
    if "conll" in formats and PurePosixPath(path).suffix.lower() != ".csv":
        sentences = conll.batches(lambda: _lines(path), path)
        if sentences is not None:
            return _cached(path, "conll", sentences)
    separator = _separator(path)
    if separator is not None:
        return _cached(path, f"{separator}{header}", _cells(path, separator, header))
    if "file" in formats:
        return _cached(path, "document", _document(path))
    if "paragraph" in formats:
        return _cached(path, "paragraphs", ({"text": texts} for texts in _paragraphs(path)))
    return _cached(path, f"text{formats}", _text_batches(path, blank_lines="line" not in formats))


def read_lines(path: str) -> Dataset:
    """Read every line of a text file, blank ones at its end too, whatever it looks like; as `read_file` else."""
    _readable(path)
    return _cached(path, "lines", ({"text": batch} for batch in _all_lines(path)))


def _readable(path: str) -> bytes:
    head = _head(path)
    if not head.strip():
        raise DataError(f"{path} is empty: expected rows")
    if head.startswith((b"\x1f\x8b", b"PK\x03\x04")):
        raise DataError(f"{path} is compressed, or a spreadsheet: unpack it, or save it as csv")
    return head


def _all_lines(path: str) -> Iterator[list[str]]:
    lines = (line.rstrip("\r\n") for line in _lines(path))
    while batch := list(itertools.islice(lines, _BATCH)):
        yield batch


def _open(path: str, mode: str = "rb", newline: str | None = None) -> IO[Any]:
    import fsspec

    try:
        if "://" in path:
            text = {} if "b" in mode else {"encoding": "utf-8-sig", "newline": newline}
            opened: IO[Any] = fsspec.open(path, mode, **text).open()
            return opened
        return open(path, mode, encoding=None if "b" in mode else "utf-8-sig", newline=newline)
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {path}") from error
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
        return start.startswith((b"[\n", b"{\n", b"[{"))
    return True


def _load(kind: str, path: str, **keywords: Any) -> Dataset:
    import datasets

    is_remote = "://" in path
    small = not is_remote and os.path.getsize(path) < 20_000_000
    if not is_remote:  # `datasets` looks at the modification time alone
        keywords["cache_dir"] = str(cache_folder(_stamp(path)))
    try:
        with contextlib.ExitStack() as stack:
            if small and datasets.utils.logging.is_progress_bar_enabled():
                datasets.utils.logging.disable_progress_bar()
                stack.callback(datasets.utils.logging.enable_progress_bar)
            return datasets.load_dataset(kind, data_files=path, split="train", **keywords)
    except (datasets.exceptions.DatasetGenerationError, OSError, ValueError) as error:
        cause = error.__cause__ or error
        raise DataError(f"cannot read {path} as {kind}: {' '.join(str(cause).split())[:300]}") from error


# --- JSON --------------------------------------------------------------------------------------------------------


def _read_json(path: str) -> Dataset:
    field = _check_json(path)
    return _load("json", path, field=field) if field else _load("json", path)


def _check_json(path: str) -> str | None:
    """Check what `datasets` would report without a place; the key that holds the rows, where there is one."""
    number = 0
    try:
        with _open(path, "r") as file:
            first = next((line for line in file if line.strip()), "")
            rest = next((line for line in file if line.strip()), "")
            row = _parsed(first)
            if not isinstance(row, dict) or (not rest and _ROWS & set(row)):
                file.seek(0)
                return _check_json_document(json.load(file), path)
            file.seek(0)
            for number, line in enumerate(file, 1):
                if line.strip() and not isinstance(json.loads(line), dict):
                    raise DataError(f'{path} line {number} is no JSON object: expected {{"text": …, "label": …}}')
    except UnicodeDecodeError as error:
        raise DataError(_not_utf8(path)) from error
    except json.JSONDecodeError as error:
        at = number or error.lineno
        raise DataError(f"{path} line {at} is not valid JSON ({error.msg}): mend or delete that line") from error
    return None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _check_json_document(content: Any, path: str) -> str | None:
    if isinstance(content, list):
        for number, row in enumerate(content):
            if not isinstance(row, dict):
                raise DataError(f"{path}: entry {number} of the list is no JSON object", rows=[number])
        return None
    if not isinstance(content, dict):
        raise DataError(
            f"{path} holds one {type(content).__name__}: expected one JSON object a line, or a list of them"
        )
    lists = [key for key, value in content.items() if isinstance(value, list) and value and isinstance(value[0], dict)]
    if len(lists) == 1:
        return str(lists[0])
    raise DataError(f"{path} is one JSON object: expected one object a line, a list of objects, or one key with a list")


# --- text with separators ----------------------------------------------------------------------------------------


def _separator(path: str) -> str | None:
    """The separator that gives every one of the first lines the same number of cells; None for plain text."""
    suffix = PurePosixPath(path).suffix.lower()
    fallback = {".tsv": "\t", ".csv": ","}.get(suffix)
    candidates = _SEPARATORS if fallback else ("\t",)
    for separator in candidates:
        try:
            widths = {len(cells) for cells in itertools.islice(_records(path, separator, quoted=True), 50)}
        except (csv.Error, DataError):
            widths = set()
        if separator == "\t" and (len(widths) != 1 or widths == {1}):
            widths = {len(cells) for cells in itertools.islice(_records(path, separator, quoted=False), 50)}
        if len(widths) == 1 and widths != {1}:
            return separator
    return fallback


def _records(path: str, separator: str, *, quoted: bool) -> Iterator[list[str]]:
    """Cells of each record, blank lines left out."""
    csv.field_size_limit(2**31 - 1)
    with _open(path, "r", newline="" if quoted else "\n") as file:
        try:
            if quoted:
                yield from filter(None, csv.reader(file, delimiter=separator, strict=True))
            else:
                yield from (line.rstrip("\r\n").split(separator) for line in file if line.strip())
        except UnicodeDecodeError as error:
            raise DataError(_not_utf8(path)) from error


def _not_utf8(path: str) -> str:
    encoding = "UTF-16" if _head(path, 2) in (b"\xff\xfe", b"\xfe\xff") else "another encoding"
    return f"{path} is not UTF-8 text (it looks like {encoding}): save it as UTF-8"


def _is_quoted(path: str, separator: str) -> bool:
    """Whether quotes wrap cells, as in csv, or are part of the text, as in many published tsv files.

    They are text where every line alone has as many cells as the first, and reading quotes as wrappers either fails or
    joins lines.
    """
    if separator != "\t":
        return True
    widths, lines, suspicious = set(), 0, False
    for cells in _records(path, separator, quoted=False):
        widths.add(len(cells))
        lines += 1
        suspicious = suspicious or any(cell.startswith('"') for cell in cells)
    if len(widths) != 1 or not suspicious:
        return suspicious
    try:
        return sum(1 for _ in _records(path, separator, quoted=True)) == lines
    except csv.Error:
        return False


def _cells(path: str, separator: str, header: bool) -> Iterator[dict[str, list[str]]]:
    records = _records(path, separator, quoted=_is_quoted(path, separator))
    number = int(header)
    try:
        first = next(records)
        names = _names(first, path) if header else [str(place) for place in range(len(first))]
        start = [] if header else [first]
        for batch in _batches(itertools.chain(start, records)):
            for cells in batch:
                number += 1
                if len(cells) != len(names):
                    raise DataError(_ragged(path, number, cells, names))
            columns = zip(*batch, strict=True)
            yield {name: list(column) for name, column in zip(names, columns, strict=True)}
    except csv.Error as error:
        raise DataError(f"{path} is not well-formed after record {number}: {error}; mend the quotes there") from error


def _ragged(path: str, number: int, cells: list[str], names: list[str]) -> str:
    start = " ".join(cells)[:60]
    return (
        f"{path} record {number} has {len(cells)} cells, expected {len(names)} ({', '.join(names)}): "
        f'"{start}…"; put quotes around cells that hold the separator'
    )


def _names(cells: list[str], path: str) -> list[str]:
    names = [cell.strip().strip('"').strip() or f"column {place}" for place, cell in enumerate(cells)]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DataError(f"{path} names the column {twice[0]!r} twice: rename one of them in its first line")
    return names


def _batches(records: Iterable[list[str]]) -> Iterator[list[list[str]]]:
    records = iter(records)
    while batch := list(itertools.islice(records, _BATCH)):
        yield batch


def _lines(path: str) -> Iterator[str]:
    with _open(path, "r", newline="\n") as file:
        try:
            yield from file
        except UnicodeDecodeError as error:
            raise DataError(_not_utf8(path)) from error


def _text_batches(path: str, *, blank_lines: bool) -> Iterator[dict[str, list[str]]]:
    """Every line, blank ones too, so that row n is line n, unless they are not wanted; at the end they are none."""
    kept: list[str] = []
    blank = 0
    for line in _lines(path):
        if not line.strip():
            blank += blank_lines
            continue
        kept += [""] * blank + [line.rstrip("\r\n")]
        blank = 0
        if len(kept) >= _BATCH:
            yield {"text": kept}
            kept = []
    if kept:
        yield {"text": kept}


def _document(path: str) -> Iterator[dict[str, list[str]]]:
    yield {"text": ["".join(_lines(path)).strip()]}


def _paragraphs(path: str) -> Iterator[list[str]]:
    """Lines between blank ones, together."""
    lines = (line.rstrip("\r\n") for line in _lines(path))
    groups = (list(group) for blank, group in itertools.groupby(lines, lambda line: not line.strip()) if not blank)
    while batch := ["\n".join(group) for group in itertools.islice(groups, _BATCH)]:
        yield batch


def _cached(path: str, how: str, batches: Iterator[dict[str, list[Any]]]) -> Dataset:
    """Write the batches to the cache of `datasets` once, and map the file into memory."""
    import pyarrow as pa
    from datasets import Dataset

    target = cache_folder(code(), how, _stamp(path)) / "rows.arrow"
    if not target.exists():
        first = next(batches, None)
        if first is None:
            raise DataError(f"{path} has a header and no rows: expected rows below it")
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f"rows.{os.getpid()}.draft")
        text = pa.large_string()
        schema = pa.schema(
            [(name, pa.list_(text) if isinstance(cells[0], list) else text) for name, cells in first.items()]
        )
        try:
            with pa.OSFile(str(draft), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
                for batch in itertools.chain([first], batches):
                    writer.write_batch(pa.record_batch(batch, schema=schema))
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
    return Dataset.from_file(str(target))


def cache_folder(*about: str) -> Path:
    """Folder in the cache of `datasets` for what is made of files; another one where something in `about` differs."""
    from datasets import config

    return Path(config.HF_DATASETS_CACHE, "hfrecipes", hashlib.sha256("|".join(about).encode()).hexdigest()[:32])


def _stamp(path: str) -> str:
    """What changes whenever the file, or what a URL gives, does."""
    if "://" not in path:
        return f"{os.path.abspath(path)}|{of_files(path)}"
    with _open(path) as file:
        return f"{path}|{hashlib.file_digest(file, 'sha256').hexdigest()}"  # type: ignore[arg-type]
