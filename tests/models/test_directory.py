"""Which model a run starts from, read once from any of the forms that users may write."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from hfrecipes.config.blocks import ModelSettings
from hfrecipes.errors import ConfigError, ModelError


def test_a_name_and_keywords_with_a_name_are_the_same_thing():
    assert ModelSettings.of("me/model") == ModelSettings.of({"path": "me/model"}) == ModelSettings("me/model", {})


def test_keywords_tell_what_is_done_with_the_model():
    given = {"path": "me/model", "revision": "v1", "dtype": "bfloat16", "trust_remote_code": True}
    settings = ModelSettings.of(given)
    assert settings.path == "me/model"
    assert settings.shared_keywords == {"revision": "v1", "trust_remote_code": True}
    assert settings.trust_remote_code
    assert not settings.is_quantized
    assert ModelSettings.of({"path": "me/model", "quantization_config": {"load_in_4bit": True}}).is_quantized
    assert "path" in given, "what the user gave stays as it is"


@pytest.mark.parametrize(
    ("model", "message"),
    [(None, "no model: add model="), ("", "no model: add model="), ({"dtype": "auto"}, "add model.path=")],
)
def test_a_model_without_a_name_is_refused(model, message):
    with pytest.raises(ConfigError, match=message):
        ModelSettings.of(model)


def test_a_folder_without_permission_is_named(tmp_path, monkeypatch):
    import hfrecipes
    from hfrecipes.models.directory import check_folder

    def refused(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("hfrecipes.run_folder.contents.os.listdir", refused)
    for read in (check_folder, hfrecipes.load):
        with pytest.raises(ModelError, match=f"cannot read the folder {tmp_path}: Permission denied"):
            read(str(tmp_path))


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_folder_in_place_of_a_file_is_named(tiny_bert, tmp_path, name):
    from hfrecipes.models.directory import check_folder

    shutil.copytree(tiny_bert, tmp_path / "m")
    (tmp_path / "m" / name).unlink()
    (tmp_path / "m" / name).mkdir()
    with pytest.raises(ModelError, match=f"{name} is a folder, expected a file"):
        check_folder(str(tmp_path / "m"))


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json", "generation_config.json"])
@pytest.mark.parametrize("kind", ["pipe", "device", "link to itself"])
def test_a_pipe_or_a_device_in_place_of_a_file_is_named_and_not_read(tiny_bert, tmp_path, name, kind):
    from hfrecipes.models.directory import check_folder

    file = Path(shutil.copytree(tiny_bert, tmp_path / "m")) / name
    file.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(file)
    else:
        file.symlink_to("/dev/zero" if kind == "device" else file)
    with pytest.raises(ModelError, match=f"{name} is a pipe, a device or a broken link, expected a file"):
        check_folder(str(tmp_path / "m"))
