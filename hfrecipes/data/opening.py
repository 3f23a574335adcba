"""Open a file of rows as bytes or as text: from disk or through fsspec, compressed or not, in any encoding."""

from __future__ import annotations

import bz2
import codecs
import contextlib
import gzip
import io
import lzma
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any

from ..characters import shortened
from ..errors import ConfigError, DataError, MissingPackageError, NotFoundError, nearest
from ..log import log
from ..masking import cause
from . import encodings

COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst", ".zip")
HEAD = 65536  # bytes that tell the format of a file

_ZIP, _ZSTD = b"PK\x03\x04", b"\x28\xb5\x2f\xfd"
_BROKEN = (OSError, EOFError, lzma.LZMAError, zlib.error, zipfile.BadZipFile)
_WORKBOOK = "xl/workbook.xml"  # the member of a zip file that makes it a spreadsheet
_ENCODINGS = ("utf-8", "utf-16", "latin-1", "cp1252", "cp1250", "cp1251", "gb18030", "big5", "shift_jis", "euc_kr")


@dataclass(frozen=True)
class SourceFile:
    """A file, or an fsspec URL, with the encoding of its text."""

    path: str
    encoding: str = "utf-8-sig"  # Excel writes a byte order mark, which would become part of the first column's name

    @property
    def suffix(self) -> str:
        """Suffix in lower case, without that of the compression: `.csv` of `train.csv.gz`."""
        suffix = suffix_of(self.path)
        if suffix or not self.path.lower().endswith(".zip"):
            return suffix
        with _opened(self.path) as file:
            return suffix_of(_member(_archive(file, self.path), self.path))

    def bytes(self) -> IO[bytes]:
        """The content, unpacked.

        Raises:
            NotFoundError: There is no such file.
            DataError: It cannot be read, or holds several files.
        """
        return _unpacked(_opened(self.path), self.path)

    def text(self, newline: str | None = None) -> IO[str]:
        """The content as text; `newline` as for `open`."""
        return io.TextIOWrapper(self.bytes(), encoding=self.encoding, newline=newline)

    def lines(self) -> Iterator[str]:
        r"""Lines with their ends; only "\n" ends a line, as a "\r" inside a line is part of the text.

        Raises:
            DataError: The content is not text of this encoding.
        """
        with self.text(newline="\n") as file:
            try:
                yield from file
            except UnicodeDecodeError as error:
                raise DataError(self.wrong_encoding(error)) from error

    def filled_lines(self) -> Iterator[str]:
        """Lines that have any but blanks, without their ends.

        Raises:
            DataError: As for `lines`.
        """
        for line in self.lines():
            if line.strip():
                yield line.rstrip("\r\n")

    def start(self) -> str:
        """The first characters that are more than blanks, with those after them; empty where there are none.

        Raises:
            DataError: The content cannot be unpacked.
        """
        # Bytes of another encoding are named where all lines are read.
        with reading(self.path), io.TextIOWrapper(self.bytes(), encoding=self.encoding, errors="ignore") as file:
            while text := file.read(HEAD):
                if not is_blank(text):
                    return text.lstrip()
        return ""

    def wrong_encoding(self, error: UnicodeDecodeError) -> str:
        """A sentence on a byte that the encoding does not have."""
        name, byte = self.encoding.removesuffix("-sig"), error.object[error.start]
        return (
            f"{self.path} is not {name.upper()} text: byte 0x{byte:02x} in line {self._wrong_line()}; fix it there, "
            "or name the encoding, dataset.encoding=<latin-1, cp1252, gb18030, …>"
        )

    def _wrong_line(self) -> int:
        """Number of the first line that the encoding cannot read."""
        number = 0
        with self.bytes() as file:
            for line in file:
                number += 1
                try:
                    line.decode(self.encoding)
                except UnicodeDecodeError:
                    break
        return number


def is_blank(text: str) -> bool:
    """Whether a text has nothing but blanks, or zeros, with which a crash may leave a file."""
    return not text.strip().strip("\0")


def suffix_of(path: str) -> str:
    """Suffix of a name in lower case, without that of the compression.

    Example:
        >>> suffix_of("data/train.CSV.gz"), suffix_of("esp.train")
        ('.csv', '.train')
    """
    return PurePosixPath(without_compression(path)).suffix.lower()


def without_compression(path: str) -> str:
    """The name without the suffix of a compression."""
    stem, suffix = os.path.splitext(path)
    return stem if suffix.lower() in COMPRESSED_SUFFIXES else path


def open_source(path: str, encoding: str | None) -> SourceFile:
    """The file with its encoding: the one that is given, or the one that its bytes tell.

    Raises:
        ConfigError: There is no such encoding.
        DataError: The file is unreadable, or its encoding cannot be told.
    """
    if encoding is not None:
        return SourceFile(path, _known_encoding(encoding))
    detected = _detected(path)
    if detected is None:
        return SourceFile(path)
    log(f"{path} is read as {detected.name}{detected.shown}; set dataset.encoding=… for another encoding")
    return SourceFile(path, detected.name)


def encoding_of(path: str) -> SourceFile:
    """The file with the encoding that its bytes tell, which is not printed again."""
    detected = _detected(path)
    return SourceFile(path) if detected is None else SourceFile(path, detected.name)


def _detected(path: str) -> encodings.Detected | None:
    with reading(path), SourceFile(path).bytes() as file:
        try:
            return encodings.detect(file)
        except UnicodeDecodeError as error:
            byte, number = error.object[error.start], error.object.count(b"\n", 0, error.start) + 1
            raise DataError(
                f"{path} holds bytes that are no text, such as 0x{byte:02x} in line {number}: expected a file of rows"
            ) from error


def _known_encoding(name: str) -> str:
    try:
        known = codecs.lookup(name).name
        # Python calls hex, rot13 and punycode encodings too.
        b"text,\n".decode(known, errors="ignore")
        b"text,\n".decode(known)
    except UnicodeDecodeError:
        pass  # of characters of two or four bytes
    except (LookupError, ValueError):
        unknown = f"there is no encoding {shortened(name, 40)}{nearest(name, _ENCODINGS)}"
        raise ConfigError(f"dataset.encoding: {unknown}; expected one such as {', '.join(_ENCODINGS)}") from None
    return "utf-8-sig" if known == "utf-8" else known


def head_of(path: str) -> bytes:
    """The first bytes that are no blanks, and no zeros, unpacked, with those after them; empty where there are none."""
    with reading(path), SourceFile(path).bytes() as file:
        while head := file.read(HEAD):
            if head.strip().strip(b"\0"):
                return head
    return b""


@contextlib.contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn errors of a broken or unreadable file inside the block into one sentence.

    Raises:
        DataError: With the reason.
    """
    try:
        yield
    except _BROKEN as error:
        reason = getattr(error, "strerror", None)
        if reason is None:
            raise DataError(damaged(path, error)) from error
        raise DataError(f"cannot read {path}: {reason}") from error


def damaged(path: str, error: Exception, kind: str = "") -> str:
    """A sentence on a file whose content is broken, such as a part of a download.

    Args:
        path: The file.
        error: What its reader says.
        kind: What it was read as, where its name does not tell.
    """
    reason = " ".join(str(error).split())[:300] or "it ends too early"
    as_kind = f" as {kind}" if kind else ""
    return f"cannot read {path}{as_kind} ({reason}): the file is damaged, so copy or download it again"


def _opened(path: str) -> IO[bytes]:
    """The bytes as they are on disk or behind the URL."""
    try:
        if "://" in path:
            import fsspec

            file: IO[bytes] = fsspec.open(path, "rb").open()
            return file
        _check_regular(path)
        return open(path, "rb")
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {path}: check its name, and the folder or site") from cause(error)
    except DataError:
        raise
    # ImportError: fsspec needs a package for this kind of URL, and says which.
    except (OSError, ValueError, ImportError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"cannot read {path}: {reason}") from cause(error)


def _check_regular(path: str) -> None:
    """Refuse pipes and devices, which may never end."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise DataError(f"{path} is a pipe or a device, expected a file: write its rows to one first")


# --- compression -------------------------------------------------------------------------------------------------


def is_workbook(path: str) -> bool:
    """Whether the file is a spreadsheet, which is a zip file too."""
    with reading(path), _opened(path) as file:
        return file.read(4) == _ZIP and _WORKBOOK in _archive(file, path).namelist()


class _Unpacked(io.RawIOBase):
    """The content of a compressed file, which closes that file too."""

    def __init__(self, content: Any, file: IO[bytes]) -> None:
        self._content = content
        self._file = file

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with the next bytes."""
        content = self._content.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        """Close both."""
        self._content.close()
        self._file.close()
        super().close()


def _unpacked(file: IO[bytes], path: str) -> IO[bytes]:
    try:
        with reading(path):
            start = file.read(4)
            file.seek(0)
        unpack = _unpacker(start)
        if unpack is None:
            return file
        return io.BufferedReader(_Unpacked(unpack(file, path), file))
    except DataError:
        file.close()
        raise


def _unpacker(start: bytes) -> Callable[[IO[bytes], str], Any] | None:
    """What unpacks a file with these first bytes; None where nothing has to."""
    if start.startswith(b"\x1f\x8b"):
        return lambda file, path: gzip.open(file, "rb")
    if start.startswith(b"BZh"):
        return lambda file, path: bz2.open(file, "rb")
    if start == b"\xfd7zX":
        return lambda file, path: lzma.open(file, "rb")
    if start == _ZSTD:
        return _zstd
    return _only_member if start == _ZIP else None


def _zstd(file: IO[bytes], path: str) -> Any:
    import pyarrow as pa  # Python itself unpacks it from 3.14 on

    return pa.CompressedInputStream(file, "zstd")


def _archive(file: IO[bytes], path: str) -> zipfile.ZipFile:
    with reading(path):
        return zipfile.ZipFile(file)


def _only_member(file: IO[bytes], path: str) -> IO[bytes]:
    archive = _archive(file, path)
    with reading(path):
        try:
            return archive.open(_member(archive, path))
        except RuntimeError as error:  # a password
            raise DataError(f"cannot read {path}: {error}") from error


def _member(archive: zipfile.ZipFile, path: str) -> str:
    """Name of the file in a zip archive.

    Raises:
        DataError: There is none, or there are several.
    """
    members = []
    for name in archive.namelist():
        # A Mac adds a hidden file for each file.
        if not name.endswith("/") and not name.startswith(("__MACOSX/", ".")):
            members.append(name)
    if len(members) != 1:
        shown = ", ".join(members[:5]) or "no file"
        raise DataError(f"{path} holds {shown}: unpack it, and give the folder, dataset=<folder>")
    return members[0]


# --- spreadsheets ------------------------------------------------------------------------------------------------


def workbook_rows(path: str) -> Iterator[tuple[Any, ...]]:
    """Cells of each row of the first sheet that has any.

    Raises:
        MissingPackageError: openpyxl is not installed.
        DataError: The file is broken.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise MissingPackageError(f"{path} is a spreadsheet: pip install openpyxl, or save it as csv") from error
    with _opened(path) as file, _reading_workbook(path):
        book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        filled = []
        for sheet in book.worksheets:
            if any(map(_has_cell, sheet.iter_rows(values_only=True, max_row=20))):
                filled.append(sheet)
        if len(filled) > 1:
            names = ", ".join(sheet.title for sheet in filled)
            log(f"{path} has the sheets {names}: only {filled[0].title} is read; save another one as csv to use it")
        yield from filled[0].iter_rows(values_only=True) if filled else ()


@contextlib.contextmanager
def _reading_workbook(path: str) -> Iterator[None]:
    """Turn errors of a broken spreadsheet inside the block into one sentence; sheets are read as their rows are.

    Raises:
        DataError: With the reason.
    """
    try:
        yield
    except DataError:
        raise
    # SyntaxError: its sheets are XML.
    except (*_BROKEN, KeyError, ValueError, SyntaxError) as error:
        raise DataError(damaged(path, error, "a spreadsheet")) from error


def _has_cell(row: tuple[Any, ...]) -> bool:
    return any(cell is not None for cell in row)
