"""Answers of the Hub: a function for each route, from a call to an answer; `ROUTES` at the end lists them."""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode

from hubcards import front_matter, validate
from hubstate import TOKENS, Repo, Store, User, listing, pointer, write
from hubxet import Xet

PAGE = 10  # entries on a page: few, so that ordinary folders need a second one
PART = 2 * 1024 * 1024  # bytes in a part of an upload; larger files are sent in parts
LARGE_TEXT = 10 * 1024 * 1024  # bytes above which even a text file is a large file


@dataclass
class Answer:
    """Status, headers and body of a response."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def reply(value: Any, status: int = 200, **headers: str) -> Answer:
    """Answer in JSON."""
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json", **headers})


class RefusedError(Exception):
    """An error of the Hub: the text is sent in header and body, the code decides which class the client raises."""

    def __init__(self, status: int, message: str, code: str | None = None, **extra: Any):
        super().__init__(message)
        headers = {"X-Error-Message": message.encode("ascii", "replace").decode()}
        headers |= {"X-Error-Code": code} if code else {}
        self.answer = reply({"error": message, **extra}, status, **headers)


class UnroutedError(Exception):
    """No route for this address; it must fail the test."""


@dataclass
class Hub:
    """What all calls share; `url` is the origin of the API, `storage` that of the bytes."""

    store: Store
    xet: Xet
    url: str
    storage: str

    def sign(self, method: str, path: str) -> str:
        """Signature of an address in the storage, which is used there in place of a token."""
        return hmac.new(self.store.secret, f"{method} {path}".encode(), "sha256").hexdigest()[:16]

    def signed(self, method: str, path: str, origin: str | None = None) -> str:
        return f"{origin or self.storage}{path}?{urlencode({'sig': self.sign(method, path)})}"


@dataclass
class Call:
    """One request; `args` are the parts of its path."""

    hub: Hub
    method: str
    path: str
    query: dict[str, str]
    headers: Any
    body: bytes
    args: dict[str, str] = field(default_factory=dict)
    user: User | None = None
    repo: Repo | None = None

    def json(self) -> dict[str, Any]:
        return json.loads(self.body or b"{}")

    def sha(self) -> str:
        """Commit that the path names."""
        if (sha := self.repo.resolve(self.args["rev"])) is None:
            raise RefusedError(404, f"Invalid rev id: {self.args['rev']}", "RevisionNotFound")
        return sha

    def files(self) -> dict[str, Any]:
        """Entries of the commit that the path names."""
        return self.repo.commit(self.sha())["files"]


# Permissions


def identify(call: Call) -> None:
    """Find the user of the token; a wrong token is refused even where none is needed."""
    token = (call.headers.get("Authorization") or "").removeprefix("Bearer ")
    if token and token not in TOKENS:
        raise RefusedError(401, "Invalid credentials in Authorization header")
    call.user = TOKENS.get(token)


def admit(call: Call, right: str) -> None:
    """Find the repository and make sure that the user may read or write it.

    Without a token the answer is 401 whether the repository is missing, private or read-only, as on the Hub: it does
    not reveal which private repositories exist.
    """
    repo = call.hub.store.find(call.args["kind"], call.args["id"])
    seen = repo is not None and (not repo.facts["private"] or (call.user is not None and call.user.reads(repo.owner)))
    if call.user is None and (not seen or right == "write"):
        raise RefusedError(401, "Invalid username or password.", "RepoNotFound")
    if repo is None or not seen:
        raise RefusedError(404, "Repository not found", "RepoNotFound")
    call.repo = repo
    if right == "write" and not call.user.writes(repo.owner):
        lacks_role = call.user.role != "write"
        raise RefusedError(403, "you must use a write token to upload to a repository" if lacks_role else "Forbidden")


def whoami(call: Call) -> Answer:
    if call.user is None:
        raise RefusedError(401, "Invalid username or password.")
    orgs = [{"type": "org", "name": name, "roleInOrg": role} for name, role in call.user.orgs.items()]
    auth = {"type": "access_token", "accessToken": {"displayName": "stand-in", "role": call.user.role}}
    return reply({"type": "user", "name": call.user.name, "fullname": call.user.name, "orgs": orgs, "auth": auth})


# Repositories


def wanted(call: Call) -> tuple[str, str, str]:
    """Type, kind and id of the repository to create or delete, if the user may."""
    wish = call.json()
    sort = wish.get("type") or "model"
    if call.user is None:
        raise RefusedError(401, "Invalid username or password.")
    owner = wish.get("organization") or call.user.name
    if not call.user.writes(owner):
        raise RefusedError(403, f'You don\'t have the rights to create a {sort} under the namespace "{owner}"')
    if not re.fullmatch(r"[\w-][\w.-]{0,95}", wish["name"]):
        raise RefusedError(400, f"Invalid repo name: {wish['name']}")
    return sort, f"{sort}s", f"{owner}/{wish['name']}"


def create_repo(call: Call) -> Answer:
    sort, kind, name = wanted(call)
    url = f"{call.hub.url}/{name if sort == 'model' else f'{kind}/{name}'}"
    with call.hub.store.lock:
        if call.hub.store.find(kind, name):
            raise RefusedError(409, f"You already created this {sort} repo: {name}", url=url)
        call.hub.store.create(kind, name, private=call.json().get("visibility") == "private")
    return reply({"url": url, "name": name, "id": name})


def delete_repo(call: Call) -> Answer:
    _, kind, name = wanted(call)
    if (repo := call.hub.store.find(kind, name)) is None:
        raise RefusedError(404, "Repository not found", "RepoNotFound")
    call.hub.store.delete(repo)
    return Answer()


def auth_check(call: Call) -> Answer:
    return reply({})


def repo_info(call: Call) -> Answer:
    call.args.setdefault("rev", "main")
    repo, sha, facts = call.repo, call.sha(), call.repo.facts
    files = call.files()
    blobs = "blobs" in call.query
    siblings = [{"rfilename": path, **(blob_facts(entry) if blobs else {})} for path, entry in sorted(files.items())]
    card = card_of(repo, sha)
    known = {key: card[key] for key in ("pipeline_tag", "library_name") if key in card}
    dates = {"createdAt": facts["created"], "lastModified": repo.commit(sha)["date"]}
    fixed = {"disabled": False, "gated": False, "downloads": 0, "likes": 0, "author": repo.owner}
    tags = card.get("tags", [])
    body = {"id": repo.id, "sha": sha, "private": facts["private"], "tags": tags, "siblings": siblings}
    return reply({**body, **fixed, **dates, **known, "cardData": card})


def card_of(repo: Repo, sha: str) -> dict[str, Any]:
    try:
        return front_matter(repo.text(sha, "README.md")) or {}
    except ValueError:
        return {}


def blob_facts(entry: dict[str, Any]) -> dict[str, Any]:
    lfs = {"lfs": {"sha256": entry["lfs"], **lfs_facts(entry)}} if "lfs" in entry else {}
    return {"blobId": entry["oid"], "size": entry["size"], **lfs}


def lfs_facts(entry: dict[str, Any]) -> dict[str, Any]:
    return {"size": entry["size"], "pointerSize": len(pointer(entry["lfs"], entry["size"]))}


def tree_item(path: str, entry: dict[str, Any] | None) -> dict[str, Any]:
    if entry is None:
        return {"type": "directory", "path": path, "size": 0, "oid": hashlib.sha1(path.encode()).hexdigest()}
    lfs = {"lfs": {"oid": entry["lfs"], **lfs_facts(entry)}} if "lfs" in entry else {}
    xet = {"xetHash": entry["xet"]} if entry.get("xet") else {}
    return {"type": "file", "path": path, "size": entry["size"], "oid": entry["oid"], **lfs, **xet}


def paged(call: Call, items: list[Any]) -> Answer:
    """One page, with the address of the next one in a header."""
    start = int(call.query.get("cursor", 0))
    answer = reply(items[start : start + PAGE])
    if start + PAGE < len(items):
        query = urlencode({**call.query, "cursor": start + PAGE})
        answer.headers["Link"] = f'<{call.hub.url}{call.path}?{query}>; rel="next"'
    return answer


def tree(call: Call) -> Answer:
    folder = call.args.get("path", "").strip("/")
    recursive = call.query.get("recursive", "").lower() in ("true", "1")
    entries = listing(call.files(), folder, recursive)
    if folder and not entries:
        raise RefusedError(404, f'{folder} does not exist on "{call.args["rev"]}"', "EntryNotFound")
    return paged(call, [tree_item(path, entry) for path, entry in entries])


def paths_info(call: Call) -> Answer:
    # The client sends a form; other clients send JSON.
    in_json = "json" in (call.headers.get("Content-Type") or "")
    paths = call.json()["paths"] if in_json else parse_qs(call.body.decode()).get("paths", [])
    everything = dict(listing(call.files(), "", recursive=True))
    return reply([tree_item(path, everything[path]) for path in paths if path in everything])


def refs(call: Call) -> Answer:
    answers: dict[str, list[Any]] = {"converts": []}
    for sort, prefix in (("branches", "refs/heads"), ("tags", "refs/tags")):
        answers[sort] = []
        for name, sha in call.repo.refs()[sort].items():
            answers[sort].append({"name": name, "ref": f"{prefix}/{name}", "targetCommit": sha})
    return reply(answers)


def commits(call: Call) -> Answer:
    entries = []
    for commit in call.repo.history(call.sha()):
        entry: dict[str, Any] = {"authors": [{"user": commit["author"]}]}
        for key in ("id", "title", "message", "date"):
            entry[key] = commit[key]
        entries.append(entry)
    return paged(call, entries)


def create_branch(call: Call) -> Answer:
    call.args["rev"] = call.json().get("startingPoint") or "main"
    return new_ref(call, "branches", "refs/heads", call.args["name"])


def create_tag(call: Call) -> Answer:
    return new_ref(call, "tags", "refs/tags", call.json()["tag"])


def new_ref(call: Call, sort: str, prefix: str, name: str) -> Answer:
    with call.hub.store.lock:
        if name in call.repo.refs()[sort]:
            raise RefusedError(409, f"Reference {prefix}/{name} already exists")
        call.repo.set_ref(sort, name, call.sha())
    return reply({})


def delete_ref(call: Call) -> Answer:
    sort, name = {"branch": "branches", "tag": "tags"}[call.args["sort"]], call.args["name"]
    with call.hub.store.lock:
        if name not in call.repo.refs()[sort]:
            raise RefusedError(404, f"Invalid rev id: {name}", "RevisionNotFound")
        call.repo.set_ref(sort, name, None)
    return reply({})


def validate_yaml(call: Call) -> Answer:
    """Check a card; `RepoCard.validate` asks for text and shows it unchanged, all others ask for JSON."""
    errors, warnings = validate(call.json()["content"])
    status = 400 if errors else 200
    if "text/plain" in (call.headers.get("Accept") or ""):
        lines = [f"- Error: {text}" for text in errors] + [f"- Warning: {text}" for text in warnings]
        return Answer(status, "\n".join(lines).encode(), {"Content-Type": "text/plain; charset=utf-8"})
    return reply({"errors": messages(errors), "warnings": messages(warnings)}, status)


def messages(texts: list[str]) -> list[dict[str, str]]:
    return [{"message": text} for text in texts]


# Uploads


def preupload(call: Call) -> Answer:
    """Tell for each file how to send it, and the hash of the one that the repository has."""
    asked, sha, files = call.json(), call.sha(), call.files()
    # A .gitignore in the same upload counts already.
    ignored = (asked.get("gitIgnore") or call.repo.text(sha, ".gitignore")).splitlines()
    attributes = call.repo.text(sha, ".gitattributes").splitlines()
    large = [line.split()[0] for line in attributes if "filter=lfs" in line]
    answers = []
    for file in asked["files"]:
        entry = files.get(file["path"], {})
        mode = "lfs" if is_large(file, large) else "regular"
        oid = {"oid": entry.get("lfs", entry["oid"])} if entry else {}
        ignore = matches(file["path"], ignored)
        answers.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": ignore, **oid})
    return reply({"files": answers})


def matches(path: str, patterns: Iterable[str]) -> bool:
    """Whether a pattern names the path, its last part or a folder above it."""
    names = [path, *path.split("/")]
    return any(fnmatch.fnmatch(name, pattern.strip("/")) for pattern in patterns for name in names)


def is_large(file: dict[str, Any], patterns: list[str]) -> bool:
    binary = b"\0" in base64.b64decode(file["sample"])
    return file["size"] > 0 and (file["size"] > LARGE_TEXT or binary or matches(file["path"], patterns))


def lfs_batch(call: Call) -> Answer:
    """Tell where to upload each large file; a file that the repository has gets no address."""
    asked = call.json()["objects"]
    objects = []
    for wanted in asked:
        is_new = not call.repo.large(wanted["oid"]).exists()
        objects.append({**wanted, **lfs_actions(call, wanted)} if is_new else wanted)
    return reply({"transfer": "basic", "objects": objects})


def lfs_actions(call: Call, wanted: dict[str, Any]) -> dict[str, Any]:
    path = f"{call.repo.kind}/{call.repo.id}/{wanted['oid']}"
    parts = -(-wanted["size"] // PART)  # rounded up
    if wanted["size"] <= PART:
        upload = {"href": call.hub.signed("PUT", f"/storage/{path}")}
    else:
        urls = {f"{n:05}": call.hub.signed("PUT", f"/storage/{path}.{n}") for n in range(1, parts + 1)}
        header = {"chunk_size": str(PART), **urls}
        upload = {"href": call.hub.signed("POST", f"/complete/{path}", call.hub.url), "header": header}
    verify = {"href": f"{call.hub.url}/{call.repo.page}.git/info/lfs/objects/verify"}
    return {"actions": {"upload": upload, "verify": verify}}


def stored(call: Call) -> Repo:
    """Repository of a signed address.

    As by a real storage, a token next to the signature is refused: a token must never be sent there.
    """
    if call.headers.get("Authorization"):
        raise RefusedError(400, "Only one auth mechanism allowed")
    repo = call.hub.store.find(call.args["kind"], call.args["id"])
    if repo is None or call.query.get("sig") != call.hub.sign(call.method.replace("HEAD", "GET"), call.path):
        raise RefusedError(403, "SignatureDoesNotMatch")
    return repo


def storage_put(call: Call) -> Answer:
    repo, oid = stored(call), call.args["oid"]
    digest = hashlib.sha256(call.body).hexdigest()
    if "." not in oid and digest != oid:
        raise RefusedError(400, "BadDigest")
    write(repo.large(oid), call.body)
    return Answer(headers={"ETag": f'"{digest}"'})


def storage_get(call: Call) -> Answer:
    repo, oid = stored(call), call.args["oid"]
    return ranged(call, repo.large(oid).read_bytes(), {"ETag": f'"{oid}"'})


def complete(call: Call) -> Answer:
    """Join the parts of a large file, if not done before: a client whose answer was lost asks again."""
    repo, oid = stored(call), call.args["oid"]
    if not repo.large(oid).exists():
        parts = [repo.large(f"{oid}.{part['partNumber']}") for part in call.json()["parts"]]
        content = b"".join(part.read_bytes() for part in parts)
        if hashlib.sha256(content).hexdigest() != oid:
            raise RefusedError(400, "BadDigest")
        write(repo.large(oid), content)
        for part in parts:
            part.unlink()
    return reply({"success": True})


def lfs_verify(call: Call) -> Answer:
    file = call.repo.large(call.json()["oid"])
    if not file.exists() or file.stat().st_size != call.json()["size"]:
        raise RefusedError(422, "Object is missing or has another size")
    return reply({})


def commit(call: Call) -> Answer:
    """Apply the lines of a commit to the branch, all or none."""
    head, *operations = [json.loads(line) for line in call.body.splitlines()]
    head, branch, repo = head["value"], call.args["rev"], call.repo
    with call.hub.store.lock:
        sha = repo.refs()["branches"].get(branch)
        if sha is None:
            raise RefusedError(404, f"Invalid rev id: {branch}", "RevisionNotFound")
        if not sha.startswith(head.get("parentCommit") or ""):
            raise RefusedError(412, "A commit has happened since. Please refresh and try again.")
        files = repo.commit(sha)["files"]
        for operation in operations:
            check_path(operation["value"]["path"])
            OPERATIONS[operation["key"]](call, files, operation["value"])
        new = repo.add_commit(branch, files, call.user.name, head["summary"], head.get("description", ""))
    url = f"{call.hub.url}/{repo.page}/commit/{new}"
    return reply({"success": True, "commitOid": new, "commitUrl": url, "hookOutput": ""})


def check_path(path: str) -> None:
    if any(part in ("", ".", "..", ".git") for part in path.removesuffix("/").split("/")) or "\\" in path:
        raise RefusedError(422, f"Invalid path: {path}")


def add_file(call: Call, files: dict[str, Any], value: dict[str, Any]) -> None:
    content = base64.b64decode(value["content"])
    errors, _ = validate(content.decode(errors="replace")) if value["path"] == "README.md" else ([], [])
    if errors:
        raise RefusedError(400, f"Invalid metadata in README.md: {'; '.join(errors)}")
    files[value["path"]] = call.repo.keep(content)


def add_large(call: Call, files: dict[str, Any], value: dict[str, Any]) -> None:
    repo, oid = call.repo, value["oid"]
    if not repo.large(oid).exists() and not call.hub.xet.collect(repo, oid):
        broken = "Your push was rejected because an LFS pointer pointed to a file that does not exist."
        raise RefusedError(400, f"{broken} Offending file: - {value['path']}")
    files[value["path"]] = {**repo.keep_large(oid), "xet": call.hub.xet.hash(repo.large(oid))}


def delete_file(call: Call, files: dict[str, Any], value: dict[str, Any]) -> None:
    if files.pop(value["path"], None) is None:
        raise RefusedError(404, f"A file with this name doesn't exist: {value['path']}", "EntryNotFound")


def delete_folder(call: Call, files: dict[str, Any], value: dict[str, Any]) -> None:
    inside = [path for path in files if path.startswith(value["path"].rstrip("/") + "/")]
    if not inside:
        raise RefusedError(404, f"A folder with this name doesn't exist: {value['path']}", "EntryNotFound")
    for path in inside:
        del files[path]


OPERATIONS = {"file": add_file, "lfsFile": add_large, "deletedFile": delete_file, "deletedFolder": delete_folder}


def xet_write(call: Call) -> Answer:
    call.sha()
    return xet_token(call.hub.xet.for_writing(call.repo))


def xet_read(call: Call) -> Answer:
    return xet_token(call.hub.xet.for_reading(call.repo, call.files()))


def xet_token(token: dict[str, Any]) -> Answer:
    """Uploads in Rust read the body, downloads in Python the headers."""
    headers = {
        "X-Xet-Cas-Url": token["casUrl"],
        "X-Xet-Access-Token": token["accessToken"],
        "X-Xet-Token-Expiration": str(token["exp"]),
    }
    return reply(token, **headers)


# Downloads


def resolve(call: Call) -> Answer:
    """A regular file, or the address of a large one; clients probe for files, so a missing one must be a clean 404."""
    sha, path, repo = call.sha(), call.args["path"], call.repo
    if (entry := repo.commit(sha)["files"].get(path)) is None:
        refusal = RefusedError(404, "Entry not found", "EntryNotFound")
        refusal.answer.headers["X-Repo-Commit"] = sha
        raise refusal
    headers = {"X-Repo-Commit": sha, "ETag": f'"{entry["oid"]}"'}
    if "lfs" not in entry:
        return ranged(call, repo.content(entry), headers)
    stored_path = f"/storage/{repo.kind}/{repo.id}/{entry['lfs']}"
    headers |= {"X-Linked-Size": str(entry["size"]), "X-Linked-Etag": f'"{entry["lfs"]}"'}
    headers |= {"Location": call.hub.signed("GET", stored_path)}
    if entry.get("xet"):
        token = f"{call.hub.url}/api/{repo.kind}/{repo.id}/xet-read-token/{sha}"
        headers |= {"X-Xet-Hash": entry["xet"], "Link": f'<{token}>; rel="xet-auth"'}
    return Answer(302, b"", headers)


def ranged(call: Call, content: bytes, headers: dict[str, str]) -> Answer:
    """The content, or the range of it that was asked for."""
    headers = {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream", **headers}
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", call.headers.get("Range") or "")
    if asked is None:
        return Answer(200, content, headers)
    size = len(content)
    start = int(asked[1]) if asked[1] else max(size - int(asked[2]), 0)
    end = min(int(asked[2]) + 1, size) if asked[1] and asked[2] else size
    if start >= end:
        return Answer(416, b"", {**headers, "Content-Range": f"bytes */{size}"})
    return Answer(206, content[start:end], {**headers, "Content-Range": f"bytes {start}-{end - 1}/{size}"})


# Routes


def harnesses(call: Call) -> Answer:
    """The client asks once a day which programs to look for around it: none."""
    return reply({"standardEnvVars": [], "harnesses": {}})


KIND, ID = r"(?P<kind>models|datasets)", r"(?P<id>[^/]+(?:/[^/]+)?)"
REPO = f"/api/{KIND}/{ID}"
PAGES = f"/(?:(?P<kind>datasets)/)?{ID}"
STORED = f"{KIND}/{ID}/(?P<oid>[^/]+)"
REV, NAME = "(?P<rev>[^/]+)", "(?P<name>[^/]+)"
# Method, path, right that is needed in the repository (None: the path names none), function. The first match answers.
ROUTES: list[tuple[str, str, str | None, Callable[[Call], Answer]]] = [
    ("GET", "/api/whoami-v2", None, whoami),
    ("GET", "/api/agent-harnesses", None, harnesses),
    ("POST", "/api/repos/create", None, create_repo),
    ("DELETE", "/api/repos/delete", None, delete_repo),
    ("POST", "/api/validate-yaml", None, validate_yaml),
    ("GET", f"{REPO}/auth-check", "read", auth_check),
    ("GET", f"{REPO}/auth-check/write", "write", auth_check),
    ("GET", f"{REPO}/tree/{REV}(?:/(?P<path>.*))?", "read", tree),
    ("POST", f"{REPO}/paths-info/{REV}", "read", paths_info),
    ("GET", f"{REPO}/refs", "read", refs),
    ("GET", f"{REPO}/commits/{REV}", "read", commits),
    ("POST", f"{REPO}/branch/{NAME}", "write", create_branch),
    ("POST", f"{REPO}/tag/{REV}", "write", create_tag),
    ("DELETE", f"{REPO}/(?P<sort>branch|tag)/{NAME}", "write", delete_ref),
    ("POST", f"{REPO}/preupload/{REV}", "write", preupload),
    ("POST", f"{REPO}/commit/{REV}", "write", commit),
    ("GET", f"{REPO}/xet-write-token/{REV}", "write", xet_write),
    ("GET", f"{REPO}/xet-read-token/{REV}", "read", xet_read),
    ("GET", f"{REPO}/revision/{REV}", "read", repo_info),
    ("GET", REPO, "read", repo_info),
    ("POST", f"{PAGES}.git/info/lfs/objects/batch", "write", lfs_batch),
    ("POST", f"{PAGES}.git/info/lfs/objects/verify", "write", lfs_verify),
    ("GET", f"{PAGES}/resolve/{REV}/(?P<path>.+)", "read", resolve),
    ("POST", f"/complete/{STORED}", None, complete),
    ("PUT", f"/storage/{STORED}", None, storage_put),
    ("GET", f"/storage/{STORED}", None, storage_get),
]


def answer(call: Call) -> Answer:
    """Answer a call.

    Raises:
        UnroutedError: There is no route for this address.
    """
    right, respond = route(call)
    try:
        if not call.path.startswith("/storage/"):
            identify(call)
        if right:
            admit(call, right)
        return respond(call)
    except RefusedError as refusal:
        return refusal.answer


def route(call: Call) -> tuple[str | None, Callable[[Call], Answer]]:
    """The function that answers a call, with the right it needs; fills in the parts of the path."""
    for method, pattern, right, respond in ROUTES:
        match = re.fullmatch(pattern, call.path) if method == call.method.replace("HEAD", "GET") else None
        if match:
            call.args = {"kind": "models"} | {key: unquote(part) for key, part in match.groupdict().items() if part}
            return right, respond
    raise UnroutedError(f"{call.method} {call.path}")
