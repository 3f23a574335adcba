"""A folder belongs to one run and one process; what the user has in it is never written over."""

from __future__ import annotations

import os

import pytest
from conftest import opinions

import hfrecipes
from hfrecipes.errors import OutputError
from hfrecipes.run_folder import claim, lock
from hfrecipes.run_folder.contents import RunInfo, write_start
from hfrecipes.training.configuration import configure

TASK = "text-classification"


def config_of(quick: dict, **settings):
    return configure(TASK, {"dataset": "x.csv", **quick, **settings})[0]


def test_a_recipe_file_of_the_users_own_is_not_taken_for_a_run(quick, tmp_path):
    files = {"recipe.yaml": f"# mine\ntask: {TASK}\n", "README.md": "# My project\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(OutputError, match="contains files that are not a run"):
        hfrecipes.run(TASK, dataset=opinions(40), output_dir=tmp_path, **quick)
    assert {name: (tmp_path / name).read_text() for name in files} == files


@pytest.mark.parametrize("text", ['{"name": "mine"}', "[]", "{"])
def test_a_run_json_of_the_users_own_is_not_taken_for_that_of_a_run(quick, tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    (tmp_path / "recipe.yaml").write_text(f"# mine\ntask: {TASK}\n")
    with pytest.raises(OutputError, match="contains files that are not a run"):
        claim.claim(tmp_path, config_of(quick), RunInfo())


def test_a_start_that_was_cut_short_leaves_the_folder_free(quick, tmp_path):
    config = config_of(quick)
    (tmp_path / "recipe.yaml").touch()
    (tmp_path / ".draft-run.json").write_text("{")
    (tmp_path / ".lock").touch()
    claim.claim(tmp_path, config, RunInfo(data={"train": "x"}))
    write_start(tmp_path, config, RunInfo(data={"train": "x"}))
    claim.claim(tmp_path, config_of(quick, seed=7), RunInfo(data={"train": "y"}))


def test_a_run_on_other_weights_is_refused_where_an_adapter_goes_on(quick, tmp_path):
    config = config_of(quick, lora=True)
    write_start(tmp_path, config, RunInfo(data={"train": "x"}, base="a"))
    (tmp_path / "checkpoint-2").mkdir()
    claim.claim(tmp_path, config, RunInfo(data={"train": "x"}, base="a"))
    with pytest.raises(OutputError, match="have changed, and its adapter only fits the old ones"):
        claim.claim(tmp_path, config, RunInfo(data={"train": "x"}, base="b"))


@pytest.fixture
def tickets(tmp_path, monkeypatch) -> str:
    """A file with two columns of labels, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    lines = ["body,topic,tone"]
    for number, row in enumerate(opinions(40)):
        lines.append(f"{row['text']},{'sales' if number % 3 else 'help'},{row['label']}")
    (tmp_path / "tickets.csv").write_text("\n".join(lines) + "\n")
    return "tickets.csv"


def test_default_folders_tell_runs_apart(quick, tickets, tmp_path, caplog):
    settings = {**quick, "dataset": tickets, "max_steps": 1}
    columns = [{"text": "body", "label": "topic"}, {"text": "body", "label": "tone"}]
    first, second = (hfrecipes.run(TASK, columns=given, **settings).path for given in columns)
    assert (first.name, second.name) == (
        f"text-classification-tickets-topic-{tmp_path_name(quick)}",
        f"text-classification-tickets-tone-{tmp_path_name(quick)}",
    )
    caplog.clear()
    third = hfrecipes.run(TASK, columns=columns[0], **{**settings, "learning_rate": 0.5}).path
    assert third.name == f"{first.name}-2"
    assert f"{first} contains a run with other settings (training.learning_rate is " in caplog.text
    assert f"this run is written to {third}" in caplog.text
    # Each command finds its own run again.
    assert hfrecipes.run(TASK, columns=columns[0], **{**settings, "learning_rate": 0.5}).path == third
    assert hfrecipes.run(TASK, columns=columns[0], **settings).path == first
    assert sorted(folder.name for folder in first.parent.iterdir()) == sorted([first.name, second.name, third.name])


def tmp_path_name(quick: dict) -> str:
    return os.path.basename(quick["model"])


def test_a_clash_is_reported_before_rows_are_read(quick, tickets, monkeypatch):
    settings = {**quick, "dataset": tickets, "columns": {"text": "body", "label": "topic"}, "max_steps": 1}
    hfrecipes.run(TASK, **settings, output_dir="out")
    os.remove(tickets)  # a row that is read would end in another error
    for change in ({"seed": 7}, {"columns": {"text": "body", "label": "tone"}}, {"max_length": 32}, {"lora": True}):
        for function in (hfrecipes.run, hfrecipes.build):
            with pytest.raises(OutputError, match="contains another run"):
                function(TASK, **{**settings, **change}, output_dir="out")


def test_rows_from_python_find_their_run_again(quick, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {**quick, "dataset": opinions(40), "max_steps": 1}
    folder = hfrecipes.run(TASK, **settings).path
    assert hfrecipes.run(TASK, **settings).path == folder
    assert hfrecipes.run(TASK, **settings, seeds=[1, 2]).path != folder
    assert hfrecipes.run(TASK, **settings, folds=2).path == hfrecipes.run(TASK, **settings, folds={"n_splits": 2}).path


def test_a_run_without_its_settings_is_not_continued_with_others(quick, tmp_path):
    config = config_of(quick)
    write_start(tmp_path, config, RunInfo())
    (tmp_path / "checkpoint-2").mkdir()
    (tmp_path / "recipe.yaml").unlink()
    with pytest.raises(OutputError, match=r"contains a run without its recipe\.yaml"):
        claim.claim(tmp_path, config, RunInfo())


def test_logging_steps_count_where_they_say_when_validation_is_scored(quick):
    def differing(**settings):
        first, second = (vars(config_of(quick, logging_steps=n, **settings)) for n in (2, 4))
        return claim.differences(first, second)

    assert differing() == ""
    assert "logging_steps is 2 there and 4 here" in differing(eval_strategy="steps")
    assert differing(eval_strategy="steps", eval_steps=4) == ""


def test_a_home_folder_is_expanded_once(quick, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "run" / "checkpoint-7").mkdir(parents=True)
    (tmp_path / "run" / "checkpoint-7" / "mine.txt").touch()
    with pytest.raises(OutputError, match="contains files that are not a run"):
        hfrecipes.run(TASK, dataset=opinions(40), output_dir="~/run", **quick)
    assert (tmp_path / "run" / "checkpoint-7" / "mine.txt").exists()
    assert not (tmp_path / "~").exists()


def test_a_second_process_is_refused_with_the_number_of_the_first(tmp_path):
    owner = f"being written by another run .process {os.getpid()} on "
    second = lock.hold(tmp_path / "run")
    with lock.hold(tmp_path / "run"), pytest.raises(OutputError, match=owner):
        second.__enter__()
    with lock.hold(tmp_path / "run"):
        (tmp_path / "run" / "kept.txt").touch()
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["kept.txt"]


def test_a_lock_of_another_machine_tells_what_to_do_if_that_has_crashed(tmp_path):
    path = tmp_path / "run"
    said = r"process 7 on elsewhere, another machine.: wait for it.* if that machine has crashed, delete .*\.lock"
    with lock.hold(path):
        (path / lock.OWNER).write_text("process 7 on elsewhere")
        with pytest.raises(OutputError, match=said), lock.hold(path):
            pass


def test_a_folder_that_nothing_was_written_to_does_not_stay(tmp_path):
    with lock.hold(tmp_path / "runs" / "run"):
        pass
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("target", "output"), [("nothing/at/all", "o"), ("o", "o"), ("nothing", "o/run")])
def test_a_link_that_leads_nowhere_is_named_before_anything_is_read(tmp_path, target, output):
    (tmp_path / "o").symlink_to(target)
    with pytest.raises(OutputError, match=f"o is a link to {target}, which is not there: make that folder"):
        claim.check_writable(tmp_path / output)
