"""Rows of JSON: one object a line, a list of objects, an object around such a list, or columns as pandas writes them.

Values stay what they are in the file: nothing is read as a date, and types are settled over all rows, not the first.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..errors import DataError
from ..garbage import not_collected
from ..log import log
from . import kinds
from .arrow_types import check_names
from .batches import in_batches, rows_of
from .opening import SourceFile
from .shapes.annotations import rows_of_pairs
from .shapes.questions import rows_without_names
from .shapes.turns import is_turn

# Keys under which a JSON document on one line, as SQuAD is published, has its rows.
_ROW_KEYS = {"data", "rows", "examples", "records"}
_ROWS, _CHARACTERS = 10_000, 1 << 24  # of a batch, whichever is reached first
_FORMS = "expected one object per line, a list of objects, or one key with a list"

Rows = list[dict[str, Any]]


class _DuplicateKeyError(ValueError):
    """An object has a key twice, of which Python keeps the last without a warning."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _DuplicateKeyError(next(key for key in keys if keys.count(key) > 1))
    return members


def _constant(name: str) -> float | None:
    # NaN is how Python writes the gaps of a DataFrame; JSON itself does not have it.
    return None if name == "NaN" else float(name)


JSON = json.JSONDecoder(parse_constant=_constant, object_pairs_hook=_object)
_QUICK = json.JSONDecoder(parse_constant=_constant)  # twice as fast, and keeps the last of two equal keys

Cells = dict[str, list[Any]]
Kinds = dict[str, pa.DataType]


def is_json(start: str, source: SourceFile) -> bool:
    """Whether the file is JSON: by its suffix, or because its first line is an object or a list of them.

    Args:
        start: The first characters that are not blank, and those after them.
        source: The file.
    """
    if source.suffix in (".json", ".jsonl", ".ndjson"):
        return True
    if not start.startswith(('{"', "[{", "[\n", "{\n", "[\r\n", "{\r\n")):
        return False
    first, _, rest = start.partition("\n")
    if not start.startswith('{"') or _parsed(first) is not None:
        return True
    # A broken row before others is named; an indented document has no complete value on its first line.
    return isinstance(_parsed(rest.strip().partition("\n")[0]), dict)


def write_json(source: SourceFile, target: Path, formats: tuple[str, ...] = ()) -> None:
    """Write the rows of a JSON file as arrow.

    Args:
        source: The file.
        target: File to write.
        formats: As in `Recipe.formats`; with `turns`, a list of texts is a dialogue.

    Raises:
        DataError: The file is not JSON, or has no rows.
    """
    with not_collected():
        write_rows(_batches_of(source, has_turns="turns" in formats), source.path, target)


def write_rows(batches: Callable[[], Iterator[Rows]], path: str, target: Path) -> None:
    """Write rows as arrow.

    Args:
        batches: Gives the rows from the start each time it is called.
        path: File that they are from.
        target: File to write.

    Raises:
        DataError: There are no rows, or they have no columns.
    """
    rows = batches()
    first = next(rows, [])
    columns = _merged({}, _cells(first))
    if not columns:
        raise DataError(f"{path} has no rows with columns: {_FORMS}")
    check_names(columns, path)
    # Types hardly ever change after the first batch; where they do, they are inferred from all rows.
    if not _write(itertools.chain([first], rows), columns, target):
        for batch in batches():
            columns = _merged(columns, _cells(batch))
        _write(batches(), columns, target)


def _cells(rows: Rows) -> Cells:
    """Cells by column, in order of appearance; None where a row does not have it."""
    keys = set(map(tuple, rows))
    if len(keys) == 1:  # the usual case, and several times as fast
        return {name: list(map(itemgetter(name), rows)) for name in keys.pop()}
    names = dict.fromkeys(itertools.chain.from_iterable(rows))
    columns = {}
    for name in names:
        columns[name] = [row.get(name) for row in rows]
    return columns


def _merged(columns: Kinds, cells: Cells) -> Kinds:
    """Types of the columns with these cells too."""
    merged = dict(columns)
    for name, column in cells.items():
        merged[name] = kinds.merged(merged.get(name, pa.null()), kinds.kind_of(column))
    return merged


def _write(batches: Iterable[Rows], columns: Kinds, target: Path) -> bool:
    """Write the batches; False if a batch does not fit the types."""
    schema = kinds.features_of(columns).arrow_schema
    with pa.OSFile(str(target), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for rows in batches:
            cells = _cells(rows)
            if _merged(columns, cells) != columns:
                return False
            arrays = []
            for name, kind in columns.items():
                arrays.append(kinds.array_of(cells.get(name) or [None] * len(rows), kind))
            writer.write_batch(pa.record_batch(arrays, schema=schema))
    return True


# --- reading -----------------------------------------------------------------------------------------------------


def _batches_of(source: SourceFile, *, has_turns: bool) -> Callable[[], Iterator[Rows]]:
    """Gives the rows in batches from the start each time it is called.

    Raises:
        DataError: The file is a document without rows.
    """
    with _readable(source), source.text() as file:
        first = next((line for line in file if line.strip()), "")
        second = next((line for line in file if line.strip()), "")
        row = _parsed(first)
        is_broken = row is None and isinstance(_parsed(second), dict)
        if is_broken or (isinstance(row, dict) and (second or not _is_document(row, has_turns=has_turns))):
            return lambda: _batched_lines(source)
        if isinstance(row, list) and isinstance(_parsed(second), list):
            if has_turns and _are_dialogues([row]):
                return lambda: _batched_dialogues(source)
            raise DataError(f"{source.path} has a list on each line, expected an object, or one list around all lines")
    with _readable(source), source.text() as file:
        content = JSON.decode(file.read())
        if has_turns and isinstance(content, list) and _are_dialogues(content):
            rows = [{"messages": turns} for turns in content]
        else:
            rows = _rows_of_document(content, source.path)
    return lambda: in_batches(rows, _ROWS)


def _is_document(row: dict[str, Any], *, has_turns: bool) -> bool:
    """Whether the only line of a file is a document around its rows, and not a row."""
    # UltraChat calls the turns of a dialogue `data`.
    if has_turns and _are_turns(row.get("data")):
        return False
    if _ROW_KEYS & set(row):
        return True
    # pandas writes a dict of cells by row for each column, or of cells by column for each row.
    parts = list(row.values())
    if "train" in row and all(isinstance(part, list) for part in parts):
        return True
    if not parts or not all(isinstance(part, dict) for part in parts):
        return False
    return _are_numbers(row) or _are_numbers(parts[0])


def _batched_lines(source: SourceFile) -> Iterator[Rows]:
    rows: Rows = []
    size, is_flat = 0, True
    with _readable(source) as at, source.text() as file:
        for at.number, line in enumerate(file, 1):
            if line.isspace():
                continue
            row = (_QUICK if is_flat else JSON).decode(line)
            # As many keys as colons after quotes: no objects inside, and no key twice.
            if is_flat and not (isinstance(row, dict) and line.count('":') == len(row)):
                is_flat, row = False, JSON.decode(line)
            if not isinstance(row, dict):
                raise DataError(
                    f'{source.path} line {at.number} is not a JSON object: expected {{"text": …, "label": …}}'
                )
            # MRQA describes the file on its first line.
            if at.number == 1 and set(row) == {"header"}:
                log(f"{source.path}: the first line, a header, is no row")
                continue
            rows.append(row)
            size += len(line)
            # Long rows in thousands would take much memory.
            if len(rows) == _ROWS or size > _CHARACTERS:
                yield rows
                rows, size = [], 0
    if rows:
        yield rows


def _are_turns(cell: Any) -> bool:
    """Whether a list holds the turns of one dialogue, as texts or with their speakers."""
    if not isinstance(cell, list) or not cell:
        return False
    return all(isinstance(turn, str) or (isinstance(turn, dict) and is_turn(turn)) for turn in cell)


def _are_dialogues(entries: list[Any]) -> bool:
    """Whether all entries are lists of texts."""
    for entry in entries:
        if not isinstance(entry, list) or not all(isinstance(text, str) for text in entry):
            return False
    return bool(entries)


def _batched_dialogues(source: SourceFile) -> Iterator[Rows]:
    """Rows of a file with a list of texts on each line."""
    with _readable(source) as at, source.text() as file:
        rows: Rows = []
        for at.number, line in enumerate(file, 1):
            turns = None if line.isspace() else JSON.decode(line)
            if turns is not None and not _are_dialogues([turns]):
                raise DataError(
                    f"{source.path} line {at.number} is not a list of texts, as the lines before it are: fix or delete "
                    "that line"
                )
            if turns is not None:
                rows.append({"messages": turns})
    yield from in_batches(rows, _ROWS)


def _parsed(text: str) -> Any:
    """The JSON value that a text is; None where it is none."""
    try:
        return _QUICK.decode(text)
    except (ValueError, RecursionError):
        return None


@dataclass
class _Line:
    """Where in a file a reader is."""

    number: int = 0
    """Of the line, from 1; 0 where the file is read whole."""


@contextlib.contextmanager
def _readable(source: SourceFile) -> Iterator[_Line]:
    """Turn errors of reading JSON inside the block into one sentence, with the line where it is known.

    Raises:
        DataError: With what is wrong.
    """
    line = _Line()
    try:
        yield line
    except DataError:
        raise
    except UnicodeDecodeError as error:
        raise DataError(source.wrong_encoding(error)) from error
    except json.JSONDecodeError as error:
        # Of a document read whole, the error knows the line; of a file read by lines, the loop does.
        raise DataError(json_problem(error, f"{source.path} line {line.number or error.lineno}")) from error
    except (RecursionError, ValueError) as error:
        at = f" line {line.number}" if line.number else ""
        raise DataError(json_problem(error, f"{source.path}{at}")) from error


def json_problem(error: RecursionError | ValueError, at: str) -> str:
    """A sentence on an error of the decoder, for a value in this line or file."""
    if isinstance(error, json.JSONDecodeError):
        return f"{at} is not valid JSON ({error.msg}): fix or delete that line"
    if isinstance(error, RecursionError):
        return f"{at} has lists or objects nested too deeply to be read: delete it"
    if isinstance(error, _DuplicateKeyError):
        return f"{at} has the key {str(error)[:60]!r} twice in one object: delete one"
    # Python refuses whole numbers of more than 4,300 digits by a ValueError.
    return f"{at} has a number with too many digits: write it as a text, in quotes"


# --- documents ---------------------------------------------------------------------------------------------------


def _rows_of_document(content: Any, path: str) -> Rows:
    """Rows of a file that is a single JSON value.

    Raises:
        DataError: It has no rows that could be told apart.
    """
    if isinstance(content, list):
        return rows_without_names(content) or rows_of_pairs(content) or _checked_list(content, path)
    if not isinstance(content, dict):
        raise DataError(
            f"{path} holds a single {type(content).__name__}: expected one JSON object per line, or a list of them"
        )
    if "train" in content and all(isinstance(part, list) for part in content.values()):
        raise DataError(f"{path} holds the splits {', '.join(content)}: write the list of each into a file of its own")
    row_keys = []
    for key, value in content.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            row_keys.append(str(key))
    if len(row_keys) == 1:
        return _checked_list(content[row_keys[0]], f"{path}: {row_keys[0]}")
    if _is_row(content):
        return [content]
    rows = None if row_keys else _rows_of_columns(content, path)
    if rows is None:
        raise DataError(f"{path} is one JSON object: {_FORMS}")
    return rows


def _is_row(content: dict[str, Any]) -> bool:
    """Whether a document is one text with lists about it, as RACE has a file for each text with its questions."""
    lists = [part for part in content.values() if isinstance(part, list)]
    has_text = any(isinstance(part, str) for part in content.values())
    return has_text and len(lists) > 1 and len({len(part) for part in lists}) == 1 and bool(lists[0])


def _checked_list(rows: list[Any], path: str) -> Rows:
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            edit = 'write it by to_json(orient="records") of pandas' if isinstance(row, list) else "fix or delete it"
            raise DataError(f"{path}: entry {index} of the list is not a JSON object: {edit}", rows=[index])
    return rows


def _rows_of_columns(content: dict[str, Any], path: str) -> Rows | None:
    """Rows of a document that holds columns, in the ways in which pandas writes them; None for another document."""
    if set(content) == {"columns", "index", "data"} and all(isinstance(part, list) for part in content.values()):
        return _rows_of_split(content["columns"], content["data"], path)
    parts = list(content.values())
    if parts and all(isinstance(part, list) for part in parts):
        return _rows_of_lists(content, path)
    if not parts or not all(isinstance(part, dict) and part for part in parts):
        return None
    if _are_numbers(content):  # orient="index": rows by their number
        return parts
    if not _are_numbers(parts[0]):
        return None
    if any(list(part) != list(parts[0]) for part in parts):
        raise DataError(f'{path} has columns of different rows: write it by to_json(orient="records")')
    lists = {name: list(part.values()) for name, part in content.items()}
    return _rows_of_lists(lists, path)


def _are_numbers(keys: Iterable[str]) -> bool:
    """Whether keys number rows."""
    return all(map(str.isdigit, keys))


def _rows_of_split(names: list[Any], data: list[Any], path: str) -> Rows:
    """Rows as `to_json(orient="split")` writes them."""
    rows = []
    for index, cells in enumerate(data):
        if not isinstance(cells, list) or len(cells) != len(names):
            raise DataError(
                f"{path}: row {index} of data does not have {len(names)} cells, one for each name in columns: fix or "
                "delete that row"
            )
        rows.append(dict(zip(map(str, names), cells, strict=True)))
    return rows


def _rows_of_lists(columns: dict[str, list[Any]], path: str) -> Rows | None:
    lengths = {name: len(cells) for name, cells in columns.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(f"{path} has lists of different lengths ({listed}): expected columns with a cell for each row")
    return list(rows_of(columns))
