"""What would make a push fail is an error before the first step, and nothing is written until then."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from rows import opinions

from hfrecipes.errors import HubError


@pytest.fixture
def name(hub) -> str:
    return f"{hub.owner}/{uuid.uuid4().hex}"


def refused(tiny_bert: str, path: Path, hub) -> str:
    """The error of a run that did not begin."""
    import hfrecipes

    with pytest.raises(HubError) as error:
        hfrecipes.run("text-classification", model=tiny_bert, dataset=opinions(40), output_dir=path, hub=hub)
    assert not path.exists(), "nothing was written"
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("token", "sentence"),
    [
        ("", "no token found: log in with  hf auth login  or set HF_TOKEN"),
        ("hf_wrong", "it does not know this token"),
        (
            "hf_reader",
            "this token may not do that: use one with write permission, or a repository name under your account",
        ),
        ("hf_stranger", "this token may not do that"),
    ],
)
@pytest.mark.parametrize("exists", [False, True], ids=["new", "existing"])
def test_a_token_that_may_not_write_is_refused_before_training(
    hub, name, tiny_bert, tmp_path, monkeypatch, token, sentence, exists
):
    if exists:
        HfApi().create_repo(name)
    monkeypatch.setenv("HF_TOKEN", token)
    assert sentence in refused(tiny_bert, tmp_path / "run", name)
    assert not hub.log("/commit/")


@pytest.mark.parametrize("asked", [{"private": True}, {"visibility": "private"}])
def test_a_public_repository_is_refused_where_a_private_one_was_asked_for(hub, name, tiny_bert, tmp_path, asked):
    HfApi().create_repo(name)
    message = refused(tiny_bert, tmp_path / "run", {"repo_id": name, **asked})
    assert f"{name} already exists and is public, and a private repository was asked for" in message


def test_the_full_name_and_a_replaced_model_are_printed_before_training(hub, name, tiny_bert, tmp_path, caplog):
    import hfrecipes

    run = {"model": tiny_bert, "dataset": opinions(40), "max_steps": 1, "bf16": False}
    short = name.partition("/")[2]
    hfrecipes.run("text-classification", output_dir=tmp_path / "first", hub=short, **run)
    assert f"hub: {short} is short for {name}" in caplog.text
    assert "already holds a model" not in caplog.text
    hfrecipes.run("text-classification", output_dir=tmp_path / "second", hub=name, **run)
    assert f"hub: {name} already holds a model: this run replaces it" in caplog.text


@pytest.mark.parametrize(
    ("card", "sentence"),
    [
        ({"license": "mine"}, '"license" must be one of'),
        ({"language": "English"}, '"language" with value "English" is not valid'),
    ],
)
def test_a_card_that_the_hub_refuses_is_an_error_before_training(hub, name, tiny_bert, tmp_path, card, sentence):
    message = refused(tiny_bert, tmp_path / "run", {"repo_id": name, "card": card})
    assert sentence in message
    assert "try again later" not in message
    assert not HfApi().repo_exists(name), "no empty repository is left behind"


def test_a_hub_that_does_not_answer_is_an_error_before_training(hub, name, tiny_bert, tmp_path):
    hub.kill()
    try:
        message = refused(tiny_bert, tmp_path / "run", name)
    finally:
        hub.restart()
    assert "it does not answer as it should: try again later" in message
    assert "or leave hub out, and push later with  hfrecipes push" in message


def test_offline_mode_is_an_error_before_training(hub, name, tiny_bert, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in refused(tiny_bert, tmp_path / "run", name)
    assert not hub.log()


def test_unusable_rows_leave_no_empty_repository(hub, name, tiny_bert, tmp_path):
    import hfrecipes
    from hfrecipes.errors import DataError

    with pytest.raises(DataError):
        hfrecipes.run(
            "text-classification", model=tiny_bert, dataset=[{"text": "a"}], output_dir=tmp_path / "run", hub=name
        )
    assert not HfApi().repo_exists(name)


def test_the_token_is_written_nowhere(hub, name, tiny_bert, tmp_path):
    import hfrecipes
    from hfrecipes.errors import ConfigError

    with pytest.raises(ConfigError, match=r"hub.token: leave it out, tokens are read from the variable HF_TOKEN"):
        hfrecipes.check("text-classification", hub={"repo_id": name, "token": hub.writer})
    settings = {"model": tiny_bert, "dataset": opinions(40), "max_steps": 1, "bf16": False}
    hfrecipes.run("text-classification", output_dir=tmp_path / "run", hub=name, **settings)
    for file in (tmp_path / "run").rglob("*"):
        if file.is_file():
            assert hub.writer.encode() not in file.read_bytes(), file
