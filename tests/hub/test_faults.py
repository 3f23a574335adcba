"""The Hub fails at the end of a run: what the user reads, that the run is unchanged, that the push works later."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from rows import opinions

import hfrecipes
from hfrecipes.errors import HubError, ModelError
from hfrecipes.hub import client

BUSY = "it does not answer as it should: try again later"


@pytest.fixture(scope="module")
def done(tiny_bert, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("done") / "opinions"
    settings = {"model": tiny_bert, "dataset": opinions(40), "max_steps": 1, "bf16": False}
    hfrecipes.run("text-classification", output_dir=path, **settings)
    return path


@pytest.fixture
def name(hub) -> str:
    return f"{hub.owner}/{uuid.uuid4().hex}"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch) -> None:
    monkeypatch.setattr(client, "RETRY_WAITS", (0.01, 0.02))
    monkeypatch.setattr(client, "TIMEOUT", 0.5)


def content(path: Path) -> dict[str, str]:
    return {str(file.relative_to(path)): hashlib.md5(file.read_bytes()).hexdigest() for file in path.rglob("*.*")}


def status(number: int, **headers: str) -> dict:
    return {"kind": "status", "status": number, "body": '{"error": "not today"}', "headers": headers}


# Fault, path of the request, how often, and the sentence: empty where a retry succeeds.
LASTS = 99  # more often than any retry
FAULTS = {
    "401": (status(401), "/commit/", LASTS, "it does not know this token, or needs one"),
    "403": (status(403), "/commit/", LASTS, "this token may not do that"),
    "404": (status(404), "/preupload/", LASTS, "there is no such repository, or this token may not see it"),
    "409": (status(409), "/commit/", LASTS, "somebody else is changing it"),
    "409 once": (status(409), "/commit/", 1, ""),
    "412": (status(412), "/commit/", LASTS, "somebody else has changed it in the meantime"),
    "412 once": (status(412), "/commit/", 1, ""),
    "429": (status(429, **{"Retry-After": "1"}), "/preupload/", LASTS, "too many requests: try again later"),
    "429 once": (status(429, **{"Retry-After": "1"}), "/preupload/", 1, ""),
    "500": (status(500), "/commit/", LASTS, BUSY),
    "500 once": (status(500), "/commit/", 1, ""),
    "503 at the start": (status(503), "/repos/create", LASTS, BUSY),
    "503 at the start, once": (status(503), "/repos/create", 1, ""),
    "503 at the check of the card": ({**status(503), "body": "<html>"}, "/validate-yaml", LASTS, BUSY),
    "503 at the check of the card, once": ({**status(503), "body": "<html>"}, "/validate-yaml", 1, ""),
    "reset": ({"kind": "reset"}, "/commit/", LASTS, BUSY),
    "reset once": ({"kind": "reset"}, "/commit/", 1, ""),
    "answer lost": ({"kind": "drop"}, "/commit/", 1, ""),
    "hangs": ({"kind": "hang", "seconds": 30}, "/commit/", LASTS, BUSY),
    "hangs once": ({"kind": "hang", "seconds": 30}, "/commit/", 1, ""),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failed_push_leaves_the_run_unchanged_and_works_later(hub, name, done, transport, fault):
    details, path, times, sentence = FAULTS[fault]
    before = content(done)
    details = dict(details)
    hub.fault(details.pop("kind"), path, times=times, **details)
    if sentence:
        with pytest.raises(HubError) as error:
            hfrecipes.push(done, name)
        assert sentence in str(error.value)
        assert f"hub: the push of {done} failed, but the run is complete" in str(error.value)
        assert f"To push it later:  hfrecipes push {done} {name}" in str(error.value)
        hub.clear()
    hfrecipes.push(done, name)
    assert content(done) == before
    assert hfrecipes.load(name).predict("the film was great")["label"] in ("good", "bad")


@pytest.mark.parametrize("fault", ["exit", "gone"])
def test_a_hub_that_dies_during_the_push(hub, name, done, transport, fault, monkeypatch):
    monkeypatch.setattr(client, "RETRY_WAITS", (1.0, 1.0))
    if fault == "gone":
        hub.kill()
        with pytest.raises(HubError, match=BUSY):
            hfrecipes.push(done, name)
        hub.restart()
    else:
        HfApi().create_repo(name)
        path = {"lfs": "/storage/", "xet": "/xet-write-token/"}[transport]
        hub.fault("exit", path, bytes=10_000 if transport == "lfs" else 0)
        restart = hub.restart(after=0.3)
        hfrecipes.push(done, name)
        restart.join()
    hfrecipes.push(done, name)
    assert hfrecipes.load(name).predict("the film was great")["label"] in ("good", "bad")


def test_a_run_whose_push_failed_is_complete_and_the_same_command_pushes_it(hub, name, tiny_bert, tmp_path, caplog):
    settings = {"model": tiny_bert, "dataset": opinions(40), "max_steps": 1, "bf16": False, "hub": name}
    hub.fault("status", "/commit/", status=403, times=LASTS)
    with pytest.raises(HubError, match="the run is complete"):
        hfrecipes.run("text-classification", output_dir=tmp_path / "run", **settings)
    assert hfrecipes.load(tmp_path / "run").predict("the film was great")["label"]
    hub.clear()
    hfrecipes.run("text-classification", output_dir=tmp_path / "run", **settings)
    assert "this run is complete" in caplog.text
    assert "model.safetensors" in HfApi().list_repo_files(name)


def test_a_command_whose_push_failed_has_exit_code_2(hub, name, tiny_bert, tmp_path):
    import json

    from click.testing import CliRunner

    from hfrecipes.cli import main

    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in opinions(40)))
    hub.fault("status", "/commit/", status=500, times=LASTS)
    words = [f"model={tiny_bert}", "dataset=rows.jsonl", "output_dir=run", "max_steps=1", "bf16=false", f"hub={name}"]
    made = CliRunner().invoke(main, ["run", "text-classification", *words])
    assert made.exit_code == 2
    assert f"To push it later:  hfrecipes push run {name}" in made.output
    assert "Traceback" not in made.output


def test_a_model_with_pickled_weights_alone_is_refused_before_they_are_downloaded(hub, name, tiny_bert, tmp_path):
    folder = Path(shutil.copytree(tiny_bert, tmp_path / "model"))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    api = HfApi()
    api.create_repo(name)
    api.upload_folder(repo_id=name, folder_path=folder)
    hub.clear()
    for call in (hfrecipes.check, hfrecipes.run):
        with pytest.raises(ModelError, match=rf"{name} on the Hub has only pickled weights .pytorch_model\.bin."):
            call("text-classification", model=name, dataset=opinions(40))
    asked = {request["path"].rsplit("/")[-1] for request in hub.log("resolve/")}
    assert asked <= {"config.json"}, "which the learning rate follows; no weights"
    api.upload_file(
        repo_id=name, path_or_fileobj=Path(tiny_bert, "model.safetensors"), path_in_repo="model.safetensors"
    )
    assert hfrecipes.check("text-classification", model=name, dataset=opinions(40))["labels"] == ["bad", "good"]
