"""The real clients work with the stand-in as with the Hub, also when requests fail; no network."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi, ModelCard, auth_check, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RevisionNotFoundError,
)

CARD = "---\nlicense: mit\nbase_model: guild/base\n---\n# A model\n"
WEIGHTS = bytes(range(256)) * 4096  # a megabyte


@pytest.fixture
def api() -> HfApi:
    return HfApi()


@pytest.fixture
def name(hub, api: HfApi) -> str:
    """A new public repository of the writer."""
    repository = api.create_repo(f"{hub.owner}/{uuid.uuid4().hex}").repo_id
    hub.clear()
    return repository


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder: large, regular and empty files, on two levels, more than one page of them."""
    files = {"model.safetensors": WEIGHTS, "config.json": b"{}", "README.md": CARD.encode(), "empty.txt": b""}
    files |= {"part/model.bin": WEIGHTS[:-1], "part/ä b+#%.json": b"[]"}
    files |= {f"part/{number:02}.json": f"[{number}]".encode() for number in range(9)}
    for path, content in files.items():
        file = tmp_path / "model" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return tmp_path / "model"


def content(folder: Path) -> dict[str, bytes]:
    """All files below a folder but those that the Hub or the client add."""
    files = [file for file in folder.rglob("*") if file.is_file() and not file.name.startswith(".")]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


# Repositories


def test_a_repository_is_created_found_and_deleted(hub, api):
    for kind in ("model", "dataset"):
        url = api.create_repo("writer/basics", repo_type=kind, private=True)
        assert (url.repo_id, url.repo_type) == ("writer/basics", kind)
        assert api.repo_info("writer/basics", repo_type=kind).private
        assert api.create_repo("basics", repo_type=kind, exist_ok=True) == url, (
            "a name without owner belongs to the user"
        )
        with pytest.raises(HfHubHTTPError, match=r"(?s)409.*already created"):
            api.create_repo("writer/basics", repo_type=kind)
        api.delete_repo("writer/basics", repo_type=kind)
        assert not api.repo_exists("writer/basics", repo_type=kind)


def test_the_token_identifies_the_user(hub, api, monkeypatch):
    assert api.whoami()["name"] == hub.owner
    monkeypatch.setenv("HF_TOKEN", hub.member)
    assert [org["name"] for org in api.whoami()["orgs"]] == [hub.organisation]
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(HfHubHTTPError, match=r"Invalid user token\. The token from HF_TOKEN"):
        api.whoami()


def test_branches_and_tags_are_made_and_removed(api, name):
    first = api.repo_info(name).sha
    api.create_tag(name, tag="v1")
    api.create_branch(name, branch="pr/1")
    with pytest.raises(HfHubHTTPError, match="Reference refs/heads/pr/1 already exists"):
        api.create_branch(name, branch="pr/1")
    api.create_branch(name, branch="pr/1", exist_ok=True)
    second = api.upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id=name, revision="pr/1").oid
    assert api.list_repo_files(name) == [".gitattributes"]
    assert api.list_repo_files(name, revision="pr/1") == [".gitattributes", "a.txt"]
    assert [commit.commit_id for commit in api.list_repo_commits(name, revision="pr/1")] == [second, first]
    refs = api.list_repo_refs(name)
    assert {ref.name: ref.target_commit for ref in [*refs.branches, *refs.tags]} == {
        "main": first,
        "pr/1": second,
        "v1": first,
    }
    api.delete_branch(name, branch="pr/1")
    api.delete_tag(name, tag="v1")
    with pytest.raises(RevisionNotFoundError):
        api.repo_info(name, revision="v1")


# Uploads and downloads


def test_a_folder_is_uploaded_and_downloaded_unchanged(hub, api, name, folder, transport):
    commit = api.upload_folder(repo_id=name, folder_path=folder)
    assert commit.commit_url == f"{hub.url}/{name}/commit/{commit.oid}"
    assert content(Path(snapshot_download(name))) == content(folder)
    assert api.get_paths_info(name, ["model.safetensors", "missing"])[0].lfs.size == len(WEIGHTS)
    tree = {item.path for item in api.list_repo_tree(name)}
    assert tree == {".gitattributes", "README.md", "config.json", "empty.txt", "model.safetensors", "part"}
    puts = hub.log("/storage/", "PUT")
    assert sorted(call["bytes"] for call in puts) == ([len(WEIGHTS) - 1, len(WEIGHTS)] if transport == "lfs" else [])
    assert bool(hub.log("/xet-write-token/")) == bool(hub.log("/xet-read-token/")) == (transport == "xet")
    assert len(hub.log("/tree/")) == 3, "two pages of files, and one of the top folder"


def test_a_second_upload_sends_nothing(hub, api, name, folder, transport):
    first = api.upload_folder(repo_id=name, folder_path=folder)
    hub.clear()
    assert api.upload_folder(repo_id=name, folder_path=folder).oid == first.oid
    assert not hub.log("/commit/")
    assert not hub.log("/storage/")


def test_a_large_file_is_sent_in_parts(hub, api, name, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    hub.fault("drop", "/complete/")
    api.upload_file(path_or_fileobj=WEIGHTS * 5, path_in_repo="model.bin", repo_id=name)
    assert [call["bytes"] for call in hub.log("/storage/", "PUT")] == [2 << 20, 2 << 20, 1 << 20]
    assert Path(hf_hub_download(name, "model.bin")).read_bytes() == WEIGHTS * 5


def test_files_of_one_transport_are_downloaded_by_the_other(hub, api, name, transport, xet_works, monkeypatch):
    from huggingface_hub import constants

    api.upload_file(path_or_fileobj=WEIGHTS, path_in_repo="model.bin", repo_id=name)
    if not xet_works:
        pytest.skip("there is no other transport")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", transport == "xet")
    assert Path(hf_hub_download(name, "model.bin")).read_bytes() == WEIGHTS


def test_files_are_replaced_and_deleted_on_top_of_the_right_commit(api, name):
    old = api.upload_file(path_or_fileobj=b"1", path_in_repo="a/b.txt", repo_id=name)
    api.upload_file(path_or_fileobj=b"2", path_in_repo="a/b.txt", repo_id=name, parent_commit=old.oid)
    with pytest.raises(HfHubHTTPError, match="412"):
        api.upload_file(path_or_fileobj=b"3", path_in_repo="a/b.txt", repo_id=name, parent_commit=old.oid)
    assert Path(hf_hub_download(name, "a/b.txt")).read_bytes() == b"2"
    assert Path(hf_hub_download(name, "a/b.txt", revision=old.oid[:8])).read_bytes() == b"1"
    with pytest.raises(EntryNotFoundError, match="doesn't exist"):
        api.delete_file("c.txt", name)
    api.delete_folder("a", name)
    assert api.list_repo_files(name) == [".gitattributes"]


def test_a_commit_of_missing_bytes_or_of_a_bad_path_is_refused(hub, name):
    lines = {
        "a/../b": (422, {"path": "a/../b", "content": "", "encoding": "base64"}),
        "c.bin": (400, {"path": "c.bin", "algo": "sha256", "oid": "0" * 64, "size": 9}),
    }
    for path, (status, value) in lines.items():
        header = {"key": "header", "value": {"summary": path}}
        operation = {"key": "lfsFile" if "oid" in value else "file", "value": value}
        body = f"{json.dumps(header)}\n{json.dumps(operation)}"
        answer = httpx2.post(
            f"{hub.url}/api/models/{name}/commit/main", content=body, headers={"Authorization": f"Bearer {hub.writer}"}
        )
        assert answer.status_code == status, answer.text


def test_files_that_gitignore_names_are_left_out(api, name, folder, transport):
    (folder / ".gitignore").write_text("part/\n")
    api.upload_folder(repo_id=name, folder_path=folder)
    assert {"model.safetensors", ".gitignore"} <= set(api.list_repo_files(name))
    assert not [path for path in api.list_repo_files(name) if path.startswith("part/")]


# Cards


GOOD_CARDS = {
    "names": "license: apache-2.0\nlanguage: [en, gsw, multilingual]\nbase_model: [gpt2, guild/base]\ntags: [a, b]",
    "results": """
model-index:
- name: a
  results:
  - task: {type: text-classification}
    dataset: {type: guild/rows, name: Rows}
    metrics: [{type: accuracy, value: 0.5}]
""",
}
BAD_CARDS = {
    "license: mine": '"license" must be one of [afl-3.0',
    "base_model: /data/base": '"base_model" with value "/data/base" is not valid',
    "base_model: ./base": '"base_model" with value "./base" is not valid',
    "base_model: ''": '"base_model" is not allowed to be empty',
    "base_model: [a/b, a/b/c]": '"base_model[1]" with value "a/b/c" is not valid',
    "language: English": '"language" with value "English" is not valid',
    "language: no": '"language" must be a string',
    "tags: a": '"tags" must be an array',
    "tags: [1]": '"tags[0]" must be a string',
    "model-index: [{name: a}]": '"model-index[0].results" is required',
    "model-index: [{name: a, results: [{task: {type: b}, dataset: {name: c}, metrics: [{type: d}]}]}]": (
        '"model-index[0].results[0].dataset.type" is required'
    ),
    "license: mit\nlicense: mit": "duplicated mapping key",
    "license: [": "YAML parse error",
    "- license": '"value" must be of type object',
}


@pytest.mark.parametrize("head", GOOD_CARDS.values(), ids=GOOD_CARDS)
def test_a_good_card_is_accepted(api, name, head):
    card = ModelCard(f"---\n{head}\n---\n# A model\n")
    card.push_to_hub(name)
    assert Path(hf_hub_download(name, "README.md")).read_text() == str(card)


@pytest.mark.parametrize("head", BAD_CARDS, ids=lambda head: head[:24])
def test_a_bad_card_is_refused_before_any_upload_and_again_at_the_commit(hub, api, name, head):
    text = f"---\n{head}\n---\n# A model\n"
    with pytest.raises(ValueError, match=r"Invalid metadata in README\.md") as refused:
        api.upload_file(path_or_fileobj=text.encode(), path_in_repo="README.md", repo_id=name)
    assert BAD_CARDS[head] in str(refused.value)
    assert not hub.log("/preupload/")
    hub.fault("status", "/validate-yaml", status=200, body='{"errors": [], "warnings": []}')
    with pytest.raises(HfHubHTTPError, match=r"Invalid metadata in README\.md"):
        api.upload_file(path_or_fileobj=text.encode(), path_in_repo="README.md", repo_id=name)


def test_a_card_alone_is_checked_in_plain_text(hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(ValueError, match=r'^- Error: "license" must be one of'):
        ModelCard("---\nlicense: mine\n---\n").validate()


@pytest.mark.parametrize(
    ("text", "warning"), [("# A", "empty or missing"), ("---\npipeline_tag: a\n---\n", '"a" is not')]
)
def test_an_incomplete_card_is_accepted_with_a_warning(api, name, text, warning):
    with pytest.warns(UserWarning, match=warning):
        api.upload_file(path_or_fileobj=text.encode(), path_in_repo="README.md", repo_id=name)
    assert api.file_exists(name, "README.md")


# Who may do what


@pytest.mark.parametrize(
    ("who", "private", "reading", "writing"),
    [
        ("member", True, None, None),
        ("guest", True, None, 403),
        ("stranger", True, 404, 404),
        ("nobody", True, 401, 401),
        ("hf_wrong", True, 401, 401),
        ("stranger", False, None, 403),
        ("nobody", False, None, 401),
        ("hf_wrong", False, 401, 401),
    ],
)
def test_each_role_reads_and_writes_what_it_may(hub, api, who, private, reading, writing, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", hub.member)
    repository = api.create_repo(f"{hub.organisation}/{uuid.uuid4().hex}", private=private).repo_id
    log_in(hub, monkeypatch, who)
    assert status(lambda: auth_check(repository)) == reading
    assert status(lambda: hf_hub_download(repository, ".gitattributes")) == reading
    assert status(lambda: auth_check(repository, write=True)) == writing
    assert status(lambda: api.upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id=repository)) == writing
    assert status(lambda: api.delete_repo(repository)) == (403 if writing == 404 else writing)


@pytest.mark.parametrize("who", ["reader", "stranger", "nobody"])
def test_missing_permission_is_reported_by_auth_check_but_not_by_create_repo(hub, api, name, who, monkeypatch):
    log_in(hub, monkeypatch, who)
    assert api.create_repo(name, exist_ok=True).repo_id == name
    assert status(lambda: auth_check(name, write=True)) == (401 if who == "nobody" else 403)
    assert status(lambda: api.create_repo(f"{name}-new")) == (401 if who == "nobody" else 403)


def log_in(hub, monkeypatch, who: str) -> None:
    monkeypatch.setenv("HF_TOKEN", getattr(hub, who, who))
    if who == "nobody":
        monkeypatch.delenv("HF_TOKEN")


def status(do) -> int | None:
    """HTTP status of a refused call; the client wraps some refusals in other errors."""
    try:
        do()
    except Exception as error:
        while not isinstance(error, HfHubHTTPError):
            error = error.__cause__
        return error.response.status_code
    return None


# The libraries on top


def test_a_private_model_is_pushed_and_loaded_by_its_id(hub, tiny_bert, transport, monkeypatch):
    from transformers import AutoModel, AutoTokenizer

    repository = f"{hub.owner}/model-{transport}"
    model = AutoModel.from_pretrained(tiny_bert)
    model.push_to_hub(repository, private=True)
    AutoTokenizer.from_pretrained(tiny_bert).push_to_hub(repository)
    again = AutoModel.from_pretrained(repository)
    assert all((before == after).all() for before, after in zip(model.parameters(), again.parameters(), strict=True))
    assert AutoTokenizer.from_pretrained(repository)("a film").input_ids
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(OSError, match="private repository, make sure to pass a token"):
        AutoModel.from_pretrained(f"{hub.owner}/model-{transport}", force_download=True)


def test_an_adapter_is_pushed_and_loaded_with_its_base(hub, tiny_bert, transport):
    from peft import AutoPeftModelForSequenceClassification, LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    base = f"{hub.owner}/base-{transport}"
    AutoModelForSequenceClassification.from_pretrained(tiny_bert).push_to_hub(base)
    model = get_peft_model(AutoModelForSequenceClassification.from_pretrained(base), LoraConfig(task_type="SEQ_CLS"))
    model.push_to_hub(f"{hub.owner}/adapter-{transport}")
    again = AutoPeftModelForSequenceClassification.from_pretrained(f"{hub.owner}/adapter-{transport}")
    assert again.peft_config["default"].base_model_name_or_path == base


def test_files_of_rows_are_loaded_by_id_and_revision(hub, api, tmp_path):
    from datasets import load_dataset

    repository = api.create_repo(f"{hub.owner}/{uuid.uuid4().hex}", repo_type="dataset").repo_id
    for number, text in enumerate(["text,label\na,b\n", "text,label\nc,d\ne,f\n"]):
        api.upload_file(
            path_or_fileobj=text.encode(), path_in_repo="train.csv", repo_id=repository, repo_type="dataset"
        )
        api.create_tag(repository, tag=f"v{number}", repo_type="dataset")
    assert load_dataset(repository)["train"].to_list() == [{"text": "c", "label": "d"}, {"text": "e", "label": "f"}]
    assert load_dataset(repository, revision="v0")["train"].to_list() == [{"text": "a", "label": "b"}]
    assert next(iter(load_dataset(repository, split="train", streaming=True))) == {"text": "c", "label": "d"}
    assert len(load_dataset("csv", data_files=f"hf://datasets/{repository}/train.csv")["train"]) == 2


def test_a_private_dataset_is_pushed_and_loaded(hub, transport, monkeypatch):
    from datasets import Dataset, load_dataset

    rows = [{"text": f"row {number}", "label": number % 2} for number in range(50)]
    repository = f"{hub.owner}/parquet-{transport}"
    Dataset.from_list(rows).push_to_hub(repository, private=True)
    assert load_dataset(repository, split="train").to_list() == rows
    assert list(load_dataset(repository, split="train", streaming=True)) == rows
    log_in(hub, monkeypatch, "stranger")
    assert load_dataset(repository, split="train").to_list() == rows, "what is in the cache needs no permission"


@pytest.mark.parametrize("who", ["stranger", "nobody", "hf_wrong"])
def test_a_private_dataset_is_hidden_from_others(hub, api, who, monkeypatch):
    from datasets import load_dataset
    from datasets.exceptions import DatasetNotFoundError

    repository = api.create_repo(f"{hub.owner}/{uuid.uuid4().hex}", repo_type="dataset", private=True).repo_id
    log_in(hub, monkeypatch, who)
    error, words = (HfHubHTTPError, "Invalid credentials") if who == "hf_wrong" else (DatasetNotFoundError, "accessed")
    with pytest.raises(error, match=words):
        load_dataset(repository)


# When things go wrong


def commits(api: HfApi, repository: str) -> int:
    """Number of commits after the first one, which the Hub makes itself."""
    return len(api.list_repo_commits(repository)) - 1


def test_requests_to_a_busy_hub_are_repeated(hub, api, name, folder, transport, waits):
    hub.fault("status", "/preupload/", status=503, times=2)
    hub.fault("status", "/preupload/", status=429, headers={"Retry-After": "3"})
    api.upload_folder(repo_id=name, folder_path=folder)
    assert waits == [1, 2, 4], "doubled; then what the Hub asks for and one more"
    assert commits(api, name) == 1


def test_a_failed_commit_is_repeated_only_with_xet(hub, api, name, folder, transport):
    hub.fault("status", "/commit/", status=500)
    if transport == "lfs":
        with pytest.raises(HfHubHTTPError, match="500"):
            api.upload_folder(repo_id=name, folder_path=folder)
    else:
        api.upload_folder(repo_id=name, folder_path=folder)
    assert commits(api, name) == (transport == "xet")


def test_a_connection_that_breaks_before_the_commit_leaves_nothing(hub, api, name, folder, transport):
    hub.fault("reset", "/commit/", times=9)
    with pytest.raises((httpx2.NetworkError, httpx2.RemoteProtocolError)):
        api.upload_folder(repo_id=name, folder_path=folder)
    assert len(hub.log("/commit/")) == (1 if transport == "lfs" else 6)
    assert commits(api, name) == 0


def test_a_lost_answer_is_an_error_or_a_second_commit(hub, api, name, folder, transport):
    hub.fault("drop", "/commit/")
    if transport == "lfs":
        with pytest.raises((httpx2.NetworkError, httpx2.RemoteProtocolError)):
            api.upload_folder(repo_id=name, folder_path=folder)
    else:
        api.upload_folder(repo_id=name, folder_path=folder)
    assert commits(api, name) == (1 if transport == "lfs" else 2)


@pytest.mark.parametrize("path", ["/repos/create", "/auth-check"])
def test_some_calls_are_made_only_once(hub, api, name, path):
    hub.fault("status", path, status=503)
    call = {"/repos/create": lambda: api.create_repo(name, exist_ok=True), "/auth-check": lambda: auth_check(name)}
    assert status(call[path]) == 503
    assert len(hub.log(path)) == 1


@pytest.mark.parametrize("number", [401, 403, 404, 409])
def test_refusals_are_not_retried_and_quote_the_hub(hub, api, name, number):
    headers = {"Content-Type": "application/json"}
    hub.fault("status", "/commit/", status=number, headers=headers, body='{"error": "not today"}')
    with pytest.raises(HfHubHTTPError, match=f"(?s){number}.*not today"):
        api.upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id=name)


@pytest.mark.parametrize("body", ["[]", "<html>busy</html>"])
def test_an_unreadable_answer_to_the_check_of_the_card_breaks_the_client(hub, api, name, body):
    hub.fault("status", "/validate-yaml", status=503, body=body)
    with pytest.raises((AttributeError, json.JSONDecodeError)):
        api.upload_file(path_or_fileobj=CARD.encode(), path_in_repo="README.md", repo_id=name)


def test_an_interrupted_download_continues_where_it_was(hub, api, name, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    api.upload_file(path_or_fileobj=WEIGHTS, path_in_repo="model.bin", repo_id=name)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)  # what is less than a chunk is fetched again
    hub.fault("truncate", "/storage/", method="GET", bytes=1000)
    assert Path(hf_hub_download(name, "model.bin")).read_bytes() == WEIGHTS
    assert [call["status"] for call in hub.log("/storage/", "GET")] == [200, 206]


def test_a_request_that_hangs_is_repeated(hub, name):
    hub.fault("hang", "/resolve/", method="HEAD", seconds=9)
    assert Path(hf_hub_download(name, ".gitattributes", etag_timeout=0.2)).exists()
    assert [call["status"] for call in hub.log("/resolve/", "HEAD")] == [200]


def test_an_upload_survives_a_hub_that_dies_during_it(hub, api, name, folder, transport):
    commit = api.upload_file(path_or_fileobj=b"1", path_in_repo="before.txt", repo_id=name).oid
    path = {"lfs": "/storage/", "xet": "/xet-write-token/"}[transport]
    (folder / "part" / "model.bin").unlink()  # with two parallel uploads, one may close the client of the other
    hub.fault("exit", path, bytes=300_000 if transport == "lfs" else 0)
    restart = hub.restart(after=0.3)
    api.upload_folder(repo_id=name, folder_path=folder)
    restart.join()
    assert content(Path(snapshot_download(name))) == content(folder) | {"before.txt": b"1"}
    assert api.list_repo_commits(name)[1].commit_id == commit, "earlier commits are kept"


def test_a_dead_hub_is_an_error_and_the_same_upload_works_later(hub, api, name, folder, waits):
    hub.kill()
    with pytest.raises(httpx2.ConnectError):
        api.create_repo(name, exist_ok=True)
    assert waits == []
    with pytest.raises(httpx2.ConnectError):
        api.upload_file(path_or_fileobj=b"1", path_in_repo="a.txt", repo_id=name)
    assert waits == [1, 2, 4, 8, 8]
    hub.restart()
    api.upload_folder(repo_id=name, folder_path=folder)
    assert commits(api, name) == 1


# The stand-in itself


def test_unknown_addresses_are_recorded(hub):
    assert httpx2.get(f"{hub.url}/api/spaces/a/b").status_code == 404
    assert [call["unrouted"] for call in hub.log()] == ["GET /api/spaces/a/b"]
    with pytest.raises(AssertionError, match="unrouted"):
        hub.check()
    hub.clear()


def test_the_storage_refuses_a_token_and_a_wrong_signature(hub, api, name):
    address = f"http://localhost:{hub.port}/storage/models/{name}/{'0' * 64}"
    assert httpx2.put(address, headers={"Authorization": f"Bearer {hub.writer}"}).status_code == 400
    assert httpx2.put(f"{address}?sig=1").status_code == 403
    with pytest.raises(AssertionError, match="token"):
        hub.check()
    hub.clear()


def test_other_hosts_are_refused(only_loopback):
    with pytest.raises(httpx2.ConnectError, match=r"a test asked for example\.org"):
        httpx2.get("http://example.org", trust_env=False)
    assert only_loopback == ["example.org"]
    only_loopback.clear()
