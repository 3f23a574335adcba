"""A push uploads what others need of a run and nothing else; a second push uploads nothing."""

from __future__ import annotations

import json
import logging
import re
import uuid
from pathlib import Path

import pytest
from hubcards import front_matter, validate
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from processes import run_python
from rows import close, opinions

from hfrecipes.recipe import input_columns

ROOT = Path(__file__).resolve().parents[2]
WANTED = {
    ".gitattributes",
    "README.md",
    "config.json",
    "manifest.json",
    "metrics.json",
    "model.safetensors",
    "recipe.yaml",
    "tokenizer.json",
    "tokenizer_config.json",
}


@pytest.fixture
def api() -> HfApi:
    return HfApi()


@pytest.fixture
def name(hub) -> str:
    """A name of a repository that does not exist."""
    return f"{hub.owner}/{uuid.uuid4().hex}"


def run(path: Path, model: str, **settings):
    import hfrecipes

    rows = {"train": opinions(60), "test": opinions(20, 1)}
    given = {"dataset": rows, "model": model, "learning_rate": 1e-2, "num_train_epochs": 1, "bf16": False, **settings}
    return hfrecipes.run("text-classification", output_dir=path, **given)


@pytest.fixture(scope="module")
def done(tiny_bert, tmp_path_factory) -> Path:
    """A complete run that was not pushed."""
    path = tmp_path_factory.mktemp("done") / "opinions"
    run(path, tiny_bert)
    return path


def uploads(hub) -> list[str]:
    """Requests that upload content: commits, large files, and tokens to write them."""
    calls = hub.log(r"/commit/|/storage/|/xet-write-token/|/objects/batch")
    return [f"{call['method']} {call['path']}" for call in calls if call["method"] != "GET" or "xet" in call["path"]]


def tree(api: HfApi, name: str, revision: str = "main") -> set[str]:
    """Files of a repository, but the pictures of its card: which there are depends on what the model confuses."""
    return {file for file in api.list_repo_files(name, revision=revision) if not file.startswith("pictures/")}


def test_what_is_pushed_is_what_others_need(hub, api, name, tiny_bert, transport, tmp_path):
    import hfrecipes

    result = run(tmp_path / "run", tiny_bert, hub={"repo_id": name, "private": True})
    (tmp_path / "run" / "checkpoint-9").mkdir()
    (tmp_path / "run" / "checkpoint-9" / "optimizer.pt").write_text("x")
    (tmp_path / "run" / "training_args.bin").write_text("x")
    hfrecipes.push(tmp_path / "run", name)
    assert tree(api, name) == WANTED, "no report.html, which holds rows"
    pictures = {f"pictures/{file.name}" for file in (tmp_path / "run").glob("pictures/*.svg")}
    assert set(api.list_repo_files(name)) == WANTED | pictures
    assert api.repo_info(name).private
    for file in Path(snapshot_download(name)).glob("*.*"):
        if file.suffix in (".md", ".json", ".yaml"):
            text = file.read_text(encoding="utf-8")
            for secret in (str(tmp_path), tiny_bert, str(Path(tiny_bert).parent), hub.writer, str(Path.home()) + "/"):
                assert secret not in text, (file.name, secret)
    assert f'hfrecipes.load("{name}")' in Path(hf_hub_download(name, "README.md")).read_text()
    assert close(result.predict(["the film was great"]), hfrecipes.load(name).predict(["the film was great"]))


def test_a_second_push_uploads_nothing(hub, api, name, done, transport):
    import hfrecipes

    hfrecipes.push(done, name)
    assert [call for call in uploads(hub) if "/commit/" in call]
    first = api.repo_info(name).sha
    hub.clear()
    hfrecipes.push(done, name)
    assert not [call for call in uploads(hub) if "commit" in call or "PUT" in call]
    assert api.repo_info(name).sha == first


def test_what_is_not_whole_is_neither_pushed_nor_loaded_from_the_hub(hub, api, name, done, tmp_path):
    import shutil

    import hfrecipes
    from hfrecipes.errors import ModelError
    from hfrecipes.saved.run import verify

    path = Path(shutil.copytree(done, tmp_path / "opinions"))
    hfrecipes.push(path, name)
    number, differing = verify(name)
    assert (number >= 5, differing) == (True, [])
    config = json.loads((path / "config.json").read_text())
    changed = json.dumps({**config, "id2label": {"0": "good", "1": "bad"}}).encode()
    api.upload_file(path_or_fileobj=changed, path_in_repo="config.json", repo_id=name)
    with pytest.raises(ModelError, match=r"config.json is not what was saved"):
        hfrecipes.load(name)
    (path / "config.json").write_bytes(changed)
    hub.clear()
    with pytest.raises(ModelError, match=r"config.json is not what was saved"):
        hfrecipes.push(path, name)
    assert not uploads(hub)


def test_only_changed_files_are_uploaded(hub, api, name, done, transport, tmp_path):
    import shutil

    import hfrecipes

    shutil.copytree(done, tmp_path / "opinions")
    hfrecipes.push(tmp_path / "opinions", name)
    hub.clear()
    scores = json.loads((tmp_path / "opinions" / "metrics.json").read_text())
    (tmp_path / "opinions" / "metrics.json").write_text(json.dumps({**scores, "more": {}}))
    hfrecipes.push(tmp_path / "opinions", name)
    (commit,) = hub.log("/commit/")
    assert commit["bytes"] < 20_000, "the weights stay where they are"
    assert not hub.log("/storage/", "PUT")
    assert "more" in json.loads(Path(hf_hub_download(name, "metrics.json")).read_text())


def test_a_branch_and_a_tag_are_loaded_by_name(hub, api, name, done):
    import hfrecipes

    hfrecipes.push(done, name, revision="trial", tag="v1", commit_message="First try")
    assert set(api.list_repo_files(name)) == {".gitattributes"}, "main is unchanged"
    assert tree(api, name, revision="trial") == WANTED
    assert next(commit.title for commit in api.list_repo_commits(name, revision="trial")) == "First try"
    hfrecipes.push(done, name, revision="trial", tag="v1")
    texts = ["the film was great"]
    expected = hfrecipes.load(done).predict(texts)
    assert close(expected, hfrecipes.load(f"{name}@trial").predict(texts))
    assert close(expected, hfrecipes.load(f"{name}@v1").predict(texts))
    hfrecipes.push(done, name, revision="trials/two")
    assert close(expected, hfrecipes.load(f"{name}@trials/two").predict(texts))


def test_a_missing_branch_and_a_missing_model_have_different_errors(hub, name, done):
    import hfrecipes
    from hfrecipes.errors import NotFoundError

    hfrecipes.push(done, name)
    with pytest.raises(NotFoundError, match="it has no branch, tag or commit of that name"):
        hfrecipes.load(f"{name}@nope")
    with pytest.raises(NotFoundError, match="there is no such repository"):
        hfrecipes.load(f"{name}x")


def test_a_private_model_of_an_organisation_is_hidden_from_others(hub, api, done, monkeypatch):
    import hfrecipes
    from hfrecipes.errors import NotFoundError

    monkeypatch.setenv("HF_TOKEN", hub.member)
    name = f"{hub.organisation}/{uuid.uuid4().hex}"
    hfrecipes.push(done, name, private=True)
    assert hfrecipes.load(name).predict("the film was great")["label"]
    for who, sentence in (("stranger", "may not see it"), (None, "log in with")):
        monkeypatch.setenv("HF_TOKEN", getattr(hub, who) if who else "")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", f"cache-of-{who}")
        with pytest.raises(NotFoundError, match=sentence):
            hfrecipes.load(name)


def test_adapter_merged_or_both(hub, api, name, tiny_bert, transport, tmp_path):
    from peft import AutoPeftModelForSequenceClassification
    from transformers import AutoModel, AutoTokenizer

    import hfrecipes

    base = f"{name}-base"
    AutoModel.from_pretrained(tiny_bert).push_to_hub(base)
    AutoTokenizer.from_pretrained(tiny_bert).push_to_hub(base)
    result = run(tmp_path / "run", base, lora=True)
    expected = result.predict(["the film was great"])
    assert hfrecipes.push(tmp_path / "run", name)
    assert {*WANTED, "adapter/adapter_model.safetensors", "adapter/recipe.yaml"} < set(api.list_repo_files(name))
    text = Path(hf_hub_download(name, "README.md")).read_text()
    card = front_matter(text)
    assert (card["base_model"], card["base_model_relation"]) == (base, "finetune")
    assert card["model-index"][0]["name"] == name.rpartition("/")[2]
    assert f"# {name.rpartition('/')[2]}\n" in text, "it has the name of the repository"
    (adapter,) = re.findall(r'hfrecipes.load\("([^"]+/adapter)"\)', text)
    assert close(expected, hfrecipes.load(adapter).predict(["the film was great"]))
    hfrecipes.push(tmp_path / "run", name, model="adapter")
    files = set(api.list_repo_files(name))
    assert "adapter_model.safetensors" in files
    assert not {"model.safetensors", "config.json", "adapter/adapter_model.safetensors"} & files, (
        "nothing of the other kind"
    )
    assert close(expected, hfrecipes.load(name).predict(["the film was great"]))
    text = Path(hf_hub_download(name, "README.md")).read_text()
    assert front_matter(text)["library_name"] == "peft"
    assert "## Scores" in text, "our card, and not the empty one of PEFT"
    assert "pipeline(" not in text, "transformers alone does not load it"
    alone = AutoPeftModelForSequenceClassification.from_pretrained(name, num_labels=2)
    assert alone.peft_config["default"].base_model_name_or_path == base
    hfrecipes.push(tmp_path / "run", name, model="merged")
    assert tree(api, name) == WANTED
    assert close(expected, hfrecipes.load(name).predict(["the film was great"]))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"model": "adapter"}, "found adapter, but this run trains no adapter: add lora=true, or remove hub.model"),
        ({"model": "all"}, "hub.model: found all, expected merged, adapter, both"),
        ({"privat": True}, r"unknown setting hub.privat \(did you mean private\?\)"),
        ({"repo_id": "a/b/c"}, "hub: found a.b.c, expected <user or organisation>.<name>"),
        ({"every": "epoch"}, "expected save"),
        ({"card": "mit"}, "hub.card: found 'mit' .str., expected a block of keys"),
        ({"card": {"licence": "mit"}}, r"unknown setting hub.card.licence \(did you mean license\?\)"),
        ({"card": {"model_name": "x"}}, "hub.card.model_name: remove it, hfrecipes fills it in"),
        ({"private": "no"}, "hub.private: found 'no' .str., expected true or false"),
        ({"tag": 1.0}, r"hub.tag: found 1.0 \(float\), expected a text; put a number in quotes"),
        ({"revision": "hfrecipes-checkpoints"}, "is reserved for checkpoints"),
        ({"every": "save", "repo_id": "a/b c"}, "expected <user or organisation>.<name>"),
    ],
)
def test_settings_of_a_push_are_checked_without_the_hub(hub, done, settings, sentence):
    import hfrecipes
    from hfrecipes.errors import ConfigError

    where = {"repo_id": "me/model", **settings}
    with pytest.raises(ConfigError, match=sentence):
        hfrecipes.push(done, where)
    with pytest.raises(ConfigError, match=sentence):
        hfrecipes.check("text-classification", hub=where)
    assert not hub.log()


def test_an_adapter_is_not_pushed_alone_if_its_base_is_a_local_folder(hub, name, tiny_bert, tmp_path):
    from hfrecipes.errors import ConfigError

    with pytest.raises(
        ConfigError, match=r"an adapter cannot be used without its base model, and .* is a local folder"
    ):
        run(tmp_path / "run", tiny_bert, lora=True, hub={"repo_id": name, "model": "adapter"})
    run(tmp_path / "run", tiny_bert, lora=True, hub=name)
    assert tree(HfApi(), name) == WANTED, "merged alone"


def test_the_command_pushes_or_prints_one_sentence(hub, name, done, monkeypatch):
    from click.testing import CliRunner

    from hfrecipes.cli import main

    made = CliRunner().invoke(main, ["push", str(done), name, "private=true", "card.license=mit", "card.language=en"])
    assert made.exit_code == 0, made.output
    assert made.output.startswith(f"pushed to {hub.url}/{name}/commit/")
    head = front_matter(Path(hf_hub_download(name, "README.md")).read_text())
    assert (head["license"], head["language"]) == ("mit", "en")
    monkeypatch.setenv("HF_TOKEN", hub.reader)
    made = CliRunner().invoke(main, ["push", str(done), name])
    assert made.exit_code == 2
    assert "this token may not do that" in made.output
    assert f"To push it later:  hfrecipes push {done} {name}" in made.output
    assert len(made.output.strip().splitlines()) == 1
    made = CliRunner().invoke(main, ["push", "nowhere", name])
    assert (made.exit_code, "there is no folder nowhere" in made.output) == (2, True)


def test_rows_and_models_of_the_hub_are_loaded_by_id_and_named_on_the_card(
    hub, api, name, tiny_bert, tmp_path, monkeypatch
):
    from datasets import Dataset, DatasetDict
    from transformers import AutoModel, AutoTokenizer

    AutoModel.from_pretrained(tiny_bert).push_to_hub(f"{name}-base", private=True)
    AutoTokenizer.from_pretrained(tiny_bert).push_to_hub(f"{name}-base")
    parts = {"train": Dataset.from_list(opinions(60)), "test": Dataset.from_list(opinions(20, 1))}
    DatasetDict(parts).push_to_hub(f"{name}-rows", private=True)
    api.create_tag(f"{name}-rows", tag="v1", repo_type="dataset")
    dataset = {"path": f"{name}-rows", "revision": "v1"}
    result = run(tmp_path / "run", f"{name}-base", dataset=dataset, hub=name)
    text = Path(hf_hub_download(name, "README.md")).read_text()
    card = front_matter(text)
    assert (card["base_model"], card["datasets"]) == (f"{name}-base", [f"{name}-rows"])
    tested = [entry for entry in card["model-index"][0]["results"] if entry["dataset"]["split"] == "test"]
    assert {entry["dataset"]["type"] for entry in tested} == {f"{name}-rows"}
    accuracy = next(metric for entry in tested for metric in entry["metrics"] if metric["type"] == "accuracy")
    assert accuracy["value"] == round(result.metrics["test"]["accuracy"], 4)
    low, high = result.scores["test"]["accuracy"].ci95
    assert accuracy["name"] == f"accuracy (95 % interval {low:.3f}–{high:.3f})"
    # Everything is in the cache now, so the same run needs no request.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    before = len(hub.log())
    again = run(tmp_path / "again", f"{name}-base", dataset=dataset)
    assert again.metrics == result.metrics
    assert len(hub.log()) == before


def test_a_csv_file_of_the_hub_is_read(hub, api, name, tiny_bert, tmp_path):
    api.create_repo(name, repo_type="dataset")
    lines = "\n".join(["text,label", *(f"{row['text']},{row['label']}" for row in opinions(60))]) + "\n"
    api.upload_file(path_or_fileobj=lines.encode(), path_in_repo="data/train.csv", repo_id=name, repo_type="dataset")
    result = run(tmp_path / "run", tiny_bert, dataset=name)
    assert "validation" in result.metrics


def inputs_of(kind, row: dict) -> dict:
    """The row without its reference."""
    return {column: row[column] for column in input_columns(kind) if column in row}


@pytest.mark.long
def test_every_task_is_loaded_by_id_in_a_fresh_process_and_its_card_is_valid(hub, model_for, tmp_path):
    import hfrecipes
    from hfrecipes.registry import find, list_tasks

    asked = []
    for task in list_tasks():
        kind = find(task)
        rows = [dict(kind.samples[index % len(kind.samples)]) for index in range(24)]
        for lora in (False, True):
            name = f"{hub.owner}/{task}-{'lora' if lora else 'full'}"
            result = hfrecipes.run(
                task,
                model=model_for(kind),
                dataset={"train": rows, "validation": rows[:4], "test": rows[:4]},
                output_dir=tmp_path / name,
                learning_rate=1e-2,
                max_steps=2,
                bf16=False,
                lora=lora,
                hub=name,
            )
            inputs = [inputs_of(kind, row) for row in rows[:4]]
            asked.append((name, inputs, json.loads(json.dumps(result.predict(inputs)))))
            card = Path(hf_hub_download(name, "README.md")).read_text()
            assert validate(card) == ([], []), name
            head = front_matter(card)
            assert head["pipeline_tag"] == (kind.card.pipeline_tag or task)
            assert "base_model" not in head, "others cannot use a local folder"
            assert "datasets" not in head
            assert head["model-index"][0]["results"]
    # One process for all tasks: only the imports must be fresh.
    code = "import json, sys, hfrecipes\n"
    code += "print(json.dumps([hfrecipes.load(name).predict(rows) for name, rows, _ in json.load(sys.stdin)]))"
    made = run_python("-c", code, given=json.dumps(asked), cwd=ROOT)
    for (name, _, expected), predictions in zip(asked, json.loads(made.stdout.splitlines()[-1]), strict=True):
        assert close(expected, predictions, 1e-3), name


def test_other_files_in_the_repository_are_kept(hub, api, name, done):
    import hfrecipes

    theirs = ["onnx/model.safetensors", "extras/other.safetensors", "adapter/mine.txt", "config/mine.yaml", "notes.md"]
    api.create_repo(name)
    for file in theirs:
        api.upload_file(path_or_fileobj=b"1", path_in_repo=file, repo_id=name)
    hfrecipes.push(done, name)
    assert set(theirs) <= tree(api, name)


def test_files_of_a_former_model_are_deleted(hub, api, name, done):
    import hfrecipes

    api.create_repo(name)
    stale = ["chat_template.jinja", "generation_config.json", "vocab.txt", "model-00001-of-00002.safetensors"]
    for file in stale:
        api.upload_file(path_or_fileobj=b"{}", path_in_repo=file, repo_id=name)
    hfrecipes.push(done, name)
    assert tree(api, name) == WANTED


def test_unrelated_files_in_the_folder_are_not_uploaded(hub, api, name, done, tmp_path):
    import shutil

    import hfrecipes

    shutil.copytree(done, tmp_path / "opinions")
    for file in ("passwords.txt", "aws.json", "my_rows.json", "scratch.py", "other.safetensors"):
        (tmp_path / "opinions" / file).write_text("{}")
    hfrecipes.push(tmp_path / "opinions", name)
    assert tree(api, name) == WANTED


def test_a_card_that_was_edited_on_the_hub_is_kept(hub, api, name, done, caplog):
    import hfrecipes

    hfrecipes.push(done, name)
    ours = Path(hf_hub_download(name, "README.md")).read_text()
    hfrecipes.push(done, name, card={"license": "mit"})
    assert "license: mit" in Path(hf_hub_download(name, "README.md")).read_text(), "our own is replaced"
    theirs = ours.replace("## Use", "## How I use it")
    api.upload_file(path_or_fileobj=theirs.encode(), path_in_repo="README.md", repo_id=name)
    hfrecipes.push(done, name, tag="v2")
    assert Path(hf_hub_download(name, "README.md")).read_text() == theirs
    assert "was edited on the Hub and is kept" in caplog.text


@pytest.mark.parametrize("asked", [{"private": True}, {"visibility": "private"}])
def test_a_private_push_never_goes_to_a_public_repository(hub, api, name, done, asked):
    import hfrecipes
    from hfrecipes.errors import HubError

    api.create_repo(name)
    with pytest.raises(HubError, match="already exists and is public, and a private repository was asked for"):
        hfrecipes.push(done, name, **asked)
    assert tree(api, name) == {".gitattributes"}


def test_a_push_does_not_make_a_private_repository_public(hub, api, name, done, waits):
    import hfrecipes
    from hfrecipes.errors import HubError

    api.create_repo(name, private=True)
    with pytest.raises(HubError, match="already exists and is private, and a public repository was asked for"):
        hfrecipes.push(done, name, private=False)
    assert not waits, "our own refusals are not retried"
    assert hfrecipes.push(done, name), "without private or visibility, it stays as it is"
    assert api.repo_info(name).private


def test_a_tag_moves_to_what_was_pushed(hub, api, name, done, tmp_path):
    import shutil

    import hfrecipes

    shutil.copytree(done, tmp_path / "opinions")
    hfrecipes.push(tmp_path / "opinions", name, tag="v1")
    (tmp_path / "opinions" / "metrics.json").write_text("{}")
    hfrecipes.push(tmp_path / "opinions", name, tag="v1")
    (tag,) = api.list_repo_refs(name).tags
    assert tag.target_commit == api.repo_info(name).sha


def test_the_command_that_pushes_later_has_the_same_settings(hub, name, done, tmp_path, capsys):
    import shlex
    import shutil

    from click.testing import CliRunner

    import hfrecipes
    from hfrecipes.cli import main
    from hfrecipes.errors import HubError

    shutil.copytree(done, tmp_path / "my run")
    hub.fault("status", "/commit/", status=403, times=9)
    with pytest.raises(HubError) as error:
        hfrecipes.push(tmp_path / "my run", name, private=True, revision="trial", tag="1.0", card={"license": "mit"})
    command = shlex.split(str(error.value).partition("To push it later:  ")[2])
    hub.clear()
    made = CliRunner().invoke(main, command[1:])
    assert made.exit_code == 0, made.output
    api = HfApi()
    assert api.repo_info(name).private
    assert "model.safetensors" in api.list_repo_files(name, revision="trial")
    assert [tag.name for tag in api.list_repo_refs(name).tags] == ["1.0"]


def test_snippets_name_the_repository_whatever_the_folder_is_called(hub, name, tiny_bert, tmp_path, monkeypatch):
    import shutil

    import hfrecipes

    run(tmp_path / "text-classification", tiny_bert)
    shutil.move(tmp_path / "text-classification", tmp_path / "renamed")
    monkeypatch.chdir(tmp_path / "renamed")
    hfrecipes.push(".", name)
    text = Path(hf_hub_download(name, "README.md")).read_text()
    assert f'pipeline("text-classification", "{name}")' in text
    assert f'hfrecipes.load("{name}")' in text


def test_local_paths_are_not_pushed_from_any_folder(hub, name, tiny_bert, tmp_path, monkeypatch):
    import shutil

    from transformers import AutoModel, AutoTokenizer

    import hfrecipes

    folder = tmp_path / "clients"
    AutoModel.from_pretrained(tiny_bert).save_pretrained(folder / "secret-base")
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(folder / "secret-base")
    (folder / "secret-rows").mkdir()
    (folder / "secret-rows" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in opinions(60)))
    monkeypatch.chdir(tmp_path)
    settings = {"dataset": "clients/secret-rows/*.jsonl", "lora": True, "run_name": str(tmp_path / "secret-name")}
    run(Path("run"), "clients/secret-base", **settings)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    hfrecipes.push("../run", name)
    assert tree(HfApi(), name) == WANTED, "its base is a folder, so the merged model alone"
    for file in Path(snapshot_download(name)).glob("*.*"):
        if file.suffix in (".md", ".json", ".yaml"):
            text = file.read_text(encoding="utf-8")
            assert "clients" not in text, file.name
            assert str(tmp_path) not in text, file.name
    assert "datasets" not in front_matter(Path(hf_hub_download(name, "README.md")).read_text())
    shutil.rmtree(tmp_path / "elsewhere")


def test_a_folder_of_several_runs_is_not_pushed(hub, api, name, tiny_bert, tmp_path):
    import hfrecipes
    from hfrecipes.errors import ModelError

    settings = {"model": tiny_bert, "dataset": opinions(60), "max_steps": 1, "bf16": False}
    hfrecipes.run("text-classification", output_dir=tmp_path / "folds", folds=2, **settings)
    with pytest.raises(ModelError, match="contains several runs, and no single model: push one of fold-1, fold-2"):
        hfrecipes.push(tmp_path / "folds", name)
    assert not api.repo_exists(name)
    hfrecipes.push(tmp_path / "folds" / "fold-1", name)
    assert tree(api, name) == WANTED


def test_a_model_that_was_merged_later_can_be_pushed(hub, api, name, tiny_bert, tmp_path):
    import hfrecipes
    from hfrecipes.predictor import merge

    result = run(tmp_path / "run", tiny_bert, lora=True)
    merge(tmp_path / "run", tmp_path / "merged")
    hfrecipes.push(tmp_path / "merged", name)
    assert close(result.predict(["the film was great"]), hfrecipes.load(name).predict(["the film was great"]))


def test_no_secret_of_the_settings_reaches_the_hub(hub, api, name, tiny_bert, tmp_path, caplog, monkeypatch):
    import hfrecipes

    monkeypatch.setattr(logging.getLogger("hfrecipes"), "propagate", True)
    secret = "Zr8kQ2vLx4711"
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in opinions(40)))
    options = {"key": secret, "http": {"headers": {"Authorization": f"Bearer {secret}"}}}
    dataset = {"path": "json", "data_files": str(tmp_path / "rows.jsonl"), "storage_options": options}
    given = {"run_name": f"https://me:{secret}@host/?token={secret}", "save_strategy": "steps", "save_steps": 1}
    settings = {"dataset": dataset, "lora": True, "max_steps": 2, "hub": {"repo_id": name, "every": "save"}}
    with caplog.at_level("INFO", "hfrecipes"):
        run(tmp_path / "run", tiny_bert, **settings, **given)
        hfrecipes.push(tmp_path / "run", name, tag="v1")
    written = [file for file in tmp_path.rglob("*") if file.is_file()] + [*hub.state.rglob("*")]
    for file in filter(Path.is_file, written):
        content = file.read_bytes()
        assert secret.encode() not in content, file
        # The server of the test itself knows its users.
        if hub.state not in file.parents:
            assert hub.writer.encode() not in content, file
    assert "***" in Path(hf_hub_download(name, "recipe.yaml")).read_text()
    assert secret not in caplog.text
    assert hub.writer not in caplog.text


# --- what others pushed --------------------------------------------------------------------------------------------


@pytest.fixture
def edited_recipe(hub, api, name, done):
    """Pushes a model whose recipe.yaml somebody edited."""
    import hfrecipes
    from hfrecipes.config.recipe_files import read_recipe_file
    from hfrecipes.config.yaml12 import dump

    hfrecipes.push(done, name)

    def edit(**changes) -> str:
        settings = read_recipe_file(Path(hf_hub_download(name, "recipe.yaml")))
        text = dump({**settings, **changes})
        api.upload_file(path_or_fileobj=text.encode(), path_in_repo="recipe.yaml", repo_id=name)
        return name

    return edit


def test_a_task_of_others_is_never_run(edited_recipe, api, name, tmp_path, monkeypatch):
    import hfrecipes
    from hfrecipes.errors import ModelError

    monkeypatch.chdir(tmp_path)
    Path("evil.py").write_text("raise SystemExit('it ran')")
    for task in ("evil.py", str(tmp_path / "evil.py"), "../tasks/chat"):
        edited_recipe(task=task)
        with pytest.raises(ModelError, match="trained with a task of its author's own"):
            hfrecipes.load(name)
        with pytest.raises(ModelError, match="trained with a task of its author's own"):
            hfrecipes.load(name, trust=True)


def test_a_metric_of_others_is_never_run(edited_recipe, tmp_path, monkeypatch, caplog):
    import hfrecipes

    monkeypatch.chdir(tmp_path)
    Path("evil.py").write_text("raise SystemExit('it ran')")
    monkeypatch.setattr(logging.getLogger("hfrecipes"), "propagate", True)
    model = hfrecipes.load(edited_recipe(metrics=["evil.py", "someone/evil", "accuracy"]), trust=True)
    for left_out in ("metrics: evil.py", "metrics: someone/evil"):
        assert f"{left_out} is not used: it would run" in caplog.text
    assert model.config.metrics == ["accuracy"]
    assert model.evaluate(opinions(10)).metrics["accuracy"] >= 0


def test_code_of_a_base_model_of_others_is_never_run(hub, api, name, tiny_bert, tmp_path):
    from click.testing import CliRunner
    from transformers import AutoModel, AutoTokenizer

    from hfrecipes.cli import main
    from hfrecipes.config.recipe_files import read_recipe_file
    from hfrecipes.config.yaml12 import dump

    base = f"{name}-base"
    AutoModel.from_pretrained(tiny_bert).push_to_hub(base)
    AutoTokenizer.from_pretrained(tiny_bert).push_to_hub(base)
    run(tmp_path / "run", base, lora=True, hub={"repo_id": name, "model": "adapter"})
    config = json.loads(Path(hf_hub_download(base, "config.json")).read_text())
    evil = {**config, "model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"}}
    api.upload_file(path_or_fileobj=json.dumps(evil).encode(), path_in_repo="config.json", repo_id=base)
    mark = tmp_path / "it-ran"
    api.upload_file(path_or_fileobj=f"open({str(mark)!r}, 'w')".encode(), path_in_repo="evil.py", repo_id=base)
    settings = read_recipe_file(Path(hf_hub_download(name, "recipe.yaml")))
    text = dump({**settings, "model": {"path": base, "trust_remote_code": True, "cache_dir": str(tmp_path / "cache")}})
    api.upload_file(path_or_fileobj=text.encode(), path_in_repo="recipe.yaml", repo_id=name)
    # The adapter names the commit that it was trained on, from before the code was there.
    pinned = json.loads(Path(hf_hub_download(name, "adapter_config.json")).read_text())
    assert len(pinned["revision"]) == 40
    unpinned = json.dumps({**pinned, "revision": None}).encode()
    api.upload_file(path_or_fileobj=unpinned, path_in_repo="adapter_config.json", repo_id=name)
    for words in (["merge", name, str(tmp_path / "out")], ["predict", name, "-"], ["predict", name, "-", "--trust"]):
        made = CliRunner().invoke(main, words, input="the film was great\n")
        assert made.exit_code == 2, made.output
        assert "unexpected" not in made.output
    assert not mark.exists()
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"options": {"no_such": 1}},
        {"options": 5},
        {"training": ["a"]},
        {"options": {"max_length": "x"}},
        {"columns": ["a"]},
        {"model": 5},
        {"model": {"a": 1}},
    ],
    ids=str,
)
def test_a_malformed_recipe_is_one_sentence(edited_recipe, changes):
    from click.testing import CliRunner

    from hfrecipes.cli import main

    made = CliRunner().invoke(main, ["predict", edited_recipe(**changes), "-"], input="the film was great\n")
    assert made.exit_code == 2, made.output
    assert "was changed or damaged after the run" in made.output
    assert "unexpected" not in made.output
