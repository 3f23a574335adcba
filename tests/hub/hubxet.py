"""The xet store: hf_xet itself, on folders.

A real client is told the address of a chunk server together with its token. hf_xet also takes `local://FOLDER` for an
address and then reads and writes that folder, which is not documented; `works` finds out whether it still does.
"""

from __future__ import annotations

import shutil
import struct
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from hubstate import Repo, write

try:
    import hf_xet
except ImportError:
    hf_xet = None

SPAN = 48  # bytes of each record in a shard


def words(raw: bytes) -> str:
    """Hash as xet writes it: four numbers of eight bytes, each stored with its last byte first."""
    return "".join(raw[start : start + 8][::-1].hex() for start in range(0, 32, 8))


def hashes(shard: bytes) -> dict[str, str]:
    """Xet hash of each file in a shard, by its sha256.

    A shard begins with a record of its own. For each file follow a header, a record per piece, as many checksums if
    bit 31 of the flags is set, and the sha256 if bit 30 is. A header of ones ends the list.
    """
    by_sha256, position = {}, SPAN
    while True:
        name, flags, pieces = struct.unpack_from("<32sII", shard, position)
        if name == b"\xff" * 32:
            return by_sha256
        position += SPAN * (1 + pieces * (2 if flags >> 31 else 1))
        if flags >> 30 & 1:
            by_sha256[words(shard[position : position + 32])] = words(name)
            position += SPAN


class Xet:
    """Folders that clients read and write, one for each token: hf_xet locks a folder for a whole process."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.lock = threading.Lock()
        self.session = hf_xet.XetSession() if hf_xet else None

    def for_writing(self, repo: Repo) -> dict[str, Any]:
        """A token for uploads to the repository."""
        return self._token(self._fresh(repo, "in"))

    def for_reading(self, repo: Repo, files: dict[str, Any]) -> dict[str, Any]:
        """A token for downloads of the large files of a commit, which are put into its folder first."""
        token = self._token(self._fresh(repo, "out"))
        with self.lock, self.session.new_upload_commit(**self._keywords(token["casUrl"])) as upload:
            for sha256 in {entry["lfs"] for entry in files.values() if "lfs" in entry}:
                upload.start_upload_file(str(repo.large(sha256)), sha256=sha256)
        del upload  # frees the folder, which the client is about to open
        return token

    def collect(self, repo: Repo, sha256: str) -> bool:
        """Take a large file out of the folders that clients wrote, if it is in one."""
        for folder in (self.folder / repo.kind / repo.id / "in").glob("*"):
            for shard in folder.glob("xet/xorbs/shards/*.mdb"):
                if (name := hashes(shard.read_bytes()).get(sha256)) is not None:
                    write(repo.large(sha256), self._read(folder, name))
                    return True
        return False

    def hash(self, file: Path) -> str | None:
        """Name that xet gives a file of this content, however it was uploaded."""
        return hf_xet.hash_files([str(file)])[0].hash if hf_xet else None

    def _read(self, folder: Path, name: str) -> bytes:
        """Content of a file, read from a copy: the client that wrote the folder still holds its lock."""
        with self.lock, tempfile.TemporaryDirectory() as copy:
            shutil.copytree(folder, copy, dirs_exist_ok=True)
            group = self.session.new_download_stream_group(**self._keywords(f"local://{copy}"))
            return b"".join(group.download_stream(hf_xet.XetFileInfo(name, None)))

    def _fresh(self, repo: Repo, way: str) -> Path:
        folder = self.folder / repo.kind / repo.id / way / uuid.uuid4().hex
        folder.mkdir(parents=True)
        return folder

    @staticmethod
    def _token(folder: Path) -> dict[str, Any]:
        return {"casUrl": f"local://{folder}", "exp": int(time.time()) + 3600, "accessToken": folder.name}

    @staticmethod
    def _keywords(address: str) -> dict[str, Any]:
        return {"endpoint": address, "token": "stand-in", "token_expiry_unix_secs": int(time.time()) + 3600}


def works(folder: Path) -> bool:
    """Whether hf_xet is installed, and what it writes into a folder can be read."""
    try:
        with hf_xet.XetSession().new_upload_commit(**Xet._keywords(f"local://{folder}")) as upload:
            upload.start_upload_bytes(b"probe" * 99, sha256=hf_xet.COMPUTE_SHA256)
        return any(hashes(shard.read_bytes()) for shard in folder.glob("xet/xorbs/shards/*.mdb"))
    except Exception:  # undocumented, so a new version may fail in any way
        return False
