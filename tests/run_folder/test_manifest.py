"""A manifest tells files that changed from files that were only copied, also where they are too large to be hashed."""

from __future__ import annotations

import torch
from safetensors.torch import save_file

from hfrecipes.run_folder import manifest


def differing(folder, depth):
    return dict(manifest.differences(folder, manifest.read(folder), depth))


def test_missing_cut_and_changed_files_are_named(tmp_path):
    (tmp_path / "config.json").write_text('{"a": 1}')
    (tmp_path / "weights.bin").write_bytes(b"12345678")
    manifest.write(tmp_path, ["config.json", "weights.bin", "never-saved.json"])
    assert set(manifest.read(tmp_path)) == {"config.json", "weights.bin"}
    assert differing(tmp_path, "full") == {}
    (tmp_path / "config.json").unlink()
    (tmp_path / "weights.bin").write_bytes(b"1234")
    assert differing(tmp_path, "size") == {
        "config.json": "is missing",
        "weights.bin": "is not what was saved (4 bytes, expected 8)",
    }
    (tmp_path / "weights.bin").write_bytes(b"12345679")
    assert "weights.bin" not in differing(tmp_path, "size")
    assert "another content" in differing(tmp_path, "quick")["weights.bin"]


def test_ends_of_lines_are_no_change_in_texts(tmp_path):
    (tmp_path / "recipe.yaml").write_bytes(b"task: chat\nseed: 1\n")
    manifest.write(tmp_path, ["recipe.yaml"])
    (tmp_path / "recipe.yaml").write_bytes(b"task: chat\r\nseed: 1\r\n")
    assert differing(tmp_path, "full") == {}


def test_a_pointer_of_git_lfs_is_told_from_damage(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"0" * 500)
    manifest.write(tmp_path, ["model.safetensors"])
    (tmp_path / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 500\n")
    assert "git lfs pull" in differing(tmp_path, "quick")["model.safetensors"]


def test_large_weights_are_compared_by_a_part_of_each_tensor(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, "SMALL", 1000)
    file = tmp_path / "model.safetensors"
    tensors = {"body": torch.zeros(5000), "head": torch.zeros(10)}
    save_file(tensors, file)
    manifest.write(tmp_path, [file.name])
    assert "sample" in manifest.read(tmp_path)[file.name]
    assert differing(tmp_path, "quick") == {}
    save_file({**tensors, "head": torch.ones(10)}, file)  # the head of another training, of the same size
    assert differing(tmp_path, "quick")
    far = torch.zeros(5000)
    far[-1] = 1
    save_file({**tensors, "body": far}, file)
    assert differing(tmp_path, "quick") == {}, "only `verify` reads every byte"
    assert differing(tmp_path, "full")


def test_a_damaged_manifest_is_none(tmp_path):
    for text in (
        "",
        "{",
        "[]",
        '{"a": 5}',
        '{"a": {"bytes": "1", "sha256": "0"}}',
        '{"../a": {"bytes": 1, "sha256": ""}}',
    ):
        (tmp_path / manifest.MANIFEST).write_text(text)
        assert manifest.read(tmp_path) is None, text


def test_a_copy_with_changed_texts_is_followed(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(f'{{"folder": "{name}"}}')
        (tmp_path / name / "model.safetensors").write_bytes(b"0" * 8)
    manifest.write(tmp_path / "a", ["config.json", "model.safetensors"])
    (tmp_path / "a" / "extra.json").write_text("{}")
    manifest.follow(tmp_path / "b", manifest.read(tmp_path / "a"))
    assert differing(tmp_path / "b", "full") == {}
