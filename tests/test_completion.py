"""Words are completed in a shell: commands, tasks, recipe files, settings, their values and runs, at once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import run_python

from hfrecipes.cli import main
from hfrecipes.commands.completion import Bash, Zsh
from hfrecipes.registry import list_tasks, recipe_files

CODE = "from hfrecipes.cli import main; main(prog_name='hfrecipes')"


def completed(*words: str) -> list[str]:
    """What replaces the last word, in shells that keep `key=value` as one word."""
    *before, last = words
    return [item.value for item in Zsh(main, {}, "hfrecipes", "_HFRECIPES_COMPLETE").get_completions(before, last)]


def kinds(*words: str) -> list[str]:
    *before, last = words
    return [item.type for item in Zsh(main, {}, "hfrecipes", "_HFRECIPES_COMPLETE").get_completions(before, last)]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with two runs and a folder that is none."""
    for name, task in (("first", "chat"), ("second", "text-classification")):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "run.json").write_text("{}")
        (tmp_path / "runs" / name / "recipe.yaml").write_text(f"# Repeat this run\ntask: {task}\n")
    (tmp_path / "runs" / "none").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.csv").write_text("text,label\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands_are_completed():
    assert completed("ru") == ["run"]
    assert set(completed("")) == set(main.commands)


@pytest.mark.parametrize("command", ["run", "check", "search", "show"])
def test_tasks_and_recipe_files_are_completed(command):
    assert set(completed(command, "")) == {*list_tasks(), *recipe_files()}
    assert completed(command, "text-classification/q") == ["text-classification/quickstart"]
    assert kinds(command, "my_recipe") == ["file"]


def test_settings_are_completed_up_to_their_value():
    assert completed("run", "chat", "learning_r") == ["learning_rate="]
    assert completed("run", "text-classification/quickstart", "class_w") == ["class_weights="]
    assert completed("run", "chat", "class_w") == ["class_w"], "an option of another task"
    assert kinds("run", "chat", "class_w") == ["file"]
    assert "columns." in completed("run", "chat", "")
    assert "do_train=" not in completed("run", "chat", ""), "it has one value"
    assert "learning_rate=" not in completed("run", "chat", "learning_rate=1e-4", "")


def test_keys_of_a_block_are_completed():
    assert completed("run", "chat", "lora.lora_a") == ["lora.lora_alpha="]
    assert completed("run", "text-classification", "columns.") == [
        "columns.text=",
        "columns.text_pair=",
        "columns.label=",
    ]
    assert completed("run", "chat", "options.train_") == ["options.train_on="]
    assert completed("search", "chat", "search.learning_r") == ["search.learning_rate="]
    assert "search.trials=" in completed("search", "chat", "search.")


def test_values_are_completed():
    assert completed("run", "chat", "eval_strategy=") == [f"eval_strategy={name}" for name in ("no", "steps", "epoch")]
    assert completed("run", "chat", "lora=t") == ["lora=true"]
    assert completed("run", "chat", "training.bf16=") == ["training.bf16=true", "training.bf16=false"]
    assert completed("run", "chat", "options.train_on=l") == ["options.train_on=last"]
    assert completed("search", "chat", "search.cost=s") == ["search.cost=seconds"]
    assert completed("run", "chat", "learning_rate=") == []
    assert completed("run", "chat", "nothing=") == []


def test_files_are_completed_after_the_settings_that_name_some():
    assert completed("run", "chat", "dataset=da") == ["dataset=data/"]
    assert completed("run", "chat", "dataset=data/") == ["dataset=data/rows.csv"]
    assert completed("run", "chat", "dataset.train=data/r") == ["dataset.train=data/rows.csv"]
    assert completed("evaluate", "runs/first", "tests.other=data/r") == ["tests.other=data/rows.csv"]
    assert completed("run", "chat", "dataset=nowhere/") == []


def test_runs_are_completed():
    for command in ("evaluate", "predict", "compare", "report", "serve", "verify", "push"):
        assert completed(command, "") == ["runs/first", "runs/second"]
    assert completed("compare", "runs/first", "runs/s") == ["runs/second"]
    assert kinds("predict", "elsewhere/") == ["dir"]


def test_a_run_tells_which_columns_there_are():
    assert completed("evaluate", "runs/second", "columns.text_") == ["columns.text_pair="]
    assert completed("predict", "runs/first", "a.csv", "columns.me") == ["columns.messages="]
    assert kinds("predict", "runs/first", "data/r") == ["file"]
    assert "learning_rate=" not in completed("evaluate", "runs/second", "")


@pytest.mark.parametrize("name", ['"chat"', "'chat'", "text_classification"])
def test_the_task_of_a_recipe_file_is_read_however_it_is_written(name):
    Path("mine.yaml").write_text(f"task: {name}\n")
    option = "train_on" if "chat" in name else "class_weights"
    assert completed("run", "mine.yaml", option[:-1]) == [f"{option}="]


def test_bash_gives_the_parts_around_the_sign_alone():
    complete = Bash(main, {}, "hfrecipes", "_HFRECIPES_COMPLETE").get_completions
    for before, last in ((["freeze"], "="), (["freeze"], ""), (["freeze", "="], "")):
        assert [item.value for item in complete(["run", "chat", *before], last)] == ["embeddings", "backbone"]
    assert [item.value for item in complete(["run", "chat", "freeze", "="], "b")] == ["backbone"]
    assert [item.value for item in complete(["run", "chat", "seed", "=", "3", "freeze", "="], "b")] == ["backbone"]


def test_values_with_a_dot_are_no_names_of_settings():
    complete = Bash(main, {}, "hfrecipes", "_HFRECIPES_COMPLETE").get_completions
    before = ["run", "chat", "dataset", "=", "rows.csv"]
    assert [item.value for item in complete(before, "learning_r")] == ["learning_rate="]
    assert "dataset=" not in [item.value for item in complete(before, "")]
    (by,) = complete(["evaluate", "runs/first", "dataset", "=", "limit.train"], "by")
    assert by.value == "by=", "a value that looks like a setting"
    assert completed("evaluate", "runs/first", "data.csv", "by") == ["by="]


# --- in the shells themselves ------------------------------------------------------------------------------------


@pytest.fixture
def command(folder, monkeypatch) -> None:
    """The command, found by its name."""
    file = folder / "bin" / "hfrecipes"
    file.parent.mkdir()
    file.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{CODE}" "$@"\n')
    file.chmod(0o755)
    monkeypatch.setenv("PATH", str(file.parent), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))


def in_shell(name: str, script: str) -> list[str]:
    if shutil.which(name) is None:
        pytest.skip(f"there is no {name}")
    done = subprocess.run([name, "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_the_script_of_bash_writes_no_space_after_a_sign(command):
    script = (
        'eval "$(_HFRECIPES_COMPLETE=bash_source hfrecipes)"; compopt() { echo nospace; }; COMP_CWORD=3\n'
        'COMP_WORDS=(hfrecipes run chat learning_r); _hfrecipes_completion hfrecipes; echo "${COMPREPLY[@]}"\n'
        "COMPREPLY=(); COMP_CWORD=2; COMP_WORDS=(hfrecipes run cha); _hfrecipes_completion hfrecipes\n"
        'echo "${COMPREPLY[0]}"'
    )
    assert in_shell("bash", script) == ["nospace", "learning_rate=", "chat"]


def test_the_script_of_fish_completes(command):
    script = '_HFRECIPES_COMPLETE=fish_source hfrecipes | source; complete -C "hfrecipes run chat freeze=b"'
    assert in_shell("fish", script) == ["freeze=backbone"]


def test_the_script_of_zsh_is_read(command):
    script = 'compdef() { echo "$@" }; eval "$(_HFRECIPES_COMPLETE=zsh_source hfrecipes)"'
    assert in_shell("zsh", script) == ["_hfrecipes_completion hfrecipes"]


def test_words_are_completed_at_once(monkeypatch):
    monkeypatch.setenv("COMP_WORDS", "hfrecipes run chat learning_r")
    monkeypatch.setenv("COMP_CWORD", "3")
    monkeypatch.setenv("_HFRECIPES_COMPLETE", "bash_complete")
    heavy = "print(json.dumps(sorted({'torch', 'transformers', 'datasets', 'numpy', 'yaml'} & set(sys.modules))))"
    code = f"import atexit, json, sys; atexit.register(lambda: {heavy}); {CODE}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    words, modules = done.stdout.splitlines()
    assert words == "plain,learning_rate="
    assert json.loads(modules) == []
    completing, bare = [], []
    for _ in range(5):  # in turns, since other work on the machine slows both
        completing.append(seconds_of("-c", CODE))
        bare.append(seconds_of("-c", "import click"))
    assert min(completing) < 0.3 or min(completing) < 4 * min(bare)


def seconds_of(*arguments: str) -> float:
    start = time.perf_counter()
    run_python(*arguments)
    return time.perf_counter() - start
