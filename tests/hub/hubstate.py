"""State of the stand-in: users, repositories, commits.

Everything is on disk and each file is written atomically, so a killed server comes back unchanged.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

LARGE = "7z arrow bin ckpt gz h5 model msgpack npz onnx parquet pickle pkl pt pth safetensors tar wasm xz zip zst"
GITATTRIBUTES = "".join(f"*.{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in LARGE.split())


@dataclass(frozen=True)
class User:
    """User of a token; `role` is that of the token, `orgs` has the user's role in each organisation."""

    name: str
    role: str = "write"
    orgs: dict[str, str] = field(default_factory=dict)

    def reads(self, owner: str) -> bool:
        return owner == self.name or owner in self.orgs

    def writes(self, owner: str) -> bool:
        return self.role == "write" and (owner == self.name or self.orgs.get(owner) == "write")


TOKENS = {
    "hf_writer": User("writer"),
    "hf_reader": User("writer", role="read"),
    "hf_stranger": User("stranger"),
    "hf_member": User("member", orgs={"guild": "write"}),
    "hf_guest": User("guest", orgs={"guild": "read"}),
}


def write(file: Path, content: bytes) -> None:
    """Write a file completely or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.{uuid.uuid4().hex}")
    draft.write_bytes(content)
    os.replace(draft, file)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def git_sha1(content: bytes) -> str:
    """Hash that git gives a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def pointer(sha256: str, size: int) -> bytes:
    """The text that git stores instead of a large file; its hash and size are part of every listing."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


class Repo:
    """A repository. It shares no large files with others: if it did, later tests would upload nothing."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.owner, self.name = folder.parts[-2:]
        self.kind = folder.parts[-3]
        self.id = f"{self.owner}/{self.name}"
        self.page = self.id if self.kind == "models" else f"{self.kind}/{self.id}"

    @property
    def facts(self) -> dict[str, Any]:
        return json.loads((self.folder / "facts.json").read_bytes())

    def refs(self) -> dict[str, dict[str, str]]:
        """Commit of each branch and of each tag."""
        return json.loads((self.folder / "refs.json").read_bytes())

    def set_ref(self, sort: str, name: str, sha: str | None) -> None:
        """Point a branch or a tag to a commit, or delete it."""
        refs = self.refs()
        refs[sort].pop(name, None)
        if sha is not None:
            refs[sort][name] = sha
        write(self.folder / "refs.json", json.dumps(refs).encode())

    def resolve(self, revision: str) -> str | None:
        """Commit of a branch or a tag, or the commit that begins with these characters."""
        refs = self.refs()
        for sort, prefix in (("branches", "refs/heads/"), ("tags", "refs/tags/")):
            if (sha := refs[sort].get(revision.removeprefix(prefix))) is not None:
                return sha
        # As git does, a few characters are enough, but not so few that names of branches could match.
        if len(revision) <= 6:
            return None
        matching = list((self.folder / "commits").glob(f"{revision}*.json"))
        return matching[0].stem if len(matching) == 1 else None

    def commit(self, sha: str) -> dict[str, Any]:
        return json.loads((self.folder / "commits" / f"{sha}.json").read_bytes())

    def history(self, sha: str | None) -> Iterator[dict[str, Any]]:
        """A commit and all before it, newest first."""
        while sha is not None:
            commit = self.commit(sha)
            yield commit
            sha = commit["parent"]

    def add_commit(self, branch: str, files: dict[str, Any], author: str, title: str, message: str = "") -> str:
        """Store a commit, and only then point the branch to it: an interruption in between does no harm."""
        parent = self.refs()["branches"].get(branch)
        sha = hashlib.sha1(uuid.uuid4().bytes).hexdigest()
        commit = {"id": sha, "parent": parent, "title": title, "message": message, "date": now(), "author": author}
        write(self.folder / "commits" / f"{sha}.json", json.dumps({**commit, "files": files}).encode())
        self.set_ref("branches", branch, sha)
        return sha

    def large(self, sha256: str) -> Path:
        return self.folder / "large" / sha256

    def keep(self, content: bytes) -> dict[str, Any]:
        """Store a regular file and return its entry in a commit."""
        sha1 = git_sha1(content)
        write(self.folder / "blobs" / sha1, content)
        return {"oid": sha1, "size": len(content)}

    def keep_large(self, sha256: str) -> dict[str, Any]:
        """Entry in a commit for a large file that has arrived."""
        size = self.large(sha256).stat().st_size
        return {"oid": git_sha1(pointer(sha256, size)), "size": size, "lfs": sha256}

    def content(self, entry: dict[str, Any]) -> bytes:
        return (self.large(entry["lfs"]) if "lfs" in entry else self.folder / "blobs" / entry["oid"]).read_bytes()

    def text(self, sha: str, path: str) -> str:
        """Text of a file at a commit, empty where there is none."""
        entry = self.commit(sha)["files"].get(path)
        return "" if entry is None else self.content(entry).decode()


class Store:
    """All repositories, and the secret that signs addresses of the storage; both outlive the process."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.lock = threading.RLock()
        if not (folder / "secret").exists():
            write(folder / "secret", uuid.uuid4().bytes)
        self.secret = (folder / "secret").read_bytes()

    def find(self, kind: str, name: str) -> Repo | None:
        """The repository, or None; there is none for a name without owner, as for `csv` in load_dataset."""
        folder = self.folder / kind / name
        return Repo(folder) if "/" in name and (folder / "facts.json").exists() else None

    def create(self, kind: str, name: str, private: bool) -> Repo:
        """Create a repository with the first commit that the Hub makes in each: a `.gitattributes`."""
        repo = Repo(self.folder / kind / name)
        write(repo.folder / "refs.json", json.dumps({"branches": {}, "tags": {}}).encode())
        repo.add_commit("main", {".gitattributes": repo.keep(GITATTRIBUTES.encode())}, repo.owner, "initial commit")
        # Last, since a repository exists from the moment that this file does.
        write(repo.folder / "facts.json", json.dumps({"private": private, "created": now()}).encode())
        return repo

    def delete(self, repo: Repo) -> None:
        # First, so that a kill in between leaves no repository with half of its files.
        (repo.folder / "facts.json").unlink()
        shutil.rmtree(repo.folder)


def listing(files: dict[str, Any], folder: str, recursive: bool) -> list[tuple[str, dict[str, Any] | None]]:
    """Sorted paths below a folder, with the entry of each file and None for each folder."""
    start = f"{folder}/" if folder else ""
    entries: dict[str, dict[str, Any] | None] = {}
    for path, entry in files.items():
        if path.startswith(start):
            parts = path.removeprefix(start).split("/")
            depths = range(1, len(parts)) if recursive else range(1, min(len(parts), 2))
            entries |= {start + "/".join(parts[:depth]): None for depth in depths}
            if recursive or len(parts) == 1:
                entries[path] = entry
    return sorted(entries.items())
