"""A file is written whole or not at all, and a failure to write is one sentence."""

from __future__ import annotations

import errno
import json
import os

import pytest

from hfrecipes.errors import DataError, OutputError
from hfrecipes.run_folder import trouble, writing


def test_an_error_in_the_middle_leaves_the_old_file_and_nothing_else(tmp_path):
    file = tmp_path / "a.json"
    writing.write_json(file, {"a": float("nan")})
    assert json.loads(file.read_text()) == {"a": None}
    with pytest.raises(ZeroDivisionError), writing.draft(file) as temporary:
        temporary.write_text(f"half {1 / 0}")
    assert json.loads(file.read_text()) == {"a": None}
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_of_files_comes_whole_or_not_at_all(tmp_path):
    with pytest.raises(ZeroDivisionError), writing.draft_folder(tmp_path / "model") as folder:
        _write_two(folder)
    assert list((tmp_path / "model").iterdir()) == []
    with writing.draft_folder(tmp_path / "model") as folder:
        (folder / "config").mkdir()
        (folder / "config" / "config.json").write_text("{}")
    assert [file.name for file in (tmp_path / "model").iterdir()] == ["config"]


def test_what_a_killed_process_was_writing_is_deleted(tmp_path):
    (tmp_path / ".draft-abc").mkdir()
    (tmp_path / ".draft-abc" / "model.safetensors").touch()
    (tmp_path / ".draft-run.json").touch()
    (tmp_path / "run.json").touch()
    writing.clear_drafts(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


def test_several_processes_may_write_the_same_file(tmp_path):
    file = tmp_path / "a.json"
    with writing.draft(file) as first, writing.draft(file) as second:
        first.write_text("1")
        second.write_text("2")
    assert file.read_text() == "1", "the last to end"
    assert list(tmp_path.iterdir()) == [file]


def test_an_old_draft_of_the_file_is_deleted_and_a_young_one_is_not(tmp_path):
    old, young, other = (tmp_path / f".draft-{name}" for name in ("1-[a].json", "2-[a].json", "1-b.json"))
    for file in (old, young, other):
        file.touch()
    for file in (old, other):
        os.utime(file, (0, 0))
    writing.write_text(tmp_path / "[a].json", "{}")
    assert not old.exists()
    assert young.exists()
    assert other.exists()


@pytest.mark.parametrize(
    ("number", "sentence"),
    [(errno.ENOSPC, "no space left on the disk of"), (errno.EROFS, "cannot be written to any more")],
)
def test_a_failure_to_write_is_a_sentence(tmp_path, number, sentence):
    with pytest.raises(OutputError, match=sentence), trouble.as_output_error(tmp_path):
        raise OSError(number, "…")


def test_a_folder_that_has_gone_is_named_and_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(OutputError, match="was deleted or moved"), trouble.as_output_error(tmp_path / "gone"):
        raise RuntimeError("PytorchStreamWriter failed")
    for error in (ValueError("about something else"), DataError("rows")):
        with pytest.raises(type(error), match=str(error)), trouble.as_output_error(tmp_path):
            raise error


def _write_two(folder) -> None:
    (folder / "config.json").write_text("{}")
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EFBIG, "File too large"), "needs a larger file than this system allows"),
        (RuntimeError("I/O error: File too large (os error 27)"), "needs a larger file than this system allows"),
        (RuntimeError("I/O error: Read-only file system (os error 30)"), "cannot be written to any more"),
        (OSError(errno.ENOLCK, "No locks available"), "does not support file locks"),
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on the disk"),
    ],
)
def test_what_the_system_refuses_is_told_whoever_raises_it(tmp_path, error, said):
    with pytest.raises(OutputError, match=said), trouble.as_output_error(tmp_path):
        raise error
