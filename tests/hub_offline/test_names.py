"""What others may see of the settings: Hub ids and addresses, and no path of this machine."""

from __future__ import annotations

import pytest

from hfrecipes.config.run_config import RunConfig
from hfrecipes.hub.names import hub_id_or_none, hub_ids, shareable, without_local_paths


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("me/rows", "me/rows"),
        ("pkg://package/model", "pkg://package/model"),
        ("hf://datasets/me/rows/train.csv", "hf://datasets/me/rows/train.csv"),
        ("/srv/me/rows.csv", "rows.csv"),
        ("~/rows.csv", "rows.csv"),
        ("./rows/", "rows"),
        ("../secret/rows.csv", "rows.csv"),
        (r"C:\Users\me\rows.csv", "rows.csv"),
        (r"\\server\share\rows.csv", "rows.csv"),
        ("file:///srv/me/rows.csv", "rows.csv"),
        ("clients/secret/*.jsonl", "*.jsonl"),
        ("https://me:pw@host.org/a/rows.csv?sig=1#x", "https://host.org/a/rows.csv"),
        ("s3://bucket/a/rows.csv", "s3://bucket/a/rows.csv"),
    ],
)
def test_paths_are_reduced_to_their_last_part(given, shown):
    assert shareable(RunConfig(task="chat", dataset=given)).dataset == shown
    assert shareable(RunConfig(task="chat", dataset={"train": given})).dataset == {"train": shown}
    files = shareable(RunConfig(task="chat", dataset={"path": "csv", "data_files": [given]})).dataset["data_files"]
    assert files == [shown]


def test_an_existing_folder_is_a_path_and_no_hub_id(tmp_path, monkeypatch):
    (tmp_path / "clients" / "base").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    config = RunConfig(task="chat", model="clients/base", dataset="clients/rows")
    assert hub_ids(config) == {"model": None, "dataset": "clients/rows"}
    assert shareable(config).model == "base"


@pytest.mark.parametrize("name", ["me/model", "gpt2", "me/model-v1.0_x"])
def test_hub_ids_are_recognized(name):
    assert hub_id_or_none(name) == name


@pytest.mark.parametrize("name", ["data/*.csv", "a/b/c", "pkg://a/b", r"C:\x", "", None, 5, "./a", "~/a", "a b/c"])
def test_other_names_are_no_hub_ids(name):
    assert hub_id_or_none(name) is None


def test_a_file_format_is_no_dataset_of_the_hub():
    assert hub_ids(RunConfig(task="chat", dataset={"path": "csv", "data_files": "a.csv"}))["dataset"] is None


def test_credentials_and_local_folders_are_left_out():
    model = {"path": "me/base", "revision": "v1", "cache_dir": "/x/cache", "local_files_only": True}
    dataset = {"path": "me/rows", "storage_options": {"key": "1", "secret": "2"}}
    shown = shareable(RunConfig(task="chat", model=model, dataset=dataset, hub="me/x", output_dir="/x"))
    assert shown.model == {"path": "me/base", "revision": "v1"}
    assert shown.dataset == {"path": "me/rows"}
    assert (shown.hub, shown.output_dir) == (None, None)


def test_options_stay_and_absolute_paths_in_training_and_lora_are_shortened():
    config = RunConfig(
        task="chat",
        options={"prefix": "/summarize: "},
        training={"deepspeed": "/srv/me/ds.json", "run_name": "a"},
        lora={"target_modules": ".*attn.*", "init_lora_weights": "/srv/me/lora"},
    )
    shown = shareable(config)
    assert shown.options == {"prefix": "/summarize: "}
    assert shown.training == {"deepspeed": "ds.json", "run_name": "a"}
    assert shown.lora == {"target_modules": ".*attn.*", "init_lora_weights": "lora"}


def test_labels_and_tokens_that_look_like_paths_stay():
    content = {
        "id2label": {"0": "/opt/home", "1": "C:/x"},
        "_name_or_path": "/opt/base",
        "added_tokens_decoder": {"5": {"content": "/"}},
        "best_model_checkpoint": "/x/checkpoint-4",
        "files": ["/a/b.json"],
        "step": 4,
    }
    changed = {"_name_or_path": "base", "best_model_checkpoint": "checkpoint-4", "files": ["b.json"]}
    assert without_local_paths(content) == {**content, **changed}
